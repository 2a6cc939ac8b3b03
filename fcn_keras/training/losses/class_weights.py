"""A number for each class that the losses of its pixels are multiplied by."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from fcn_keras.errors import UserError


def weights_of_classes(class_weights: Any) -> list[float] | None:
    """Returns class weights of any kind as plain numbers, which a saved network keeps.

    Args:
        class_weights: a number for each class, or None.

    Raises:
        UserError: if they are no list of numbers.
    """
    if class_weights is None:
        return None
    try:
        if not isinstance(class_weights, Mapping):
            return [float(weight) for weight in class_weights]
    except (TypeError, ValueError):
        pass
    raise UserError(
        "`class_weights` must be a list of numbers, one for each class in their order. "
        f"Received: {class_weights!r}."
    )


def weights_at(labels: Any, class_weights: Sequence[float], num_classes: int) -> Any:
    """Returns the weight of each pixel, float32 `(N, H, W)`.

    Args:
        labels: class ids, int32 `(N, H, W)`.
        class_weights: a number for each class.
        num_classes: C.

    Raises:
        UserError: if there are more or fewer weights than classes.
    """
    if len(class_weights) != num_classes:
        raise UserError(
            f"`class_weights` must be {num_classes} numbers, one for each class. "
            f"Received: {len(class_weights)}."
        )
    return ops.take(ops.convert_to_tensor(class_weights, "float32"), labels)


def chosen_weights(text: str, classes: Sequence[str], counts: np.ndarray) -> list[float] | None:
    """Returns what the pixels of each class weigh.

    Args:
        text: "none"; "sqrt_median_frequency": the square root of the median class frequency over a
            class's own; or weights of classes by name, "pole=3,sign=2", the others weighing 1.
        classes: their names.
        counts: how many pixels each has; those of classes without any weigh 1.

    Raises:
        UserError: if a class is not there or named twice, or a weight is no number from 0 up.

    Example:

    >>> chosen_weights("pole=3", ["sky", "pole"], np.array([900, 100]))
    [1.0, 3.0]
    """
    if text == "none":
        return None
    weights = np.ones(len(classes))
    if text == "sqrt_median_frequency":
        occurs = counts > 0
        weights[occurs] = np.sqrt(np.median(counts[occurs]) / counts[occurs])
        return weights.tolist()
    # A name may have commas and equals signs in it: the longest that fits is meant.
    names = "|".join(re.escape(name) for name in sorted(classes, key=len, reverse=True))
    pattern = rf"({names})=([^,]*)(?:,|$)"
    found = re.findall(pattern, text)
    numbers = {name: _number(number) for name, number in found}
    whole = re.fullmatch(rf"(?:{pattern})+", text) and not text.endswith(",")
    if (
        not whole
        or len(numbers) < len(found)
        or not all(0 <= n < math.inf for n in numbers.values())
    ):
        raise UserError(
            "`class_weights` must be none, sqrt_median_frequency, or numbers from 0 up for classes "
            f"({', '.join(classes)}), each once: {classes[-1]}=2. Received: {text!r}."
        )
    for name, number in numbers.items():
        weights[list(classes).index(name)] = number
    return weights.tolist()


def _number(text):
    try:
        return float(text)
    except ValueError:
        return math.nan
