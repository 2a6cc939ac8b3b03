"""What a folder's `dataset.json` says of its images and masks."""

import json
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.masks import open_mask
from fcn_keras.data.files.readings import Color, Mask
from fcn_keras.data.palette import voc_palette
from fcn_keras.errors import LabelError, UserError

# What a value of a mask stands for if it is no class.
VOID = "void"


@dataclass(frozen=True)
class Description:
    """What is known of a folder's images and masks.

    Attributes:
        root: the folder.
        name: what the data set is called.
        classes: class names; empty if none are given.
        colors: an RGB colour for each class; empty if none are given.
        ignore_label: which value in a mask is void, besides 255.
        ignore_color: which colour in a mask is void.
        mask_key: which variable of a MATLAB file is the mask.
        values: the class name, or "void", of each value that a mask may hold; empty if values are
            class ids.
        mask_suffix: what the name of a mask has behind that of its image; None to find it out.
        image_suffix: what the name of an image has behind that which its mask's begins with.
        val_share: which share of the images is to be validated on, where there are no splits.
        val_group: a regular expression: images for whose names it finds the same are in one
            split.
    """

    root: Path
    name: str
    classes: tuple[str, ...] = ()
    colors: tuple[Color, ...] = ()
    ignore_label: int = IGNORE_LABEL
    ignore_color: Color | None = None
    mask_key: str | None = None
    values: tuple[tuple[int, str], ...] = ()
    mask_suffix: str | None = None
    image_suffix: str = ""
    val_share: float = 0.2
    val_group: str | None = None

    @cached_property
    def class_ids(self) -> np.ndarray:
        """The class id, or 255, for each value in a mask; -1 where a value has no meaning."""
        ids = np.full(256, -1, "int16")
        ids[[self.ignore_label, IGNORE_LABEL]] = IGNORE_LABEL
        if self.values:
            for value, name in self.values:
                ids[value] = IGNORE_LABEL if name == VOID else self.classes.index(name)
            return ids
        # Values count up, and the ignore label is skipped.
        count = len(self.classes)
        values = [value for value in range(count + 1) if value != self.ignore_label]
        ids[values[:count]] = np.arange(count)
        return ids

    @property
    def class_colors(self) -> tuple[Color, ...]:
        """An RGB colour for each class: those of VOC if none are given."""
        return self.colors or tuple(
            (red, green, blue) for red, green, blue in voc_palette(len(self.classes)).tolist()
        )

    @cached_property
    def _values_of_colors(self):
        """Colours, and what each becomes: the value of its class, or void."""
        values = {
            color: int(np.argmax(self.class_ids == class_id))
            for class_id, color in enumerate(self.colors)
        }
        if len(values) < len(self.colors):  # two of one colour, which is told with the file
            return [*self.colors], [*range(len(self.colors))]
        if self.ignore_color is not None:
            values[self.ignore_color] = IGNORE_LABEL
        return [*values], [*values.values()]

    def read(self, path: Path) -> Mask:
        """Reads a mask file; a colour becomes the value of its class.

        Raises:
            UserError: see `fcn_keras.data.files.masks.read_mask`.
        """
        void = np.flatnonzero(self.class_ids == IGNORE_LABEL).tolist()
        colors, values = self._values_of_colors
        mask = open_mask(path, colors, values, self.mask_key, void)
        if self.values and mask.by == "color":
            raise LabelError(
                f"{path}: shows its classes in colours, and `values` in dataset.json is for masks "
                "of numbers: leave `values` out, or `colors`."
            )
        return mask

    def read_values(self, path: Path) -> np.ndarray:
        """Reads the values in a mask file, as `read` does: uint8 `(H, W)`."""
        return self.read(path).values

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


def read_description(root: Path, known: dict[str, Any]) -> Description:
    """Reads a folder's `dataset.json`.

    Args:
        root: the folder.
        known: what holds where `dataset.json` does not say otherwise, under the keys that it has.

    Raises:
        UserError: if it is wrong.
    """
    path = root / "dataset.json"
    given = {}
    if path.exists():
        try:
            given = json.loads(path.read_bytes(), object_pairs_hook=_without_repeats)
        except ValueError as error:
            raise UserError(f"{path}: is not valid JSON ({error}).") from error
        fault = _fault_in(given)
        if fault:
            raise UserError(f"{path}: {fault}")
        # Who says what masks hold knows better, and may not mean what is known by the layout.
        if _OF_VALUES & {*given}:
            known = {key: value for key, value in known.items() if key not in _OF_VALUES}
    given = known | given
    color, values = given.get("ignore_color"), given.get("values", {})
    names = [name for name in dict.fromkeys(values.values()) if name != VOID]
    return Description(
        root,
        name=given.get("name", root.resolve().name),
        classes=tuple(given.get("classes", names)),
        colors=tuple(tuple(color) for color in given.get("colors", ())),
        ignore_label=_ignore_label(given),
        ignore_color=tuple(color) if color else None,
        mask_key=given.get("mask_key"),
        values=tuple((int(value), name) for value, name in values.items()),
        mask_suffix=given.get("mask_suffix"),
        image_suffix=given.get("image_suffix", ""),
        val_share=given.get("val_share", Description.val_share),
        val_group=given.get("val_group"),
    )


_OF_VALUES = {"classes", "colors", "values", "ignore_label", "reduce_zero_label"}


def _without_repeats(pairs):
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{key!r} is given twice")
    return dict(pairs)


def _ignore_label(given):
    # Without the value 0, the others count up from 1: each class id is one less.
    return 0 if given.get("reduce_zero_label") else given.get("ignore_label", IGNORE_LABEL)


_KEYS = (
    *("classes", "colors", "ignore_label", "name", "values", "ignore_color", "reduce_zero_label"),
    *("mask_key", "mask_suffix", "image_suffix", "val_share", "val_group"),
)


def _fault_in(given):
    if not isinstance(given, dict) or set(given) - set(_KEYS):
        return f"may have the keys {', '.join(_KEYS)} and no others."
    faults = (_fault_in_classes, _fault_in_values, _fault_in_void, _fault_in_files)
    return next(filter(None, (fault(given) for fault in faults)), None)


def _fault_in_classes(given):
    classes = given.get("classes", ["unnamed"])
    if not (_are(classes, str) and 1 <= len(classes) <= 255 and len(set(classes)) == len(classes)):
        return "`classes` must name 1 to 255 classes, each by another string."
    for name in classes:
        if not name.strip() or {*map(unicodedata.category, name)} & {"Cc", "Cs", "Zl", "Zp"}:
            return f"`classes` must be names of a line each, not {name!r}."
    if "colors" in given and not (
        isinstance(given["colors"], list)
        and all(_is_color(color) for color in given["colors"])
        and len(given["colors"]) == len(given.get("classes", _named(given)))
    ):
        return "`colors` must give an RGB triple of 0..255 for every one of the `classes`."
    return None


def _named(given):
    values = given.get("values", {})
    return {*values.values()} - {VOID} if isinstance(values, dict) else ()


def _fault_in_values(given):
    values = given.get("values")
    if values is None and "values" not in given:
        return None
    if not (
        isinstance(values, dict)
        and all(re.fullmatch("[0-9]{1,3}", value) and int(value) < 256 for value in values)
        and len({*map(int, values)}) == len(values)
        and all(type(name) is str and name.strip() for name in values.values())
        and _named(given)
    ):
        return (
            "`values` must give a class, or void, for each value of 0..255 in a mask, such as "
            f'{{"0": "background", "255": "object"}}, not {values!r}.'
        )
    for key in ("ignore_label", "reduce_zero_label", "ignore_color"):
        if key in given:
            return f"`values` says what is void, and `{key}` does too: give one."
    if VOID in given.get("classes", ()):
        return f"`classes` must not name {VOID!r}, which means no class in `values`."
    strange = _named(given) - {*given.get("classes", _named(given))}
    if strange:
        return f"`values` names {min(strange)!r}, which is none of the `classes`."
    return None


def _fault_in_void(given):
    color = given.get("ignore_color")
    if "ignore_color" in given and not ("colors" in given and _is_color(color)):
        return f"`ignore_color` must be an RGB triple of 0..255, beside `colors`, not {color!r}."
    if color in given.get("colors", ()):
        return f"`ignore_color` must be another than those in `colors`, not {color!r}."
    ignore_label = given.get("ignore_label", IGNORE_LABEL)
    if not (type(ignore_label) is int and 0 <= ignore_label <= 255):
        return f"`ignore_label` must be a whole number from 0 to 255, not {ignore_label!r}."
    reduce = given.get("reduce_zero_label", False)
    if type(reduce) is not bool:
        return f"`reduce_zero_label` must be true or false, not {reduce!r}."
    if reduce and ignore_label not in (0, IGNORE_LABEL):
        return f"`reduce_zero_label` makes 0 void, and `ignore_label` {ignore_label}: give one."
    if len(given.get("classes", ())) == 255 and _ignore_label(given) != IGNORE_LABEL:
        return "`classes` must be 254 at most where another label than 255 is void too."
    return None


def _fault_in_files(given):
    for key in ("name", "mask_key", "val_group", "mask_suffix", "image_suffix"):
        may_be_empty = key.endswith("_suffix")
        if not (isinstance(given.get(key, "-"), str) and (given.get(key, "-") or may_be_empty)):
            return f"`{key}` must be a string, not {given[key]!r}."
    share = given.get("val_share", Description.val_share)
    if type(share) not in (int, float) or not 0 < share < 1:
        return f"`val_share` must be a number between 0 and 1, not {share!r}."
    try:
        re.compile(given.get("val_group", ""))
    except re.error as error:
        return f"`val_group` must be a regular expression ({error}), not {given['val_group']!r}."
    return None


def _are(values, kind):
    # True and False would pass for whole numbers.
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _is_color(color):
    return _are(color, int) and len(color) == 3 and 0 <= min(color) <= max(color) <= 255
