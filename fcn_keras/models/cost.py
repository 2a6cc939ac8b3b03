"""What a network computes and keeps for one image, layer by layer: pure arithmetic, no Keras.

It walks over the layers that the network is built of, so it holds for every size of image, with
the padding elided or not. (Of other backbones than VGG16 and CaffeNet the layers are Keras' own to
say, see `backbone_cost.py`.) Counted are the products of convolutions, nearly all of the work:
biases, ReLUs, poolings and sums are less than a hundredth of it.
"""

from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from fcn_keras.errors import UserError
from fcn_keras.models.architecture import check, scores, trunk_layers
from fcn_keras.models.backbones import VGG16
from fcn_keras.models.geometry import IMAGE, Conv, Grid, Layer
from fcn_keras.models.layer_cost import BYTES, LayerCost
from fcn_keras.models.upsampling import BILINEAR, upsampling_of, windows
from fcn_keras.models.variants import COLOR_HHA, VARIANTS, channels_of

COUNTED = tuple(variant for variant in VARIANTS if variant != COLOR_HHA)


@dataclass(frozen=True)
class Cost:
    """What a network takes for one image: the sums over its `layers`, from the image on."""

    layers: tuple[LayerCost, ...]

    def __getitem__(self, name: str) -> LayerCost:
        return next(layer for layer in self.layers if layer.name == name)

    @property
    def forward_flops(self) -> int:
        return sum(layer.forward_flops for layer in self.layers)

    @property
    def backward_flops(self) -> int:
        return sum(layer.backward_flops for layer in self.layers)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    def parameter_bytes(self, dtype: str = "float32") -> int:
        return self.parameters * BYTES[dtype]

    def activation_bytes(self, dtype: str = "float32") -> int:
        """Bytes of the outputs of all layers, which training keeps until the backward pass."""
        return sum(layer.activation_bytes(dtype) for layer in self.layers)

    def gradient_bytes(self, dtype: str = "float32") -> int:
        """Bytes that a step sums over the devices, whatever the size of the batch."""
        return sum(layer.gradient_bytes(dtype) for layer in self.layers)

    def as_dict(self) -> dict:
        """Returns the sums and the layers as dictionaries, lists, numbers and text, for JSON."""
        flops = ("forward_flops", "backward_flops")
        sums = {name: getattr(self, name) for name in (*flops, "parameters")}
        for name in ("parameter_bytes", "gradient_bytes", "activation_bytes"):
            sums[name] = {dtype: getattr(self, name)(dtype) for dtype in BYTES}
        layers = [
            asdict(layer) | {name: getattr(layer, name) for name in flops} for layer in self.layers
        ]
        return sums | {"layers": layers}


def cost(
    variant: str,
    size: tuple[int, int],
    num_classes: int = 21,
    *,
    backbone: str = VGG16,
    geometry: str = "paper",
    output_stride: int = 32,
    width: float = 1.0,
    upsampling: str | None = None,
    learn_upsampling: bool | None = None,
    elide_padding: bool = True,
) -> Cost:
    """Counts what a network computes and keeps for one image.

    Args:
        variant: one of `COUNTED`.
        size: height and width of the image.
        num_classes, backbone, geometry, output_stride, width, upsampling, learn_upsampling,
            elide_padding: see `fcn_keras.build`.

    Returns:
        A `Cost`, from the preprocessed image to the scores of its pixels.

    Raises:
        UserError: if there is no such network.

    Example:

    >>> round(cost("fcn8s", (500, 500)).forward_flops / 1e9)
    301
    """
    if variant not in COUNTED:
        raise UserError(f"`variant` must be one of {', '.join(COUNTED)}. Received: {variant!r}.")
    check(variant, [num_classes], geometry, output_stride, width)
    if min(size) < 1:
        raise UserError(f"`size` must be at least 1 x 1. Received: {size[0]} x {size[1]}.")
    upsampling = upsampling_of(upsampling, learn_upsampling)
    if backbone != VGG16:
        from fcn_keras.models.backbone_cost import backbone_costs

        options = dict(output_stride=output_stride, width=width, upsampling=upsampling)
        options |= dict(backbone=backbone, geometry=geometry, elide_padding=elide_padding)
        return Cost(tuple(backbone_costs(variant, size, num_classes, **options)))
    image = Map(*size, channels_of(variant))
    count = _Count(num_classes, upsampling)
    x = count.note("normalize", image, float32=True)
    maps = {}
    for name, layer, channels, groups in trunk_layers(
        variant, geometry, output_stride, width, elide_padding
    ):
        if channels:
            x = count.convolve(x, layer, name, channels, groups)
        else:
            x = count.note(name, x.behind(layer))
        maps[name] = x
    score = scores(variant, maps, count)
    count.note("score", image._replace(channels=score.channels), float32=True)
    return Cost(tuple(count.layers))


class Map(NamedTuple):
    """A feature map without the numbers in it."""

    height: int
    width: int
    channels: int
    grid: Grid = IMAGE

    def behind(self, layer: Layer, channels: int = 0) -> "Map":
        """The map that a layer makes of this one, with as many channels if not told otherwise."""
        return Map(
            layer.size(self.height),
            layer.size(self.width),
            channels or self.channels,
            layer.grid(self.grid),
        )


@dataclass
class _Count:
    """Plays the part of `fcn_keras.models.head.Head`: notes layers instead of building them."""

    num_classes: int
    upsampling: str
    layers: list[LayerCost] = field(default_factory=list)

    def note(self, name, made, **costs):
        self.layers.append(LayerCost(name, *made[:3], **costs))
        return made

    def convolve(self, x, conv, name, channels, groups=1):
        made = x.behind(conv, channels)
        kernel = conv.kernel**2 * x.channels // groups * channels
        return self.note(
            name,
            made,
            macs=made.height * made.width * kernel,
            parameters=kernel + channels,
            trained=True,
            first=len(self.layers) == 1,
        )

    def score(self, x, name):
        return self.convolve(x, Conv(1), name, self.num_classes)

    def upsample(self, x, factor, name, onto):
        steps = windows(x.grid, factor, onto, self.upsampling)
        for number, deconv in enumerate(steps, 1):
            last = number == len(steps)
            channels = self.num_classes * (1 if last else 2)
            # Dense, as `Conv2DTranspose` computes it, though a bilinear kernel touches one class.
            kernel = deconv.kernel**2 * x.channels * channels
            x = self.note(
                name if last else f"{name}_{number}",
                x.behind(deconv, channels),
                macs=x.height * x.width * kernel,
                parameters=kernel + (0 if last else channels),
                trained=self.upsampling != BILINEAR,
            )
        return x

    def rescale(self, x, scale, name):
        return self.note(name, x)

    def fuse(self, coarse, skip, name):
        # The one that starts earlier is cropped to the other.
        return self.note(name, coarse if skip.grid.offset_over(coarse.grid) > 0 else skip)


def table(cost: Cost) -> str:
    """Returns the cost of a network as a table for people: every layer, and the sums."""
    titles = ("output", "forward", "backward", "float32", "bfloat16", "parameters")
    names = max(14, *(len(layer.name) + 1 for layer in cost.layers))
    lines = [" " * names + f"{titles[0]:>18}" + "".join(f"{title:>12}" for title in titles[1:])]
    for layer in cost.layers:
        shape = f"{layer.height} x {layer.width} x {layer.channels}"
        lines.append(f"{layer.name:{names}}{shape:>18}{_figures(layer)}{layer.parameters:12,}")
    lines.append(f"{'all':{names}}{'':18}{_figures(cost)}{cost.parameters:12,}")
    whole = ", ".join(f"{cost.gradient_bytes(dtype) / 1e6:.1f} MB in {dtype}" for dtype in BYTES)
    return "\n".join([*lines, "GFLOPs, and MB of output, for one image.", f"gradients: {whole}"])


def _figures(cost):
    flops = (cost.forward_flops / 1e9, cost.backward_flops / 1e9)
    sizes = (cost.activation_bytes(dtype) / 1e6 for dtype in BYTES)
    return "".join(f"{figure:12.2f}" for figure in (*flops, *sizes))
