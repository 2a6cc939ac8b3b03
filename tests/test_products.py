import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras import build
from fcn_keras.products import with_products

NETWORKS = {
    "fcn8s": {},
    "fcn8s, same": {"geometry": "same"},
    "fcn-alexnet": {},
    "fcn32s-color-hha": {},
}


def network(name, **options):
    keras.utils.set_random_seed(1)
    variant = name.partition(",")[0]
    model = build(variant, 3, weights=None, width=0.0625, **NETWORKS[name], **options)
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if layer.name.startswith("score_") and layer.weights:
            layer.set_weights([rng.normal(0, 0.3, w.shape) for w in layer.get_weights()])
    return model


def convolutions(function, *shape):
    """The kernels' sizes of all convolutions in a function's graph."""
    graph = tf.function(function).get_concrete_function(tf.TensorSpec(shape)).graph
    return [op.inputs[1].shape[0] for op in graph.get_operations() if op.type == "Conv2D"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(1, 1), (75, 120)])
def test_the_numbers_are_those_of_the_convolution(name, size):
    model = network(name)
    images = np.random.default_rng(3).uniform(0, 255, (2, *size, model.input_shape[-1]))
    expected = np.asarray(model(images.astype("float32")))
    found = np.asarray(with_products(model)(images.astype("float32")))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_it_is_a_product():
    model = network("fcn8s")
    shape = (None, None, None, 3)
    assert convolutions(model, *shape).count(7) == 1
    assert convolutions(with_products(model), *shape).count(7) == 0


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_gradients(precision):
    keras.config.set_dtype_policy(precision)
    try:
        model = network("fcn8s")
    finally:
        keras.config.set_dtype_policy("float32")
    images = np.random.default_rng(3).uniform(0, 255, (2, 75, 120, 3)).astype("float32")

    def gradients(network):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(network(images, training=False) ** 2)
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    tolerance = 1e-5 if precision == "float32" else 0.05
    pairs = zip(gradients(model), gradients(with_products(model)), strict=True)
    for expected, found in pairs:
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def test_weights_are_shared_and_the_network_stays_as_it_was(tmp_path):
    model = network("fcn8s")
    twin = with_products(model)
    assert {id(v) for v in twin.weights} == {id(v) for v in model.weights}
    image = np.random.default_rng(3).uniform(0, 255, (1, 40, 60, 3)).astype("float32")
    before = np.asarray(twin(image))
    layer = model.get_layer("fc6")
    layer.set_weights([2 * weights for weights in layer.get_weights()])
    assert np.abs(twin(image) - before).max() > 1e-3

    model.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(loaded(image), model(image))


def test_networks_without_such_a_layer():
    dilated = build("fcn32s", 3, weights=None, width=0.0625, output_stride=8)
    assert with_products(dilated) is dilated
