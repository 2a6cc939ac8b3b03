"""A number for each class that the losses of its pixels are multiplied by."""

from collections.abc import Mapping, Sequence
from typing import Any

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
