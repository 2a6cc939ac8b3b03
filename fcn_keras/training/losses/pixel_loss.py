"""What all losses over pixels have in common: void, sample weights, and what is divided by."""

from typing import Any

import keras
from keras import ops

from fcn_keras.errors import UserError
from fcn_keras.evaluation.metrics import weights_of_pixels
from fcn_keras.models.plain_numbers import whole_number


def without_void(labels: Any, logits: Any, ignore_label: int) -> tuple[Any, Any]:
    """Returns labels as class ids, and where they are that.

    Args:
        labels: integers `(N, H, W)` or `(N, H, W, 1)`: class ids, or `ignore_label`.
        logits: `(N, H, W, C)`.
        ignore_label: label of the pixels that do not count.

    Returns:
        A pair, both `(N, H, W)`: int32 labels, 0 in place of void, and a boolean mask of the pixels
        that count.
    """
    if len(labels.shape) == len(logits.shape):
        labels = ops.squeeze(labels, axis=-1)
    labels = ops.cast(labels, "int32")
    valid = ops.not_equal(labels, ignore_label)
    return ops.where(valid, labels, ops.zeros_like(labels)), valid


class PixelLoss(keras.losses.Loss):
    """The base of the losses over the pixels of a batch that are not void, in float32.

    With `compile` and `fit` they behave as Keras' own losses do. Sample weights multiply losses and
    leave what these are divided by as it is, as `"sum_over_batch_size"` does: ones change nothing,
    a weight of zero takes its pixels' losses out of the sum. Pixels that Keras masks are void. On
    the replicas of a `tf.distribute` strategy each divides by what it holds itself, and the step is
    the mean of theirs.

    Args:
        ignore_label: label of the pixels that do not count; -1 for none.
        name: name of the loss.
        reduction: Keras' way to bring what `call` returns to one number.
    """

    def __init__(self, ignore_label: int, name: str, reduction: str = "sum_over_batch_size"):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.ignore_label = whole_number("ignore_label", ignore_label)

    @property
    def is_divided(self) -> bool:
        """Whether the sum of a batch's losses is divided by `count`."""
        return True

    def losses(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        """Returns what is added up, and what of it counts: `(N, H, W)`, or `(N, 1, 1)` of images.

        Args:
            labels: integers `(N, H, W)` or `(N, H, W, 1)`.
            logits: `(N, H, W, C)`.
        """
        raise NotImplementedError

    def count(self, labels: Any) -> Any:
        """Returns what the sum of a batch's losses is divided by; 0 if nothing counts.

        Args:
            labels: integers `(N, H, W)`.
        """
        valid = ops.any(ops.not_equal(labels, self.ignore_label), axis=(1, 2))
        return ops.sum(ops.cast(valid, "float32"))

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the loss of a batch, a float32 scalar.

        Args:
            y_true: labels `(N, H, W)` or `(N, H, W, 1)`, of any type.
            y_pred: logits `(N, H, W, C)`.
            sample_weight: numbers `(N,)`, one for each image, or, for losses of pixels, `(N, H, W)`
                or `(N, H, W, 1)`, one for each, or one for all; None for ones.
        """
        mask = getattr(y_pred, "_keras_mask", None)
        if mask is not None:
            y_true, y_pred = self._masked(y_true, y_pred, mask)
        if sample_weight is not None:
            sample_weight = self._weights(sample_weight)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns what the mean of is the loss of a batch: as `losses`.

        Args:
            y_true: labels `(N, H, W)` or `(N, H, W, 1)`.
            y_pred: logits `(N, H, W, C)`.
        """
        losses, counted = self.losses(y_true, y_pred)
        # Keras divides by the number of all of them.
        number = ops.cast(ops.size(losses), "float32")
        return losses * (number / ops.maximum(self._number(counted), 1.0))

    def _number(self, counted):
        """What the sum of losses is divided by, of what counts of them."""
        return ops.sum(ops.cast(counted, "float32"))

    def _weights(self, sample_weight):
        """Weights in the shape of `losses`."""
        return weights_of_pixels(sample_weight)

    def _masked(self, labels, logits, mask):
        """Makes void of what is masked, and gives back logits without the mask.

        Keras would weigh the other pixels up for it, but they are not what is divided by.
        """
        labels = ops.cast(ops.reshape(labels, ops.shape(logits)[:-1]), "int32")
        mask = ops.broadcast_to(ops.cast(mask, "bool"), ops.shape(labels))
        return ops.where(mask, labels, self.ignore_label), ops.multiply(logits, 1)

    def get_config(self) -> dict:
        return {"ignore_label": self.ignore_label, "name": self.name}


def weights_of_images(sample_weight: Any) -> Any:
    """Brings sample weights to what multiplies losses of images.

    Args:
        sample_weight: a number, `(N,)` or `(N, 1)`.

    Returns:
        A float32 tensor: a scalar or `(N, 1, 1)`.

    Raises:
        UserError: if there is a weight for each pixel.
    """
    weights = weights_of_pixels(sample_weight)
    shape = tuple(weights.shape)
    if shape and shape[1:] != (1, 1):
        raise UserError(
            "`sample_weight` must be (N,), one weight for each image, as this is a loss of whole "
            f"images. Received: shape {shape}."
        )
    return weights
