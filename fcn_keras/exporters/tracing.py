"""Networks as graphs, for converters."""

from collections.abc import Callable

import keras
import tensorflow as tf


def as_graph(
    model: keras.Model, function: Callable, *others: tf.TensorSpec | list[tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """Traces a function of what a network takes, bytes `(N, H, W, 3)`.

    Args:
        model: the network.
        function: what to trace.
        *others: what the function takes beside the image, argument by argument.
    """
    spec = (tf.TensorSpec(model.input_shape, tf.uint8, name="image"), *others)
    traced = tf.function(function, input_signature=spec, autograph=False)
    # Keras makes a compiled function of each grouped convolution, which tf2onnx does not look
    # into. Run eagerly, it becomes a part of the graph.
    tf.config.run_functions_eagerly(True)
    try:
        return traced.get_concrete_function()
    finally:
        tf.config.run_functions_eagerly(False)
