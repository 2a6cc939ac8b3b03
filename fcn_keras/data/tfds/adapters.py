"""How to read data sets of TFDS's that have images and masks under names of their own."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.known_classes import CITYSCAPES
from fcn_keras.errors import UserError

PREFIX = "tfds:"

FORM = "tfds:NAME?image=FEATURE&mask=FEATURE"

_RANGES = {"shift": (-255, 0), "ignore": (0, 65535), "classes": (1, 255)}

_OPTIONS = ("image", "mask", *_RANGES)


@dataclass(frozen=True)
class Adapter:
    """How to read a data set of TFDS.

    Attributes:
        image, mask: names of the features.
        classes: class names; empty if nobody knows them.
        colors: RGB colours of the classes; those of VOC if empty.
        ids: class id, or 255, for each value that a mask may hold; -1 where a value has no
            meaning. None if nobody knows them.
    """

    image: str
    mask: str
    classes: tuple[str, ...] = ()
    colors: tuple[tuple[int, int, int], ...] = ()
    ids: np.ndarray | None = field(default=None, repr=False)


def id_table(ids: dict[int, int]) -> np.ndarray:
    """Returns the class ids of values as an array up to the highest; -1 where none is given."""
    table = np.full(max(ids) + 1, -1, "int16")
    table[[*ids]] = [*ids.values()]
    return table


# By TFDS's name of the data set.
ADAPTERS = {
    # The border between pet and background is nobody's: void.
    "oxford_iiit_pet": Adapter(
        image="image",
        mask="segmentation_mask",
        classes=("background", "pet"),
        ids=id_table({1: 1, 2: 0, 3: IGNORE_LABEL}),
    ),
    # Its masks hold ids; the 19 that are evaluated become train ids.
    "cityscapes": Adapter(
        image="image_left",
        mask="segmentation_label",
        classes=tuple(name for name, _ in CITYSCAPES.values()),
        colors=tuple(color for _, color in CITYSCAPES.values()),
        ids=id_table(
            dict.fromkeys(range(256), IGNORE_LABEL)
            | {value: class_id for class_id, value in enumerate(CITYSCAPES)}
        ),
    ),
}


def parse_query(name: str, query: str) -> tuple[str, str, dict[str, int]]:
    """Reads what follows the question mark.

    Args:
        name: the whole name, for messages.
        query: what follows.

    Returns:
        The names of the features that are image and mask, empty if not given; and the other
        options.

    Raises:
        UserError: if an option is unknown, or its value is out of range.
    """
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = set(options) - set(_OPTIONS)
    if unknown or not options:
        raise UserError(
            f"{name}: what follows the question mark must be {', '.join(_OPTIONS)}, such as "
            f"image=FEATURE&mask=FEATURE. Received: {min(unknown, default=query)!r}."
        )
    numbers = {}
    for option, (low, high) in _RANGES.items():
        if option in options:
            text = options[option]
            if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
                raise UserError(
                    f"{name}: `{option}` must be a whole number from {low} to {high}. "
                    f"Received: {text!r}."
                )
            numbers[option] = int(text)
    return options.get("image", ""), options.get("mask", ""), numbers
