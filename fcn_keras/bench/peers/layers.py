"""FCN-32s, FCN-16s and FCN-8s as lists of layers, for those who write them in another program.

They have no elision: all of the paper's padding is computed, as published.
"""

from typing import NamedTuple

from fcn_keras.errors import UserError
from fcn_keras.models.geometry import IMAGE, Conv, Deconv, Pool, walk

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions

PADS = {"paper": (100, 0), "same": (1, 3)}  # of conv1_1 and of fc6

# Transposed convolutions: name, factor, and the map whose scores are added then.
UPSAMPLINGS: dict[str, list[tuple[str, int, str | None]]] = {
    "fcn32s": [("upscore", 32, None)],
    "fcn16s": [("upscore2", 2, "pool4"), ("upscore16", 16, None)],
    "fcn8s": [("upscore2", 2, "pool4"), ("upscore_pool4", 2, "pool3"), ("upscore8", 8, None)],
}


class Convolution(NamedTuple):
    name: str
    inputs: int
    channels: int
    kernel: int
    pad: int


class Upsampling(NamedTuple):
    """A transposed convolution, and how what it makes lies on the next finer map.

    Attributes:
        name, factor: the layer, and its stride; its kernel is twice that.
        skip: name of the finer map, `"pool4"`; None for the image.
        skip_channels: how many it has.
        crop: how many rows and columns to cut off this map's upper left.
        crop_skip: how many to cut off the finer map's.
    """

    name: str
    factor: int
    skip: str | None
    skip_channels: int
    crop: int
    crop_skip: int


class Layers(NamedTuple):
    """The layers of a network.

    Attributes:
        blocks: the convolutions of each block; a pooling follows each.
        fc: fc6 and fc7.
        upsamplings: how the scores are upsampled.
    """

    blocks: list[list[Convolution]]
    fc: list[Convolution]
    upsamplings: list[Upsampling]


def fcn_layers(variant: str, width: float = 1.0, geometry: str = "paper") -> Layers:
    """Returns the layers of a network, with the crops that its paddings call for.

    Raises:
        UserError: if the variant is none of the three.
    """
    if variant not in UPSAMPLINGS:
        raise UserError(
            f"--variant: must be one of {', '.join(UPSAMPLINGS)} to be compared. "
            f"Received: {variant!r}."
        )
    first_pad, fc6_pad = PADS[geometry]
    blocks, inputs, grid = [], 3, IMAGE
    maps: dict[str | None, tuple] = {None: (IMAGE, 0)}
    for block, (channels, count) in enumerate(BLOCKS, start=1):
        convs = []
        for i in range(1, count + 1):
            pad = first_pad if (block, i) == (1, 1) else 1
            convs.append(Convolution(f"conv{block}_{i}", inputs, _scaled(channels, width), 3, pad))
            inputs = convs[-1].channels
        blocks.append(convs)
        grid = walk([*(Conv(3, pad=conv.pad) for conv in convs), Pool()], grid)
        maps[f"pool{block}"] = grid, inputs
    wide = _scaled(4096, width)
    fc = [Convolution("fc6", inputs, wide, 7, fc6_pad), Convolution("fc7", wide, wide, 1, 0)]

    grid, upsamplings = walk([Conv(7, pad=fc6_pad)], grid), []
    for name, factor, skip in UPSAMPLINGS[variant]:
        grid = Deconv(2 * factor, factor).grid(grid)
        finer, channels = maps[skip]
        offset = finer.offset_over(grid)
        crop, crop_skip = max(-offset, 0), max(offset, 0)
        upsamplings.append(Upsampling(name, factor, skip, channels, crop, crop_skip))
        grid = grid if offset >= 0 else finer
    return Layers(blocks, fc, upsamplings)


def _scaled(channels, width):
    return max(1, round(channels * width))
