"""Convolutions of few, large windows, as products of two matrices."""

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.cpu import windows
from fcn_keras.cpu.products import with_own_products, with_products
from fcn_keras.system import processor


def network(size=(7, 7), padding="valid", dtype="float32", filters=5):
    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 3), dtype=dtype)
    options = dict(bias_initializer="normal", activation="relu", name="fc6", dtype=dtype)
    return keras.Model(image, keras.layers.Conv2D(filters, size, padding=padding, **options)(image))


def by_definition(model, images):
    """What the convolution is, in float64."""
    layer = model.layers[-1]
    kernel, bias = (np.float64(weights) for weights in layer.get_weights())
    high, wide = layer.kernel_size
    images = np.float64(images)
    if layer.padding == "same":
        pads = [((tap - 1) // 2, tap // 2) for tap in (high, wide)]
        images = np.pad(images, [(0, 0), *pads, (0, 0)])
    cut = np.lib.stride_tricks.sliding_window_view(images, (high, wide), (1, 2))
    return np.maximum(np.einsum("nhwcij,ijcf->nhwf", cut, kernel) + bias, 0)


SHAPES = [
    (1, 7, 7),
    (1, 7, 12),
    (3, 11, 8),
    (0, 9, 9),  # no images
    (2, 13, 7),
]


@pytest.mark.parametrize("compute", [with_products, with_own_products])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [(7, 7), (1, 1), (2, 5), (4, 6)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numbers(shape, size, padding, dtype, compute):
    model = network(size, padding, dtype)
    images = np.random.default_rng(2).normal(size=(*shape, 3)).astype(ml_dtypes.bfloat16)
    expected = by_definition(model, images)
    found = np.float64(compute(model)(tf.cast(images, dtype)))
    assert found.shape == expected.shape
    # The result is rounded to 8 bits, and so may be what was added up so far.
    tolerance = 2**-7 if dtype == "bfloat16" else 1e-5
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * expected.max(initial=1))


def test_images_smaller_than_a_window():
    model = network(padding="same")
    images = np.random.default_rng(2).normal(size=(2, 3, 2, 3)).astype("float32")
    found = with_products(model)(tf.constant(images))
    np.testing.assert_allclose(found, by_definition(model, images), rtol=0, atol=1e-5)


def graph_of(network):
    function = tf.function(lambda images: network(images, training=False))
    spec = tf.TensorSpec((None, None, None, 3), network.inputs[0].dtype)
    return function.get_concrete_function(spec).graph


def products_of(network):
    """How matrices are multiplied: the second one's shape, and whether it is transposed."""
    ops = [op for op in graph_of(network).get_operations() if op.type == "MatMul"]
    return [(*op.inputs[1].shape, op.get_attr("transpose_b")) for op in ops]


@pytest.mark.parametrize("only_avx2", [False, True])
def test_weights_of_a_filter_lie_together_in_bfloat16(monkeypatch, only_avx2):
    monkeypatch.setattr(processor, "has_only_avx2", lambda: only_avx2)
    monkeypatch.setattr(windows, "BAD_COLUMNS", 5)
    half, full = network(dtype="bfloat16"), network()
    own = with_own_products(half)
    assert products_of(own) == [(5, 147, True)]
    assert products_of(with_products(half)) == [(147, 5, False)]  # whose kernel may change
    assert products_of(with_own_products(full)) == [(147, 5 + 16, False)]
    # The copy takes the kernel's place, which would be stored too.
    assert {tuple(variable.shape) for variable in graph_of(own).variables} == {(5,), (5, 147)}
