"""Cross-entropy over pixels, void ones left out (section 3.4 and 4.3 of arXiv 1411.4038)."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from fcn_keras.errors import UserError
from fcn_keras.evaluation.metrics import weights_of_pixels
from fcn_keras.models.plain_numbers import whole_number
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

    Raises:
        UserError: if there are more or fewer weights than classes.
    """
    if class_weights is not None and len(class_weights) != logits.shape[-1]:
        raise UserError(
            f"`class_weights` must be {logits.shape[-1]} numbers, one for each class. "
            f"Received: {len(class_weights)}."
        )
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
    """Cross-entropy over the pixels of a batch that are not void, in float32.

    With `compile` and `fit` it behaves as Keras' own losses do. Sample weights multiply the losses
    of pixels and leave what these are divided by as it is, as `"sum_over_batch_size"` does: ones
    change nothing, a weight of zero takes its pixels' losses out of the sum. Pixels that Keras
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
        class_weights: a number for every class that its pixels' losses are multiplied by. (Keras'
            `fit(class_weight=...)` does not know labels of several pixels.)
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
        name: str = "pixel_cross_entropy",
    ):
        if normalization not in NORMALIZATIONS:
            raise UserError(
                f"`normalization` must be one of {', '.join(NORMALIZATIONS)}. "
                f"Received: {normalization!r}."
            )
        # Of a mean Keras takes each replica's share; it adds up sums as they are.
        reduction = "sum" if normalization == "sum" else "sum_over_batch_size"
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.ignore_label = whole_number("ignore_label", ignore_label)
        self.normalization = normalization
        self.class_weights = None if class_weights is None else _numbers(class_weights)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the loss of a batch, a float32 scalar.

        Args:
            y_true: labels `(N, H, W)` or `(N, H, W, 1)`, of any type.
            y_pred: logits `(N, H, W, C)`.
            sample_weight: numbers `(N,)`, one for each image, or `(N, H, W)` or `(N, H, W, 1)`, one
                for each pixel, or one for all; None for ones.
        """
        mask = getattr(y_pred, "_keras_mask", None)
        if mask is not None:
            y_true, y_pred = self._masked(y_true, y_pred, mask)
        if sample_weight is not None:
            sample_weight = weights_of_pixels(sample_weight)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns what Keras' reduction makes the loss of: float32 `(N, H, W)`.

        Args:
            y_true: labels `(N, H, W)` or `(N, H, W, 1)`.
            y_pred: logits `(N, H, W, C)`.
        """
        loss, valid = pixel_cross_entropy(y_true, y_pred, self.ignore_label, self.class_weights)
        if self.normalization == "sum":
            return loss
        # Keras divides by the number of all pixels.
        pixels = ops.cast(ops.size(loss), "float32")
        return loss * (pixels / normalizer(valid, self.normalization))

    def _masked(self, labels, logits, mask):
        """Makes void of what is masked, and gives back logits without the mask.

        Keras would weigh the other pixels up for it, but they are not what is divided by.
        """
        labels = ops.cast(ops.reshape(labels, ops.shape(logits)[:-1]), "int32")
        mask = ops.broadcast_to(ops.cast(mask, "bool"), ops.shape(labels))
        return ops.where(mask, labels, self.ignore_label), ops.multiply(logits, 1)

    def get_config(self) -> dict:
        return {
            "ignore_label": self.ignore_label,
            "normalization": self.normalization,
            "class_weights": self.class_weights,
            "name": self.name,
        }


def _numbers(class_weights):
    """Class weights of any kind as plain numbers, which a saved network keeps."""
    try:
        if not isinstance(class_weights, Mapping):
            return [float(weight) for weight in class_weights]
    except (TypeError, ValueError):
        pass
    raise UserError(
        "`class_weights` must be a list of numbers, one for each class in their order. "
        f"Received: {class_weights!r}."
    )
