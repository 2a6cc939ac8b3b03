import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from fcn_keras.data.augmentation import (
    PADDING_COLOR,
    PADDING_WITH_DEPTH,
    Augmentation,
    augment,
)
from fcn_keras.data.batches import (
    Shards,
    evaluation_batches,
    evaluation_steps,
    images_of_batch,
    reading_errors,
    steps_per_epoch,
    training_batches,
)
from fcn_keras.data.dataset import IGNORE_LABEL, Example, Remembered
from fcn_keras.data.folders.folder import load_folder
from fcn_keras.errors import UserError

MARK = 200  # blue of the test images; PADDING_COLOR has another


class Pictures:
    """A split of arrays, with one label map or several; counts how often each is read."""

    def __init__(self, pairs):
        self.pairs = list(pairs)
        self.reads = collections.Counter()

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        self.reads[index] += 1
        image, label = self.pairs[index]
        return Example(image, label.reshape(*image.shape[:2], -1), str(index))

    def size(self, index):
        return self.pairs[index][1].shape[:2]


def coordinates(height, width, label_of):
    """An image whose red is the row, green the column, and labels that follow from both."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([y, x, np.full_like(y, MARK)], axis=-1).astype("uint8")
    return image, label_of(y, x).astype("uint8")


def cell(y, x):
    """Labels of 4x4 cells, all below 200 for images up to 56x56."""
    return (y // 4) * 14 + x // 4


def numbered(count, size=(8, 8), sizes=None):
    """Images that hold their own number in every pixel and label."""
    sizes = sizes or [size] * count
    return Pictures(
        (np.full((*size, 3), i, "uint8"), np.full(size, i, "uint8")) for i, size in enumerate(sizes)
    )


def only(pair):
    """As many copies of an image as a batch has, so that no batch is filled up."""
    return Pictures([pair] * 4)


def take(split, augmentation, batches, batch_size=4, seed=0, first_step=0):
    """The first batches of a stream: all images and all labels, as int."""
    stream = training_batches(split, augmentation, batch_size, seed, first_step).take(batches)
    pairs = [(images.numpy(), labels.numpy()) for images, labels in stream]
    assert all(a.dtype == b.dtype == np.uint8 for a, b in pairs)
    images, labels = (np.concatenate(arrays).astype(int) for arrays in zip(*pairs, strict=True))
    return images, labels[..., 0]


def is_padding(images):
    return (images == PADDING_COLOR[: images.shape[-1]]).all(axis=-1)


# Cropping, flipping and zooming


@pytest.mark.parametrize("size", [(40, 56), (16, 20), (10, 56), (40, 9), (1, 1)])
def test_label_follows_image(size):
    """Larger than the crop, equal to it, smaller along either side, and a single pixel."""
    split = only(coordinates(*size, cell))
    images, labels = take(split, Augmentation((16, 20)), 10)
    assert images.shape == (40, 16, 20, 3)
    inside = labels != IGNORE_LABEL
    assert (images[inside][:, 2] == MARK).all()
    np.testing.assert_array_equal(labels[inside], cell(images[inside][:, 0], images[inside][:, 1]))
    # Void is what was padded, and nothing else.
    np.testing.assert_array_equal(~inside, is_padding(images))


@pytest.mark.parametrize("flip", [True, False])
def test_crops_lie_inside(flip):
    """Each crop is a window of the image to the pixel; all places occur, and half are mirrored."""
    split = only(coordinates(19, 24, cell))
    images, labels = take(split, Augmentation((16, 20), flip), 50)
    assert (labels != IGNORE_LABEL).all()
    places, mirrored = collections.Counter(), 0
    for image in images:
        if image[0, 0, 1] > image[0, 1, 1]:
            image, mirrored = image[:, ::-1], mirrored + 1
        top, left = image[0, 0, :2]
        np.testing.assert_array_equal(image[:, :, 0], top + np.mgrid[:16, :20][0])
        np.testing.assert_array_equal(image[:, :, 1], left + np.mgrid[:16, :20][1])
        places[top, left] += 1
    # 200 draws from 4x5 places: each about 10 times.
    assert {*places} == {*itertools.product(range(4), range(5))}
    assert max(places.values()) < 30
    assert 70 < mirrored < 130 if flip else mirrored == 0


@pytest.mark.parametrize("size", [(5, 7), (5, 20), (16, 7)])
def test_small_images_are_padded(size):
    """The whole image is in the crop, once, at a random place."""
    split = only(coordinates(*size, cell))
    images, labels = take(split, Augmentation((16, 20), flip=False), 20)
    places = set()
    for image, label in zip(images, labels, strict=True):
        rows, columns = np.nonzero(label != IGNORE_LABEL)
        window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        np.testing.assert_array_equal(image[window], split.pairs[0][0])
        np.testing.assert_array_equal(label[window], split.pairs[0][1])
        image[window] = PADDING_COLOR[:3]
        label[window] = IGNORE_LABEL
        assert is_padding(image).all() and (label == IGNORE_LABEL).all()
        places.add((rows.min(), columns.min()))
    most = {"rows": 16 - size[0], "columns": 20 - size[1]}
    assert {0, most["rows"]} <= {place[0] for place in places}
    assert {0, most["columns"]} <= {place[1] for place in places}


def test_void_of_the_mask_stays():
    image, label = coordinates(16, 20, cell)
    label[3:7, 5:9] = IGNORE_LABEL
    _, labels = take(only((image, label)), Augmentation((16, 20), flip=False), 2)
    np.testing.assert_array_equal(labels, np.broadcast_to(label, labels.shape))


def test_zoom_in_by_two():
    """Labels are repeated; colours are what lies between those of two pixels."""
    split = only(coordinates(8, 10, cell))
    images, labels = take(split, Augmentation((16, 20), False, (2.0, 2.0)), 2)
    image, label = split.pairs[0]
    np.testing.assert_array_equal(labels[0], label.repeat(2, axis=0).repeat(2, axis=1))
    for axis in (0, 1):
        # Pixel centres of the larger picture lie at -1/4, 1/4, 3/4 ... of the smaller one.
        centres = np.clip(np.arange([16, 20][axis]) / 2 - 0.25, 0, [7, 9][axis])
        assert np.abs(np.moveaxis(images[0, :, :, axis], axis, -1) - centres).max() <= 0.5


def test_zoom_out_by_two():
    split = only(coordinates(32, 40, cell))
    images, labels = take(split, Augmentation((16, 20), False, (0.5, 0.5)), 2)
    np.testing.assert_array_equal(labels[0], cell(*(2 * np.mgrid[:16, :20] + 1)))
    for axis in (0, 1):
        assert np.abs(images[0, :, :, axis] - (2 * np.mgrid[:16, :20][axis] + 0.5)).max() <= 0.5


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [(60, 90), (20, 26)])
def test_label_follows_image_at_any_zoom(axis, size):
    """The label is the row (or column), which the image shows too, interpolated.

    Where they differ, the pixel lies halfway between two rows: half a row of systematic shift
    between image and label would show.
    """
    split = only(coordinates(*size, lambda y, x: (y, x)[axis]))
    images, labels = take(split, Augmentation((24, 32), True, (0.5, 2.0)), 20)
    inside = labels != IGNORE_LABEL
    # Along its border an image is blended with the padding: its blue tells.
    pure = inside & (images[..., 2] == MARK)
    assert pure.sum() > 0.5 * inside.sum() > 5000
    difference = labels[pure] - images[pure][:, axis]
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.1
    # Far from the image there is nothing but padding and void.
    assert is_padding(
        images[(labels == IGNORE_LABEL) & (images[..., 2] < PADDING_COLOR[2] + 1)]
    ).all()


def test_labels_are_never_mixed():
    """Zooming makes no label that the mask does not hold: 10 and 20, but no 15."""
    label = np.where(np.indices((30, 30)).sum(axis=0) % 2, 10, 20).astype("uint8")
    split = only((np.zeros((30, 30, 3), "uint8"), label))
    _, labels = take(split, Augmentation((16, 20), True, (0.5, 2.0)), 10)
    assert {*np.unique(labels)} <= {10, 20, IGNORE_LABEL}


def test_zoom_covers_its_range():
    """A zoom by z shows 1/z of the crop's rows; drawn evenly in its logarithm."""
    split = only(coordinates(250, 250, lambda y, x: y))
    _, labels = take(split, Augmentation((32, 32), False, (0.5, 2.0)), 50)
    rows = labels[:, -1, 0] - labels[:, 0, 0]
    zoom = 31 / rows
    assert zoom.min() == pytest.approx(0.5, abs=0.1)
    assert zoom.max() == pytest.approx(2.0, abs=0.3)
    assert np.median(zoom) == pytest.approx(1.0, abs=0.15)


# Colours


def test_colors_are_left_alone_unless_asked():
    split = only(coordinates(16, 20, cell))
    images, _ = take(split, Augmentation((16, 20), flip=False), 2)
    np.testing.assert_array_equal(images, np.broadcast_to(split.pairs[0][0], images.shape))


def test_colors_move_and_labels_do_not():
    image = np.random.default_rng(0).integers(64, 192, (16, 20, 3)).astype("uint8")
    split = only((image, coordinates(16, 20, cell)[1]))
    images, labels = take(split, Augmentation((16, 20), flip=False, color=0.5), 5)
    np.testing.assert_array_equal(labels, np.broadcast_to(split.pairs[0][1], labels.shape))
    assert len({image.tobytes() for image in images}) == len(images)


def test_colors_do_not_wrap():
    """Too bright becomes white, not black."""
    split = only((np.full((8, 8, 3), 250, "uint8"), np.zeros((8, 8), "uint8")))
    images, _ = take(split, Augmentation((8, 8), color=0.5), 20)
    assert images.max() == 255
    assert images.min() > 250 * np.exp(-0.5 - 0.3) - 1


def test_black_stays_black():
    split = only((np.zeros((8, 8, 3), "uint8"), np.zeros((8, 8), "uint8")))
    images, _ = take(split, Augmentation((8, 8), color=0.5), 5)
    assert not images.any()


# The order of the stream


def numbers(labels):
    """The number of each image of a stream of `numbered`, -1 for those that fill a batch up."""
    first = labels[:, 0, 0].astype(int)
    assert (labels == first[:, None, None]).all()
    return np.where(first == IGNORE_LABEL, -1, first).tolist()


@pytest.mark.parametrize(
    ("count", "batch_size"), [(10, 4), (12, 4), (3, 4), (1, 1), (1, 4), (7, 1)]
)
def test_every_image_once_an_epoch(count, batch_size):
    split = numbered(count)
    steps = steps_per_epoch(split, batch_size)
    assert steps == int(np.ceil(count / batch_size))
    images, labels = take(split, Augmentation((8, 8)), 3 * steps, batch_size)
    assert images.shape == (3 * steps * batch_size, 8, 8, 3)
    stream = numbers(labels)
    epochs = [stream[i::][: steps * batch_size] for i in range(0, len(stream), steps * batch_size)]
    fill = steps * batch_size - count
    for epoch in epochs:
        assert sorted(epoch[:count]) == [*range(count)]
        assert epoch[count:] == [-1] * fill  # at the end of the last batch
    if count >= 7:
        assert len({tuple(epoch) for epoch in epochs}) == 3
    # The image is the one that the label says.
    real = np.array(stream) >= 0
    assert (images[real] == labels[real][..., None]).all()


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (12, 4), (3, 4), (1, 4), (7, 1)])
def test_batches_of_images_alone(count, batch_size):
    """As others, but where those have void: each image once, then those it began with again."""
    split = Pictures(coordinates(20 + i, 30, cell) for i in range(count))
    steps = steps_per_epoch(split, batch_size)
    images, labels = take(split, EVERYTHING, 3 * steps, batch_size)
    stream = training_batches(split, EVERYTHING, batch_size, 0, images_alone=True)
    full = [batch.numpy() for batch, _ in stream.take(3 * steps)]
    numbers_ = [
        images_of_batch(split, batch_size, 0, step, images_alone=True) for step in range(3 * steps)
    ]
    real = np.tile(np.arange(steps * batch_size) < count, 3)
    np.testing.assert_array_equal(np.concatenate(full)[real], images[real])
    for epoch in range(3):
        names = sum(numbers_[epoch * steps : (epoch + 1) * steps], [])
        assert {*names} == {example.id for example in split}
        assert names[count:] == (names[:count] * batch_size)[: steps * batch_size - count]
    if count >= batch_size:
        assert all(len({*names}) == batch_size for names in numbers_)
        # The same image, varied anew.
        assert len({image.tobytes() for image in np.concatenate(full)}) == 3 * steps * batch_size
    assert (labels[~real] == IGNORE_LABEL).all()


def test_images_alone_start_anywhere_and_are_shared():
    split, step = numbered(5), 4
    options = dict(images_alone=True)
    _, alone = shares(split, Augmentation((8, 8)), 6, 4, 1, **options)
    _, pair = shares(split, Augmentation((8, 8)), 6 - step, 4, 2, first_step=step, **options)
    np.testing.assert_array_equal(joined(pair), alone[0][step:])
    assert (alone != IGNORE_LABEL).all()
    for number, batch in enumerate(alone[0]):
        drawn = images_of_batch(split, 4, 3, number, **options)
        assert drawn == [split[i].id for i in numbers(batch[..., 0])]
    with pytest.raises(ValueError, match="Batches of 3 cannot be cut into full shards"):
        training_batches(split, EVERYTHING, 3, 0, shards=Shards(2), **options)


def test_images_that_fill_up_are_not_read():
    split = numbered(5)
    stream = iter(training_batches(split, Augmentation((8, 8)), 4, 0))
    for _ in range(2):
        next(stream)
    assert {*split.reads} == {*range(5)}  # no number beyond these, and no -1


EVERYTHING = Augmentation((8, 12), True, (0.5, 2.0), 0.3)


def test_same_seed_same_stream():
    split = Pictures(coordinates(20 + i, 30, cell) for i in range(6))
    first = take(split, EVERYTHING, 6, seed=3)
    again = take(split, EVERYTHING, 6, seed=3)
    other = take(split, EVERYTHING, 6, seed=4)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


@pytest.mark.parametrize("first_step", [1, 2, 3, 5])
def test_a_stream_can_start_anywhere(first_step):
    """Within an epoch, at the start of one, and in a later one: the rest is the same."""
    split = Pictures(coordinates(20 + i, 30, cell) for i in range(6))
    whole = take(split, EVERYTHING, 7, seed=3)
    rest = take(split, EVERYTHING, 7 - first_step, seed=3, first_step=first_step)
    for a, b in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(a[4 * first_step :], b)


def test_an_image_is_varied_anew_each_epoch():
    split = only(coordinates(56, 56, cell))
    images, _ = take(split, Augmentation((8, 8)), 8, batch_size=1)
    assert len({image.tobytes() for image in images}) > 6


def test_images_of_a_batch_are_varied_each_on_its_own():
    pair = coordinates(56, 56, cell)
    images, _ = take(Pictures([pair] * 8), Augmentation((8, 8)), 1, batch_size=8)
    assert len({image.tobytes() for image in images}) > 6


def test_training_batches_have_known_shapes():
    images, labels = training_batches(numbered(3), Augmentation((8, 12)), 2, 0).element_spec
    assert images == tf.TensorSpec((2, 8, 12, 3), tf.uint8)
    assert labels == tf.TensorSpec((2, 8, 12, 1), tf.uint8)


# Several replicas, each with its shard of every batch


def shares(split, augmentation, batches, batch_size, count, processes=None, **options):
    """The shards of each replica: arrays `(replica, step, image, ...)` of images and of labels."""
    mine = count // (processes or count)
    found = []
    for first in range(0, count, mine):
        shards = Shards(count, first, mine)
        stream = training_batches(split, augmentation, batch_size, 3, shards=shards, **options)
        assert stream.element_spec[0].shape[0] == shards.size(batch_size)
        read = list(stream.take(batches * mine).as_numpy_iterator())
        found += [read[replica::mine] for replica in range(mine)]
    return [np.array([[batch[i] for batch in replica] for replica in found]) for i in (0, 1)]


def joined(array):
    """Batches of all replicas as one would have seen them: those of the first one first."""
    return np.concatenate([*array], axis=1)


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize(
    ("count", "processes", "batch_size"),
    [(2, 2, 4), (3, 3, 3), (4, 2, 4), (4, 1, 8), (2, 1, 3), (4, 2, 1)],
)
def test_replicas_share_what_one_would_see(count, processes, batch_size, replacement):
    split = Pictures(coordinates(20 + i, 30, cell) for i in range(7))
    options = {"replacement": replacement}
    alone = shares(split, EVERYTHING, 6, batch_size, 1, **options)
    options["processes"] = processes
    together = shares(split, EVERYTHING, 6, batch_size, count, **options)
    resumed = shares(split, EVERYTHING, 4, batch_size, count, first_step=2, **options)
    for one, all, rest in zip(alone, together, resumed, strict=True):
        assert len(all) == count
        np.testing.assert_array_equal(joined(all)[:, :batch_size], one[0])
        np.testing.assert_array_equal(rest, all[:, 2:])
    fill = joined(together[1])[:, batch_size:]
    assert np.all(fill == IGNORE_LABEL)


@pytest.mark.parametrize("count", [1, 7, 8, 10])
@pytest.mark.parametrize(("batch_size", "replicas"), [(4, 2), (2, 2), (3, 2), (1, 4)])
def test_replicas_see_every_image_once_an_epoch(count, batch_size, replicas):
    split = numbered(count)
    steps = steps_per_epoch(split, batch_size)
    _, labels = shares(split, Augmentation((8, 8)), 3 * steps, batch_size, replicas)
    for epoch in range(3):
        seen = labels[:, epoch * steps : (epoch + 1) * steps].reshape(-1, 8, 8)
        fill = steps * replicas * Shards(replicas).size(batch_size) - count
        assert sorted(numbers(seen)) == [-1] * fill + [*range(count)]


@pytest.mark.parametrize(
    ("count", "multiple", "batch_size", "expected"),
    [(1, 1, 5, 5), (2, 1, 5, 3), (4, 1, 1, 1), (2, 2, 5, 4), (1, 4, 16, 16), (3, 2, 12, 4)],
)
def test_size_of_a_shard(count, multiple, batch_size, expected):
    assert Shards(count, multiple=multiple).size(batch_size) == expected


@pytest.mark.parametrize(
    "shards", [dict(count=0), dict(count=2, first=2), dict(first=-1), dict(mine=2), dict(mine=0)]
)
def test_shards_that_cannot_be(shards):
    with pytest.raises(ValueError, match="Shards must be some of those that there are"):
        Shards(**shards)


@pytest.mark.parametrize("replacement", [False, True])
def test_names_of_the_images_in_a_batch(replacement):
    split = numbered(7)
    options = dict(seed=3, replacement=replacement)
    stream = training_batches(split, Augmentation((8, 8), flip=False), 3, **options)
    for step, (_, labels) in enumerate(stream.take(8)):
        drawn = [split[number].id for number in numbers(labels.numpy()[..., 0]) if number >= 0]
        assert images_of_batch(split, 3, step=step, **options) == drawn


@pytest.mark.parametrize(("replicas", "batch_size"), [(2, 4), (2, 3), (4, 2)])
def test_replicas_score_every_image_once(replicas, batch_size):
    split = Pictures(coordinates(20 + i % 3, 30, cell) for i in range(8))
    images = [example.image for example in split]
    found, steps = [], evaluation_steps(split, batch_size, replicas)
    for first in range(replicas):
        stream = list(evaluation_batches(split, batch_size, Shards(replicas, first)))
        assert len(stream) == steps
        for batch, labels in stream:
            assert len(batch) == Shards(replicas).size(batch_size)
            real = np.any(labels.numpy() != IGNORE_LABEL, axis=(1, 2, 3))
            found += list(batch.numpy()[real])
    assert sorted(image.tobytes() for image in found) == sorted(i.tobytes() for i in images)


# Rare classes, turned and blurred crops


def test_crops_around_pixels_of_a_class():
    """The middle is of the rare class as often as of the common one, where it can be."""
    image, label = coordinates(40, 56, lambda y, x: np.where((y == 20) & (x == 30), 7, 2))
    label[30:] = IGNORE_LABEL
    split = only((image, label))
    _, labels = take(split, Augmentation((9, 11), False, class_crops=1.0), 50)
    rare = labels[:, 4, 5] == 7
    assert 70 < rare.sum() < 130  # of 200; a standard deviation is 7
    assert ((labels == 7).any(axis=(1, 2)) >= rare).all() and (labels != IGNORE_LABEL).any()
    _, labels = take(split, Augmentation((9, 11), False), 50)
    assert (labels[:, 4, 5] == 7).sum() < 5
    _, half = take(split, Augmentation((9, 11), False, class_crops=0.5), 50)
    assert 30 < (half[:, 4, 5] == 7).sum() < 70


def test_crops_around_a_class_lie_inside():
    split = only(coordinates(20, 24, lambda y, x: (y == 0) & (x == 23)))
    images, labels = take(split, Augmentation((16, 20), False, class_crops=1.0), 20)
    assert not is_padding(images).any()
    assert (labels[:, 0, 19] == 1).sum() > 20  # in the corner


def test_crops_of_nothing_but_void():
    split = only(coordinates(20, 24, lambda y, x: np.full_like(y, IGNORE_LABEL)))
    images, labels = take(split, Augmentation((8, 8), False, class_crops=1.0), 20)
    assert (labels == IGNORE_LABEL).all() and len(np.unique(images[:, 0, 0], axis=0)) > 20


def test_upside_down():
    split = only(coordinates(16, 20, cell))
    images, labels = take(split, Augmentation((16, 20), False, vertical_flip=True), 50)
    turned = images[:, 0, 0, 0] == 15
    assert 70 < turned.sum() < 130
    for each in (images, labels):
        upright = np.where(turned.reshape(-1, *[1] * (each.ndim - 1)), each[:, ::-1], each)
        np.testing.assert_array_equal(upright, np.broadcast_to(upright[:1], each.shape))


@pytest.mark.parametrize("zoom", [1.0, 2.0])
def test_turned_crops(zoom):
    """Rows and columns of the image are a rotation of those of the crop, about any middle."""
    split = only(coordinates(200, 200, lambda y, x: 0 * x))
    images, _ = take(split, Augmentation((48, 64), False, (zoom, zoom), rotation=30.0), 25)
    y, x = np.mgrid[:48, :64]
    places = np.stack([y.ravel() - 23.5, x.ravel() - 31.5, np.ones(y.size)], axis=1)
    angles = []
    for image in images:
        if (image[..., 2] != MARK).any():
            continue
        found = image[..., :2].reshape(-1, 2)
        matrix, *_ = np.linalg.lstsq(places, found, rcond=None)
        assert np.abs(places @ matrix - found).max() < 1.1  # colours are whole numbers
        turn = zoom * matrix[:2]
        np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=0.1)  # windows are whole pixels
        assert np.linalg.det(turn) > 0  # not mirrored
        angles.append(np.degrees(np.arctan2(turn[0, 1], turn[0, 0])))
    assert len(angles) > 60 and max(np.abs(angles)) < 31
    assert min(angles) < -20 and max(angles) > 20


def test_blurred_crops():
    """An edge becomes a slope as wide as was drawn; half of the images stay as they are."""
    image = np.zeros((9, 41, 3), "uint8")
    image[:, 20:] = 250
    split = only((image, image[..., 0]))
    images, labels = take(split, Augmentation((9, 41), False, blur=3.0), 50)
    assert (labels == image[..., 0]).all()
    assert 70 < (images == image).all(axis=(1, 2, 3)).sum() < 130
    assert (images == images[:, :1, :, :1]).all()  # columns and colours alike, also at the border
    slopes = np.diff(images[:, 0, :, 0]) / 250
    np.testing.assert_allclose(slopes.sum(axis=1), 1)
    place = np.arange(40) - 19
    np.testing.assert_allclose(slopes @ place, 0, atol=0.05)
    widths = np.sqrt(slopes @ place**2)
    assert widths.max() < 3.1 and (widths > 2).sum() > 20 and ((widths > 0.5) & (widths < 2)).any()


# What holds whatever is asked for


def properties(examples):
    """The same cases in every run, so that a failure is no accident."""
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None)


sides = st.integers(1, 40)
zooms = st.sampled_from([(1.0, 1.0), (0.25, 4.0), (0.5, 0.5), (3.0, 3.0), (0.9, 1.1)])


@properties(150)
@given(
    size=st.tuples(sides, sides),
    crop=st.none() | st.tuples(sides, sides),
    flip=st.booleans(),
    zoom=zooms,
    color=st.sampled_from([0.0, 0.4]),
    class_crops=st.sampled_from([0.0, 0.5, 1.0]),
    vertical=st.booleans(),
    rotation=st.sampled_from([0.0, 0.0, 10.0, 180.0]),
    seed=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**40)),
)
def test_a_label_stays_on_its_pixel(
    size, crop, flip, zoom, color, class_crops, vertical, rotation, seed
):
    """An image that is its own label: each pixel's row and column, in colours and in labels.

    A third map has no order at all, so that a label between two others would show.
    """
    y, x = np.mgrid[: size[0], : size[1]]
    scattered = np.random.default_rng(0).choice([3, 77, 201, IGNORE_LABEL], size)
    image = np.stack([y, x, np.full(size, MARK)], -1).astype("uint8")
    label = np.stack([y, x, scattered], -1).astype("uint8")
    start = [tf.constant(array) for array in (image, label)]
    ways = dict(class_crops=class_crops, vertical_flip=vertical, rotation=rotation)
    augmentation = Augmentation(crop, flip, zoom, **ways)
    pair = augment(*start, augmentation, tf.constant(seed, tf.int64))
    image, label = (array.numpy().astype(int) for array in pair)
    assert image.shape == label.shape == (*(crop or size), 3)

    rows, columns = label[..., 0], label[..., 1]
    inside = rows != IGNORE_LABEL
    # No label is invented, and those of one pixel stay together.
    assert rows[inside].max(initial=0) < size[0] and columns[inside].max(initial=0) < size[1]
    np.testing.assert_array_equal(label[inside][:, 2], scattered[rows[inside], columns[inside]])
    # Beyond the image there is void, in every map; and nowhere else.
    assert (label[~inside] == IGNORE_LABEL).all()
    pure = image[..., 2] == MARK  # along its border an image is blended with the padding
    assert inside[pure].all() and not inside[is_padding(image)].any()
    if crop and rotation:
        # Beside, the label is that of the nearest of the crop's pixels before it was turned.
        far = np.abs(image[pure][:, :2] - label[pure][:, :2]).max(initial=0)
        assert far <= 1.5 + 0.5 / zoom[0]
    elif zoom == (1, 1) or not crop:
        np.testing.assert_array_equal(pure, inside)
        np.testing.assert_array_equal(is_padding(image), ~inside)
        np.testing.assert_array_equal(image[inside][:, :2], label[inside][:, :2])
    else:
        # A colour lies between those of two pixels, and the label is that of the nearer one.
        assert np.abs(image[pure][:, :2] - label[pure][:, :2]).max(initial=0) <= 1
    if not crop:
        assert inside.all()
    if color:
        recolored = augment(
            *start,
            Augmentation(crop, flip, zoom, color, blur=2.0, **ways),
            tf.constant(seed, tf.int64),
        )
        np.testing.assert_array_equal(recolored[1], label)


@properties(8)
@given(data=st.data())
def test_a_stream_goes_on_where_it_was_stopped(data):
    """Whatever the step, and whatever the shares of the workers."""
    workers = data.draw(st.integers(1, 3), "workers")
    batch_size = workers * data.draw(st.integers(1, 2), "share")
    count = data.draw(st.integers(1, 9), "count")
    split = Pictures(coordinates(9 + i, 12, cell) for i in range(count))
    steps = 2 * steps_per_epoch(split, batch_size) + 1
    stop = data.draw(st.integers(0, steps - 1), "stop")
    options = {"replacement": data.draw(st.booleans(), "replacement")}
    whole = shares(split, EVERYTHING, steps, batch_size, workers, **options)
    rest = shares(split, EVERYTHING, steps - stop, batch_size, workers, first_step=stop, **options)
    for all, some in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(all[:, stop:], some)
    if not options["replacement"]:
        # As many as an epoch has are not void from end to end.
        labels = joined(whole[1])[: steps // 2].reshape(-1, 8 * 12)
        assert (labels != IGNORE_LABEL).any(axis=1).sum() <= count
        assert split.reads.keys() == {*range(count)}


# Whole images, and images drawn with replacement


def test_whole_images_come_as_they_are():
    sizes = [(5, 7), (40, 3), (1, 1), (16, 20)]
    split = numbered(4, sizes=sizes)
    stream = training_batches(split, Augmentation(None, flip=False), 1, seed=0)
    assert stream.element_spec[0].shape.as_list() == [1, None, None, 3]
    seen = []
    for images, labels in stream.take(8):
        index = int(labels[0, 0, 0, 0])
        seen.append(index)
        np.testing.assert_array_equal(images[0], split.pairs[index][0])
        np.testing.assert_array_equal(labels[0, ..., 0], split.pairs[index][1])
    assert sorted(seen[:4]) == sorted(seen[4:]) == [0, 1, 2, 3]


def test_whole_images_are_mirrored_if_asked():
    image, label = coordinates(9, 14, cell)
    stream = training_batches(only((image, label)), Augmentation(None, flip=True), 1, seed=0)
    mirrored = 0
    for images, labels in stream.take(40):
        flipped = images[0, 0, 0, 1] > images[0, 0, 1, 1]
        step = -1 if flipped else 1
        np.testing.assert_array_equal(images[0], image[:, ::step])
        np.testing.assert_array_equal(labels[0, ..., 0], label[:, ::step])
        mirrored += int(flipped)
    assert 8 < mirrored < 32


def drawn(count, batches, batch_size=4, seed=0, first_step=0):
    """The numbers of images drawn with replacement."""
    split, whole = numbered(count), Augmentation(None, flip=False)
    stream = training_batches(split, whole, batch_size, seed, first_step, replacement=True)
    return numbers(np.concatenate([labels.numpy() for _, labels in stream.take(batches)])[..., 0])


def test_replacement_draws_each_image_as_often():
    stream = np.array(drawn(5, 250))
    counts = np.bincount(stream, minlength=5)  # -1, which fills batches up, would raise
    # Chi squared of four degrees of freedom: above 18.5 once in a thousand.
    assert ((counts - 200) ** 2 / 200).sum() < 18.5
    # Each draw is independent of the one before: 25 pairs, 40 of each expected.
    pairs = np.bincount(5 * stream[:-1] + stream[1:], minlength=25)
    assert ((pairs - 40) ** 2 / 40).sum() < 52


def test_replacement_is_no_shuffling():
    epochs = np.array(drawn(5, 100, batch_size=5)).reshape(100, 5)
    complete = sum(len({*epoch}) == 5 for epoch in epochs)
    assert complete < 15  # 5! / 5^5 of them: four of a hundred


def test_replacement_follows_from_the_seed():
    assert drawn(9, 10) == drawn(9, 10) != drawn(9, 10, seed=1)


@pytest.mark.parametrize("first_step", [1, 3, 8])
def test_replacement_can_start_anywhere(first_step):
    assert drawn(5, 12)[4 * first_step :] == drawn(5, 12 - first_step, first_step=first_step)


def test_replacement_varies_an_image_in_all_ways():
    """What is drawn for an image does not hang together with which one it is."""
    pair = coordinates(40, 40, lambda y, x: y)
    split = Pictures((pair[0], np.full_like(pair[1], i)) for i in range(2))
    stream = training_batches(split, Augmentation((8, 8), False), 4, 0, replacement=True)
    tops = {0: [], 1: []}
    for images, labels in stream.take(100):
        for image, label in zip(images, labels, strict=True):
            tops[int(label[0, 0, 0])].append(int(image[0, 0, 0]))
    for found in tops.values():
        assert len(found) > 150
        assert abs(np.mean(found) - 16) < 3 * 9.5 / len(found) ** 0.5


# Several label maps, and depth behind the colours


def two_maps(height, width):
    """Labels that tell the row in one map and the column in the other."""
    image, rows = coordinates(height, width, lambda y, x: y)
    columns = coordinates(height, width, lambda y, x: x)[1]
    return image, np.stack([rows, columns], axis=-1)


def stream_of(split, augmentation, batches, batch_size=4):
    stream = training_batches(split, augmentation, batch_size, 0).take(batches)
    return [np.concatenate([batch[i].numpy() for batch in stream]) for i in (0, 1)]


@pytest.mark.parametrize("size", [(30, 50), (12, 50), (12, 10)])
def test_all_label_maps_follow_the_image(size):
    images, labels = stream_of(only(two_maps(*size)), Augmentation((16, 20)), 10)
    assert labels.shape == (40, 16, 20, 2)
    inside = labels != IGNORE_LABEL
    np.testing.assert_array_equal(inside[..., 0], inside[..., 1])
    np.testing.assert_array_equal(~inside[..., 0], is_padding(images))
    np.testing.assert_array_equal(labels[inside], images[..., :2][inside])


def test_all_label_maps_are_zoomed():
    images, labels = stream_of(only(two_maps(32, 40)), Augmentation((16, 20), False, (0.5, 0.5)), 1)
    np.testing.assert_array_equal(labels[0], np.moveaxis(2 * np.mgrid[:16, :20] + 1, 0, -1))


def test_all_label_maps_of_what_fills_a_batch_up_are_void():
    split = Pictures([two_maps(8, 8)] * 3)
    _, labels = stream_of(split, Augmentation((8, 8)), 1)
    assert (labels[3] == IGNORE_LABEL).all() and (labels[:3] != IGNORE_LABEL).all()
    for _, labels in evaluation_batches(split, 2):
        assert labels.shape == (2, 8, 8, 2)
    labels = labels.numpy()
    assert (labels[1] == IGNORE_LABEL).all() and (labels[0] != IGNORE_LABEL).all()


def with_depth(height, width):
    """Colours, and behind them three channels that follow from the row and the column."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    colors = rng.integers(64, 192, (height, width, 3))
    return np.concatenate([colors, np.stack([y, x, y + x], -1)], -1).astype("uint8"), np.ones(
        (height, width), "uint8"
    )


def test_colors_move_and_depth_does_not():
    split = only(with_depth(16, 20))
    images, _ = stream_of(split, Augmentation((16, 20), flip=False, color=0.5), 5)
    assert images.shape == (20, 16, 20, 6)
    depth = split.pairs[0][0][..., 3:]
    np.testing.assert_array_equal(images[..., 3:], np.broadcast_to(depth, (20, *depth.shape)))
    assert len({image[..., :3].tobytes() for image in images}) == 20


def test_depth_is_cropped_and_padded_with_the_colors():
    image, label = with_depth(12, 40)
    images, labels = stream_of(only((image, label)), Augmentation((16, 20), flip=True), 5)
    for found, label in zip(images, labels[..., 0], strict=True):
        inside = label != IGNORE_LABEL
        assert inside.sum() == 12 * 20
        np.testing.assert_array_equal(~inside, is_padding(found))
        y, x = found[inside][:, 3].astype(int), found[inside][:, 4].astype(int)
        np.testing.assert_array_equal(found[inside], image[y, x])


def test_evaluation_keeps_depth():
    split = Pictures([with_depth(5, 7), with_depth(6, 7), with_depth(5, 7)])
    sizes = []
    for images, labels in evaluation_batches(split, 2):
        for image, label in zip(images.numpy(), labels.numpy(), strict=True):
            if (label != IGNORE_LABEL).all():
                np.testing.assert_array_equal(image, with_depth(*image.shape[:2])[0])
                sizes.append(image.shape[:2])
    assert sorted(sizes) == [(5, 7), (5, 7), (6, 7)]


def in_millimetres(height, width):
    """Colours in 16 bits, and behind them a depth that tells the row and the column."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    depth = 3000 + 1000 * y + 10 * x
    colors = rng.integers(0, 256, (height, width, 3))
    return np.concatenate([colors, depth[..., None]], -1).astype("uint16"), np.ones(
        (height, width), "uint8"
    )


def test_sixteen_bits_are_cropped_and_padded():
    image, label = in_millimetres(12, 40)
    augmentation = Augmentation((16, 20), padding=PADDING_WITH_DEPTH)
    images, labels = stream_of(only((image, label)), augmentation, 5)
    assert images.dtype == np.uint16
    for found, label in zip(images, labels[..., 0], strict=True):
        inside = label != IGNORE_LABEL
        assert inside.sum() == 12 * 20
        assert (found[~inside] == (124, 117, 104, 2550)).all()
        y, x = np.divmod((found[inside][:, 3].astype(int) - 3000) // 10, 100)
        np.testing.assert_array_equal(found[inside], image[y, x])


def test_sixteen_bits_are_scaled_turned_and_blurred():
    """What is the same everywhere stays so, and what rises evenly does so."""
    image, label = in_millimetres(60, 60)
    image[..., :3] = 7
    augmentation = Augmentation(
        (16, 20), False, (0.8, 1.5), rotation=10, blur=1.0, padding=PADDING_WITH_DEPTH
    )
    images, labels = stream_of(only((image, label)), augmentation, 3)
    assert images.dtype == np.uint16 and (labels == 1).all()
    assert (images[..., :3] == 7).all()
    depth = images[..., 3].astype(int)
    assert (depth >= 3000).all()
    # From row to row it rises by 1000 over the zoom, but for what turning takes away.
    steps = np.diff(depth, axis=1)[:, 4:-4]
    assert (np.abs(steps - np.median(steps, axis=(1, 2), keepdims=True)) <= 3).all()
    assert 600 < steps.min() < steps.max() < 1300


def test_colours_of_sixteen_bits_move_within_bytes():
    split = only(in_millimetres(16, 20))
    images, _ = stream_of(split, Augmentation((16, 20), flip=False, color=0.5), 5)
    depth = split.pairs[0][0][..., 3:]
    np.testing.assert_array_equal(images[..., 3:], np.broadcast_to(depth, (20, *depth.shape)))
    assert images[..., :3].max() == 255
    assert len({image[..., :3].tobytes() for image in images}) == 20


def test_evaluation_keeps_sixteen_bits():
    split = Pictures([in_millimetres(5, 7), in_millimetres(6, 7), in_millimetres(5, 7)])
    seen = 0
    for images, labels in evaluation_batches(split, 2):
        assert images.dtype == tf.uint16 and labels.dtype == tf.uint8
        for image, label in zip(images.numpy(), labels.numpy(), strict=True):
            if (label != IGNORE_LABEL).all():
                np.testing.assert_array_equal(image, in_millimetres(*image.shape[:2])[0])
                seen += 1
            else:
                assert (label == IGNORE_LABEL).all() and not image.any()
    assert seen == 3


# Evaluation


MIXED = [(5, 7), (7, 5), (5, 7), (9, 9), (7, 5), (5, 7), (1, 1), (5, 7), (5, 7)]


@pytest.mark.parametrize("batch_size", [1, 2, 4])
@pytest.mark.parametrize("sizes", [MIXED, [(6, 4)] * 8, [(6, 4)] * 5, [(3, 3)]])
def test_evaluation_sees_every_image_once(batch_size, sizes):
    rng = np.random.default_rng(0)
    split = Pictures(
        (rng.integers(0, 256, (*size, 3), dtype=np.uint8), np.full(size, i, "uint8"))
        for i, size in enumerate(sizes)
    )
    batches = evaluation_batches(split, batch_size)
    seen, count = [], 0
    for images, labels in batches:
        count += 1
        assert images.dtype == labels.dtype == tf.uint8
        assert images.shape[0] == labels.shape[0] == batch_size
        for image, label in zip(images.numpy(), labels.numpy(), strict=True):
            if (label == IGNORE_LABEL).all():
                continue  # fills the batch up
            index = int(label[0, 0, 0])
            seen.append(index)
            # At its own size, to the pixel.
            np.testing.assert_array_equal(image, split.pairs[index][0])
            np.testing.assert_array_equal(label[:, :, 0], split.pairs[index][1])
    assert sorted(seen) == [*range(len(sizes))]
    split.reads[0] -= 1  # to see how many channels there are
    assert (
        len(batches)
        == count
        == sum(-(-n // batch_size) for n in collections.Counter(sizes).values())
    )
    assert {*split.reads.values()} == {1}


def test_evaluation_keeps_the_order_of_images_of_one_size():
    labels = [labels.numpy() for _, labels in evaluation_batches(numbered(6), 2)]
    assert numbers(np.concatenate(labels)[..., 0]) == [*range(6)]


def test_a_stream_is_not_tuned():
    """Or TensorFlow may sleep up to a minute when it is let go of."""
    split = numbered(4)
    training = training_batches(split, Augmentation((8, 8)), 2, 0)
    for stream in (training, evaluation_batches(split, 2)):
        assert stream.options().autotune.enabled is False


def test_evaluation_can_be_repeated():
    batches = evaluation_batches(numbered(3), 2)
    for _ in range(2):
        labels = np.concatenate([labels.numpy() for _, labels in batches])
        assert numbers(labels[..., 0]) == [0, 1, 2, -1]


# Files that break while the stream runs


@pytest.fixture(params=["truncated image", "label", "size"])
def broken(request, make_folder, tmp_path):
    """A data set with one wrong file, which nobody has checked, and that file."""
    about = {"classes": ["a", "b", "c"]}
    root = make_folder(tmp_path / "naïve photos", train=3, size=(40, 40), about=about)
    if request.param == "truncated image":
        path = root / "train" / "train_1.png"
        path.write_bytes(path.read_bytes()[:2000])
    else:
        path = root / "trainannot" / "train_1.png"
        mask = np.full((40, 40) if request.param == "label" else (40, 41), 2, "uint8")
        mask[0, 0] = 9 if request.param == "label" else 0
        tf.io.write_file(str(path), tf.io.encode_png(mask[:, :, None]))
    return load_folder(root).splits["train"], path


def test_broken_file_in_training(broken):
    split, path = broken
    with pytest.raises(UserError) as error, reading_errors():
        for _ in training_batches(split, Augmentation((16, 16)), 2, 0).take(2):
            pass
    assert_same_message(error, split, path)


def test_broken_file_in_evaluation(broken):
    split, path = broken
    with pytest.raises(UserError) as error, reading_errors():
        for _ in evaluation_batches(split, 1):
            pass
    assert_same_message(error, split, path)


def assert_same_message(error, split, path):
    """The message is the one that reading the file without a stream gives."""
    with pytest.raises(UserError) as direct:
        split[1]
    assert str(path) in str(error.value)
    assert str(error.value) == str(direct.value)


def test_other_errors_stay_what_they_are():
    class Faulty(Pictures):
        def __getitem__(self, index):
            if index == 1:
                raise ZeroDivisionError("a fault of the program")
            return super().__getitem__(index)

    split = Faulty(numbered(2).pairs)
    with pytest.raises(tf.errors.OpError, match="a fault of the program"), reading_errors():
        list(evaluation_batches(split, 1))
    with pytest.raises(KeyError), reading_errors():
        raise KeyError


# What is kept in memory


def test_remembered_reads_once():
    split = numbered(4)
    remembered = Remembered(split, budget=10_000)
    for _ in range(3):
        for i in range(4):
            image, label, id = remembered[i]
            assert id == str(i) and (image == i).all() and (label == i).all()
    assert {*split.reads.values()} == {1}
    assert len(remembered) == 4 and remembered.size(0) == (8, 8)


@pytest.mark.parametrize(("budget", "kept"), [(0, 0), (255, 0), (256, 1), (1023, 3), (1024, 4)])
def test_remembered_keeps_to_its_budget(budget, kept):
    split = numbered(6)  # 8 * 8 * (3 + 1) bytes each
    remembered = Remembered(split, budget)
    for _ in range(3):
        for i in range(6):
            assert (remembered[i].label == i).all()
    assert sorted(split.reads.values()) == [1] * kept + [3] * (6 - kept)


def test_remembered_goes_on_with_what_still_fits():
    split = numbered(3, sizes=[(8, 8), (20, 20), (8, 8)])
    remembered = Remembered(split, budget=600)
    for _ in range(2):
        for i in range(3):
            remembered[i]
    assert split.reads == {0: 1, 1: 2, 2: 1}


def test_remembered_feeds_a_stream():
    split = numbered(5)
    remembered = Remembered(split, budget=10_000)
    plain = take(numbered(5), EVERYTHING, 6)
    for a, b in zip(plain, take(remembered, EVERYTHING, 6), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [3, 4])
def test_what_a_split_keeps_stays_as_it_is(dtype, channels):
    """TensorFlow takes arrays at addresses of 64 as they are, and computes in place if it can."""

    def aligned(array):
        # An array that owns its memory, at such an address by chance.
        others = []
        while others == [] or others[-1].ctypes.data % 64:
            others.append(array.copy())
        return others[-1]

    # Crops leave rows out and no column, and each row begins at such an address.
    image = np.random.default_rng(0).integers(0, 200, (44, 64, channels)).astype(dtype)
    label = np.zeros((44, 64, 1), "uint8")
    split = Remembered([Example(aligned(image), aligned(label), "a")], 1 << 20)
    for options in (
        dict(crop_size=(40, 70)),
        dict(crop_size=(40, 70), scale=(0.5, 2.0), rotation=30.0, color=0.3, blur=1.0),
        dict(crop_size=None, color=0.3),
    ):
        augmentation = Augmentation(**options)
        for _ in training_batches(split, augmentation, 1, 0).take(20):
            pass
        np.testing.assert_array_equal(split[0].image, image)
        np.testing.assert_array_equal(split[0].label, label)


@pytest.mark.parametrize("brightest", [255.0, 65535.0])
def test_colours_go_as_far_as_their_bits(brightest):
    """Those beside a depth have 8 of 16 bits, those that are stored so all."""
    image = tf.fill((9, 9, 4), tf.constant(int(0.9 * brightest), tf.uint16))
    augmentation = Augmentation(crop_size=None, color=1.0, brightest=brightest)
    label = tf.zeros((9, 9, 1), tf.uint8)
    found = [
        augment(image, label, augmentation, tf.constant([0, seed]))[0].numpy() for seed in range(60)
    ]
    colors, others = np.stack(found)[..., :3], np.stack(found)[..., 3:]
    assert colors.max() == brightest and colors.min() < 0.8 * brightest
    np.testing.assert_array_equal(others, int(0.9 * brightest))
