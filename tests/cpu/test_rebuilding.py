"""Batch normalisation folded into convolutions, and crops that are slices."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.classifiers import scatter, tiny
from helpers.networks import photo, scatter_scores
from keras import layers, ops

from fcn_keras import build
from fcn_keras.cpu.products import with_own_products, with_products
from fcn_keras.models.sights import calls_of, sights_of
from fcn_keras.system import processor

CONVOLUTIONS = [
    (layers.Conv2D, dict(filters=5, kernel_size=1)),
    (layers.Conv2D, dict(filters=5, kernel_size=1, use_bias=False)),
    (layers.Conv2D, dict(filters=80, kernel_size=1)),
    (layers.Conv2D, dict(filters=5, kernel_size=1, strides=2)),
    (layers.Conv2D, dict(filters=6, kernel_size=1, groups=2)),
    (layers.Conv2D, dict(filters=5, kernel_size=3, strides=2, padding="same")),
    (layers.Conv2D, dict(filters=5, kernel_size=(3, 2), dilation_rate=2)),
    (layers.Conv2D, dict(filters=64, kernel_size=3, padding="same")),
    (layers.Conv2D, dict(filters=128, kernel_size=3, padding="same", use_bias=False)),
    (layers.Conv2D, dict(filters=6, kernel_size=3, name="fc6")),
    (layers.DepthwiseConv2D, dict(kernel_size=3, padding="same", use_bias=False)),
    (layers.DepthwiseConv2D, dict(kernel_size=3, strides=2, depth_multiplier=2)),
    (layers.DepthwiseConv2D, dict(kernel_size=3, dilation_rate=2)),
]


@pytest.fixture(params=[True, False], ids=["avx2", "more"])
def processors(request, monkeypatch):
    monkeypatch.setattr(processor, "has_only_avx2", lambda: request.param)


def behind(make, options, **norm):
    """A network of a convolution and batch normalisation, of random numbers."""
    image = keras.Input((None, None, 64))
    x = layers.BatchNormalization(**norm)(make(**options)(image))
    return scatter_all(keras.Model(image, layers.ReLU(6.0)(x)))


def scatter_all(model):
    rng = np.random.default_rng(1)
    for weight in model.weights:
        low = 0.5 if weight.path.endswith(("variance", "gamma")) else -1
        fan_in = np.prod(weight.shape[:-1]) if "kernel" in weight.path else 1
        weight.assign(rng.uniform(low, 1.5, weight.shape) / fan_in**0.5)
    return model


def kinds_in(network):
    return [type(layer).__name__ for layer in network.layers]


def numbers(network, images, training, of=None):
    """What a network makes of images, and all gradients, in the order of the variables `of` one."""
    images = tf.constant(images)
    variables = [variable.value for variable in (of or network).trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(images)
        made = network(images, training=training)
        loss = tf.reduce_sum(made * np.random.default_rng(2).normal(size=made.shape))
    return [made, *tape.gradient(loss, [images, *variables])]


@pytest.mark.parametrize(("make", "options"), CONVOLUTIONS)
def test_numbers_and_gradients_are_kept(make, options, processors):
    model = behind(make, options)
    model.layers[2].trainable = False
    computed = with_products(model)
    assert "BatchNormalization" not in kinds_in(computed)
    images = np.random.default_rng(0).normal(size=(2, 13, 12, 64)).astype("float32")
    for training in (False, True):
        # Of what is not trained there is no gradient: the convolution's own are left.
        pairs = zip(
            numbers(model, images, training), numbers(computed, images, training), strict=True
        )
        for expected, found in pairs:
            np.testing.assert_allclose(
                found, expected, rtol=0, atol=2e-5 * np.abs(expected).max() + 1e-30
            )
        assert np.abs(expected).max() > 0


@pytest.mark.parametrize("norm", [dict(center=False), dict(scale=False), dict(epsilon=0.1)])
def test_kinds_of_normalisation(norm, processors):
    model = behind(layers.Conv2D, dict(filters=5, kernel_size=1), **norm)
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 64)).astype("float32")
    np.testing.assert_allclose(with_products(model)(images), model(images), atol=1e-4)


@pytest.mark.parametrize(("make", "options"), CONVOLUTIONS[::3])
def test_what_learns_is_computed_as_it_is(make, options, processors):
    model, same = (behind(make, options) for _ in range(2))
    computed = with_products(model)
    images = np.random.default_rng(0).normal(size=(2, 13, 12, 64)).astype("float32")
    expected, found = same(images, training=True), computed(images, training=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    for one, other in zip(same.weights, model.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    # Folded are the statistics of the moment.
    np.testing.assert_allclose(computed(images), model(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("behind", "left"),
    [
        (lambda x, norm: norm(layers.Conv2D(2, 1, activation="relu")(x)), 1),
        (lambda x, norm: norm(layers.ReLU()(layers.Conv2D(2, 1)(x))), 1),
        (lambda x, norm: layers.BatchNormalization(axis=1)(layers.Conv2D(2, 1)(x)), 1),
        # What is needed without normalisation too is computed both ways.
        (lambda x, norm: layers.Add()([y := layers.Conv2D(2, 1)(x), norm(y)]), 0),
    ],
)
def test_what_cannot_be_folded(behind, left):
    image = keras.Input((4, 4, 3))
    model = scatter_all(keras.Model(image, behind(image, layers.BatchNormalization())))
    found = with_products(model)
    kinds = kinds_in(found)
    assert kinds.count("BatchNormalization") + kinds.count("Normalization") == left
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    np.testing.assert_allclose(found(images), model(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, dict(center=False, epsilon=0.1), dict(scale=False)])
def test_normalisation_behind_no_convolution(options):
    image = keras.Input((None, None, 6))
    model = scatter_all(keras.Model(image, layers.BatchNormalization(**options)(image)))
    computed = with_products(model)
    assert kinds_in(computed) == ["InputLayer", "Normalization"]
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 6)).astype("float32")
    pairs = zip(numbers(model, images, False), numbers(computed, images, False), strict=True)
    for expected, found in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    # It learns as it did.
    expected = model(images, training=True)
    np.testing.assert_allclose(computed(images, training=True), expected, rtol=1e-4, atol=1e-4)


class Doubled(layers.DepthwiseConv2D):
    def call(self, x):
        return 2 * super().call(x)


def take_a_triangle(x):
    """Indices that count, but not one after the other."""
    ones = ops.ones_like(x[0, :2, :2, 0], "int32")
    return ops.take(x, ops.cumsum(ones, axis=1), axis=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: layers.BatchNormalization()(Doubled(3)(x)),
        lambda x: layers.BatchNormalization()(layers.Conv2D(2, 1)(inputs=x)),
        lambda x: layers.BatchNormalization()(inputs=layers.Conv2D(2, 1)(x)),
        # As Keras computes it where the network is not told whether it is trained.
        lambda x: layers.BatchNormalization()(layers.Conv2D(2, 1)(x), training=True),
        lambda x: layers.BatchNormalization()(x, training=True),
        take_a_triangle,
        lambda x: ops.take(x[..., 0], ops.cumsum(ops.ones_like(x[0, :2, 0, 0], "int32")), axis=1),
    ],
    ids=[
        *("subclass", "conv by name", "norm by name", "statistics of the batch", "and no conv"),
        *("triangle", "without channels"),
    ],
)
def test_what_others_make_is_left_alone(make):
    image = keras.Input((4, 4, 3))
    model = scatter_all(keras.Model(image, make(image)))
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    np.testing.assert_allclose(with_products(model)(images), model(images), rtol=1e-5, atol=1e-5)


def padded(kernel, pads, norm=True, activation=True, **options):
    """A depthwise convolution with a stride, as Keras' classifiers have it."""
    image = keras.Input((None, None, 3))
    x = layers.ZeroPadding2D((pads, pads))(image)
    x = layers.DepthwiseConv2D(kernel, 2, "valid", **options)(x)
    x = layers.BatchNormalization()(x) if norm else x
    x = layers.ReLU(6.0)(x) if activation else x
    model = scatter_all(keras.Model(image, layers.Conv2D(2, 1)(x)))
    for layer in model.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    return model


@pytest.mark.parametrize("size", [(12, 14), (13, 12), (11, 15)])
@pytest.mark.parametrize(
    ("kernel", "pads", "options"),
    [
        (3, (0, 1), dict(use_bias=False)),
        (5, (1, 2), dict(depth_multiplier=2)),
        (3, (0, 1), dict(norm=False)),
        (3, (0, 1), dict(activation=False)),
        (3, (0, 1), dict(norm=False, activation=False)),
    ],
)
def test_padding_before_a_stride_is_left_to_tensorflow(kernel, pads, options, size):
    model = padded(kernel, pads, **options)
    images = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    for computed in (with_products(model), with_own_products(model)):
        assert not {"ZeroPadding2D", "BatchNormalization", "ReLU"} & {*kinds_in(computed)}
        for training in (False, True):
            pairs = zip(
                numbers(model, images, training)[:2],
                numbers(computed, images, training)[:2],
                strict=True,
            )
            for expected, found in pairs:
                np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "activation",
    [
        lambda x: x - ops.mean(x, axis=(1, 2), keepdims=True),
        layers.Softmax(axis=1),
        keras.activations.softmax,
        keras.activations.silu,
    ],
    ids=["mean", "rows", "softmax", "silu"],
)
def test_activations_see_nothing_of_what_is_cut_off(activation):
    """Before the cut there are places that the convolution does not have."""
    image = keras.Input((None, None, 3))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(image)
    x = layers.DepthwiseConv2D(3, 2, "valid")(x)
    model = scatter_all(keras.Model(image, layers.Activation(activation)(x)))
    images = np.random.default_rng(0).normal(size=(2, 13, 15, 3)).astype("float32")
    np.testing.assert_allclose(with_products(model)(images), model(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("float32", "mixed_bfloat16"), ("mixed_bfloat16", "float32")),
        *(("float64", "float32"), ("float32", "float64")),
    ],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda x, one, other: layers.BatchNormalization(dtype=other)(
            layers.Conv2D(4, 3, dtype=one)(x)
        ),
        lambda x, one, other: layers.DepthwiseConv2D(3, 2, dtype=other)(
            layers.ZeroPadding2D(((0, 1), (0, 1)), dtype=one)(x)
        ),
    ],
    ids=["norm", "padding"],
)
def test_layers_round_as_they_did(make, one, other):
    image = keras.Input((None, None, 3))
    model = scatter_all(keras.Model(image, make(image, one, other)))
    images = np.random.default_rng(0).normal(size=(2, 13, 15, 3)).astype("float32")
    expected, found = model(images), with_products(model)(images)
    assert found.dtype == expected.dtype
    expected, found = (np.asarray(x, "float64") for x in (expected, found))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pads", [(1, 0), (1, 1), (0, 2)])
def test_other_padding_stays(pads):
    model = padded(3, pads)
    computed = with_products(model)
    assert "ZeroPadding2D" in kinds_in(computed)
    images = np.random.default_rng(0).normal(size=(2, 12, 13, 3)).astype("float32")
    np.testing.assert_allclose(computed(images), model(images), rtol=0, atol=1e-5)


def test_what_is_padded_or_convolved_for_others_too_is_there_for_them():
    image = keras.Input((None, None, 3))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(image)
    y = layers.DepthwiseConv2D(3, 2, "valid")(x)
    z = layers.BatchNormalization()(y)
    several = [x, y, z, layers.ReLU()(z), layers.Activation("tanh")(y)]
    model = scatter_all(keras.Model(image, several))
    images = np.random.default_rng(0).normal(size=(2, 12, 13, 3)).astype("float32")
    for expected, found in zip(model(images), with_products(model)(images), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_layer_that_is_called_twice_stays_one():
    image = keras.Input((None, None, 3))
    conv, norm = layers.Conv2D(3, 3), layers.BatchNormalization()
    model = scatter_all(keras.Model(image, norm(conv(norm(conv(image))))))
    computed = with_products(model)
    assert kinds_in(computed) == ["InputLayer", "Convolution"]
    images = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype("float32")
    np.testing.assert_allclose(computed(images), model(images), rtol=1e-4, atol=1e-4)


def test_networks_on_classifiers(tmp_path):
    """Crops too; and again of a network that was rebuilt before, in a sequence, or loaded."""
    model = scatter_scores(
        build("fcn8s", 3, backbone=scatter(tiny()), preprocessing="tf", dropout=0.0)
    )
    model.save(tmp_path / "net.keras")
    images = photo(45, 70, count=2).astype("float32")
    expected = np.asarray(model(images))
    again = keras.models.load_model(tmp_path / "net.keras")
    for network in (model, model, again, keras.Sequential([keras.Input((None, None, 3)), model])):
        for rebuilt in (with_products(network), with_own_products(network)):
            found = np.asarray(rebuilt(images))
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert kinds_in(with_products(again)) == kinds_in(with_products(model))
    computed = with_products(model)
    kinds = kinds_in(computed)
    assert "BatchNormalization" not in kinds and kinds.count("Crop") == 3
    assert kinds.count("PaddedCrop") == 1
    # No sum over the indices of rows.

    @tf.function
    def gradients():
        made = computed(images, training=True)
        return tf.gradients(made, [v.value for v in model.trainable_variables])

    names = {op.type for op in gradients.get_concrete_function().graph.get_operations()}
    assert "UnsortedSegmentSum" not in names and "Slice" in names


@pytest.mark.parametrize("size", [(64, 64), (45, 70)])
def test_crops_of_what_is_interpolated(size):
    """The scores' kernels are bilinear, and nothing is computed that is cropped."""
    model = scatter_scores(build("fcn8s", 3, backbone=scatter(tiny()), preprocessing="tf"))
    images = photo(*size, count=2).astype("float32")
    expected = np.asarray(model(images))
    for computed in (with_own_products(model), with_products(model, fixed=True)):
        kinds = kinds_in(computed)
        assert kinds.count("InterpolatedCrop") >= 1 and "Conv2DTranspose" not in kinds
        np.testing.assert_allclose(
            computed(images), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
        )
    assert "Conv2DTranspose" in kinds_in(with_products(model))


@pytest.fixture
def as_it_was():
    policy = keras.config.dtype_policy()
    data_format = keras.config.image_data_format()
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(data_format)


@pytest.mark.parametrize(
    "change",
    [
        lambda: keras.config.set_dtype_policy("mixed_float16"),
        lambda: keras.config.set_dtype_policy("mixed_bfloat16"),
        lambda: keras.config.set_image_data_format("channels_first"),
    ],
    ids=["float16", "bfloat16", "channels first"],
)
def test_what_keras_is_set_to_later_is_for_new_networks(change, as_it_was):
    images = photo(45, 70, count=2).astype("float32")
    model = scatter_scores(build("fcn8s", 3, backbone=scatter(tiny()), preprocessing="tf"))
    # Of as many rows as channels: taken for each other, they would be as many still.
    image = keras.Input((32, 32, 32))
    x = layers.BatchNormalization()(layers.Conv2D(32, 3, padding="same")(image))
    square = scatter_all(keras.Model(image, x))
    maps = np.random.default_rng(0).normal(size=(2, 32, 32, 32)).astype("float32")
    change()
    for network, taken in ((model, images), (square, maps)):
        expected = np.asarray(network(taken))
        for computed in (with_own_products(network), with_products(network)):
            found = np.asarray(computed(taken))
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "efficientnet_b0", "densenet121"])
def test_classifiers_of_keras(name):
    model = scatter(build("fcn8s", 3, backbone=name, weights=None))
    images = photo(97, 130).astype("float32")
    expected = np.asarray(model(images))
    for computed in (with_own_products(model), with_products(model, fixed=True)):
        found = np.asarray(computed(images))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        kinds = kinds_in(computed)
        assert "BatchNormalization" not in kinds
        assert kinds.count("Padded") == {"mobilenet_v2": 4, "efficientnet_b0": 4}.get(name, 0)


def test_copies_for_exports_hold_their_own_weights():
    model = behind(layers.Conv2D, dict(filters=5, kernel_size=1))
    computed = with_own_products(model)
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 64)).astype("float32")
    expected = np.asarray(computed(images))
    np.testing.assert_allclose(expected, model(images), rtol=1e-4, atol=1e-4)
    for weight in model.weights:
        weight.assign(0 * weight)
    np.testing.assert_array_equal(computed(images), expected)


def test_maps_have_the_strides_that_they_had():
    """Activations are recomputed from one stride to the next, of what computes too."""
    model = build("fcn8s", 3, backbone=tiny(), preprocessing="tf")
    strides = []
    for network in (model, with_products(model)):
        sights = sights_of(network)
        maps = [x for call in calls_of(network) for x in call.output_tensors if id(x) in sights]
        strides.append({x.shape[-1]: sights[id(x)].rows.stride for x in maps if len(x.shape) == 4})
    assert strides[0] == strides[1] and strides[0][20] == 32


@pytest.mark.parametrize("copies", [with_products, with_own_products])
def test_what_is_known_of_a_shape_stays_known(copies):
    """Without the number of classes, `loss` would refuse weights of classes."""
    computed = copies(build("fcn8s", 3, weights=None, width=1 / 32))
    assert "Crop" in kinds_in(computed)
    spec = tf.TensorSpec((2, None, None, 3), tf.uint8)
    assert [*tf.function(computed).get_concrete_function(spec).output_shapes] == [2, None, None, 3]


@pytest.mark.parametrize(("classes", "interpolated"), [(12, False), (40, True)])
def test_many_classes_are_interpolated_one_by_one_in_training(classes, interpolated):
    """Only where kernels are bilinear and do not learn: scores and gradients are the same."""
    model = scatter_scores(
        build("fcn8s", classes, backbone=scatter(tiny()), preprocessing="tf", dropout=0.0)
    )
    computed = with_products(model, frozen=True)
    assert ("InterpolatedCrop" in kinds_in(computed)) == interpolated
    assert "InterpolatedCrop" not in kinds_in(with_products(model))
    images = photo(45, 70).astype("float32")
    expected, found = (numbers(network, images, True, of=model) for network in (model, computed))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-4 * np.abs(one).max())
    learns = build(
        "fcn8s", classes, backbone=tiny(), preprocessing="tf", upsampling="learned", dropout=0.0
    )
    assert "InterpolatedCrop" not in kinds_in(with_products(learns, frozen=True))
