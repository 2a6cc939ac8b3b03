"""Cross-entropy over pixels, void ones left out (section 3.4 and 4.3 of arXiv 1411.4038)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fcn_keras.errors import UserError
from fcn_keras.training.losses.class_weights import weights_at, weights_of_classes
from fcn_keras.training.losses.pixel_loss import PixelLoss, without_void
from fcn_keras.training.losses.softmax import hot, softmax_of
from fcn_keras.training.settings import NORMALIZATIONS


def pixel_cross_entropy(
    labels: Any,
    logits: Any,
    ignore_label: int = 255,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Any, Any]:
    """The cross-entropy of every pixel; 0 where the label is void.

    Args:
        labels: integers `(N, H, W)` or `(N, H, W, 1)`: class ids, or `ignore_label`.
        logits: `(N, H, W, C)`, any float type.
        ignore_label: label of the pixels that do not count.
        class_weights: C numbers that the pixels of each class are multiplied by, or None.
        label_smoothing: the share of each pixel that is spread evenly over all classes.

    Returns:
        A pair: float32 cross-entropies and a boolean mask of the pixels that count, both
        `(N, H, W)`.

    Raises:
        UserError: if there are more or fewer weights than classes.
    """
    labels, valid = without_void(labels, logits, ignore_label)
    softmax = softmax_of(logits)
    log_total = ops.log(softmax.total[..., 0])
    loss = log_total - ops.sum(softmax.moved * hot(labels, logits), axis=-1)
    if label_smoothing:
        of_all = log_total - ops.mean(softmax.moved, axis=-1)
        loss = (1 - label_smoothing) * loss + label_smoothing * of_all
    if class_weights is not None:
        loss = loss * weights_at(labels, class_weights, logits.shape[-1])
    return ops.where(valid, loss, ops.zeros_like(loss)), valid


@keras.saving.register_keras_serializable(package="fcn_keras")
class PixelCrossEntropy(PixelLoss):
    """Cross-entropy over the pixels of a batch that are not void, in float32.

    It takes labels, integers `(N, H, W)` or `(N, H, W, 1)`, and logits `(N, H, W, C)`; the loss is
    a scalar. In `compile` and `fit` it behaves as Keras' own losses do. Sample weights multiply the
    losses of pixels and leave what these are divided by as it is, as `"sum_over_batch_size"` does:
    ones change nothing, a weight of zero takes its pixels' losses out of the sum. Pixels that Keras
    masks are void. On the replicas of a `tf.distribute` strategy each divides by what it holds
    itself, and the step is the mean of theirs, or with `"sum"` their sum: that of the whole batch.

    Args:
        ignore_label: label of the pixels that do not count; -1 for none.
        normalization: what the sum over pixels is divided by.
            - `"valid_pixels"`: the number of pixels that count, in the whole batch.
            - `"image"`: the number of images that have any.
            - `"sum"`: nothing, as the paper's reference does with batches of one image. The
              learning rate that suits it is smaller by the number of pixels: 1e-10 on a
              500x375 image stands for 1.9e-5 per pixel.
        class_weights: C numbers that the losses of each class's pixels are multiplied by. (Keras'
            `fit(class_weight=...)` does not know labels of several pixels.)
        label_smoothing: the share of each pixel, from 0 to below 1, that is spread evenly over all
            classes (section 7 of arXiv 1512.00567).
        name: name of the loss.

    Raises:
        UserError: if an argument is out of its range.

    Example:

    >>> model.compile("sgd", PixelCrossEntropy(), metrics=[MeanIU(21)])
    """

    def __init__(
        self,
        ignore_label: int = 255,
        normalization: str = "valid_pixels",
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        name: str = "pixel_cross_entropy",
    ):
        if normalization not in NORMALIZATIONS:
            raise UserError(
                f"`normalization` must be one of {', '.join(NORMALIZATIONS)}. "
                f"Received: {normalization!r}."
            )
        # Of a mean Keras takes each replica's share; it adds up sums as they are.
        reduction = "sum" if normalization == "sum" else "sum_over_batch_size"
        super().__init__(ignore_label, name, reduction)
        self.normalization = normalization
        self.is_divided = normalization != "sum"
        self.class_weights = weights_of_classes(class_weights)
        self.label_smoothing = float(label_smoothing)
        if not 0 <= self.label_smoothing < 1:
            raise UserError(
                f"`label_smoothing` must be from 0 to below 1. Received: {label_smoothing!r}."
            )

    def losses(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        return pixel_cross_entropy(
            labels, logits, self.ignore_label, self.class_weights, self.label_smoothing
        )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if not self.is_divided:
            return self.losses(y_true, y_pred)[0]
        return super().call(y_true, y_pred)

    def _number(self, counted):
        # "sum" is reported per image.
        pixels = self.normalization == "valid_pixels"
        return super()._number(counted if pixels else ops.any(counted, axis=(1, 2)))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "normalization": self.normalization,
            "class_weights": self.class_weights,
            "label_smoothing": self.label_smoothing,
        }
