"""FCN-32s, FCN-16s and FCN-8s as lists of layers, for those who write them in another program.

They have no elision: all of the paper's padding is computed, as published.
"""

from typing import NamedTuple

from fcn_keras.errors import UserError
from fcn_keras.models.geometry import IMAGE, Conv, Deconv, Pool, walk

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions

PADS = {"paper": (100, 0), "same": (1, 3)}  # of conv1_1 and of fc6

STEPS = {  # transposed convolution, its factor, and the map whose scores are added then
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
        crop_skip: how many to cut off the other's.
    """

    name: str
    factor: int
    skip: str | None
    skip_channels: int
    crop: int
    crop_skip: int


class Plan(NamedTuple):
    """A network.

    Attributes:
        blocks: the convolutions of each block; a pooling follows each.
        fc: fc6 and fc7.
        steps: how the scores are upsampled.
    """

    blocks: list[list[Convolution]]
    fc: list[Convolution]
    steps: list[Upsampling]


def plan(variant: str, width: float = 1.0, geometry: str = "paper") -> Plan:
    """Returns the layers of a network, with the crops that its paddings call for.

    Raises:
        UserError: if the peers do not have that variant.
    """
    if variant not in STEPS:
        raise UserError(
            f"--variant: must be one of {', '.join(STEPS)} to be compared. Received: {variant!r}."
        )
    first_pad, fc6_pad = PADS[geometry]
    blocks, inputs, grid, maps = [], 3, IMAGE, {None: (IMAGE, 0)}
    for block, (channels, count) in enumerate(BLOCKS, start=1):
        convs = []
        for i in range(1, count + 1):
            pad = first_pad if (block, i) == (1, 1) else 1
            outputs = _scaled(channels, width)
            convs.append(Convolution(f"conv{block}_{i}", inputs, outputs, 3, pad))
            inputs = outputs
        blocks.append(convs)
        grid = walk([*(Conv(3, pad=conv.pad) for conv in convs), Pool()], grid)
        maps[f"pool{block}"] = grid, inputs
    wide = _scaled(4096, width)
    fc = [Convolution("fc6", inputs, wide, 7, fc6_pad), Convolution("fc7", wide, wide, 1, 0)]

    grid, steps = walk([Conv(7, pad=fc6_pad)], grid), []
    for name, factor, skip in STEPS[variant]:
        grid = Deconv(2 * factor, factor).grid(grid)
        finer, channels = maps[skip]
        offset = finer.offset_over(grid)
        steps.append(Upsampling(name, factor, skip, channels, max(-offset, 0), max(offset, 0)))
        grid = grid if offset >= 0 else finer
    return Plan(blocks, fc, steps)


def _scaled(channels, width):
    return max(1, round(channels * width))
