"""What all losses over pixels have in common: void, sample weights, and what is divided by."""

from collections.abc import Callable
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

    Attributes:
        is_divided: whether the sum of a batch's losses is divided by `count`.
    """

    is_divided = True

    def __init__(self, ignore_label: int, name: str, reduction: str = "sum_over_batch_size"):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.ignore_label = whole_number("ignore_label", ignore_label)

    def losses(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        """Returns what is added up, and what of it counts: `(N, H, W)`, or `(N, 1, 1)` of images.

        Args:
            labels: integers `(N, H, W)` or `(N, H, W, 1)`.
            logits: `(N, H, W, C)`.
        """
        raise NotImplementedError

    def total(self, labels: Any, logits: Any, add_up: Callable[[Any], Any]) -> Any:
        """Returns the sum of the losses of a part of a batch, a float32 scalar.

        Args:
            labels: integers `(N, H, W)` or `(N, H, W, 1)`.
            logits: `(N, H, W, C)`.
            add_up: adds a tensor up over all parts of the batch.
        """
        return ops.sum(self.losses(labels, logits)[0])

    def count(self, labels: Any) -> Any:
        """Returns what the sum of a batch's losses is divided by; 0 if nothing counts.

        Args:
            labels: integers `(N, H, W)`.
        """
        return self._number(ops.not_equal(labels, self.ignore_label))

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the loss of a batch, a float32 scalar.

        Args:
            y_true: labels `(N, H, W)` or `(N, H, W, 1)`, of any type.
            y_pred: logits `(N, H, W, C)`.
            sample_weight: numbers `(N,)`, one for each image, or, for losses of pixels, `(N, H, W)`
                or `(N, H, W, 1)`, one for each, or one for all; None for ones.
        """
        y_true, y_pred = self._without_mask(y_true, y_pred)
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

    def _without_mask(self, labels, logits):
        """Makes void of what Keras masks, and gives back logits without the mask.

        Keras would weigh the other pixels up for it, but they are not what is divided by.
        """
        mask = getattr(logits, "_keras_mask", None)
        if mask is None:
            return labels, logits
        labels = ops.cast(ops.reshape(labels, ops.shape(logits)[:-1]), "int32")
        mask = ops.broadcast_to(ops.cast(mask, "bool"), ops.shape(labels))
        return ops.where(mask, labels, self.ignore_label), ops.multiply(logits, 1)

    def get_config(self) -> dict:
        return {"ignore_label": self.ignore_label, "name": self.name}


class ImageLoss(PixelLoss):
    """The base of losses of whole images, which are averaged over those that have a label.

    `(N,)` sample weights multiply images; there are none for pixels.
    """

    def count(self, labels: Any) -> Any:
        valid = ops.not_equal(labels, self.ignore_label)
        return self._number(ops.any(valid, axis=(1, 2)))

    def _weights(self, sample_weight):
        weights = super()._weights(sample_weight)
        shape = tuple(weights.shape)
        if shape and shape[1:] != (1, 1):
            raise UserError(
                "`sample_weight` must be (N,), one weight for each image, as this is a loss of "
                f"whole images. Received: shape {shape}."
            )
        return weights
