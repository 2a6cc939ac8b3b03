"""What a graph refuses when it runs."""

from contextlib import AbstractContextManager

import tensorflow as tf


def required(condition: tf.Tensor) -> AbstractContextManager:
    """Makes what is computed within a `with` depend on a condition.

    Args:
        condition: bool scalar.

    Raises:
        tf.errors.InvalidArgumentError: when the graph runs, if it does not hold.
    """
    # `tf.debugging.Assert` would make two more graphs of each.
    return tf.control_dependencies([tf.raw_ops.Assert(condition=condition, data=[condition])])
