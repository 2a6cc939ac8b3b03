"""The trunks of the paper: VGG16 and CaffeNet with their dense layers as convolutions.

Reference:
    Section 4.1 of arXiv 1411.4038."""

from collections.abc import Iterable
from typing import NamedTuple

from keras import layers

from fcn_keras.models.architecture import Named, Normalize, alexnet_layers, vgg16_layers
from fcn_keras.models.geometry import Conv, Pool, Widen
from fcn_keras.models.layers import Feature, convolve, normalize_responses, pool, widen


class Trunk(NamedTuple):
    """The maps that heads read: in VGG16 of strides 32, 16 and 8, in CaffeNet the last alone."""

    fc7: Feature
    pool4: Feature | None = None
    pool3: Feature | None = None


def follow(
    trunk: Iterable[Named], x: Feature, dropout: float, initializer: str
) -> dict[str, Feature]:
    """Builds the layers of a trunk, each on the map of the one before.

    Args:
        trunk: the layers, such as `fcn_keras.models.architecture.vgg16_layers` returns.
        x: the preprocessed image.
        dropout: rate of the dropout behind fc6 and fc7.
        initializer: how kernels start.

    Returns:
        Layer name -> the map that the layer makes; of fc6 and fc7, behind their dropout.
    """
    maps = {}
    for name, layer, channels, groups in trunk:
        match layer:
            case Widen():
                x = widen(x, layer, name)
            case Normalize():
                x = normalize_responses(x, name)
            case Pool():
                x = pool(x, layer, name)
            case Conv():
                x = convolve(x, channels, layer, name, groups, initializer)
        if name.startswith("fc"):
            dropped = layers.Dropout(dropout, name=f"drop{name.removeprefix('fc')}")(x.tensor)
            x = Feature(dropped, x.grid)
        maps[name] = x
    return maps


def vgg16_trunk(
    image: Feature,
    geometry: str = "paper",
    output_stride: int = 32,
    width: float = 1.0,
    dropout: float = 0.5,
    suffix: str = "",
    initializer: str = "he_normal",
    elide_padding: bool = True,
) -> Trunk:
    """Builds VGG16 as a fully convolutional trunk, from the image to fc7.

    Layers are named as in the reference (`conv1_1` ... `pool5`, `fc6`, `fc7`).

    Args:
        image: the preprocessed image.
        geometry: `"paper"` or `"same"`, see `fcn_keras.models.architecture.GEOMETRIES`.
        output_stride: stride of fc7 on the image: 32, 16 or 8. Below 32 the last poolings move
            by one cell instead of two, and all that follows them is dilated: the same weights
            give the same numbers at the places where both look, and those between (the
            "filter rarefaction" of section 3.2).
        width: factor on the number of channels of every layer.
        dropout: rate of the dropout behind fc6 and fc7.
        suffix: what the names of layers end in.
        initializer: how kernels start.
        elide_padding: whether to compute what becomes of the image's padding once, and to
            repeat it, where it is the same in every row: the same maps from pool3 on.

    Returns:
        A `Trunk` of the maps that FCN-32s, FCN-16s and FCN-8s score.
    """
    trunk = vgg16_layers(geometry, output_stride, width, elide_padding, suffix)
    maps = follow(trunk, image, dropout, initializer)
    return Trunk(*(maps[f"{name}{suffix}"] for name in Trunk._fields))


def alexnet_trunk(
    image: Feature,
    width: float = 1.0,
    dropout: float = 0.5,
    initializer: str = "he_normal",
    elide_padding: bool = True,
) -> Trunk:
    """Builds CaffeNet as a fully convolutional trunk, from the image to fc7.

    Layers are named as in the reference. Each pooling comes before the normalisation.

    Args:
        image: the preprocessed image.
        width: factor on the number of channels of every layer.
        dropout: rate of the dropout behind fc6 and fc7.
        initializer: how kernels start.
        elide_padding: whether to compute what becomes of the image's padding once, and to
            repeat it behind pool1.

    Returns:
        A `Trunk` of the map that FCN-AlexNet scores, at stride 32.
    """
    maps = follow(alexnet_layers(width, elide_padding), image, dropout, initializer)
    return Trunk(maps["fc7"])
