"""Networks made ready for export: in another precision, or as graphs."""

from collections.abc import Callable

import keras
import tensorflow as tf

from fcn_keras.cpu.products import is_bilinear
from fcn_keras.models.channels import DTYPES, FROM, image_spec


def with_precision(model: keras.Model, precision: str) -> keras.Model:
    """Copies a network into another precision: all of its layers but the last ones.

    From where scores are interpolated bilinearly it is float32: that is little work, and the edges
    of classes are where rounding shows.

    Args:
        model: a functional network.
        precision: a dtype policy of Keras, such as `"bfloat16"`.

    Returns:
        A network with weights of its own. Its logits have the dtype that they had.
    """

    # Numbers of 16 bits are scaled in float32, whatever follows.
    kept = {*model.output_names, *(f"{FROM}{dtype}" for dtype in DTYPES)}
    interpolated = _interpolated(model)

    def clone(operation):
        config = operation.get_config()
        if isinstance(operation, keras.layers.Layer) and operation.name not in kept:
            config["dtype"] = "float32" if operation.name in interpolated else precision
        return type(operation).from_config(config)

    other = keras.models.clone_model(model, clone_function=clone)
    other.set_weights(model.get_weights())
    return other


def _interpolated(model):
    """The names of what works on interpolated scores, which operations list in their order."""
    behind = set()
    for operation in model.operations:
        parents = {node.operation for own in operation._inbound_nodes for node in own.parent_nodes}
        if is_bilinear(operation) or parents & behind:
            behind.add(operation)
    return {operation.name for operation in behind}


def as_graph(
    model: keras.Model, function: Callable, *others: tf.TensorSpec | list[tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """Traces a function of what a network takes: bytes `(N, H, W, 3)`, if it is photographs.

    Args:
        model: the network.
        function: what to trace.
        *others: what the function takes beside the image, argument by argument.
    """
    image = tf.TensorSpec(*image_spec(model), name="image")
    traced = tf.function(function, input_signature=[image, *others], autograph=False)
    # Keras makes a compiled function of each grouped convolution, which tf2onnx does not look
    # into. Run eagerly, it becomes a part of the graph.
    tf.config.run_functions_eagerly(True)
    try:
        return traced.get_concrete_function()
    finally:
        tf.config.run_functions_eagerly(False)
