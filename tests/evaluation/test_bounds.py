"""What strides allow, worked out by hand, in plain loops of fractions, and by a network's head."""

from fractions import Fraction

import keras
import numpy as np
import pytest

from fcn_keras.data.dataset import Dataset, Example
from fcn_keras.errors import UserError
from fcn_keras.evaluation.bounds import STRIDES, bounds_table, down_and_up, stride_bounds
from fcn_keras.evaluation.scores import named_scores, scores_of
from fcn_keras.models.bilinear import interpolate
from fcn_keras.models.geometry import IMAGE, Deconv, Grid


def dataset_of(*label_maps, classes=("ground", "object"), heads=()):
    examples = [
        Example(
            np.zeros((*np.shape(label)[:2], 3), "uint8"),
            np.atleast_3d(np.asarray(label, "uint8")),
            f"image_{number}",
        )
        for number, label in enumerate(label_maps)
    ]
    return Dataset("set", classes, [(0, 0, 0)] * len(classes), {"val": examples}, dict(heads))


def ious(*label_maps, **options):
    """For each stride the IU of each class, and their mean."""
    found = stride_bounds(dataset_of(*label_maps, **options), "val", progress=False)
    scores = {stride: scores_of(confusion) for stride, confusion in found.items()}
    return {
        stride: (of_it["per_class_iu"].tolist(), of_it["mean_iu"])
        for stride, of_it in scores.items()
    }


def test_objects_of_one_pixel():
    """One in each 8x8 pixels: nowhere does it have more than 1/16 of a cell, and is lost."""
    label = np.zeros((64, 96), "uint8")
    label[3::8, 5::8] = 1
    lost = ([63 / 64, 0], 63 / 128)
    assert ious(label) == {32: lost, 16: lost, 8: lost, 4: lost, 1: ([1, 1], 1)}


def test_checkerboard_of_pixels():
    """Both classes have half of every cell, and the first of equal ones is taken."""
    label = np.indices((64, 64)).sum(0) % 2
    halves = ([0.5, 0], 0.25)
    assert ious(label) == {32: halves, 16: halves, 8: halves, 4: halves, 1: ([1, 1], 1)}


def test_checkerboard_of_cells():
    """Its own cell and the one across have more of a pixel than the two others, everywhere."""
    label = (np.indices((96, 64)) // 16).sum(0) % 2
    halves, all_ = ([0.5, 0], 0.25), ([1, 1], 1)
    assert ious(label) == {32: halves, 16: all_, 8: all_, 4: all_, 1: all_}


def test_edge_within_a_cell():
    """The shares of the left class are 1, 1/4, 0, 0 at 3.5, 11.5, ...: 1/2 is reached at 8.83."""
    label = np.ones((24, 32), "uint8")
    label[:, :10] = 0
    assert ious(label)[8] == ([9 / 10, 22 / 23], pytest.approx((9 / 10 + 22 / 23) / 2))


def test_square_across_cells():
    """It is two cells wide, half a cell off.

    Its share is a product of two lines that fall from 1 in the middle to 1/2 over a cell: at
    pixels, 31/32, 29/32 ... 17/32. The product is above 1/2 for 8 + 7 + 7 + 6 + 5 + 4 + 3 + 1
    pairs of them, in each of four corners: 164 of 256 pixels are left.
    """
    label = np.zeros((40, 40), "uint8")
    label[12:28, 12:28] = 1
    [ground, square], _ = ious(label)[8]
    assert square == 164 / 256
    assert ground == 1344 / (1600 - 164)


def test_cells_count_by_what_is_labelled_in_them():
    """One labelled column makes a cell: 9/16 of its 1 are more than 7/16 of its neighbour's 1."""
    label = np.full((8, 16), 255, "uint8")
    label[:, :8], label[:, 8] = 0, 1
    assert ious(label)[8] == ([1, 1], 1)


def test_half_of_an_image_is_void():
    """The cells within it hold nothing, and draw nothing over the edge of void."""
    label = np.full((64, 64), 255, "uint8")
    label[:, 32:48], label[:, 48:] = 1, 0
    assert ious(label)[16] == ([1, 1], 1)
    np.testing.assert_array_equal(down_and_up(label, 8)[:, 32:], label[:, 32:])


def test_rounding_decides_nothing():
    """Class 1 has 1/5 and 3/5 of two cells: of pixel 7 it has 1/4 * 1/5 + 3/4 * 3/5 = 1/2.

    As floats, the halves of the two classes differ there.
    """
    label = np.array([[0, 1, 0, 255, 0, 0, 1, 0, 1, 1, 0]], "uint8")
    assert down_and_up(label, 6).tolist() == [[0] * 8 + [1] * 3]


@pytest.mark.parametrize("stride", STRIDES[:-1])
def test_image_within_a_cell(stride):
    """What is most frequent in it, and the first of equally frequent ones, is all that is left."""
    assert (down_and_up(np.array([[2, 1, 2], [0, 255, 255]], "uint8"), stride) == 2).all()
    assert (down_and_up(np.array([[2, 1, 255]], "uint8"), stride) == 1).all()
    assert down_and_up(np.array([[255]], "uint8"), stride).tolist() == [[0]]


def test_confusions_add_up():
    one, other = np.zeros((5, 7)), np.full((40, 3), 255)
    one[0, 0], other[::2] = 1, 1
    found = stride_bounds(dataset_of(one, other), "val", progress=False)
    assert found[32].tolist() == [[34, 0], [1, 60]]
    assert found[1].tolist() == [[34, 0], [0, 61]]
    assert found[32].dtype == "int64"


def slowly(label, stride):
    """Each pixel by itself, from all cells, in fractions."""
    height, width = label.shape
    class_ids = sorted({*label.ravel().tolist()} - {255})
    shares = {}
    for top in range(0, height, stride):
        for left in range(0, width, stride):
            cell = label[top : top + stride, left : left + stride].ravel().tolist()
            valid = len(cell) - cell.count(255)
            if valid:
                shares[top, left] = {c: Fraction(cell.count(c), valid) for c in class_ids}
    result = np.zeros(label.shape, "uint8")
    for y, x in np.ndindex(label.shape):
        scores = dict.fromkeys(class_ids, 0)
        for (top, left), of_cell in shares.items():
            # From the centre of the cell to that of the pixel, in halves of pixels.
            down, right = abs(2 * (y - top) - stride + 1), abs(2 * (x - left) - stride + 1)
            if down < 2 * stride and right < 2 * stride:
                for class_id, share in of_cell.items():
                    scores[class_id] += (2 * stride - down) * (2 * stride - right) * share
        result[y, x] = max(class_ids, key=scores.get, default=0)
    return result


@pytest.mark.parametrize("stride", [2, 4, 6, 16, 32])
@pytest.mark.parametrize("size", [(1, 1), (3, 37), (17, 14)])
@pytest.mark.parametrize("void", [0, 0.3, 0.97])
def test_against_loops(size, stride, void):
    rng = np.random.default_rng(stride)
    label = rng.choice([0, 1, 3, 7], size).astype("uint8")
    label[: size[0] // 2] = np.sort(label[: size[0] // 2], axis=1)  # not noise alone
    label[rng.random(size) < void] = 255
    labelled = label != 255
    expected = slowly(label, stride)
    np.testing.assert_array_equal(down_and_up(label, stride)[labelled], expected[labelled])


@pytest.mark.parametrize(("stride", "height"), [(2, 70), (32, 1100)])
def test_high_images_against_loops(stride, height):
    """They are worked on in pieces."""
    label = np.random.default_rng(0).choice([0, 1, 2, 255], (height // 2, 1)).astype("uint8")
    label = label.repeat(2, axis=0)
    label[height // 2 : height // 2 + 80] = 255
    labelled = label != 255
    expected = slowly(label, stride)
    np.testing.assert_array_equal(down_and_up(label, stride)[labelled], expected[labelled])


@pytest.mark.parametrize("stride", STRIDES[:-1])
def test_against_pooling_and_a_head(stride):
    """A mean over windows, and what transposed convolutions do, cropped as the grids say."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 5, (48, 32)).repeat(stride // 2, 0).repeat(stride // 2, 1)
    label[rng.random(label.shape) < 0.2] = 2
    pool = keras.layers.AveragePooling2D(stride)
    # All numbers are multiples of a power of two, with which float32 is exact.
    scores = interpolate(pool(np.eye(5, dtype="float32")[label][None]), stride, 2 * stride)
    cells = Grid(Fraction(stride), Fraction(stride - 1, 2))
    offset = Deconv(kernel=2 * stride, stride=stride).grid(cells).offset_over(IMAGE)
    height, width = label.shape
    scores = keras.ops.convert_to_numpy(scores)[0, offset:, offset:][:height, :width]
    np.testing.assert_array_equal(down_and_up(label.astype("uint8"), stride), scores.argmax(-1))


def test_several_label_maps():
    things, grounds = np.zeros((4, 6)), np.full((4, 6), 2)
    things[1, 1], grounds[0] = 1, 255
    heads = {"things": ("a", "b"), "grounds": ("x", "y", "z")}
    dataset = dataset_of(np.stack([things, grounds], -1), heads=heads)
    found = stride_bounds(dataset, "val", strides=(8, 1), progress=False)
    assert found[8]["things"].tolist() == [[23, 0], [1, 0]]
    assert found[8]["grounds"].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 18]]
    table = bounds_table({stride: named_scores(found[stride], heads) for stride in found})
    assert [line.split() for line in table.splitlines()] == [
        ["things", "stride", "8", "stride", "1"],
        ["a", "0.95833", "1.00000"],
        ["b", "0.00000", "1.00000"],
        ["mean", "IU", "0.47917", "1.00000"],
        [],
        ["grounds", "stride", "8", "stride", "1"],
        ["x", "absent", "absent"],
        ["y", "absent", "absent"],
        ["z", "1.00000", "1.00000"],
        ["mean", "IU", "1.00000", "1.00000"],
    ]


@pytest.mark.parametrize("stride", [0, -2, 3, 64])
def test_strides(stride):
    with pytest.raises(UserError, match=f"`stride` must be 1, .* 32. Received: {stride}"):
        down_and_up(np.zeros((4, 4), "uint8"), stride)


def test_labels_that_are_no_class():
    good = np.zeros((3, 3))
    with pytest.raises(UserError, match="image_1: holds label 2, where there are classes 0 to 1"):
        stride_bounds(dataset_of(good, good + 2), "val", progress=False)


@pytest.mark.parametrize("label_maps", [[], [np.full((3, 3), 255)]])
def test_no_labelled_pixel(label_maps):
    with pytest.raises(UserError, match="set, val: has no labelled pixel"):
        stride_bounds(dataset_of(*label_maps), "val", progress=False)
