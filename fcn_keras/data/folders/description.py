"""What a folder's `dataset.json` says of its images and masks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fcn_keras.data.annotations.drawing import Drawn
from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.masks import open_mask
from fcn_keras.data.files.readings import Color, Mask, colors_of, read_grey
from fcn_keras.data.folders.description_faults import (
    VOID,
    fault_in,
    fault_in_labels,
    ignore_label_of,
)
from fcn_keras.data.palette import voc_palette
from fcn_keras.errors import LabelError, UserError


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
        channels: how many channels the images have, where they are read as stored; None for
            photographs.
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
    channels: int | None = None
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

    def read(self, path: Path | Drawn) -> Mask:
        """Reads a mask file, in which a colour becomes the value of its class; or draws shapes.

        Raises:
            UserError: see `fcn_keras.data.files.masks.read_mask`.
        """
        if isinstance(path, Drawn):
            return Mask(path.values(), "drawn")
        void = np.flatnonzero(self.class_ids == IGNORE_LABEL).tolist()
        colors, values = self._values_of_colors
        mask = open_mask(path, colors, values, self.mask_key, void)
        if self.values and mask.by == "color":
            raise LabelError(
                f"{path}: shows its classes in colours, and `values` in dataset.json is for masks "
                "of numbers: leave `values` out, or `colors`."
            )
        return mask

    @cached_property
    def _known_colors(self):
        colors, values = self._values_of_colors
        return colors_of(tuple(map(tuple, colors)), tuple(values))

    @property
    def takes_numbers(self) -> bool:
        """Whether the values of grey masks are their numbers, whatever else is in them: no grey is
        the colour of a class that has another number."""
        known = self._known_colors
        return known.ambiguous or not len(known) or not known.moved

    def read_greys(self, path: Path, greys: np.ndarray) -> Mask:
        """Reads the greys of a mask file, uint8, as `read` does."""
        return read_grey(path, greys, self._known_colors)

    def read_values(self, path: Path | Drawn) -> np.ndarray:
        """Reads the values in a mask, as `read` does: uint8 `(H, W)`."""
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


def read_description(root: Path, known: dict[str, Any], labels: Sequence[str] = ()) -> Description:
    """Reads a folder's `dataset.json`.

    Args:
        root: the folder.
        known: what holds where `dataset.json` does not say otherwise, under the keys that it has.
        labels: names of the values in masks, where they have any: `values` goes by them then, and
            what it does not say is a class by its name.

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
        fault = fault_in_labels(given, labels) if labels else None
        if labels and not fault:
            given["values"] = _values_of_labels(given.get("values", {}), labels)
        fault = fault or fault_in(given)
        if fault:
            raise UserError(f"{path}: {fault}")
        # Who says what masks hold knows better, and may not mean what is known by the layout.
        if _OF_VALUES & {*given}:
            known = {key: value for key, value in known.items() if key not in _OF_VALUES}
    elif labels:
        given = {"values": _values_of_labels({}, labels)}
        if fault := fault_in(given):
            raise UserError(f"{root}: as to the labels: {fault}")
    given = known | given
    color, values = given.get("ignore_color"), given.get("values", {})
    names = [name for name in dict.fromkeys(values.values()) if name != VOID]
    return Description(
        root,
        name=given.get("name", root.resolve().name),
        classes=tuple(given.get("classes", names)),
        colors=tuple(tuple(color) for color in given.get("colors", ())),
        ignore_label=ignore_label_of(given),
        ignore_color=tuple(color) if color else None,
        mask_key=given.get("mask_key"),
        values=tuple((int(value), name) for value, name in values.items()),
        mask_suffix=given.get("mask_suffix"),
        image_suffix=given.get("image_suffix", ""),
        channels=given.get("channels"),
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


def _values_of_labels(values, labels):
    return {str(value): values.get(label, label) for value, label in enumerate(labels)}
