"""Convolutions of 1x1 whose gradients are products of matrices.

oneDNN's convolutions take 1.4 times as long for these gradients on processors with AVX2 alone; with
AVX-512 a step of a light network takes a tenth longer by them.
"""

import tensorflow as tf

from fcn_keras.system import processor


def trainable_convolution(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Convolves images by a kernel of 1x1, to train with.

    Args:
        x: `(N, H, W, C)`.
        kernel: `(1, 1, C, F)`.
        bias: `(F,)`. Added to the result itself, it takes no time.

    Returns:
        `(N, H, W, F)`.

    Example:

    >>> trainable_convolution(images, kernel, bias).shape[:3] == images.shape[:3]
    True
    """
    y = tf.nn.bias_add(_convolve(x, kernel), bias)
    return tf.ensure_shape(y, (*x.shape[:3], kernel.shape[-1]))


@tf.custom_gradient
def _convolve(x, kernel):
    taken, made = kernel.shape[2:]
    pixels, matrix = tf.reshape(x, (-1, taken)), tf.reshape(kernel, (taken, made))
    sizes = tf.shape(x)[:3]

    def gradients(upstream):
        upstream = tf.reshape(upstream, (-1, made))
        of_pixels = tf.matmul(upstream, matrix, transpose_b=True)
        # A sum over all pixels: faster where it has fewer rows than columns.
        if taken <= made:
            of_matrix = tf.matmul(pixels, upstream, transpose_a=True)
        else:
            of_matrix = tf.transpose(tf.matmul(upstream, pixels, transpose_a=True))
        of_x = tf.reshape(of_pixels, tf.concat([sizes, [taken]], axis=0))
        return of_x, tf.reshape(of_matrix, (1, 1, taken, made))

    if processor.has_only_avx2():
        y = tf.reshape(tf.matmul(pixels, matrix), tf.concat([sizes, [made]], axis=0))
    else:  # which computes the activation at the same time
        y = tf.nn.conv2d(x, kernel, 1, "VALID")
    return y, gradients
