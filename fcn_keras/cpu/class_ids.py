"""The class of each pixel, as processors find it fastest."""

import tensorflow as tf


def class_ids(logits: tf.Tensor, on_gpu: bool = False) -> tf.Tensor:
    """Returns the class with the largest logit, the first one of several.

    On a processor the largest of a row is found, several numbers at once, and then looked for:
    `tf.argmax`, which compares pairs of a number and its place, takes twice the time.

    Args:
        logits: `(N, H, W, C)`, C up to 256.
        on_gpu: whether it is computed by a graphics processor.

    Returns:
        `(N, H, W)`, uint8.

    Example:

    >>> class_ids(logits).shape == logits.shape[:3]
    True
    """
    if on_gpu:
        return tf.cast(tf.argmax(logits, axis=-1), tf.uint8)
    return tf.cast(tf.math.top_k(logits, k=1, sorted=False).indices[..., 0], tf.uint8)
