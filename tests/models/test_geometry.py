from fractions import Fraction

import numpy as np
import pytest
from helpers.networks import size_after
from keras import layers

from fcn_keras.models.geometry import IMAGE, Conv, Deconv, Grid, Pool, walk

# The networks of the paper, written down from its reference, not taken from the package.
# Convolutions in each of VGG16's five blocks; a pooling ends the block.
VGG_CONVS = (2, 2, 3, 3, 3)

# Sizes of every map along one axis, for inputs of these sizes (pad 100).
INPUTS = (1, 224, 256, 321, 333, 366, 375, 480, 500, 512, 640, 1024, 2048)
SIZES = {
    "conv1": (199, 422, 454, 519, 531, 564, 573, 678, 698, 710, 838, 1222, 2246),
    "pool1": (100, 211, 227, 260, 266, 282, 287, 339, 349, 355, 419, 611, 1123),
    "pool2": (50, 106, 114, 130, 133, 141, 144, 170, 175, 178, 210, 306, 562),
    "pool3": (25, 53, 57, 65, 67, 71, 72, 85, 88, 89, 105, 153, 281),
    "pool4": (13, 27, 29, 33, 34, 36, 36, 43, 44, 45, 53, 77, 141),
    "pool5": (7, 14, 15, 17, 17, 18, 18, 22, 22, 23, 27, 39, 71),
    "fc7": (1, 8, 9, 11, 11, 12, 12, 16, 16, 17, 21, 33, 65),
    "upscore": (64, 288, 320, 384, 384, 416, 416, 544, 544, 576, 704, 1088, 2112),
    "upscore2": (4, 18, 20, 24, 24, 26, 26, 34, 34, 36, 44, 68, 132),
    "upscore16": (80, 304, 336, 400, 400, 432, 432, 560, 560, 592, 720, 1104, 2128),
    "upscore_pool4": (10, 38, 42, 50, 50, 54, 54, 70, 70, 74, 90, 138, 266),
    "upscore8": (88, 312, 344, 408, 408, 440, 440, 568, 568, 600, 728, 1112, 2136),
}


def vgg(last, pad=100, fc6_pad=0):
    """The layers from the image to `conv1`, to one of the pools, or to `fc7`."""
    found = [Conv(3, pad=pad)]
    for block, convs in enumerate(VGG_CONVS, start=1):
        found += [Conv(3, pad=1)] * (convs - (block == 1))
        if last == f"conv{block}":
            return found
        found.append(Pool())
        if last == f"pool{block}":
            return found
    assert last == "fc7"
    return [*found, Conv(7, pad=fc6_pad), Conv(1)]


# The layers whose sizes add up to each map of the heads. Where a skip is fused, the map goes on
# with the size and the place of the upsampled one.
HEADS = {
    "upscore": [Deconv(64, 32)],
    "upscore2": [Deconv(4, 2)],
    "upscore16": [Deconv(4, 2), Deconv(32, 16)],
    "upscore_pool4": [Deconv(4, 2), Deconv(4, 2)],
    "upscore8": [Deconv(4, 2), Deconv(4, 2), Deconv(16, 8)],
}


def alexnet(last):
    """CaffeNet's layers that change sizes: three poolings of kernel 3, fc6 of kernel 6."""
    found = [Conv(11, stride=4, pad=100), Pool(3, 2)]
    if last == "pool1":
        return found
    found += [Conv(5, pad=2), Pool(3, 2)]
    if last == "pool2":
        return found
    found += [Conv(3, pad=1)] * 3 + [Pool(3, 2)]
    return found if last == "pool5" else [*found, Conv(6), Conv(1)]


def offsets(pad, fc6_pad=0):
    """The offsets of all crops, in the order in which the reference names them."""
    fc7 = walk(vgg("fc7", pad, fc6_pad))
    pool4, pool3 = walk(vgg("pool4", pad)), walk(vgg("pool3", pad))
    upscore2 = walk(HEADS["upscore2"], fc7)
    upscore_pool4 = walk(HEADS["upscore_pool4"], fc7)
    return {
        "32s": walk(HEADS["upscore"], fc7).offset_over(IMAGE),
        "pool4": pool4.offset_over(upscore2),
        "16s": walk(HEADS["upscore16"], fc7).offset_over(IMAGE),
        "pool3": pool3.offset_over(upscore_pool4),
        "8s": walk(HEADS["upscore8"], fc7).offset_over(IMAGE),
    }


def slacks(pad, found, n):
    """How many cells are left over behind each crop; a crop fits if there are 0 or more."""
    sizes = {name: size_after(vgg("fc7", pad) + head, n) for name, head in HEADS.items()}
    pool4, pool3 = size_after(vgg("pool4", pad), n), size_after(vgg("pool3", pad), n)
    return {
        "32s": sizes["upscore"] - found["32s"] - n,
        "pool4": pool4 - found["pool4"] - sizes["upscore2"],
        "16s": sizes["upscore16"] - found["16s"] - n,
        "pool3": pool3 - found["pool3"] - sizes["upscore_pool4"],
        "8s": sizes["upscore8"] - found["8s"] - n,
    }


def test_published_offsets():
    assert offsets(pad=100) == {"32s": 19, "pool4": 5, "16s": 27, "pool3": 9, "8s": 31}


def test_alexnet_offset():
    fc7 = walk(alexnet("fc7"))
    assert Deconv(63, 32).grid(fc7).offset_over(IMAGE) == 18


@pytest.mark.parametrize("pad", [0, 1, 50, 69, 73, 81, 97, 99, 101, 200])
def test_offsets_of_other_paddings(pad):
    assert offsets(pad) == {
        "32s": pad - 81,
        "pool4": 5,
        "16s": pad - 73,
        "pool3": 9,
        "8s": pad - 69,
    }


def test_offsets_without_big_padding():
    """conv1_1 padded by 1 and fc6 by 3: the upsampled maps start before the skips."""
    pool4, pool3 = walk(vgg("pool4", 1)), walk(vgg("pool3", 1))
    fc7 = walk(vgg("fc7", 1, 3))
    assert (fc7.stride, fc7.shift) == (32, Fraction(31, 2))
    assert Deconv(64, 32).grid(fc7).offset_over(IMAGE) == 16
    assert pool4.offset_over(Deconv(4, 2).grid(fc7)) == -1
    # After the fusion the map lies where pool4 lies.
    assert Deconv(32, 16).grid(pool4).offset_over(IMAGE) == 8
    assert pool3.offset_over(Deconv(4, 2).grid(pool4)) == -1
    assert Deconv(16, 8).grid(pool3).offset_over(IMAGE) == 4


@pytest.mark.parametrize(
    "last, stride, field",
    [("pool3", 8, 44), ("pool4", 16, 100), ("pool5", 32, 212), ("fc7", 32, 404)],
)
def test_strides_and_receptive_fields_of_vgg(last, stride, field):
    grid = walk(vgg(last))
    assert (grid.stride, grid.field) == (stride, field)


def test_stride_and_receptive_field_of_alexnet():
    grid = walk(alexnet("fc7"))
    assert (grid.stride, grid.field) == (32, 355)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_every_layer(name):
    layers_to = vgg("fc7") + HEADS[name] if name in HEADS else vgg(name)
    assert tuple(size_after(layers_to, n) for n in INPUTS) == SIZES[name]


@pytest.mark.parametrize(
    "n, expected",
    [
        (500, {"conv1": 173, "pool1": 86, "pool2": 43, "pool5": 21, "fc7": 16, "upscore": 543}),
        (375, {"conv1": 142, "pool1": 71, "pool2": 35, "pool5": 17, "fc7": 12, "upscore": 415}),
    ],
)
def test_sizes_of_alexnet(n, expected):
    found = {name: size_after(alexnet(name), n) for name in ("pool1", "pool2", "pool5", "fc7")}
    found["conv1"] = size_after(alexnet("pool1")[:1], n)
    found["upscore"] = size_after([*alexnet("fc7"), Deconv(63, 32)], n)
    assert found == expected


def test_all_crops_are_in_range():
    found = offsets(100)
    left_over = {name: set() for name in found}
    for n in range(1, 3001):
        for name, slack in slacks(100, found, n).items():
            left_over[name].add(slack)
    assert {name: (min(values), max(values)) for name, values in left_over.items()} == {
        "32s": (19, 50),
        "pool4": (4, 5),
        "16s": (27, 58),
        "pool3": (6, 9),
        "8s": (31, 62),
    }


def test_alexnet_crop_is_in_range():
    for n in range(1, 3001):
        size = size_after([*alexnet("fc7"), Deconv(63, 32)], n)
        assert size - 18 - n >= 15


def test_smallest_padding_that_serves_every_image():
    found = offsets(97)
    assert all(min(slacks(97, found, n).values()) >= 0 for n in range(1, 500))
    assert size_after(vgg("fc7", 96), 1) < 1  # nothing left of a single pixel


def test_all_crops_without_big_padding_are_in_range():
    """Without the big padding the upsampled map is the one that is cropped, by one cell."""
    for n in range(1, 3001):
        pool3, pool4 = size_after(vgg("pool3", 1), n), size_after(vgg("pool4", 1), n)
        fc7 = size_after(vgg("fc7", 1, 3), n)
        assert Deconv(64, 32).size(fc7) >= 16 + n
        assert Deconv(4, 2).size(fc7) >= 1 + pool4
        assert Deconv(32, 16).size(pool4) >= 8 + n
        assert Deconv(4, 2).size(pool4) >= 1 + pool3
        assert Deconv(16, 8).size(pool3) >= 4 + n


def test_maps_of_different_strides_cannot_be_aligned():
    with pytest.raises(ValueError, match="strides 8 and 16"):
        walk(vgg("pool3")).offset_over(walk(vgg("pool4")))


@pytest.mark.parametrize("deconv, trunk", [(Deconv(63, 32), vgg), (Deconv(64, 32), alexnet)])
def test_maps_a_part_of_a_cell_apart_cannot_be_aligned(deconv, trunk):
    """VGG16 needs an even kernel and AlexNet an odd one; the other lies half a pixel off."""
    with pytest.raises(ValueError, match="no crop can align"):
        deconv.grid(walk(trunk("fc7"))).offset_over(IMAGE)


def test_offset_counts_cells_of_the_maps():
    earlier = Grid(Fraction(8), Fraction(-20))
    later = Grid(Fraction(8), Fraction(4))
    assert earlier.offset_over(later) == 3
    assert later.offset_over(earlier) == -3


def pixels_seen(stack, cell):
    """First and last pixel that a cell depends on, followed down layer by layer."""
    first = last = cell
    for layer in reversed(stack):
        first = first * layer.stride - layer.pad
        last = last * layer.stride - layer.pad + layer.dilation * (layer.kernel - 1)
    return first, last


def test_grid_is_the_middle_of_what_a_cell_sees():
    rng = np.random.default_rng(0)
    for _ in range(200):
        stack = []
        for _ in range(rng.integers(1, 6)):
            kernel, stride = (int(v) for v in rng.integers(1, 8, 2))
            pad, dilation = int(rng.integers(0, 5)), int(rng.integers(1, 4))
            make = Pool if rng.random() < 0.3 else Conv
            stack.append(make(kernel, stride, pad, dilation))
        grid = walk(stack)
        for cell in (0, 1, 7):
            first, last = pixels_seen(stack, cell)
            assert grid.stride * cell + grid.shift == Fraction(first + last, 2)
            assert grid.field == last - first + 1


@pytest.mark.parametrize("kernel, stride", [(4, 2), (3, 2), (64, 32), (63, 32), (5, 2), (2, 2)])
def test_grid_of_a_deconvolution(kernel, stride):
    """Cell `i` is spread over `stride * i` and the next cells; their middle is where it lies."""
    before = Grid(Fraction(stride), Fraction(3), Fraction(10))
    after = Deconv(kernel, stride).grid(before)
    assert after.stride == 1
    for cell in (0, 1, 5):
        middle = stride * cell + Fraction(kernel - 1, 2)
        assert after.stride * middle + after.shift == before.stride * cell + before.shift
    # The most cells that one output can be a sum of.
    most = max(
        sum(0 <= out - stride * cell < kernel for cell in range(100))
        for out in range(kernel, kernel + stride)
    )
    assert after.field == before.field + before.stride * (most - 1)


def test_walk_goes_on_from_a_grid():
    whole = vgg("fc7")
    assert walk(whole[5:], walk(whole[:5])) == walk(whole)
    assert walk([]) == IMAGE
    assert size_after([], 7) == 7


def size_in_keras(layer, n):
    return layer(np.zeros((1, n, 1, 1), "float32")).shape[1]


@pytest.mark.parametrize(
    "conv", [Conv(1), Conv(3), Conv(7), Conv(4, stride=3), Conv(11, stride=4), Conv(3, dilation=2)]
)
def test_sizes_of_convolutions_in_keras(conv):
    layer = layers.Conv2D(
        1, (conv.kernel, 1), strides=conv.stride, dilation_rate=(conv.dilation, 1), padding="valid"
    )
    sizes = {n: conv.size(n) for n in range(1, 41) if n >= conv.dilation * (conv.kernel - 1) + 1}
    assert sizes == {n: size_in_keras(layer, n) for n in sizes}


@pytest.mark.parametrize("conv", [Conv(3, pad=1), Conv(3, pad=100), Conv(11, stride=4, pad=100)])
def test_sizes_of_padded_convolutions_in_keras(conv):
    padding = layers.ZeroPadding2D((conv.pad, 0))
    layer = layers.Conv2D(1, (conv.kernel, 1), strides=conv.stride, padding="valid")
    for n in range(1, 41):
        assert conv.size(n) == layer(padding(np.zeros((1, n, 1, 1), "float32"))).shape[1]


def test_sizes_of_poolings_in_keras():
    layer = layers.MaxPooling2D((2, 1), padding="same")
    for n in range(1, 41):
        assert Pool().size(n) == size_in_keras(layer, n)


@pytest.mark.parametrize("kernel", [2, 3])
def test_poolings_round_up(kernel):
    """Windows are added until the last pixel lies in one: Caffe's rounding."""
    for n in range(kernel, 41):
        windows = 1
        while (windows - 1) * 2 + kernel < n:
            windows += 1
        assert Pool(kernel, 2).size(n) == windows


@pytest.mark.parametrize("kernel, stride", [(4, 2), (3, 2), (16, 8), (32, 16), (63, 32), (64, 32)])
def test_sizes_of_deconvolutions_in_keras(kernel, stride):
    layer = layers.Conv2DTranspose(1, (kernel, 1), strides=(stride, 1), padding="valid")
    for n in range(1, 41):
        assert Deconv(kernel, stride).size(n) == size_in_keras(layer, n)
