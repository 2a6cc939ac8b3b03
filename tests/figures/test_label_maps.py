from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from fcn_keras.data.palette import voc_palette
from fcn_keras.figures.label_maps import colorize, label_image, label_name, overlay, side_by_side

RED, GREEN = (128, 0, 0), (0, 128, 0)


def test_label_image_keeps_the_labels(tmp_path):
    class_ids = np.arange(256, dtype=np.uint8).reshape(8, 32)
    label_image(class_ids, voc_palette()).save(tmp_path / "labels.png")
    with Image.open(tmp_path / "labels.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.array(picture), class_ids)
        rgb = np.array(picture.convert("RGB"))
    np.testing.assert_array_equal(rgb, voc_palette()[class_ids])


def test_label_image_refuses_what_would_wrap():
    with pytest.raises(ValueError, match="int64"):
        label_image(np.zeros((2, 2), np.int64), voc_palette())
    with pytest.raises(ValueError, match="shape"):
        label_image(np.zeros((2, 2, 1), np.uint8), voc_palette())


def test_colorize():
    picture = colorize(np.uint8([[0, 1], [2, 255]]), voc_palette())
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[[0, 0, 0], [*RED]], [[*GREEN], [224, 224, 192]]]


def test_overlay_mixes_inside_a_region():
    image = np.full((5, 5, 3), (100, 50, 7), np.uint8)
    ones = np.ones((5, 5), np.uint8)
    mixed = overlay(image, ones, voc_palette(), opacity=0.25)
    assert mixed.dtype == np.uint8
    assert (mixed == (107, 38, 5)).all()
    np.testing.assert_array_equal(overlay(image, ones, voc_palette(), opacity=0), image)
    assert (overlay(image, ones, voc_palette(), opacity=1) == RED).all()


def test_overlay_outlines_regions_and_leaves_void():
    image = np.full((1, 6, 3), 100, np.uint8)
    mixed = overlay(image, np.uint8([[1, 1, 2, 2, 255, 255]]), voc_palette())
    assert mixed[0].tolist() == [
        [114, 50, 50],
        [121, 25, 25],  # its neighbour differs: tinted twice
        [50, 114, 50],
        [25, 121, 25],
        [100, 100, 100],
        [100, 100, 100],
    ]


@pytest.mark.parametrize("opacity", [0.5, 0.3])
def test_overlay_of_all_numbers(opacity):
    """Each number of a photo under each number of a colour, against exact arithmetic."""
    numbers = np.arange(256, dtype=np.uint8)
    image = np.broadcast_to(numbers[:, None, None], (256, 256, 3))
    class_ids = np.broadcast_to(numbers, (256, 256)) // 2 * 2
    palette = np.stack([numbers, numbers[::-1], numbers], axis=-1)
    mixed = overlay(image, class_ids, palette, opacity)
    share = Fraction(str(opacity))
    for column in (0, 1, 2, 7, 100, 127, 253):
        strength = 1 - (1 - share) ** 2 if column % 2 else share
        for value in range(256):
            colors = palette[class_ids[0, column]].tolist()
            # As Python rounds: to even numbers from amid two.
            expected = [round(value + (color - value) * strength) for color in colors]
            assert mixed[value, column].tolist() == expected


def test_overlay_refuses_labels_of_another_size():
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        overlay(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2), np.uint8), voc_palette())


def test_label_name():
    assert [label_name(k, ["sky"]) for k in (0, 1, 255)] == ["sky", "label 1", "void"]


def scene(height, width):
    class_ids = np.zeros((height, width), np.uint8)
    class_ids[height // 2 :] = 1
    return np.full((height, width, 3), 200, np.uint8), class_ids


@pytest.mark.parametrize(
    "height, width, shown",
    [
        (1, 1, (320, 320)),
        (1, 300, (1, 300)),
        (100, 4, (300, 12)),
        (240, 320, (240, 320)),
        (30, 4000, (30, 4000)),
        (3000, 40, (3000, 40)),
    ],
)
def test_side_by_side_sizes(height, width, shown):
    image, class_ids = scene(height, width)
    page = side_by_side(image, class_ids, voc_palette(), ["background", "a cat"])
    gap = max(8, shown[1] // 50)
    assert page.shape[1] == max(3 * shown[1] + 4 * gap, 480)
    panels = []
    for i in range(3):
        left = gap + i * (shown[1] + gap)
        panels.append(page[gap : gap + shown[0], left : left + shown[1]])
        assert (page[gap : gap + shown[0], left - 1] == 255).all()
    photo, colors, mixed = panels
    assert (photo == 200).all()
    assert (colors[-1] == RED).all()
    assert (mixed[-1] == (164, 100, 100)).all()
    legend = page[gap + shown[0] + gap :]
    assert (legend == RED).all(axis=-1).any()
    assert (legend == (45, 45, 45)).all(axis=-1).any()


def test_side_by_side_legend_wraps_and_shortens():
    class_ids = np.arange(60, dtype=np.uint8).reshape(6, 10).repeat(20, 0).repeat(20, 1)
    image = np.zeros((*class_ids.shape, 3), np.uint8)

    def page(names):
        return side_by_side(image, class_ids, voc_palette(), names)

    short, long = page(["cat"] * 60), page(["a name without an end " * 20] * 60)
    assert short.shape[1] == long.shape[1]
    assert len(long) > len(short) > len(class_ids)
    # Nothing runs over the right edge.
    assert (long[class_ids.shape[0] + 20 :, -8:] == 255).all()
