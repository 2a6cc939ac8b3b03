"""What may be wrong with a folder's `dataset.json`."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from fcn_keras.data.dataset import IGNORE_LABEL

# What a value of a mask stands for if it is no class.
VOID = "void"

_KEYS = (
    *("classes", "colors", "ignore_label", "name", "values", "ignore_color", "reduce_zero_label"),
    *("mask_key", "mask_suffix", "image_suffix", "channels", "val_share", "val_group"),
)


def ignore_label_of(given: dict[str, Any]) -> int:
    """Returns which value is void, besides 255."""
    # Without the value 0, the others count up from 1: each class id is one less.
    return 0 if given.get("reduce_zero_label") else given.get("ignore_label", IGNORE_LABEL)


def fault_in(given: Any) -> str | None:
    """Returns what is wrong with the content of a `dataset.json`, or None."""
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
    if len(given.get("classes", ())) == 255 and ignore_label_of(given) != IGNORE_LABEL:
        return "`classes` must be 254 at most where another label than 255 is void too."
    return None


def _fault_in_files(given):
    for key in ("name", "mask_key", "val_group", "mask_suffix", "image_suffix"):
        may_be_empty = key.endswith("_suffix")
        if not (isinstance(given.get(key, "-"), str) and (given.get(key, "-") or may_be_empty)):
            return f"`{key}` must be a string, not {given[key]!r}."
    channels = given.get("channels", 1)
    if type(channels) is not int or channels < 1:
        return f"`channels` must be a whole number from 1 up, not {channels!r}."
    share = given.get("val_share")
    if "val_share" in given and (type(share) not in (int, float) or not 0 < share < 1):
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


def fault_in_labels(given: Any, labels: Sequence[str]) -> str | None:
    """Returns what is wrong with one where masks are drawn from shapes that have labels."""
    if not isinstance(given, dict) or not isinstance(given.get("values", {}), dict):
        return "`values` must give a class, or void, for labels."
    for key in ("ignore_label", "reduce_zero_label", "ignore_color"):
        if key in given:
            return f"`{key}` is for masks: `values` says which labels are void."
    strange = [label for label in given.get("values", {}) if label not in labels]
    if strange:
        return f"`values` names the label {strange[0]!r}, which is none of {', '.join(labels)}."
    return None
