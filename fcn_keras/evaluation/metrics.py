"""The paper's four scores (section 5 of arXiv 1411.4038) as Keras metrics."""

import operator
from typing import Any

import keras
import numpy as np
from keras import ops

from fcn_keras.errors import UserError
from fcn_keras.models.plain_numbers import whole_number


def weights_of_pixels(sample_weight: Any) -> Any:
    """Brings sample weights to what multiplies label maps.

    Args:
        sample_weight: a number, `(N,)`, `(N, 1)`, `(N, H, W)` or `(N, H, W, 1)`.

    Returns:
        A float32 tensor: a scalar, `(N, 1, 1)` or `(N, H, W)`.

    Raises:
        UserError: if the weights have another shape.
    """
    weights = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
    shape = tuple(weights.shape)
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return ops.reshape(weights, (-1, 1, 1))
    if len(shape) == 4 and shape[3] == 1:
        return ops.squeeze(weights, axis=-1)
    if len(shape) in (0, 3):
        return weights
    raise UserError(
        "`sample_weight` must be (N,), one weight for each image, or (N, H, W) or (N, H, W, 1), "
        f"one for each pixel. Received: shape {shape}."
    )


def confusion_matrix(
    labels: Any,
    class_ids: Any,
    num_classes: int,
    ignore_label: int = 255,
    counts: Any = 1,
) -> tuple[Any, Any]:
    """Counts the pixels of every pair of true and predicted class.

    Args:
        labels: integers of any shape: class ids, or `ignore_label`.
        class_ids: integers of the same shape, 0..num_classes-1.
        num_classes: C.
        ignore_label: label of the pixels that do not count.
        counts: how often each pixel counts, integers of the same shape or one for all.

    Returns:
        A pair: the matrix, integers `(C, C)`, rows = truth; and the number of labels that are
        neither a class nor void, a scalar.
    """
    labels = ops.reshape(ops.cast(labels, "int32"), (-1,))
    class_ids = ops.reshape(ops.cast(class_ids, "int32"), (-1,))
    counts = ops.broadcast_to(ops.reshape(ops.cast(counts, "int32"), (-1,)), ops.shape(labels))
    cells = num_classes * num_classes
    void = ops.equal(labels, ignore_label)
    known = (labels >= 0) & (labels < num_classes) & ~void
    # Two more bins: one for void, one for labels that should not be.
    other = ops.where(void, cells, cells + 1)
    cell = ops.where(known, labels * num_classes + class_ids, other)
    # Not `bincount`: the length of its result depends on the numbers, which XLA cannot compile.
    totals = ops.segment_sum(counts, cell, num_segments=cells + 2)
    return ops.reshape(totals[:cells], (num_classes, num_classes)), totals[cells + 1]


class ConfusionMatrix(keras.metrics.Metric):
    """The base of the metrics: one confusion matrix, summed over all batches and replicas.

    The counts are 64-bit integers, so they are exact for any number of pixels; JAX has 32 bits
    unless `jax_enable_x64` is set, and from 2^31 pixels on the scores are NaN. Void is left out.
    A label that is neither void nor a class raises in eager mode; inside a compiled function,
    which cannot raise, the scores turn into NaN. So it is with sample weights, which Keras passes
    to `weighted_metrics`, that are not whole numbers: a pixel counts as often as its weight says.

    Args:
        num_classes: number of classes.
        ignore_label: label of the pixels that do not count; -1 for none.
        name: name of the metric; that of its score if not given.
    """

    score: str | None = None  # the one that `result` returns; None for all four

    def __init__(
        self, num_classes: int, ignore_label: int = 255, name: str | None = None, dtype: Any = None
    ):
        super().__init__(name=name or self.score, dtype=dtype)
        self._direction = "up"  # what Keras' callbacks read where they are given no mode
        self.num_classes = whole_number("num_classes", num_classes)
        self.ignore_label = whole_number("ignore_label", ignore_label)
        # What 64-bit integers become on this backend; to ask for more makes JAX warn.
        integer = keras.backend.standardize_dtype(
            ops.convert_to_tensor(np.zeros((), "int64")).dtype
        )
        self.confusion = self.add_variable(
            (self.num_classes, self.num_classes), "zeros", dtype=integer, name="confusion"
        )
        self.unknown_labels = self.add_variable((), "zeros", dtype=integer, name="unknown_labels")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: integers `(N, H, W)` or `(N, H, W, 1)`.
            y_pred: logits or probabilities `(N, H, W, C)`.
            sample_weight: how often each pixel counts, whole numbers `(N,)`, `(N, H, W)` or
                `(N, H, W, 1)`: 0 leaves it out, whatever its label is. None for once.
        """
        class_ids = ops.argmax(y_pred, axis=-1)
        if sample_weight is None:
            return self.update_from_ids(y_true, class_ids)
        weights = weights_of_pixels(sample_weight)
        counts = ops.cast(weights, "int32")
        broken = ops.not_equal(ops.cast(counts, "float32"), weights) | (weights < 0)
        broken = ops.sum(ops.cast(broken, "int32"))
        if _known(broken):
            raise UserError(
                "`sample_weight` of metrics that count pixels must be whole numbers from 0 up. "
                f"Received: {_known(broken)} other weights. Pass these metrics as `metrics`, which "
                "get no weights, not as `weighted_metrics`."
            )
        self.unknown_labels.assign_add(ops.cast(broken, self.unknown_labels.dtype))
        self.update_from_ids(y_true, class_ids, ops.broadcast_to(counts, ops.shape(class_ids)))

    def update_from_ids(self, labels: Any, class_ids: Any, counts: Any = 1) -> None:
        """Counts a batch of predicted class ids; for the arguments see `confusion_matrix`."""
        self.add(*confusion_matrix(labels, class_ids, self.num_classes, self.ignore_label, counts))

    def add(self, matrix: Any, unknown: Any) -> None:
        """Adds what `confusion_matrix` has counted of a batch."""
        if _known(unknown):
            raise UserError(
                f"Labels must be 0..{self.num_classes - 1}, or {self.ignore_label} for void. "
                f"Received: {_known(unknown)} pixels with another label."
            )
        self.confusion.assign_add(ops.cast(matrix, self.confusion.dtype))
        self.unknown_labels.assign_add(ops.cast(unknown, self.unknown_labels.dtype))

    def result(self) -> Any:
        """Returns the four scores by name, or the one of this class: float32 scalars."""
        # The sums are taken over integers: in float32 they would not be exact past 2^24.
        right = ops.cast(ops.diagonal(self.confusion), "float32")
        truth_count = ops.sum(self.confusion, axis=1)
        union = ops.cast(
            truth_count + ops.sum(self.confusion, axis=0) - ops.diagonal(self.confusion), "float32"
        )
        truth = ops.cast(truth_count, "float32")
        total = ops.cast(ops.sum(self.confusion), "float32")
        iu = ops.divide_no_nan(right, union)
        occurs, counted = ops.cast(truth > 0, "float32"), ops.cast(union > 0, "float32")
        scores = {
            "pixel_accuracy": ops.sum(right) / total,
            "mean_accuracy": ops.sum(ops.divide_no_nan(right, truth)) / ops.sum(occurs),
            "mean_iu": ops.sum(iu) / ops.sum(counted),
            "frequency_weighted_iu": ops.sum(truth * iu) / total,
        }
        # Integers turn negative past their largest one, which JAX's 32 bits can reach.
        counts = ops.cast(self.confusion, "float32")
        largest = float(np.iinfo(self.confusion.dtype).max)
        spoilt = (self.unknown_labels > 0) | ops.any(counts < 0) | (ops.sum(counts) >= largest)
        scores = {name: ops.where(spoilt, np.nan, score) for name, score in scores.items()}
        return scores[self.score] if self.score else scores

    def get_config(self) -> dict:
        return {
            "num_classes": self.num_classes,
            "ignore_label": self.ignore_label,
            "name": self.name,
        }


def _known(number):
    """A number of the backend as an integer; 0 where it is not known, in a compiled function."""
    try:
        return operator.index(number)  # `int` would become an operation there
    except TypeError:
        return 0


@keras.saving.register_keras_serializable(package="fcn_keras")
class SegmentationScores(ConfusionMatrix):
    """All four scores of the paper at the cost of one.

    `result()` is a dict of `pixel_accuracy`, `mean_accuracy`, `mean_iu` and
    `frequency_weighted_iu`, fractions of 1; `fit` and `evaluate` show each by its name. Callbacks
    that monitor one of them need `mode="max"`: Keras asks metrics which way is up by their names.
    `update_state` takes labels, integers `(N, H, W)` or `(N, H, W, 1)`, and logits or probabilities
    `(N, H, W, C)`.

    Args:
        num_classes: number of classes.
        ignore_label: label of the pixels that do not count; -1 for none.
        name: name of the metric.

    Raises:
        UserError: from `update_state`, if a label is neither a class nor void. Inside a compiled
            function, which cannot raise, the scores become NaN.

    Example:

    >>> scores = SegmentationScores(21)
    >>> scores.update_state(labels, model(images))
    >>> scores.result()["mean_iu"]
    """


@keras.saving.register_keras_serializable(package="fcn_keras")
class PixelAccuracy(ConfusionMatrix):
    """Share of the pixels that are right, float32. See `SegmentationScores` for the arguments."""

    score = "pixel_accuracy"


@keras.saving.register_keras_serializable(package="fcn_keras")
class MeanAccuracy(ConfusionMatrix):
    """Mean over classes of the share that is right, float32. See `SegmentationScores`."""

    score = "mean_accuracy"


@keras.saving.register_keras_serializable(package="fcn_keras")
class MeanIU(ConfusionMatrix):
    """Mean over classes of intersection over union, float32. See `SegmentationScores`."""

    score = "mean_iu"


@keras.saving.register_keras_serializable(package="fcn_keras")
class FrequencyWeightedIU(ConfusionMatrix):
    """Intersection over union, weighted by class sizes, float32. See `SegmentationScores`."""

    score = "frequency_weighted_iu"
