"""fc6 as what it was: a matrix product, which processors do faster than a convolution of 7x7."""

import keras
import tensorflow as tf
from keras import layers


def with_products(network: keras.Model) -> keras.Model:
    """Returns a network that computes fc6 as the product of windows and weights.

    Its numbers are the same but for rounding. oneDNN's convolution does the windows of fc6, of
    which there are few, at a fifth of the speed of a product; and the product's gradients are
    faster too. What it costs is memory for the windows: at width 1 0.1 MB for each cell of fc6.

    Args:
        network: a network of this package.

    Returns:
        A `keras.Model` that shares all weights with `network`; to compute with, not to be saved.
        `network` itself if it has no fc6 of this kind.

    Example:

    >>> with_products(model)(image).shape == model(image).shape
    True

    Reference:
        Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation,
        section 3.1: fully connected layers as convolutions, and the way back.
    """
    if not any(map(_is_large, network.layers)):
        return network
    return keras.models.clone_model(
        network, clone_function=lambda layer: _Product(layer) if _is_large(layer) else layer
    )


def _is_large(layer):
    # A dilated fc6 has many windows that overlap, which would be stored many times over.
    return (
        isinstance(layer, layers.Conv2D)
        and layer.name.startswith("fc6")
        and layer.kernel_size[0] > 1
        and layer.dilation_rate == (1, 1)
    )


class _Product(layers.Layer):
    """Computes what a convolution of stride 1 does."""

    def __init__(self, conv):
        super().__init__(name=conv.name, dtype=conv.dtype_policy)
        self.conv = conv
        self.built = True

    def call(self, x):
        height, width = self.conv.kernel_size
        sizes = [1, height, width, 1]
        ones = [1, 1, 1, 1]
        windows = tf.image.extract_patches(x, sizes, ones, ones, self.conv.padding.upper())
        shape = tf.shape(windows)
        kernel = tf.convert_to_tensor(self.conv.kernel)
        kernel = tf.reshape(kernel, (-1, self.conv.filters))
        product = tf.matmul(tf.reshape(windows, (-1, kernel.shape[0])), kernel)
        product = tf.reshape(product, (*tf.unstack(shape)[:3], self.conv.filters))
        return self.conv.activation(tf.nn.bias_add(product, self.conv.bias))

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)
