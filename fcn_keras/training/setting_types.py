"""Which values a setting of each type may have."""

import math


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value):
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _are(kind, counts, value):
    return value is None or (
        isinstance(value, tuple) and len(value) in counts and all(map(kind, value))
    )


# The type of a setting -> whether a value is of it, and the type in words.
KINDS = {
    str: (lambda value: isinstance(value, str), "a string"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    bool | None: (
        lambda value: value is None or isinstance(value, bool),
        "true or false, or left out",
    ),
    int: (_is_whole, "a whole number"),
    int | None: (lambda value: value is None or _is_whole(value), "a whole number, or none"),
    float: (_is_number, "a finite number"),
    float | None: (lambda value: value is None or _is_number(value), "a finite number, or none"),
    tuple[int, int] | None: (
        lambda value: _are(_is_whole, (2,), value),
        "two whole numbers, height and width, or none",
    ),
    tuple[float, ...] | None: (
        lambda value: _are(_is_number, (3, 4, 6), value),
        "three numbers (blue, green, red), or none",
    ),
}
