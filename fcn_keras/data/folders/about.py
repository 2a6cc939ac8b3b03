"""What a folder's `dataset.json` says of its masks."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.masks import read_mask
from fcn_keras.data.folders.voc_devkit import VOC_CLASSES, find_devkit
from fcn_keras.data.palette import voc_palette
from fcn_keras.errors import UserError


def read_about(root: Path) -> dict:
    """Reads a folder's `dataset.json`; what VOC's layout says, or nothing, if there is none.

    Raises:
        UserError: if it is wrong.
    """
    devkit = find_devkit(root)
    path = (devkit or root) / "dataset.json"
    known = {"name": devkit.resolve().name, "classes": list(VOC_CLASSES)} if devkit else {}
    if not path.exists():
        return known
    try:
        about = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: is not valid JSON ({error}).") from error
    wrong = _fault_in(about)
    if wrong:
        raise UserError(f"{path}: {wrong}")
    return known | about


def _fault_in(about):
    """Says what is wrong with the contents of a `dataset.json`, if anything."""
    known = (
        *("classes", "colors", "ignore_label", "name"),
        *("ignore_color", "reduce_zero_label", "mask_key"),
    )
    if not isinstance(about, dict) or set(about) - set(known):
        return f"may have the keys {', '.join(known)} and no others."
    classes = about.get("classes", ["unnamed"])
    if not (_are(classes, str) and 1 <= len(classes) <= 255 and len(set(classes)) == len(classes)):
        return "`classes` must name 1 to 255 classes, each by another string."
    colors = about.get("colors", [])
    if "colors" in about and not (
        isinstance(colors, list)
        and all(_is_color(color) for color in colors)
        and len(colors) == len(about.get("classes", ()))
    ):
        return "`colors` must give an RGB triple of 0..255 for every one of the `classes`."
    color = about.get("ignore_color")
    if "ignore_color" in about and not ("colors" in about and _is_color(color)):
        return f"`ignore_color` must be an RGB triple of 0..255, beside `colors`, not {color!r}."
    if color in colors:
        return f"`ignore_color` must be another than those in `colors`, not {color!r}."
    ignore_label = about.get("ignore_label", IGNORE_LABEL)
    if not (type(ignore_label) is int and 0 <= ignore_label <= 255):
        return f"`ignore_label` must be a whole number from 0 to 255, not {ignore_label!r}."
    reduce = about.get("reduce_zero_label", False)
    if type(reduce) is not bool:
        return f"`reduce_zero_label` must be true or false, not {reduce!r}."
    if reduce and ignore_label not in (0, IGNORE_LABEL):
        return f"`reduce_zero_label` makes 0 void, and `ignore_label` {ignore_label}: give one."
    if len(classes) == 255 and ignore_label_of(about) != IGNORE_LABEL:
        return "`classes` must be 254 at most where another label than 255 is void too."
    for name in ("name", "mask_key"):
        if not (isinstance(about.get(name, "-"), str) and about.get(name, "-")):
            return f"`{name}` must be a string, not {about[name]!r}."
    return None


def _are(values, kind):
    # True and False would pass for whole numbers.
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _is_color(color):
    return _are(color, int) and len(color) == 3 and 0 <= min(color) <= max(color) <= 255


def name_of(root: Path, about: dict) -> str:
    return about.get("name", root.resolve().name)


def ignore_label_of(about: dict) -> int:
    """Which value in a mask is void, besides 255."""
    # Without the value 0, the others count up from 1: each class id is one less.
    return 0 if about.get("reduce_zero_label") else about.get("ignore_label", IGNORE_LABEL)


def mask_reader(about: dict) -> Callable[[Path], np.ndarray]:
    """Makes a function that gives the values in a mask file; a colour gives its class's value."""
    colors = list(about.get("colors", ()))
    ids = _id_table(len(colors), ignore_label_of(about))
    values = [int(np.argmax(ids == class_id)) for class_id in range(len(colors))]
    if "ignore_color" in about:
        colors, values = [*colors, about["ignore_color"]], [*values, IGNORE_LABEL]
    return partial(read_mask, colors=colors, values=values, key=about.get("mask_key"))


def classes_of(root: Path, about: dict, counts: np.ndarray | None) -> tuple[tuple, np.ndarray]:
    """Returns the names of the classes, and the class id for each value in a mask.

    Args:
        root: the folder, for the message.
        about: from `read_about`.
        counts: where that names no classes: how many pixels have each value, int64 `(256,)`.

    Raises:
        UserError: if there are no classes.
    """
    ignore_label = ignore_label_of(about)
    classes = about.get("classes")
    if classes is None:
        counts = np.array(counts)
        counts[[ignore_label, IGNORE_LABEL]] = 0
        if not counts.any():
            raise UserError(f"{root}: no mask has a labelled pixel.")
        highest = int(counts.nonzero()[0].max())
        classes = [f"class_{i}" for i in range(highest + 1 - (ignore_label < highest))]
    return tuple(classes), _id_table(len(classes), ignore_label)


def colors_of(about: dict, num_classes: int) -> tuple[tuple[int, int, int], ...]:
    colors = about.get("colors") or voc_palette(num_classes).tolist()
    return tuple(tuple(color) for color in colors)


def _id_table(num_classes, ignore_label):
    """The class id for each value in a mask: values count up, the ignore label is skipped."""
    ids = np.full(256, -1, "int16")
    values = [value for value in range(num_classes + 1) if value != ignore_label]
    ids[values[:num_classes]] = np.arange(num_classes)
    ids[[ignore_label, IGNORE_LABEL]] = IGNORE_LABEL
    return ids


def ranges(values: np.ndarray) -> str:
    """[0, 1, 2, 3, 255] as "0..3, 255"."""
    breaks = np.flatnonzero(np.diff(values) > 1) + 1
    runs = np.split(values, breaks)
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}..{r[-1]}" for r in runs)
