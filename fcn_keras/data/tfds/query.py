"""The names of TFDS's data sets, with what may follow a question mark."""

import re
from urllib.parse import parse_qsl

from fcn_keras.errors import UserError

PREFIX = "tfds:"

FORM = "tfds:NAME?image=FEATURE&mask=FEATURE"

_RANGES = {"shift": (-255, 0), "ignore": (0, 65535), "classes": (1, 255)}

_OPTIONS = ("image", "mask", *_RANGES)


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
