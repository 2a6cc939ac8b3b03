"""Gradients found tap by tap, against those of the definition in float64."""

import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.cpu import kernel_gradients

SIZES = [(3, 5), (7, 4), (12, 17)]


def gradients(convolution, x, kernel):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        results = convolution(x, kernel)
        # Each place weighs differently.
        weights = tf.cast(
            tf.reshape(tf.range(tf.size(results)) % 11 - 5, tf.shape(results)), x.dtype
        )
        loss = tf.reduce_sum(results * weights)
    return results, *tape.gradient(loss, [x, kernel])


# Of many groups of pixels and some more, and of less than a group.
@pytest.fixture(params=[8, 4096])
def together(request, monkeypatch):
    monkeypatch.setattr(kernel_gradients, "TOGETHER", request.param)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("kernel", [(3, 3), (3, 1), (1, 1)])
def test_gradients(padding, size, images, kernel, together):
    rng = np.random.default_rng(sum(size))
    x = rng.normal(size=(images, *size, 4))
    kernel = rng.normal(size=(*kernel, 4, 5))
    expected = gradients(
        lambda x, k: tf.nn.conv2d(x, k, 1, padding.upper()), *map(tf.constant, (x, kernel))
    )
    single = [tf.constant(array, tf.float32) for array in (x, kernel)]
    found = gradients(kernel_gradients.trainable_convolution(padding), *single)
    in_graph = tf.function(gradients)(kernel_gradients.trainable_convolution(padding), *single)
    for ways in zip(expected, found, in_graph, strict=True):
        scale = np.abs(ways[0]).max()
        for way in ways[1:]:
            assert way.shape == ways[0].shape
            np.testing.assert_allclose(way, ways[0], rtol=0, atol=1e-5 * scale)


def test_sizes_that_are_known_only_when_it_runs():
    function = tf.function(
        lambda x, kernel: gradients(kernel_gradients.trainable_convolution("same"), x, kernel)[1:],
        input_signature=[tf.TensorSpec((None, None, None, 4)), tf.TensorSpec((3, 3, 4, 5))],
    )
    for size in SIZES:
        rng = np.random.default_rng(0)
        x = tf.constant(rng.normal(size=(2, *size, 4)), tf.float32)
        kernel = tf.constant(rng.normal(size=(3, 3, 4, 5)), tf.float32)
        expected = gradients(lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), x, kernel)[1:]
        for one, other in zip(function(x, kernel), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
