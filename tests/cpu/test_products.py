import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras import UserError, build
from fcn_keras.cpu import windows, winograd
from fcn_keras.cpu.last_gradients import LastGradients
from fcn_keras.cpu.products import on_this_machine, with_own_products, with_products
from fcn_keras.models.bilinear import Bilinear, bilinear_kernel
from fcn_keras.system import processor
from fcn_keras.training.task import SegmentationTask

# At a fourth of the width some layers have enough channels for Winograd's convolution.
NETWORKS = {
    "fcn8s": {},
    "fcn32s": {},
    "fcn8s, wide": {"width": 0.25},
    "fcn8s, same": {"geometry": "same"},
    "fcn8s, same, wide": {"geometry": "same", "width": 0.25},
    "fcn-alexnet": {},
    "fcn32s-color-d": {},
    "fcn32s-color-hha": {},
}


def network(name, **options):
    keras.utils.set_random_seed(1)
    variant = name.partition(",")[0]
    options = {"width": 0.0625} | NETWORKS[name] | options
    model = build(variant, 3, weights=None, **options)
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if layer.name.startswith("score_") and layer.weights:
            layer.set_weights([rng.normal(0, 0.3, w.shape) for w in layer.get_weights()])
        elif "wide" in name and isinstance(layer, keras.layers.Conv2D):
            # Without biases much of the border is 0, where rounding decides what ReLU's slope is.
            layer.bias.assign(rng.normal(0, 0.3, layer.bias.shape))
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


def test_they_are_products():
    model = network("fcn8s, wide")
    shape = (None, None, None, 3)
    assert sorted(convolutions(model, *shape)) == [1] * 4 + [3] * 13 + [7]
    # Up to conv3 they have at most 64 channels. From 64 to 128: conv4_1; from 128: all after it.
    assert sorted(convolutions(with_products(model), *shape)) == [1] * 3 + [3] * 7


def test_small_maps_are_convolved():
    model = network("fcn8s, same, wide")
    products = with_products(model)
    assert convolutions(products, 1, 256, 256, 3).count(3) == 7 + 3  # conv5: 4x4 tiles
    assert convolutions(products, 2, 256, 256, 3).count(3) == 7
    assert convolutions(products, 1, 64, 64, 3).count(3) == 13


# Where two cells of a pool are alike but for rounding, or one of a ReLU is next to 0, rounding
# decides where the gradient goes: an image that is changed by a millionth does as much.
@pytest.mark.parametrize(
    ("name", "precision", "tolerance"),
    [
        ("fcn8s", "float32", 1e-5),
        ("fcn8s, wide", "float32", 0.02),
        ("fcn8s", "mixed_bfloat16", 0.05),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_gradients(name, precision, tolerance, training):
    keras.config.set_dtype_policy(precision)
    try:
        model = network(name)
    finally:
        keras.config.set_dtype_policy("float32")
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    images = np.random.default_rng(3).uniform(0, 255, (2, 75, 120, 3)).astype("float32")

    def gradients(network):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(network(images, training=training) ** 2)
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    pairs = zip(gradients(model), gradients(with_products(model)), strict=True)
    for expected, found in pairs:
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


FIRST = "conv1_1"


def before(op):
    """All operations that have to be done before one."""
    done, waiting = set(), [op]
    while waiting:
        op = waiting.pop()
        more = {*op.control_inputs, *(tensor.op for tensor in op.inputs)} - done
        done |= more
        waiting += more
    return done


@pytest.mark.parametrize("name", ["fcn8s", "fcn32s-color-hha"])
def test_the_largest_gradients_come_last(name):
    model = network(name)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    variables = model.trainable_variables
    large = [v.path.startswith(("fc6", "fc7")) and v.path.endswith("kernel") for v in variables]
    assert sum(large) == (4 if "hha" in name else 2)
    products = with_products(model)
    images = np.random.default_rng(3).uniform(0, 255, (2, 40, 50, model.input_shape[-1]))
    images = images.astype("float32")

    def from_tape(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(products(images, training=True) ** 2)
        return tape.gradient(loss, variables)

    def gradients(images):
        with LastGradients() as last:
            known = from_tape(images)
        assert [gradient is None for gradient in known] == large
        return last.add_to(known, variables)

    for found, expected in zip(gradients(images), from_tape(images), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)

    ops = []

    @tf.function
    def trace(images):
        ops.extend(gradient.op for gradient in gradients(images))

    trace.get_concrete_function(images)
    others = {op for op, v in zip(ops, variables, strict=True) if not v.path.startswith(FIRST)}
    others -= {op for op, is_large in zip(ops, large, strict=True) if is_large}
    assert [before(op) >= others for op in ops] == large
    # The largest one does not wait for a smaller one with its memory.
    paths = [v.path for v in variables]
    for end in ("color", "hha") if "hha" in name else ("",):
        fc6, fc7 = (ops[paths.index(f"{layer}{end}/kernel")] for layer in ("fc6", "fc7"))
        assert fc7 in before(fc6)
    # What conv1_1 takes need not be gone.
    conv1_1 = {op for op, v in zip(ops, variables, strict=True) if v.path.startswith(FIRST)}
    assert len(conv1_1) == (4 if "hha" in name else 2)
    assert not any(conv1_1 & before(op) for op in ops)


@pytest.mark.parametrize("micro_batch", [None, 1])
@pytest.mark.parametrize("remat", [False, True])
def test_training_leaves_them_for_last(micro_batch, remat, monkeypatch):
    left = []

    def add_to(self, gradients, variables):
        left.append([variable.path for variable, _ in self._left])
        return original(self, gradients, variables)

    original = LastGradients.add_to
    monkeypatch.setattr(LastGradients, "add_to", add_to)
    task = SegmentationTask(network("fcn8s"), micro_batch=micro_batch, remat=remat)
    task.compile(keras.optimizers.SGD(0.1))
    images, labels = tf.zeros((2, 40, 50, 3), tf.uint8), tf.zeros((2, 40, 50, 1), tf.uint8)
    before = task.network.get_layer("fc6").kernel.numpy()
    tf.function(task.train_step)((images, labels))
    assert [sorted(paths) for paths in left] == [["fc6/kernel", "fc7/kernel"]]
    assert np.abs(task.network.get_layer("fc6").kernel.numpy() - before).max() > 0


def test_kernels_that_are_made_of_several_variables():
    image = keras.Input((None, None, 2))
    model = keras.Model(image, keras.layers.Conv2D(2, 3, name="fc6")(image))
    model.layers[-1].enable_lora(1)
    variables = model.trainable_variables
    assert len(variables) == 3
    images = np.random.default_rng(4).normal(size=(1, 6, 5, 2)).astype("float32")

    def gradients(network):
        with LastGradients() as last, tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(images, training=True) ** 2)
            known = tape.gradient(loss, variables)
        return last.add_to(known, variables)

    for expected, found in zip(gradients(model), gradients(with_products(model)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_layer_that_is_called_twice_has_one_gradient():
    image = keras.Input((None, None, 2))
    layer = keras.layers.Conv2D(2, 3, padding="same", name="fc6")
    model = keras.Model(image, layer(layer(image)))
    products = with_products(model)
    images = np.random.default_rng(4).normal(size=(1, 6, 5, 2)).astype("float32")

    def loss(network):
        # The kernel has a gradient of another kind too.
        return tf.reduce_sum(network(images, training=True) ** 2) + tf.reduce_sum(layer.kernel**2)

    with tf.GradientTape() as tape:
        expected = loss(model)
    expected = tape.gradient(expected, layer.kernel.value)
    with LastGradients() as last, tf.GradientTape() as tape:
        gradients = tape.gradient(loss(products), layer.trainable_variables)
    found = last.add_to(gradients, layer.trainable_variables)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert layer.bias is layer.trainable_variables[1]


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


def test_only_float32_is_transformed():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network("fcn8s, wide")
    finally:
        keras.config.set_dtype_policy("float32")
    assert convolutions(with_products(model), None, None, None, 3).count(3) == 13


def test_a_dilated_fc6_stays():
    dilated = network("fcn32s", output_stride=8)
    assert convolutions(with_products(dilated), None, None, None, 3).count(7) == 1


class Doubled(keras.layers.Conv2D):
    def call(self, x):
        return 2 * super().call(x)


@pytest.mark.parametrize(
    ("layer", "products"),
    [
        (keras.layers.Conv2D(128, 3), 1),
        (keras.layers.Conv2D(128, 3, padding="same", use_bias=False, activation="relu"), 1),
        (keras.layers.Conv2D(128, 3, strides=2), 0),
        (keras.layers.Conv2D(256, 3, groups=2), 0),
        (keras.layers.Conv2D(128, 3, dilation_rate=2), 0),
        (keras.layers.Conv2D(128, 5), 0),
        (keras.layers.Conv2D(64, 3), 1),
        (keras.layers.Conv2D(63, 3), 0),
        (Doubled(128, 3), 0),
        (keras.layers.Conv2D(6, 5, name="fc6"), 1),
        (keras.layers.Conv2D(6, 3, padding="same", use_bias=False, name="fc7-sem"), 1),
        (keras.layers.Conv2D(6, 5, strides=2, name="fc6"), 0),
        (keras.layers.Conv2D(6, 5, groups=2, name="fc6"), 0),
    ],
)
def test_layers_of_others(layer, products):
    image = keras.Input((None, None, 128))
    model = keras.Model(image, layer(image))
    images = np.random.default_rng(4).normal(size=(2, 19, 14, 128)).astype("float32")
    expected = np.asarray(model(images))
    found = with_products(model)
    assert (found is not model) == products
    np.testing.assert_allclose(found(images), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_networks_without_such_a_layer():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
    assert with_products(model) is model

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(128, 3)

    model = Subclassed()
    assert with_products(model) is model


@pytest.mark.slow
def test_only_training_has_gradients_of_its_own(monkeypatch):
    monkeypatch.setattr(processor, "has_only_avx2", lambda: False)
    products = with_products(network("fcn8s, wide"))

    def gradients(training):
        @tf.function
        def call(images):
            return products(images, training=training)

        graph = call.get_concrete_function(tf.TensorSpec((None, None, None, 3))).graph
        # TensorFlow marks results whose gradient is not its own.
        return sum(op.type == "IdentityN" for op in graph.get_operations())

    assert gradients(training=True) == 6 + 2  # conv4 and conv5, fc6 and fc7
    assert gradients(training=False) == 0
    # conv3_2 and conv3_3, from 64 channels to 64.
    monkeypatch.setattr(processor, "has_only_avx2", lambda: True)
    products = with_products(network("fcn8s, wide"))
    assert gradients(training=True) == 6 + 2 + 2
    assert gradients(training=False) == 0


@pytest.fixture
def one_layer(monkeypatch):
    """A function that makes a network of fc6, whose matrix is a bad one with AVX2 alone."""
    monkeypatch.setattr(processor, "has_only_avx2", lambda: True)
    monkeypatch.setattr(windows, "BAD_COLUMNS", 64)
    monkeypatch.setattr(windows, "ROWS", 24)

    def make(filters=64, padding="valid", **options):
        keras.utils.set_random_seed(1)
        image = keras.Input((None, None, 2))
        options |= {"padding": padding, "bias_initializer": "normal", "name": "fc6"}
        return keras.Model(image, keras.layers.Conv2D(filters, 3, **options)(image))

    return make


def matrices(network, images, training):
    """The shapes of all pairs of matrices that are multiplied where nothing is transposed."""

    @tf.function
    def call(images):
        return network(images, training=training)

    ops = call.get_concrete_function(images).graph.get_operations()
    return [
        (*op.inputs[0].shape, *op.inputs[1].shape)
        for op in ops
        if op.type == "MatMul" and not op.get_attr("transpose_a") | op.get_attr("transpose_b")
    ]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("images", "cells", "rows"),
    [
        (1, (4, 6), 24),  # as many as it takes
        (1, (4, 5), 25),  # one more line of 5
        (2, (2, 5), 30),  # in both images
        (1, (4, 3), 24),  # just half of them
        (1, (11, 1), 11),  # fewer
    ],
)
def test_few_rows_are_filled_up(one_layer, images, cells, rows, padding, training):
    model = one_layer(padding=padding)
    size = cells if padding == "same" else [length + 2 for length in cells]
    images = np.random.default_rng(3).normal(size=(images, *size, 2)).astype("float32")
    products = with_products(model)
    assert matrices(products, images, training) == [(rows, 18, 18, 64)]
    other = with_products(one_layer(63, padding=padding))
    assert matrices(other, images, training) == [(len(images) * math.prod(cells), 18, 18, 63)]

    def results(network):
        with tf.GradientTape() as tape:
            found = network(images, training=training)
            loss = tf.reduce_sum(found**3)
        return found, *tape.gradient(loss, [v.value for v in model.trainable_variables])

    for found, expected in zip(results(products), results(model), strict=True):
        assert found.shape == expected.shape
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


def test_exports_have_matrices_of_their_own(one_layer):
    model = one_layer()
    images = np.random.default_rng(3).normal(size=(1, 6, 7, 2)).astype("float32")
    expected = np.asarray(model(images))
    own = with_own_products(model)
    # Neither more rows, whatever the processor, nor the network's own kernel.
    assert matrices(own, images, False) == [(20, 18, 18, 64 + winograd.MORE_COLUMNS)]
    model.layers[-1].kernel.assign(tf.zeros((3, 3, 2, 64)))
    np.testing.assert_allclose(own(images), expected, atol=1e-5)
    assert np.abs(with_products(model)(images) - expected).max() > 0.1
    # A matrix that is no bad one stays where it is.
    model = one_layer(63)
    own = with_own_products(model)
    assert matrices(own, images, False) == [(20, 18, 18, 63)]
    assert [id(v) for v in own.weights] == [id(v) for v in model.weights]


def test_exports_have_kernels_of_their_own(monkeypatch):
    monkeypatch.setattr(winograd, "BAD_FILTERS", 128)
    image = keras.Input((None, None, 64))
    model = keras.Model(
        image, keras.layers.Conv2D(128, 3, padding="same", activation="relu")(image)
    )
    images = np.random.default_rng(3).normal(size=(2, 19, 14, 64)).astype("float32")
    expected = np.asarray(model(images))
    own = with_own_products(model)
    model.layers[-1].kernel.assign(tf.zeros((3, 3, 64, 128)))
    atol = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(own(images), expected, rtol=0, atol=atol)
    assert np.abs(with_products(model)(images) - expected).max() > 0.1

    function = tf.function(lambda images: own(images, training=False))
    graph = function.get_concrete_function(tf.TensorSpec((None, None, None, 64))).graph
    products = [op for op in graph.get_operations() if op.type == "BatchMatMulV2"]
    assert [op.inputs[1].shape for op in products] == [(36, 64, 128 + winograd.MORE_COLUMNS)]
    # Nothing reads the network's own kernel, which would be stored too.
    shapes = {tuple(variable.shape) for variable in graph.variables}
    assert shapes == {(128,), (3, 3, 64, 128 + winograd.MORE_COLUMNS)}


@pytest.mark.slow
def test_exports_interpolate_channel_by_channel():
    """Where kernels are bilinear, and no longer where they have learned."""
    model = network("fcn8s")
    images = np.random.default_rng(3).uniform(0, 255, (2, 75, 120, 3)).astype("float32")

    def transposed(network):
        function = tf.function(lambda images: network(images, training=False))
        graph = function.get_concrete_function(tf.TensorSpec((None, None, None, 3))).graph
        return [op.type for op in graph.get_operations()].count("Conv2DBackpropInput")

    for layer, left in [(None, 0), ("upscore8", 1), ("upscore2", 2), ("upscore_pool4", 3)]:
        if layer is not None:
            kernel = model.get_layer(layer).kernel
            kernel.assign(kernel + 0.01 * np.eye(*kernel.shape[2:])[::-1])
        own = with_own_products(model)
        assert transposed(own) == left
        expected = np.asarray(model(images))
        np.testing.assert_allclose(
            own(images), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
        )
    assert transposed(with_products(network("fcn8s"))) == 3  # whose kernels may change


@pytest.mark.parametrize("options", [{"use_bias": True}, {"activation": "relu"}])
def test_transposed_convolutions_that_do_more_stay(options):
    layer = keras.layers.Conv2DTranspose(3, 4, strides=2, **({"use_bias": False} | options))
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layer(image))
    layer.kernel.assign(Bilinear()(layer.kernel.shape))
    assert with_own_products(model) is model


@pytest.mark.parametrize("filters, size", [(5, 4), (3, 6), (3, 2)])
def test_transposed_convolutions_of_other_shapes_stay(filters, size):
    """More channels out than in, and kernels of another size than the stride's."""
    layer = keras.layers.Conv2DTranspose(filters, size, strides=2, use_bias=False)
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layer(image))
    layer.kernel.assign(bilinear_kernel(size)[..., None, None] * np.eye(filters, 3))
    assert with_own_products(model) is model


def test_graphics_processors_keep_their_convolutions(monkeypatch):
    model = network("fcn8s")
    assert on_this_machine(model) is not model
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [f"{kind}:0"])
    assert on_this_machine(model) is model


def test_products_are_not_saved(tmp_path):
    products = with_products(network("fcn8s"))
    with pytest.raises(UserError, match="fc6: is a product .* Save, copy or export the network"):
        products.save(tmp_path / "a.keras")


def test_other_backends(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UserError, match="needs Keras' TensorFlow backend. Received: 'jax'"):
        with_products(network("fcn8s"))
