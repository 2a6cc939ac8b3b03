"""What a folder's `dataset.json` says of its masks."""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.masks import read_mask
from fcn_keras.data.folders.voc_devkit import VOC_CLASSES, find_devkit
from fcn_keras.data.palette import voc_palette
from fcn_keras.errors import UserError

Color = tuple[int, int, int]

_KEYS = (
    *("classes", "colors", "ignore_label", "name"),
    *("ignore_color", "reduce_zero_label", "mask_key"),
)


@dataclass(frozen=True)
class Description:
    """What a folder's `dataset.json` says of its masks.

    Attributes:
        root: the folder.
        name: what the data set is called.
        classes: class names; empty if none are given.
        colors: an RGB colour for each class; empty if none are given.
        ignore_label: which value in a mask is void, besides 255.
        ignore_color: which colour in a mask is void.
        mask_key: which variable of a MATLAB file is the mask.
    """

    root: Path
    name: str
    classes: tuple[str, ...] = ()
    colors: tuple[Color, ...] = ()
    ignore_label: int = IGNORE_LABEL
    ignore_color: Color | None = None
    mask_key: str | None = None

    @property
    def class_ids(self) -> np.ndarray:
        """The class id, or 255, for each value in a mask; -1 where a value has no meaning."""
        # Values count up, and the ignore label is skipped.
        ids = np.full(256, -1, "int16")
        count = len(self.classes)
        values = [value for value in range(count + 1) if value != self.ignore_label]
        ids[values[:count]] = np.arange(count)
        ids[[self.ignore_label, IGNORE_LABEL]] = IGNORE_LABEL
        return ids

    @property
    def class_colors(self) -> tuple[Color, ...]:
        """An RGB colour for each class: those of VOC if none are given."""
        return self.colors or tuple(
            (red, green, blue) for red, green, blue in voc_palette(len(self.classes)).tolist()
        )

    def mask_reader(self) -> partial[np.ndarray]:
        """Returns a function that reads a mask file; a colour becomes the value of its class."""
        ids = self.class_ids
        values = [int(np.argmax(ids == class_id)) for class_id in range(len(self.colors))]
        void = [] if self.ignore_color is None else [self.ignore_color]
        return partial(
            read_mask,
            colors=[*self.colors, *void],
            values=values + [IGNORE_LABEL] * len(void),
            key=self.mask_key,
        )

    def with_numbered_classes(self, counts: np.ndarray) -> "Description":
        """Returns a description whose classes are numbered: as many as the masks hold.

        Args:
            counts: how many pixels have each value in a mask, int64 `(256,)`.

        Raises:
            UserError: if all pixels are void.
        """
        values = {*counts.nonzero()[0].tolist()} - {self.ignore_label, IGNORE_LABEL}
        if not values:
            raise UserError(f"{self.root}: no mask has a labelled pixel.")
        count = max(values) + 1 - (self.ignore_label < max(values))
        return replace(self, classes=tuple(f"class_{i}" for i in range(count)))


def read_description(root: Path) -> Description:
    """Reads a folder's `dataset.json`; what it does not say is as in VOC where VOC's layout is.

    Raises:
        UserError: if it is wrong.
    """
    devkit = find_devkit(root)
    path = (devkit or root) / "dataset.json"
    given = {}
    if path.exists():
        try:
            given = json.loads(path.read_bytes())
        except ValueError as error:
            raise UserError(f"{path}: is not valid JSON ({error}).") from error
        fault = _fault_in(given)
        if fault:
            raise UserError(f"{path}: {fault}")
    color = given.get("ignore_color")
    return Description(
        root,
        name=given.get("name", (devkit or root).resolve().name),
        classes=tuple(given.get("classes", VOC_CLASSES if devkit else ())),
        colors=tuple(tuple(color) for color in given.get("colors", ())),
        ignore_label=_ignore_label(given),
        ignore_color=tuple(color) if color else None,
        mask_key=given.get("mask_key"),
    )


def _ignore_label(given):
    # Without the value 0, the others count up from 1: each class id is one less.
    return 0 if given.get("reduce_zero_label") else given.get("ignore_label", IGNORE_LABEL)


def _fault_in(given):
    if not isinstance(given, dict) or set(given) - set(_KEYS):
        return f"may have the keys {', '.join(_KEYS)} and no others."
    classes = given.get("classes", ["unnamed"])
    if not (_are(classes, str) and 1 <= len(classes) <= 255 and len(set(classes)) == len(classes)):
        return "`classes` must name 1 to 255 classes, each by another string."
    colors = given.get("colors", [])
    if "colors" in given and not (
        isinstance(colors, list)
        and all(_is_color(color) for color in colors)
        and len(colors) == len(given.get("classes", ()))
    ):
        return "`colors` must give an RGB triple of 0..255 for every one of the `classes`."
    color = given.get("ignore_color")
    if "ignore_color" in given and not ("colors" in given and _is_color(color)):
        return f"`ignore_color` must be an RGB triple of 0..255, beside `colors`, not {color!r}."
    if color in colors:
        return f"`ignore_color` must be another than those in `colors`, not {color!r}."
    ignore_label = given.get("ignore_label", IGNORE_LABEL)
    if not (type(ignore_label) is int and 0 <= ignore_label <= 255):
        return f"`ignore_label` must be a whole number from 0 to 255, not {ignore_label!r}."
    reduce = given.get("reduce_zero_label", False)
    if type(reduce) is not bool:
        return f"`reduce_zero_label` must be true or false, not {reduce!r}."
    if reduce and ignore_label not in (0, IGNORE_LABEL):
        return f"`reduce_zero_label` makes 0 void, and `ignore_label` {ignore_label}: give one."
    if len(classes) == 255 and _ignore_label(given) != IGNORE_LABEL:
        return "`classes` must be 254 at most where another label than 255 is void too."
    for key in ("name", "mask_key"):
        if not (isinstance(given.get(key, "-"), str) and given.get(key, "-")):
            return f"`{key}` must be a string, not {given[key]!r}."
    return None


def _are(values, kind):
    # True and False would pass for whole numbers.
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _is_color(color):
    return _are(color, int) and len(color) == 3 and 0 <= min(color) <= max(color) <= 255
