"""The networks of the paper, section 4: their layers, and how these are scored. Start here.

A network is a trunk, a classifier whose dense layers have become convolutions, and a head, which
scores the trunk's maps for each class and brings the scores to the image's size. This module
says which layers there are and how they are joined, without Keras. `geometry.py` knows where
each map lies on the image, `trunks.py` and `head.py` build the layers, `fcn.py` joins them to a
Keras model, and `cost.py` counts what they take.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fcn_keras.errors import UserError
from fcn_keras.models.elision import thin_border
from fcn_keras.models.geometry import IMAGE, Conv, DensePool, Layer, Pool, walk
from fcn_keras.models.variants import ALEXNET, COLOR_D, FCN32S, VARIANTS

# (channels, convolutions) of each block of VGG16; a pooling ends the block.
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))

# Padding of conv1_1 and of fc6. The paper pads the image by 100 pixels, which leaves at least
# one fc6 cell for every image; "same" keeps each map as large as the one it is made from.
GEOMETRIES = {"paper": (100, 0), "same": (1, 3)}

OUTPUT_STRIDES = (32, 16, 8)

# The blocks up to pool3, for leaving out what they would compute of the padding alone; behind
# them the border is too thin to gain anything.
_STAGES = [
    [Conv(3), Conv(3, pad=1), Pool()],
    [Conv(3, pad=1), Conv(3, pad=1), Pool()],
    [Conv(3, pad=1), Conv(3, pad=1), Conv(3, pad=1), Pool()],
]

_ALEXNET_POOL = Pool(3, 2)

# The first layer of colours and depth, by the channels that it reads.
CONV1_1_BGRD = "conv1_1_bgrd"


@dataclass(frozen=True)
class Normalize(Conv):
    """Local response normalisation: divides by the neighbouring channels, place by place."""

    kernel: int = 1


class Named(NamedTuple):
    """A layer of a trunk.

    Attributes:
        name: as in the reference.
        layer: what it does to sizes and places.
        channels: how many a convolution makes; 0 for other layers, which keep their number.
        groups: in how many parts a convolution takes and makes its channels, each by itself.
    """

    name: str
    layer: Layer
    channels: int = 0
    groups: int = 1


def trunk_layers(
    variant: str,
    geometry: str,
    output_stride: int,
    width: float,
    elide_padding: bool,
    suffix: str = "",
) -> list[Named]:
    """Returns the trunk of a network; for the arguments see `vgg16_layers`."""
    if variant == ALEXNET:
        return alexnet_layers(width, elide_padding)
    layers = vgg16_layers(geometry, output_stride, width, elide_padding, suffix)
    if variant == COLOR_D:
        layers[0] = layers[0]._replace(name=CONV1_1_BGRD)
    return layers


def vgg16_layers(
    geometry: str = "paper",
    output_stride: int = 32,
    width: float = 1.0,
    elide_padding: bool = True,
    suffix: str = "",
) -> list[Named]:
    """Returns VGG16 as a fully convolutional trunk, from the image to fc7.

    Layers are named as in the reference (`conv1_1` ... `pool5`, `fc6`, `fc7`).

    Args:
        geometry: `"paper"` or `"same"`, see `GEOMETRIES`.
        output_stride: stride of fc7 on the image: 32, 16 or 8. Below 32 the last poolings move
            by one cell instead of two, and all that follows them is dilated: the same weights
            give the same numbers at the places where both look, and those between (the
            "filter rarefaction" of section 3.2).
        width: factor on the number of channels of every layer.
        elide_padding: whether to compute what becomes of the image's padding once, and to
            repeat it, where it is the same in every row: the same maps from pool3 on.
        suffix: what the names of layers end in.

    Example:

    >>> [name for name, *_ in vgg16_layers(geometry="same")][-4:]
    ['conv5_3', 'pool5', 'fc6', 'fc7']
    """
    first_pad, fc6_pad = GEOMETRIES[geometry]
    first_pad, borders = thin_border(_STAGES, first_pad) if elide_padding else (first_pad, [])
    layers: list[Named] = []
    dilation = 1
    for block, (channels, convs) in enumerate(BLOCKS, start=1):
        for i in range(1, convs + 1):
            pad = first_pad if (block, i) == (1, 1) else dilation
            conv = Conv(3, pad=pad, dilation=dilation)
            layers.append(Named(f"conv{block}_{i}{suffix}", conv, scaled(channels, width)))
        name = f"pool{block}{suffix}"
        if block <= len(borders):
            layers += [Named(f"{name}_thin", Pool()), Named(name, borders[block - 1])]
        elif _grid(layers).stride < output_stride:
            layers.append(Named(name, Pool()))
        else:
            layers.append(Named(name, DensePool(dilation=dilation)))
            dilation *= 2
    fc6 = Conv(7, pad=fc6_pad * dilation, dilation=dilation)
    pad = fc6.pad + _missing_border(fc6.grid(_grid(layers)))
    for name, conv in (("fc6", Conv(7, pad=pad, dilation=dilation)), ("fc7", Conv(1))):
        layers.append(Named(f"{name}{suffix}", conv, scaled(4096, width)))
    return layers


def _grid(layers):
    return walk(layer for _, layer, *_ in layers)


def _missing_border(grid):
    """How many cells a map must start earlier for its upsampled scores to reach pixel 0."""
    # A score is spread over two strides of pixels.
    return max(0, math.ceil((grid.shift - (grid.stride * 2 - 1) / 2) / grid.stride))


def scaled(channels: int, width: float, groups: int = 1) -> int:
    """Returns the channels of a layer `width` times as wide: so many that groups come out even."""
    return groups * max(1, round(channels * width / groups))


def alexnet_layers(width: float = 1.0, elide_padding: bool = True) -> list[Named]:
    """Returns CaffeNet as a fully convolutional trunk, from the image to fc7.

    Layers are named as in the reference. Each pooling comes before the normalisation.

    Args:
        width, elide_padding: see `vgg16_layers`; the padding is repeated behind pool1.
    """
    pad, borders = thin_border([[Conv(11, 4), _ALEXNET_POOL]], 100) if elide_padding else (100, [])

    def conv(name, channels, conv, groups=1):
        # Even everywhere, as some have two groups.
        return Named(name, conv, scaled(channels, width, groups=2), groups)

    return [
        conv("conv1", 96, Conv(11, 4, pad)),
        Named("pool1_thin" if borders else "pool1", _ALEXNET_POOL),
        *(Named("pool1", border) for border in borders),
        Named("norm1", Normalize()),
        conv("conv2", 256, Conv(5, pad=2), groups=2),
        Named("pool2", _ALEXNET_POOL),
        Named("norm2", Normalize()),
        conv("conv3", 384, Conv(3, pad=1)),
        conv("conv4", 384, Conv(3, pad=1), groups=2),
        conv("conv5", 256, Conv(3, pad=1), groups=2),
        Named("pool5", _ALEXNET_POOL),
        conv("fc6", 4096, Conv(6)),
        conv("fc7", 4096, Conv(1)),
    ]


def scores(variant: str, trunk: Mapping[str, Any], head: Any) -> Any:
    """Joins a trunk and a head: scores of three strides, each upsampled onto the next finer one.

    Args:
        variant: which network, see `fcn_keras.build`.
        trunk: the maps that are scored by name: `fc7`, and `pool4` and `pool3` where there are
            skips.
        head: makes maps of maps, as `fcn_keras.models.head.Head` does.

    Returns:
        The map that `head` made last: scores that are still to be cropped to the image.
    """
    score = head.score(trunk["fc7"], "score_fr")
    if variant in (*FCN32S, ALEXNET):
        return head.upsample(score, int(score.grid.stride), "upscore", IMAGE)

    # Trained from VGG16 in one go, a net needs its skips small at first (at-once).
    at_once = variant == "fcn8s-atonce"
    pool4 = head.rescale(trunk["pool4"], 0.01, "scale_pool4") if at_once else trunk["pool4"]

    score = head.upsample(score, 2, "upscore2", pool4.grid)
    score = head.fuse(score, head.score(pool4, "score_pool4"), "fuse_pool4")
    if variant == "fcn16s":
        return head.upsample(score, 16, "upscore16", IMAGE)

    pool3 = head.rescale(trunk["pool3"], 0.0001, "scale_pool3") if at_once else trunk["pool3"]
    score = head.upsample(score, 2, "upscore_pool4", pool3.grid)
    score = head.fuse(score, head.score(pool3, "score_pool3"), "fuse_pool3")
    return head.upsample(score, 8, "upscore8", IMAGE)


def check(
    variant: str, classes: list[int], geometry: str, output_stride: int, width: float
) -> None:
    """Checks what a network is asked to be; `classes` are the numbers of classes of its heads.

    Raises:
        UserError: if there is no such network.
    """
    faults = [
        (
            variant not in VARIANTS,
            f"`variant` must be one of {', '.join(VARIANTS)}. Received: {variant!r}.",
        ),
        (
            geometry not in GEOMETRIES,
            f"`geometry` must be one of {', '.join(GEOMETRIES)}. Received: {geometry!r}.",
        ),
        (
            variant == ALEXNET and geometry != "paper",
            f"`geometry` of {variant} must be 'paper': its poolings leave nothing of a small "
            f"image that is not padded. Received: {geometry!r}.",
        ),
        (
            output_stride not in OUTPUT_STRIDES,
            f"`output_stride` must be one of {', '.join(map(str, OUTPUT_STRIDES))}. "
            f"Received: {output_stride}.",
        ),
        (
            output_stride != 32 and variant not in FCN32S,
            f"`output_stride` of {variant} must be 32. Only fcn32s can be dilated: a dilated "
            "map lies half a cell beside the one that a skip connection would add to it. "
            f"Received: {output_stride}.",
        ),
        *(
            (number < 1, f"`num_classes` must be at least 1. Received: {number}.")
            for number in classes
        ),
        (
            not 0 < width < math.inf,
            f"`width` must be above 0, and finite; 1 is VGG16. Received: {width}.",
        ),
    ]
    for wrong, message in faults:
        if wrong:
            raise UserError(message)
