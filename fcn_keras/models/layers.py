"""Feature maps that know where they lie on the image, and the layers that make one of another."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers, ops

from fcn_keras.errors import UserError
from fcn_keras.models.geometry import IMAGE, Conv, Grid, Pool, Widen

# Local response normalisation over this many channels, with these constants (arXiv 1404.5997
# and CaffeNet): x / (1 + ALPHA / NEIGHBOURS * sum of squares) ** BETA.
NEIGHBOURS, ALPHA, BETA = 5, 1e-4, 0.75


class Feature(NamedTuple):
    """A feature map and where it lies on the image."""

    tensor: keras.KerasTensor
    grid: Grid


def preprocess(
    image: keras.KerasTensor,
    mean: Sequence[float],
    std: float | Sequence[float] = 1.0,
    flip: bool = True,
    name: str = "normalize",
) -> Feature:
    """Makes of an image what the weights expect: BGR or RGB, less a mean, divided by a number.

    Args:
        image: `(N, H, W, C)`, 0..255.
        mean: what to subtract, in the order that the channels have after the flip.
        std: what to divide by; one number for all channels, or one for each.
        flip: whether to turn RGB into BGR; further channels stay where they are, and fewer are no
            colours.
        name: name of the layer that subtracts and divides; it begins with `normalize`.
    """
    if flip:
        image = _bgr(image)
    # Not `Normalization`, whose constants exporters take for inputs. Always float32: bfloat16 would
    # round the mean before it is subtracted.
    each = [std] * len(mean) if isinstance(std, int | float) else std
    normalize = layers.Rescaling(
        1 / std if isinstance(std, int | float) else [1 / number for number in std],
        [-number / divisor for number, divisor in zip(mean, each, strict=True)],
        dtype="float32",
        name=name,
    )
    return Feature(normalize(image), IMAGE)


def _bgr(image):
    if image.shape[-1] == 3:
        return ops.flip(image, axis=-1)
    if image.shape[-1] < 3:
        return image
    return ops.concatenate([ops.flip(image[..., :3], axis=-1), image[..., 3:]], axis=-1)


def with_log_depth(image: keras.KerasTensor) -> keras.KerasTensor:
    """Makes of colours and depth what the first layer reads: blue, green, red, logarithm of depth.

    Args:
        image: `(N, H, W, 4)`: RGB in 0..255, and the depth in millimetres. Less than 1, such as
            the 0 that stands for an unknown depth, counts as 1: its logarithm is 0.
    """
    bgr = _bgr(image[..., :3])
    return ops.concatenate([bgr, ops.log(ops.maximum(image[..., 3:], 1.0))], axis=-1)


def divided(image: keras.KerasTensor, divisor: float) -> keras.KerasTensor:
    """Divides an image, in float32: to the bit what Keras' own preprocessing makes of it.

    `Rescaling` multiplies by the reciprocal, whose rounding fifty layers make a hundred times as
    large.
    """
    return ops.divide(ops.cast(image, "float32"), divisor)


def preprocessing_of(
    model: keras.Model,
) -> tuple[tuple[float, ...], float | tuple[float, ...]]:
    """Returns what a network subtracts from its channels, and the number it divides by.

    They are in the order that the network gives the channels: BGR on VGG16. Where it divides each
    channel by another number, there is one for each.

    Raises:
        UserError: if it is no network of this package.
    """
    found = [layer for layer in model.layers if layer.name.startswith("normalize")]
    configs = [layer.get_config() for layer in found]
    if not configs:
        raise UserError(f"{model.name} is no network of this package: it has no layer normalize.")
    if "variance" in configs[0]:  # a `Normalization`, as networks had it before
        mean = [number for config in configs for number in config["mean"]]
        std = configs[0]["variance"][0] ** 0.5
    elif isinstance(configs[0]["scale"], list | tuple):
        [config] = configs
        stds = [1 / scale for scale in config["scale"]]
        mean = [-number * std for number, std in zip(config["offset"], stds, strict=True)]
        return tuple(map(_as_given, mean)), tuple(map(_as_given, stds))
    else:
        std = _divisor_before(found[0]) / configs[0]["scale"]
        mean = [-number * std for config in configs for number in config["offset"]]
    return tuple(map(_as_given, mean)), _as_given(std)


def _divisor_before(layer):
    """What an image is divided by before it comes to a layer, see `divided`."""
    operation, node, _ = layer.input._keras_history
    arguments = operation._inbound_nodes[node].arguments
    return arguments.args[1] if type(operation).__name__.endswith("Divide") else 1.0


def _as_given(number):
    """The digits that were given: the last ones are rounding's."""
    return float(f"{number:.12g}")


def pad_to_remainder(
    image: Feature, before: int, more: int, stride: int, remainder: int
) -> Feature:
    """Pads an image with zeros so that its height and width have a given remainder.

    Args:
        image: `(N, H, W, C)`, H and W free.
        before: how many zeros come above and to the left.
        more: what to add to a side before it is rounded up to a multiple of `stride`.
        stride: what the remainder is by.
        remainder: what comes to the multiple.

    Returns:
        `(N, H', W', C)`, with `H' = stride * ceil((H + more) / stride) + remainder`.
    """
    x = image.tensor
    behind = max(0, more + stride - 1 + remainder - before)
    rows, columns = ops.sum(x[:, :, 0, 0], axis=0), ops.sum(x[:, 0, :, 0], axis=0)
    x = layers.ZeroPadding2D([(before, behind)] * 2, name="image_pad")(x)
    for axis, line in ((1, rows), (2, columns)):
        ones = ops.ones_like(line, dtype="int32")
        ones = ops.pad(ones, [[0, more]], constant_values=1) if more > 0 else ones[-more:,]
        # As many as the stride for each that is begun.
        ones = ops.repeat(ones[::stride,], stride)
        ones = ops.pad(ones, [[0, remainder]], constant_values=1)
        x = ops.take(x, ops.cumsum(ones) - 1, axis=axis)
    return Feature(x, Grid(image.grid.stride, image.grid.shift - before, image.grid.field))


def convolve(
    feature: Feature,
    channels: int,
    conv: Conv,
    name: str,
    groups: int = 1,
    initializer: str = "he_normal",
) -> Feature:
    """A convolution and its ReLU.

    Its kernel starts with He's scaling, from which a deep net without normalisation trains.
    """
    x = feature.tensor
    same = 2 * conv.pad == conv.extent - 1 and conv.stride == 1
    if not same and conv.pad:
        x = layers.ZeroPadding2D(conv.pad, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        channels,
        conv.kernel,
        strides=conv.stride,
        dilation_rate=conv.dilation,
        groups=groups,
        padding="same" if same else "valid",
        activation="relu",
        kernel_initializer=initializer,
        name=name,
    )(x)
    return Feature(x, conv.grid(feature.grid))


def pool(feature: Feature, pool: Pool, name: str) -> Feature:
    """Max pooling as Caffe does it: the size rounds up, windows are cut at the edge.

    For maps behind a ReLU only: zeros stand for what lies beyond the edge, which no maximum of
    numbers from zero up notices.
    """
    x, reach = feature.tensor, pool.extent - pool.stride
    if pool.kernel == 2 and pool.dilation == 1:
        # TensorFlow's "same" is Caffe's rounding up here.
        x = layers.MaxPooling2D(2, pool.stride, "same", name=name)(x)
    elif pool.dilation == 1:
        x = layers.ZeroPadding2D(((0, reach), (0, reach)), name=f"{name}_pad")(x)
        x = layers.MaxPooling2D(pool.kernel, pool.stride, name=name)(x)
    else:
        # Keras has no dilated pooling: each cell against the one that lies a dilation further.
        for axis, last in ((0, f"{name}_rows"), (1, name)):
            pads, crops = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
            pads[axis], crops[axis] = (0, pool.dilation), (pool.dilation, 0)
            further = layers.ZeroPadding2D(pads, name=f"{last}_pad")(x)
            further = layers.Cropping2D(crops, name=f"{last}_further")(further)
            x = layers.Maximum(name=last)([x, further])
    return Feature(x, pool.grid(feature.grid))


def widen(feature: Feature, border: Widen, name: str) -> Feature:
    """Repeats a row and a column on either side of a map, where a border was left out before."""
    x = feature.tensor
    rows, columns = ops.sum(x[:, :, 0, 0], axis=0), ops.sum(x[:, 0, :, 0], axis=0)
    for axis, line in ((1, rows), (2, columns)):
        ones = ops.ones_like(line, dtype="int32")
        last = ops.sum(ones) - 1
        place = ops.cumsum(ops.pad(ones, [[border.copies] * 2], constant_values=1)) - 1
        # Up to the row that stands for the border; that row; the inside; the same at the far end.
        near = ops.minimum(place, border.row)
        inside = ops.minimum(place - border.copies, last - border.row)
        far = place - 2 * border.copies
        x = ops.take(x, ops.maximum(ops.maximum(near, inside), far), axis=axis)
    return Feature(layers.Identity(name=name)(x), border.grid(feature.grid))


def normalize_responses(feature: Feature, name: str) -> Feature:
    """Local response normalisation, see `NEIGHBOURS`."""
    # float32: squares overflow float16.
    x = ops.cast(feature.tensor, "float32")
    margin = NEIGHBOURS // 2
    squares = ops.pad(ops.square(x), [[0, 0], [0, 0], [0, 0], [margin, margin]])
    total = sum(squares[..., i : i + x.shape[-1]] for i in range(NEIGHBOURS))
    x = x / ops.power(1 + ALPHA / NEIGHBOURS * total, BETA)
    # A layer takes what it gets to the policy's type, and has the reference's name.
    return Feature(layers.Identity(name=name)(x), feature.grid)
