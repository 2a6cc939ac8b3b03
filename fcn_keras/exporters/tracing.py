"""Networks as graphs, for converters."""

import json

import tensorflow as tf


def as_graph(function, *spec):
    # Keras makes a compiled function of each grouped convolution, which tf2onnx does not look
    # into. Run eagerly, it becomes a part of the graph.
    function = tf.function(function, input_signature=spec, autograph=False)
    tf.config.run_functions_eagerly(True)
    try:
        return function.get_concrete_function()
    finally:
        tf.config.run_functions_eagerly(False)


def image_spec(model):
    return tf.TensorSpec(model.input_shape, tf.uint8, name="image")


def as_strings(about):
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in about.items()
    }
