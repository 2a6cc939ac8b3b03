"""The names of TFDS's own data sets, with what may follow a question mark."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import numpy as np

from fcn_keras.errors import UserError

PREFIX = "tfds:"

FORM = "tfds:NAME?image=FEATURE&mask=FEATURE"

_OPTIONS = ("image", "mask", "shift", "ignore", "classes")


@dataclass(frozen=True)
class Adapter:
    """How to read a data set of TFDS.

    Attributes:
        image, mask: names of the features.
        classes: class names; empty if nobody knows them.
        colors: RGB colours of the classes; those of VOC if empty.
        ids: class id, or 255, for each value that a mask may hold; -1 where a value has no
            meaning.
    """

    image: str
    mask: str
    classes: Sequence[str] = ()
    colors: Sequence[tuple[int, int, int]] = ()
    ids: np.ndarray = field(default=None, repr=False)


def parse_query(name, query):
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = set(options) - set(_OPTIONS)
    if unknown or not options:
        raise UserError(
            f"{name}: what follows the question mark must be {', '.join(_OPTIONS)}, such as "
            f"image=FEATURE&mask=FEATURE. Received: {min(unknown, default=query)!r}."
        )
    ranges = {"shift": (-255, 0), "ignore": (0, 65535), "classes": (1, 255)}
    numbers = {}
    for option, (low, high) in ranges.items():
        if option in options:
            text = options[option]
            if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
                raise UserError(
                    f"{name}: `{option}` must be a whole number from {low} to {high}. "
                    f"Received: {text!r}."
                )
            numbers[option] = int(text)
    return Adapter(options.get("image", ""), options.get("mask", "")), numbers
