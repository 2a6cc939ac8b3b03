"""What a graph refuses when it runs."""

from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf


def required(condition: tf.Tensor, *message: Any) -> AbstractContextManager:
    """Makes what is computed within a `with` depend on a condition.

    Args:
        condition: bool scalar.
        message: words and tensors that say what is wrong without it.

    Raises:
        tf.errors.InvalidArgumentError: when the graph runs, if it does not hold.
    """
    # `tf.debugging.Assert` would make two more graphs of each.
    return tf.control_dependencies([tf.raw_ops.Assert(condition=condition, data=[*message])])
