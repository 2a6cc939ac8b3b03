"""Cross-entropy over pixels, void ones left out (section 3.4 and 4.3 of arXiv 1411.4038)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fcn_keras.training.settings import NORMALIZATIONS


def pixel_cross_entropy(
    labels: Any,
    logits: Any,
    ignore_label: int = 255,
    class_weights: Sequence[float] | None = None,
) -> tuple[Any, Any]:
    """The cross-entropy of every pixel; 0 where the label is void.

    Args:
        labels: integers `(N, H, W)` or `(N, H, W, 1)`: class ids, or `ignore_label`.
        logits: `(N, H, W, C)`, any float type.
        ignore_label: label of the pixels that do not count.
        class_weights: C numbers that the pixels of each class are multiplied by, or None.

    Returns:
        A pair: float32 cross-entropies and a boolean mask of the pixels that count, both
        `(N, H, W)`.
    """
    if len(labels.shape) == len(logits.shape):
        labels = ops.squeeze(labels, axis=-1)
    labels = ops.cast(labels, "int32")
    valid = ops.not_equal(labels, ignore_label)
    labels = ops.where(valid, labels, ops.zeros_like(labels))
    loss = ops.sparse_categorical_crossentropy(
        labels, ops.cast(logits, "float32"), from_logits=True
    )
    if class_weights is not None:
        loss = loss * ops.take(ops.convert_to_tensor(class_weights, "float32"), labels)
    return ops.where(valid, loss, ops.zeros_like(loss)), valid


def normalizer(valid: Any, normalization: str) -> Any:
    """What a summed loss is divided by, as a float32 scalar of at least 1.

    Args:
        valid: boolean `(N, H, W)`, the pixels that count.
        normalization: see `PixelCrossEntropy`.
    """
    if normalization == "sum":
        return ops.ones((), "float32")
    if normalization == "image":
        valid = ops.any(valid, axis=(1, 2))
    return ops.maximum(ops.sum(ops.cast(valid, "float32")), 1.0)


@keras.saving.register_keras_serializable(package="fcn_keras")
class PixelCrossEntropy(keras.losses.Loss):
    """Cross-entropy over the pixels of a batch that are not void.

    Args:
        ignore_label: label of the pixels that do not count.
        normalization: what the sum over pixels is divided by.
            - `"valid_pixels"`: the number of pixels that count, in the whole batch.
            - `"image"`: the number of images that have any.
            - `"sum"`: nothing, as the paper's reference does with batches of one image. The
              learning rate that suits it is smaller by the number of pixels: 1e-10 on a
              500x375 image stands for 1.9e-5 per pixel.
        class_weights: a number for every class that its pixels' losses are multiplied by.
        name: name of the loss.

    Example:

    >>> model.compile("sgd", PixelCrossEntropy(), metrics=[MeanIU(21)])
    """

    def __init__(
        self,
        ignore_label: int = 255,
        normalization: str = "valid_pixels",
        class_weights: Sequence[float] | None = None,
        name: str = "pixel_cross_entropy",
    ):
        # The normalisation below is the reduction; Keras must only hand it on.
        super().__init__(name=name, reduction="sum")
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"`normalization` must be one of {', '.join(NORMALIZATIONS)}. "
                f"Received: {normalization!r}."
            )
        self.ignore_label = ignore_label
        self.normalization = normalization
        self.class_weights = class_weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of a batch, a float32 scalar.

        Args:
            y_true: integers `(N, H, W)` or `(N, H, W, 1)`.
            y_pred: logits `(N, H, W, C)`.
        """
        loss, valid = pixel_cross_entropy(y_true, y_pred, self.ignore_label, self.class_weights)
        return ops.sum(loss) / normalizer(valid, self.normalization)

    def get_config(self) -> dict:
        return {
            "ignore_label": self.ignore_label,
            "normalization": self.normalization,
            "class_weights": self.class_weights,
            "name": self.name,
        }
