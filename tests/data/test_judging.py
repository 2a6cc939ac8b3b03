"""What the masks of a folder say together: told before training, alike by all commands."""

import json
import re

import numpy as np
import pytest
from helpers.folders import write_folder
from PIL import Image

from fcn_keras.data.folders.folder import load_folder
from fcn_keras.data.inspection import inspect
from fcn_keras.data.source import Source
from fcn_keras.errors import UserError

BLACK, RED, GREEN, BLUE, WHITE = [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]
NAMED = {"classes": ["road", "car", "tree"]}
COLORED = NAMED | {"colors": [BLACK, RED, GREEN]}


def masks_in(root):
    return sorted(root.glob("*annot/*.png"))


def rewrite(root, change):
    """Puts other masks in place: `change` takes the number and the ids of each."""
    for number, path in enumerate(masks_in(root)):
        with Image.open(path) as image:
            ids = np.asarray(image)
        new = change(number, ids)
        (new if isinstance(new, Image.Image) else Image.fromarray(np.asarray(new, "uint8"))).save(
            path
        )


def indexed(entries, palette):
    image = Image.fromarray(np.asarray(entries, "uint8"))
    image.putpalette(bytes(sum(palette, [])))
    return image


def binary(root):
    rewrite(root, lambda _, ids: (ids > 0) * 255)


def void_in(*splits):
    def change(root):
        for split in splits:
            for path in (root / f"{split}annot").iterdir():
                Image.fromarray(np.full((20, 28), 255, "uint8")).save(path)

    return change


def few_labels(root):
    """Three pixels of 560, one of each class."""
    rewrite(root, lambda _, ids: np.pad([[0, 1, 2]], ((0, 19), (0, 25)), constant_values=255))


def one_class(root):
    rewrite(root, lambda _, ids: ids * 0 + 1)


def jpeg_noise(root):
    rng = np.random.default_rng(0)
    rewrite(root, lambda _, ids: np.clip(ids * 100.0 + rng.normal(0, 9, ids.shape), 0, 254))


def levels(root):
    rewrite(root, lambda _, ids: ids * 100)


def only_in_val(root):
    rewrite(root, lambda n, ids: np.minimum(ids, 1) if n < 2 else ids)


def without_trees(root):
    rewrite(root, lambda _, ids: np.minimum(ids, 1))


def other_palettes(root):
    orders = ([BLACK, RED, GREEN], [BLACK, GREEN, RED], [BLACK, RED, GREEN])
    rewrite(root, lambda n, ids: indexed(ids, orders[n]))


def other_entries(root):
    """One colour under two numbers, no number of two colours."""
    rewrite(
        root,
        lambda n, ids: indexed(np.where(ids == 1, 2 + (n == 2), 0), [BLACK, BLUE, RED, RED]),
    )


def other_colors_of_void(root):
    palettes = ([BLACK, RED, GREEN] * 85 + [WHITE], [BLACK, RED, GREEN] * 85 + [BLUE])

    def change(number, ids):
        ids = ids.copy()
        ids[0] = 255
        return indexed(ids, palettes[number % 2])

    rewrite(root, change)


def strange_palettes(root):
    rewrite(root, lambda _, ids: indexed(ids, [[7, 7, 7], BLUE, WHITE]))


def palettes_and_ids(root):
    orders = ([GREEN, BLACK, RED], [[7, 7, 7], BLUE, WHITE], [GREEN, BLACK, RED])
    rewrite(root, lambda n, ids: indexed(ids, orders[n]))


def greys_of_two_kinds(root):
    rewrite(root, lambda n, ids: (ids > 0) * 255 if n else np.minimum(ids, 1))


LINE = '{"values": {"0": "background", "255": "object"}}'

# What is done to the masks, what dataset.json says, the faults (kind, words) and the warnings.
TABLE = [
    (binary, None, [("reading", re.escape(LINE))], []),
    (binary, {"classes": ["road", "car"]}, [("reading", '"255": "car"')], []),
    (binary, NAMED, [("reading", re.escape(LINE))], []),
    (binary, json.loads(LINE), [], []),
    (binary, {"values": {"0": "a", "255": "void"}}, [("classes", "are 'a'; of one class")], []),
    (binary, {"values": {"0": "a", "7": "c", "255": "b"}}, [], [("classes", "no pixel: c$")]),
    (void_in("val"), NAMED, [("void", "no mask of val has")], []),
    (void_in("train"), NAMED, [("void", "no mask of train has")], []),
    (void_in("train", "val"), NAMED, [("void", "of train"), ("void", "of val")], []),
    (void_in("val"), None, [("void", "no mask of val has")], []),
    (few_labels, NAMED, [], [("void", "0.54% of the pixels of train"), ("void", "of val are")]),
    (one_class, NAMED, [("classes", "all labelled pixels are 'car'")], []),
    (one_class, None, [("classes", "all labelled pixels are 'class_1'")], []),
    (jpeg_noise, None, [("classes", "JPEG .*nearest pixel")], []),
    (levels, None, [], [("classes", '3 values up to 200, .*"200": "class_2"')]),
    (levels, {"values": {"0": "a", "100": "b", "200": "c"}}, [], []),
    (only_in_val, NAMED, [], [("classes", "but none in train: tree$")]),
    (without_trees, NAMED, [], [("classes", "have no pixel: tree$")]),
    (other_palettes, None, [("reading", r"entry 1 is \(0, 255, 0\).*\(255, 0, 0\)")], []),
    (other_palettes, COLORED, [], []),
    (other_palettes, {"values": {"0": "a", "1": "b", "2": "c"}}, [], []),
    (other_entries, None, [("reading", r"\(255, 0, 0\) is entry 3.*entry 2")], [("classes", "")]),
    (other_colors_of_void, None, [], []),
    (strange_palettes, COLORED, [], [("reading", "3 indexed masks use none of the `colors`")]),
    (strange_palettes, None, [], []),
    (palettes_and_ids, COLORED, [("reading", "shows its classes in colours, and")], []),
    (
        greys_of_two_kinds,
        {"classes": ["a", "b"], "colors": [BLACK, WHITE]},
        [("reading", "shows its classes in colours, and")],
        [],
    ),
]


@pytest.mark.parametrize("change, about, faults, warnings", TABLE)
def test_what_masks_say_together(tmp_path, capsys, change, about, faults, warnings):
    root = write_folder(tmp_path / "set", about=about)
    change(root)
    found = inspect(root, progress=False)
    for told, expected in ((found.faults, faults), (found.warnings, warnings)):
        assert [fault.kind for fault in told] == [kind for kind, _ in expected], told
        for fault, (_, words) in zip(told, expected, strict=True):
            assert re.search(words, fault.text), fault.text
            assert fault.text in str(found)
    # Training is refused with the same, and scoring too.
    for splits in ((), ("val",)):
        concerning = [fault for fault in found.faults if not splits or fault.split != "train"]
        if concerning:
            with pytest.raises(UserError) as error:
                Source(root).check(splits)
            assert all(fault.text in str(error.value) for fault in concerning)
        else:
            Source(root).check(splits)
        told = capsys.readouterr().err
        assert all(warning.text in told for warning in found.warnings)


def test_values_of_a_mask(tmp_path):
    """Classes in the order in which they are named; several values may be one class."""
    about = {"values": {"2": "b", "0": "a", "1": "b", "77": "void"}}
    root = write_folder(tmp_path, about=about)
    rewrite(root, lambda _, ids: np.where(ids == 0, 77, ids - 1))
    dataset = load_folder(root)
    assert dataset.classes == ("b", "a")
    with Image.open(masks_in(root)[0]) as image:
        stored = np.asarray(image)
    label = dataset.splits["train"][0].label[..., 0]
    np.testing.assert_array_equal(label, np.select([stored == 77, stored == 0], [255, 1], 0))


def test_values_in_the_order_of_the_classes(tmp_path):
    about = {"classes": ["a", "b", "c"], "values": {"0": "c", "1": "a", "2": "void"}}
    dataset = load_folder(write_folder(tmp_path, about=about))
    assert dataset.classes == ("a", "b", "c")
    with Image.open(masks_in(tmp_path)[0]) as image:
        stored = np.asarray(image)
    label = dataset.splits["train"][0].label[..., 0]
    np.testing.assert_array_equal(label, np.array([2, 0, 255])[stored])


def test_values_are_for_masks_of_numbers(tmp_path):
    about = COLORED | {"values": {"0": "road", "1": "car", "2": "tree"}}
    root = write_folder(tmp_path, about=about)
    assert inspect(root, progress=False).faults == []  # the colours are for figures then
    rewrite(root, lambda _, ids: np.array(COLORED["colors"])[ids])
    for fault in inspect(root, progress=False).faults:
        assert fault.kind == "label" and "leave `values` out, or `colors`" in fault.text


def test_scoring_asks_the_other_splits_what_values_mean(tmp_path):
    """Masks of one split that hold 0 and 255 alone are no fault where others hold 1."""
    root = write_folder(tmp_path, values=2)
    for path in (root / "valannot").iterdir():
        ids = np.zeros((20, 28), "uint8")
        ids[:4] = 255
        Image.fromarray(ids).save(path)
    counts = Source(root).check(("val",))["val"]
    assert counts[[0, 1, 255]].tolist() == [16 * 28, 0, 4 * 28]
