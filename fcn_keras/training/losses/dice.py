"""Soft Dice: what shares two sets of pixels have in common (section 3 of arXiv 1606.04797)."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from fcn_keras.training.losses.pixel_loss import PixelLoss, without_void
from fcn_keras.training.losses.softmax import hot, softmax_of


def dice_sums(labels: Any, logits: Any, ignore_label: int = 255, weights: Any = 1.0) -> Any:
    """What the soft Dice coefficients of a batch are made of, for each class.

    These may be added up over parts of a batch.

    Args:
        labels: integers `(N, H, W)` or `(N, H, W, 1)`: class ids, or `ignore_label`.
        logits: `(N, H, W, C)`, any float type.
        ignore_label: label of the pixels that do not count.
        weights: how often each pixel counts, in a shape that `(N, H, W)` can be multiplied by.

    Returns:
        float32 `(3, C)`: the probabilities of the pixels of the class, those of all pixels, and the
        pixels of the class, each added up.
    """
    labels, valid = without_void(labels, logits, ignore_label)
    classes = logits.shape[-1]
    softmax = softmax_of(logits)
    counts = ops.cast(valid, "float32") * weights
    probabilities = softmax.exponentials * (counts[..., None] / softmax.total)
    truth = ops.reshape(hot(labels, logits), (-1, classes))
    # A product of matrices: for each class that pixels have, the probabilities of all added up.
    found = ops.matmul(ops.transpose(truth), ops.reshape(probabilities, (-1, classes)))
    pixels = ops.matmul(ops.reshape(counts, (1, -1)), truth)
    return ops.stack([ops.diagonal(found), ops.sum(found, axis=0), pixels[0]])


def dice_of(sums: Any) -> Any:
    """One minus the mean soft Dice coefficient of the classes that there are, a float32 scalar.

    Args:
        sums: of all parts of a batch, see `dice_sums`.
    """
    both, predicted, truth = sums[0], sums[1], sums[2]
    present = ops.cast(truth > 0, "float32")
    # Where there is no pixel, 0 / 0 would make the gradient of everything no number.
    dice = 2 * both / ops.where(truth > 0, predicted + truth, ops.ones_like(truth))
    return ops.sum(present * (1 - dice)) / ops.maximum(ops.sum(present), 1.0)


@keras.saving.register_keras_serializable(package="fcn_keras")
class DiceLoss(PixelLoss):
    """One minus the mean soft Dice coefficient of the classes in a batch, in float32.

    Labels and logits are as for `PixelCrossEntropy`. A coefficient is of all pixels of the batch
    together, so that a class counts as much as any other, however few pixels it has; classes that
    are not in the labels do not count. Sample weights say how often pixels count. In `compile` and
    `fit` each replica of a `tf.distribute` strategy takes the coefficient of its own images; in
    `fcn_keras.train` it is of all.

    Args:
        ignore_label: label of the pixels that do not count; -1 for none.
        name: name of the loss.

    Raises:
        UserError: if `ignore_label` is no whole number.

    Example:

    >>> model.compile("adam", DiceLoss())
    """

    def __init__(self, ignore_label: int = 255, name: str = "dice"):
        super().__init__(ignore_label, name)

    def total(self, labels: Any, logits: Any, add_up: Callable[[Any], Any]) -> Any:
        return dice_of(add_up(dice_sums(labels, logits, self.ignore_label)))

    def count(self, labels: Any) -> Any:
        # Each part of a batch has the loss of the whole, so it is divided by their number.
        return ops.ones((), "float32")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        y_true, y_pred = self._without_mask(y_true, y_pred)
        weights = 1.0 if sample_weight is None else self._weights(sample_weight)
        # What Keras does on replicas it does where it makes a loss of what `call` returns.
        return keras.losses.Loss.__call__(self, (y_true, weights), y_pred)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of a batch, a float32 scalar.

        Args:
            y_true: a pair: labels `(N, H, W)` or `(N, H, W, 1)`, and the weights of pixels.
            y_pred: logits `(N, H, W, C)`.
        """
        labels, weights = y_true
        return dice_of(dice_sums(labels, y_pred, self.ignore_label, weights))
