"""The confusion matrix of a batch, as processors count it fastest."""

import tensorflow as tf


def count_pairs(
    labels: tf.Tensor, class_ids: tf.Tensor, num_classes: int, ignore_label: int = 255
) -> tuple[tf.Tensor, tf.Tensor]:
    """Does what `fcn_keras.evaluation.metrics.confusion_matrix` does, in a tenth of the time.

    XLA cannot compile it, and on graphics processors it is not deterministic.

    Args:
        labels: integers of any shape: class ids, or `ignore_label`.
        class_ids: integers of the same shape, 0..num_classes-1.
        num_classes: C.
        ignore_label: label of the pixels that do not count.

    Returns:
        A pair: the matrix, int32 `(C, C)`, rows = truth; and the number of labels that are neither
        a class nor void, a scalar.

    Example:

    >>> matrix, unknown = count_pairs(tf.constant([0, 1, 255]), tf.constant([0, 0, 1]), 2)
    >>> matrix.numpy().tolist()
    [[1, 0], [1, 0]]
    """
    labels, class_ids = (tf.reshape(tf.cast(x, tf.int32), (-1,)) for x in (labels, class_ids))
    cells = num_classes**2
    void = labels == ignore_label
    known = (labels >= 0) & (labels < num_classes) & ~void
    cell = tf.where(known, labels * num_classes + class_ids, tf.where(void, cells, cells + 1))
    totals = tf.math.bincount(cell, minlength=cells + 2, maxlength=cells + 2)
    return tf.reshape(totals[:cells], (num_classes, num_classes)), totals[cells + 1]
