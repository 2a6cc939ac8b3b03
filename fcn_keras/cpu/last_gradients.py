"""The largest gradients found last, so that they do not come on top of all others."""

from collections.abc import Callable
from contextvars import ContextVar

import keras
import tensorflow as tf


class LastGradients:
    """Finds the gradients of fc6 and fc7 when nearly all others are there.

    That of fc6 takes 411 MB at width 1, as much as what an image of 500x500 leaves for the way
    back. Found last, it does not come on top of that. It waits for all but conv1_1, behind which
    nothing is left: the update of fc6 waits for memory, and goes well with a convolution, which
    does not.

    This is for what `with_products` returned, called with `training=True`, all in one graph; other
    gradients are found as ever.

    Example:

    >>> with LastGradients() as last, tf.GradientTape() as tape:
    ...     loss = tf.reduce_mean(network(images, training=True))
    ...     gradients = tape.gradient(loss, network.trainable_variables)
    >>> gradients = last.add_to(gradients, network.trainable_variables)
    """

    _current = ContextVar("last_gradients", default=None)

    def __init__(self):
        self._left = []

    def __enter__(self):
        self._token = self._current.set(self)
        return self

    def __exit__(self, *_):
        self._current.reset(self._token)

    @classmethod
    def leave(cls, variable: keras.Variable, gradient: Callable[[], tf.Tensor]) -> tf.Tensor | None:
        """Leaves a gradient for later and returns None, or, outside of a `with`, returns it.

        Args:
            variable: what it is the gradient of.
            gradient: finds it, in any shape that has as many numbers.
        """
        last = cls._current.get()
        # A layer may have made its kernel of several variables, each of which has a gradient.
        if last is None or not isinstance(variable, keras.Variable):
            return gradient()
        last._left.append((variable, gradient))
        return None

    def add_to(
        self, gradients: list[tf.Tensor | None], variables: list[keras.Variable]
    ) -> list[tf.Tensor | None]:
        """Returns the gradients that a tape has found for variables, and those that were left."""
        whole = list(gradients)
        # The one of fc6 after the one of fc7.
        for number, variable in reversed(list(enumerate(variables))):
            for gradient in [gradient for owner, gradient in self._left if owner is variable]:
                first = [
                    part
                    for part, v in zip(whole, variables, strict=True)
                    if part is not None and not v.path.startswith("conv1_1")
                ]
                with tf.control_dependencies(first):
                    found = tf.cast(tf.reshape(gradient(), variable.shape), variable.dtype)
                whole[number] = found if whole[number] is None else whole[number] + found
        return whole
