"""Networks in another precision."""

import keras


def with_precision(model: keras.Model, precision: str) -> keras.Model:
    """Copies a network into another precision: all of its layers but the last ones.

    Args:
        model: a functional network.
        precision: a dtype policy of Keras, such as `"bfloat16"`.

    Returns:
        A network with weights of its own. Its logits have the dtype that they had.
    """

    def clone(operation):
        config = operation.get_config()
        if isinstance(operation, keras.layers.Layer) and operation.name not in model.output_names:
            config["dtype"] = precision
        return type(operation).from_config(config)

    other = keras.models.clone_model(model, clone_function=clone)
    other.set_weights(model.get_weights())
    return other
