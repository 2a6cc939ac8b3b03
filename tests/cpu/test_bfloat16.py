"""Networks that compute in bfloat16: normalisation folded, and scores interpolated in float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.classifiers import scatter, tiny
from helpers.networks import photo, scatter_scores

from fcn_keras import build
from fcn_keras.cpu.class_ids import parts_of
from fcn_keras.cpu.products import with_own_products, with_products
from fcn_keras.exporters.networks import with_precision


def on_classifier(**options):
    options = dict(backbone=scatter(tiny()), preprocessing="tf", dropout=0.0) | options
    return scatter_scores(build("fcn8s", 3, **options))


def mixed():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return on_classifier()
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def exact():
    return on_classifier()


def distance(found, expected):
    """How far numbers are off, beside how far they reach."""
    found, expected = (np.asarray(tf.cast(x, tf.float32)) for x in (found, expected))
    return np.sqrt(np.mean((found - expected) ** 2)) / np.std(expected)


def kinds_in(network):
    return {type(layer).__name__ for layer in network.layers}


@pytest.mark.parametrize("size", [(45, 70), (64, 96)])
def test_folding_rounds_no_more(exact, size):
    images = photo(*size, count=2)
    expected = exact(images)
    half = with_precision(exact, "bfloat16")
    usual = distance(half(images), expected)
    folded = with_own_products(half, exact)
    assert "BatchNormalization" not in kinds_in(folded)
    assert 1e-4 < distance(folded(images), expected) < min(1.2 * usual, 0.05)


@pytest.mark.parametrize("variant", ["fcn32s", "fcn16s", "fcn8s"])
@pytest.mark.parametrize(
    "copies",
    [with_own_products, lambda network: with_products(network, fixed=True)],
    ids=["exported", "here"],
)
def test_what_is_scored_in_16_bits_is_interpolated_in_32(variant, copies):
    """In parts as well, of which the last layer is called by itself."""
    model = scatter_scores(build(variant, 5, weights=None, width=1 / 16))
    half = with_precision(model, "bfloat16")
    images = photo(45, 70)
    expected = half(images)
    parts = parts_of(copies(half))
    taken = parts.before(images)
    logits = parts.logits(*taken)
    assert logits.dtype == expected.dtype == tf.float32
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(parts.label(*taken), np.argmax(logits, axis=-1))


def test_kernels_are_rounded_once(exact):
    """Each is the nearest to the product of float32: not that of three numbers rounded before."""
    folded = with_own_products(with_precision(exact, "bfloat16"), exact)
    checked = 0
    for layer in folded.layers:
        layer = getattr(layer, "inner", layer)
        if getattr(layer, "norm", None) is None:
            continue
        conv, norm = (exact.get_layer(x.name) for x in (layer.conv, layer.norm))
        scale = np.float64(norm.gamma) / np.sqrt(np.float64(norm.moving_variance) + norm.epsilon)
        depthwise = isinstance(conv, keras.layers.DepthwiseConv2D)
        kernel = np.float64(conv.kernel) * (scale[:, None] if depthwise else scale)
        assert layer.kernel.dtype == tf.bfloat16
        found = np.float64(tf.cast(layer.kernel, tf.float32))
        # Half of the last of its 8 bits.
        np.testing.assert_allclose(found, kernel, rtol=2**-8 * 1.001)
        checked += 1
    assert checked == 5


def test_scores_are_interpolated_in_float32(exact):
    half = with_precision(exact, "bfloat16")
    dtypes = {layer.name: layer.compute_dtype for layer in half.layers}
    for name in ("upscore2", "fuse_pool4", "upscore_pool4", "fuse_pool3", "upscore8"):
        assert dtypes[name] == "float32", name
    for name in ("score_fr", "score_pool4", "score_pool3"):
        assert dtypes[name] == "bfloat16", name
    assert "InterpolatedCrop" in kinds_in(with_own_products(half, exact))
    # Also of a network that was trained in another precision.
    trained = mixed()
    assert trained.get_layer("upscore2").compute_dtype == "bfloat16"
    half = with_precision(trained, "bfloat16")
    assert half.get_layer("upscore2").compute_dtype == "float32"
    assert "InterpolatedCrop" in kinds_in(with_own_products(half, trained))
    # Upsampling that has learnt is a convolution like others.
    learned = on_classifier(upsampling="learned")
    for name in ("upscore2", "upscore_pool4", "upscore8"):
        kernel = learned.get_layer(name).kernel
        kernel.assign(kernel + 0.01)
    assert with_precision(learned, "bfloat16").get_layer("upscore2").compute_dtype == "bfloat16"


def test_other_layouts_are_not_rebuilt():
    image = keras.Input((3, None, None))
    conv = keras.layers.Conv2D(4, 3, data_format="channels_first")
    model = keras.Model(image, conv(image))
    assert "Convolution" not in kinds_in(with_own_products(model, stored="bfloat16"))


@pytest.mark.parametrize("training", [False, True])
def test_a_step_in_mixed_precision(training):
    """What is folded within a step gives the numbers and the gradients of float32, nearly."""
    model = mixed()
    full = with_precision(model, "float32")
    images, weights = photo(32, 48).astype("float32"), None
    made, gradients = [], []
    for network in (full, model, with_products(model)):
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        variables = [v.value for v in (full if network is full else model).trainable_variables]
        with tf.GradientTape() as tape:
            scores = network(images, training=training)
            if weights is None:
                weights = np.random.default_rng(2).normal(size=scores.shape).astype("float32")
            loss = tf.reduce_sum(tf.cast(scores, tf.float32) * weights)
        made.append(scores)
        gradients.append(tape.gradient(loss, variables))
    assert "BatchNormalization" not in kinds_in(network)
    assert distance(made[2], made[0]) < max(1.5 * distance(made[1], made[0]), 0.02)
    flat = [np.concatenate([np.ravel(gradient) for gradient in each]) for each in gradients]
    assert distance(flat[2], flat[0]) < max(1.5 * distance(flat[1], flat[0]), 0.02)
