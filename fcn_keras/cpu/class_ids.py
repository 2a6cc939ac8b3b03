"""The class of each pixel, as processors find it fastest."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from fcn_keras.cpu.crops import InterpolatedCrop

STRIPS = 4

MOST_CLASSES = 256  # that a class id of 8 bits tells apart


def class_ids(logits: tf.Tensor) -> tf.Tensor:
    """Returns the class with the largest logit, the first one of several.

    The largest of a row is found, several numbers at once, and then looked for: `tf.argmax`, which
    compares pairs of a number and its place, takes twice the time.

    Args:
        logits: `(N, H, W, C)`, C up to 256.

    Returns:
        `(N, H, W)`, uint8.

    Example:

    >>> class_ids(logits).shape == logits.shape[:3]
    True
    """
    return tf.cast(tf.math.top_k(logits, k=1, sorted=False).indices[..., 0], tf.uint8)


class Parts(NamedTuple):
    """A network in two parts: what comes before the last of its layers, and what that makes of it.

    Attributes:
        before: images to tensors.
        logits: these tensors to the network's logits, float32 `(N, H, W, C)`.
        label: these tensors to `class_ids` of the logits.
    """

    before: Callable[[tf.Tensor], list[tf.Tensor]]
    logits: Callable[..., tf.Tensor]
    label: Callable[..., tf.Tensor]


def parts_of(network: keras.Model, on_gpu: bool = False) -> Parts:
    """Returns a network as parts, such that classes are found as fast as may be.

    Where scores are interpolated last, it is done strip by strip: the scores of all pixels, which
    are many times the image, need not be in memory.

    Args:
        network: images to logits `(N, H, W, C)`; what `with_own_products` returned.
        on_gpu: whether a graphics processor is to find the classes, which does so by `tf.argmax`.

    Example:

    >>> parts = parts_of(network)
    >>> parts.label(*parts.before(images)).shape == images.shape[:3]
    True
    """
    last, node = _maker_of(network.output)
    if on_gpu or not isinstance(last, InterpolatedCrop):
        return Parts(
            lambda image: [network(image, training=False)],
            lambda logits: logits,
            _usual_class_ids if on_gpu else class_ids,
        )
    before = keras.Model(network.input, list(node.arguments.args))

    def label(*taken):
        strips, found = last.strips(*taken, count=STRIPS), []
        for _ in range(STRIPS):
            # Two are in memory at a time.
            with tf.control_dependencies(found[-2:-1]):
                found.append(class_ids(next(strips)))
        return tf.concat(found, axis=1)

    return Parts(lambda image: before(image, training=False), last.call, label)


def _usual_class_ids(logits):
    return tf.cast(tf.argmax(logits, axis=-1), tf.uint8)


def _maker_of(tensor):
    """The layer that makes a tensor, and its call: what only gives it a name is passed over."""
    layer, number, _ = tensor._keras_history
    node = layer._inbound_nodes[number]
    if type(layer) is keras.layers.Identity and layer.compute_dtype == "float32":
        return _maker_of(node.arguments.args[0])
    return layer, node
