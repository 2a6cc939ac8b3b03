"""Winograd's convolution against the definition, in float64."""

import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.cpu import winograd
from fcn_keras.system import processor

SIZES = [(1, 1), (2, 3), (4, 4), (5, 8), (9, 3), (12, 17), (23, 6)]


def arrays(size, pad, images=2, channels=3, filters=5):
    rng = np.random.default_rng(sum(size))
    height, width = (length + 2 - 2 * pad for length in size)
    x = rng.normal(size=(images, height, width, channels)).astype("float32")
    kernel = rng.normal(size=(3, 3, channels, filters)).astype("float32")
    upstream = rng.normal(size=(images, *size, filters)).astype("float32")
    return x, kernel, upstream


def by_definition(x, kernel, pad):
    x = np.pad(x.astype("float64"), [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return np.einsum("nhwcij,ijcf->nhwf", windows, kernel.astype("float64"))


@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("size", SIZES)
def test_results(size, pad):
    x, kernel, _ = arrays(size, pad)
    expected = by_definition(x, kernel, pad)
    for way in (
        winograd.trainable_convolution(pad),
        lambda *arrays: winograd.convolve(*arrays, pad),
    ):
        found = way(tf.constant(x), tf.constant(kernel))
        assert found.shape == expected.shape == (2, *size, 5)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("graph", [False, True])
def test_gradients(size, pad, graph):
    x, kernel, upstream = map(tf.constant, arrays(size, pad))

    def gradients(convolution, *values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            results = convolution(*values)
        return tape.gradient(results, values, tf.cast(upstream, results.dtype))

    def definition(x, kernel):
        x = tf.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
        return tf.nn.conv2d(x, kernel, 1, "VALID")

    expected = gradients(definition, tf.cast(x, "float64"), tf.cast(kernel, "float64"))
    function = tf.function(gradients) if graph else gradients
    ways = winograd.trainable_convolution(pad), lambda x, kernel: winograd.convolve(x, kernel, pad)
    for way in ways:
        for one, other in zip(function(way, x, kernel), expected, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


def test_filters_of_zeros(monkeypatch):
    """They change neither results nor gradients, and are in all products."""
    monkeypatch.setattr(processor, "has_only_avx2", lambda: True)

    def gradients(x, kernel, upstream):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            results = winograd.trainable_convolution(1)(x, kernel)
        return results, *tape.gradient(results, [x, kernel], upstream)

    values = [tf.constant(array) for array in arrays((9, 13), pad=1, channels=4, filters=8)]
    found = []
    for bad, columns in [(3, {4, 8}), (4, {4 + 16, 8 + 16})]:
        monkeypatch.setattr(winograd, "BAD_FILTERS", bad)
        function = tf.function(gradients).get_concrete_function(*values)
        products = [op for op in function.graph.get_operations() if op.type == "BatchMatMulV2"]
        assert len(products) == 3
        assert {op.outputs[0].shape[-1] for op in products} == columns
        found.append(function(*values))
    for one, other in zip(*found, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


def test_sizes_that_are_known_only_when_it_runs():
    function = tf.function(
        winograd.trainable_convolution(1),
        input_signature=[
            tf.TensorSpec((None, None, None, 3)),
            tf.TensorSpec((3, 3, 3, 5)),
        ],
    )
    for size in SIZES:
        x, kernel, _ = arrays(size, pad=1)
        expected = by_definition(x, kernel, pad=1)
        found = function(x, kernel)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_no_images():
    x, kernel, _ = arrays((5, 6), pad=1, images=0)
    assert winograd.trainable_convolution(1)(tf.constant(x), tf.constant(kernel)).shape == (
        0,
        5,
        6,
        5,
    )


def test_errors_of_many_channels():
    """Beside the sum in float64; the usual way is off by a tenth of this at best."""
    x, kernel, _ = arrays((40, 40), pad=1, images=1, channels=128, filters=32)
    exact = by_definition(x, kernel, pad=1)
    found = winograd.trainable_convolution(1)(tf.constant(x), tf.constant(kernel))
    assert np.abs(found - exact).max() < 6e-6 * np.abs(exact).max()
