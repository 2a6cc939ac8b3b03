"""What programs are compared on: FCN-32s, FCN-16s or FCN-8s, and the image that it labels."""

from dataclasses import dataclass
from typing import NamedTuple

from fcn_keras.errors import UserError
from fcn_keras.models.architecture import scores, vgg16_layers
from fcn_keras.models.backbones import VGG16
from fcn_keras.models.cost import Cost, cost
from fcn_keras.models.geometry import IMAGE, Conv, Deconv, Grid

VARIANTS = ("fcn32s", "fcn16s", "fcn8s")


@dataclass(frozen=True)
class Forward:
    """A network's forward pass on one image.

    Attributes:
        variant, num_classes, width, geometry, backbone: see `fcn_keras.build`. The geometry is
            VGG16's alone.
        size: height and width of the image.
        matrix: rows and columns of the matrices whose product is the machine's ceiling.

    Raises:
        UserError: if other programs do not have the variant.
    """

    variant: str = "fcn8s"
    width: float = 1.0
    size: tuple[int, int] = (500, 500)
    geometry: str = "paper"
    num_classes: int = 21
    matrix: int = 4096
    backbone: str = VGG16

    def __post_init__(self):
        check_variant(self.variant)

    def cost(self, elide_padding: bool) -> Cost:
        """Returns what the network computes for the image, with all of the padding or without."""
        return cost(
            self.variant,
            self.size,
            self.num_classes,
            width=self.width,
            backbone=self.backbone,
            **self.options(elide_padding),
        )

    def options(self, elide_padding: bool) -> dict:
        """Returns the arguments of `fcn_keras.build` that are VGG16's alone."""
        if self.backbone != VGG16:
            return {}
        return {"geometry": self.geometry, "elide_padding": elide_padding}


def check_variant(variant: str) -> None:
    """Raises a `UserError` if other programs do not have the variant."""
    if variant not in VARIANTS:
        raise UserError(
            f"--variant: must be one of {', '.join(VARIANTS)} to be compared. "
            f"Received: {variant!r}."
        )


class Upsampling(NamedTuple):
    """A transposed convolution, and how what it makes lies on the next finer map.

    Attributes:
        name, factor: the layer, and its stride; its kernel is twice that.
        skip: name of the finer map, `"pool4"`; None for the image.
        crop: how many rows and columns to cut off this map's upper left.
        crop_skip: how many to cut off the finer map's.
    """

    name: str
    factor: int
    skip: str | None
    crop: int
    crop_skip: int


def fcn_layers(
    variant: str, width: float = 1.0, geometry: str = "paper"
) -> tuple[list[tuple[str, Conv, int]], list[Upsampling]]:
    """Returns the layers of a network, for those who write it in another program.

    They have no elision: all of the paper's padding is computed, as published.

    Returns:
        The trunk from the image to fc7, `(name, layer, channels)` with 0 channels for a pooling;
        and how the scores of fc7 are upsampled.
    """
    named = vgg16_layers(geometry, width=width, elide_padding=False)
    # They are convolutions and poolings, all of them.
    trunk = [(name, layer, made) for name, layer, made, _ in named if isinstance(layer, Conv)]
    grid, maps = IMAGE, {}
    for name, layer, _ in trunk:
        grid = layer.grid(grid)
        maps[name] = _Map(grid, name)
    head = _Head()
    head.fuse(scores(variant, maps, head), _Map(IMAGE, None))
    return trunk, head.upsamplings


class _Map(NamedTuple):
    """A map: where its cells lie, and what made it: a layer's name, or name and factor."""

    grid: Grid
    maker: str | tuple[str, int] | None


class _Head:
    """Plays the part of `fcn_keras.models.head.Head`: notes how scores are upsampled."""

    def __init__(self):
        self.upsamplings = []

    def score(self, x, name):
        return x

    def upsample(self, x, factor, name, onto):
        return _Map(Deconv(2 * factor, factor).grid(x.grid), (name, factor))

    def fuse(self, coarse, skip, name=None):
        offset = skip.grid.offset_over(coarse.grid)
        self.upsamplings.append(
            Upsampling(*coarse.maker, skip.maker, crop=max(-offset, 0), crop_skip=max(offset, 0))
        )
        return coarse if offset >= 0 else skip
