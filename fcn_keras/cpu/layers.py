"""Layers that compute what a convolution does, and batch normalisation behind it.

Normalisation that does not learn multiplies each channel by a number and adds one. The kernel is
multiplied instead, which is far smaller than a map: gradients go through that to the kernel.
"""

import math

import tensorflow as tf
from keras import layers, ops

from fcn_keras.cpu import kernel_gradients, pointwise, winograd
from fcn_keras.cpu.normalization import in_float32
from fcn_keras.errors import UserError
from fcn_keras.models.bilinear import interpolate

# With fewer tiles moving the values takes longer than multiplying saves.
TILES = 20


class Convolution(layers.Layer):
    """Computes what a convolution does.

    Args:
        conv: the convolution, which may be depthwise.
        norm: the batch normalisation behind it, where there is any. While that learns, both
            compute as they are.
        more_columns: of zeros, in a copy of the kernel; what they make is left out. None if the
            kernel is the convolution's own.
        exact: computes the same with weights that are less rounded, which the copy is made of;
            this layer if not given.
        stored: dtype of the copy, the one that is computed in if not given.
    """

    def __init__(self, conv, norm=None, more_columns=None, exact=None, stored=None):
        name = conv.name if norm is None else f"{conv.name}_{norm.name}"
        super().__init__(name=name, dtype=conv.dtype_policy)
        self.conv, self.norm = conv, norm
        self.own_kernel = self.own_bias = None
        self.is_wider = bool(more_columns)
        if more_columns is not None:
            exact, stored = exact or self, stored or self.compute_dtype
            wider = tf.pad(exact.kernel, [(0, 0)] * 3 + [(0, more_columns)])
            self.own_kernel = tf.Variable(tf.cast(wider, stored), trainable=False)
            if exact.bias is not None:
                self.own_bias = tf.Variable(tf.cast(exact.bias, stored), trainable=False)
        self.built = True

    # Gradients written by hand are for training alone: a SavedModel would hold them too, and cannot
    # where weights are constants.
    def call(self, x, training=None):
        if training and self.norm is not None and self.norm.trainable:
            return self.as_given(x, training)
        return self.finish(self.convolve(x, training))

    def finish(self, y):
        """What is made of a convolution's products: columns of zeros left out, the bias added."""
        if self.is_wider:
            y = y[..., : self.conv.filters]
        bias = self.bias
        if bias is not None:
            y = tf.nn.bias_add(y, bias)
        return self.conv.activation(y)

    def convolve(self, x, training, padding=None):
        """Convolves images `(N, H, W, C)`, and leaves the bias out."""
        conv = self.conv
        convolve = ops.depthwise_conv if is_depthwise(conv) else ops.conv
        return convolve(
            x,
            self.kernel,
            conv.strides,
            padding or conv.padding,
            # Keras' own for the moment may be another one.
            data_format=conv.data_format,
            dilation_rate=conv.dilation_rate,
        )

    def as_given(self, x, training=False):
        """What the layers themselves compute."""
        y = self.conv(x)
        return y if self.norm is None else self.norm(y, training=training)

    @property
    def kernel(self):
        if self.own_kernel is not None:
            return tf.cast(self.own_kernel, self.compute_dtype)
        if self.norm is None:
            return tf.convert_to_tensor(self.conv.kernel)
        kernel = in_float32(self.conv.kernel)
        shape = kernel.shape[2:] if is_depthwise(self.conv) else (-1,)
        return tf.cast(kernel * tf.reshape(self._scale(), shape), self.compute_dtype)

    @property
    def bias(self):
        if self.own_bias is not None:
            return tf.cast(self.own_bias, self.compute_dtype)
        if self.norm is None:
            return tf.convert_to_tensor(self.conv.bias) if self.conv.use_bias else None
        offset = -in_float32(self.norm.moving_mean)
        if self.conv.use_bias:
            offset += in_float32(self.conv.bias)
        offset *= self._scale()
        if self.norm.center:
            offset += in_float32(self.norm.beta)
        return tf.cast(offset, self.compute_dtype)

    def _scale(self):
        scale = tf.math.rsqrt(in_float32(self.norm.moving_variance) + self.norm.epsilon)
        return scale * in_float32(self.norm.gamma) if self.norm.scale else scale

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

    def get_config(self):
        raise UserError(
            f"{self.name}: is a product that only computes. Save, copy or export the network that "
            "`with_products` was called with, which has the same weights."
        )


class Padded(layers.Layer):
    """A depthwise convolution with a stride, the padding before it and the activation behind it.

    A padded copy of a map takes as long as the convolution. TensorFlow's own padding, which makes
    none, is the same where both sides are multiples of the stride: others are filled up to one, and
    what comes of that is cut off. TensorFlow copies nothing where there is nothing to fill up.

    Args:
        inner: computes the convolution, for which `can_be_padded` is true.
        pad: the padding before it.
        activation: the layer behind it, where there is one: TensorFlow computes it together with
            the convolution, but not behind a cut.
    """

    def __init__(self, inner, pad, activation=None):
        name = f"{inner.name}_{activation.name}" if activation else f"{inner.name}_{pad.name}"
        super().__init__(name=name, dtype=inner.dtype_policy)
        self.inner, self.pad, self.activation = inner, pad, activation
        self.conv = inner.conv
        self.built = True

    def call(self, x, training=None):
        if training:
            return self._activated(self.inner(self.pad(x), training=training))
        stride = self.conv.strides[0]
        height, width = tf.unstack(tf.shape(x)[1:3])
        filled = tf.pad(x, [(0, 0), (0, -height % stride), (0, -width % stride), (0, 0)])
        y = self._activated(self.inner.finish(self.inner.convolve(filled, training, "same")))
        y = tf.slice(y, [0] * 4, [-1, height // stride, width // stride, -1])
        return tf.ensure_shape(y, self.compute_output_shape(x.shape))

    def _activated(self, y):
        return y if self.activation is None else self.activation(y)

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(self.pad.compute_output_shape(input_shape))


def can_be_padded(conv, pad):
    """Whether a padding is TensorFlow's own for images of multiples of a convolution's stride."""
    kernel, stride = conv.kernel_size[0], conv.strides[0]
    missing = kernel - stride
    own = missing // 2, missing - missing // 2
    return (
        is_depthwise(conv)
        and conv.padding == "valid"
        and conv.kernel_size == (kernel, kernel)
        and conv.strides == (stride, stride)
        and conv.dilation_rate == (1, 1)
        and pad.padding == (own, own)
    )


class Pointwise(Convolution):
    """A convolution of 1x1, whose gradients are products of matrices."""

    def call(self, x, training=None):
        if not training or self.norm.trainable:
            return super().call(x, training)
        return self.conv.activation(pointwise.trainable_convolution(x, self.kernel, self.bias))


class Winograd(Convolution):
    """Convolves by Winograd's method, see `fcn_keras.cpu.winograd`."""

    def call(self, x, training=None):
        tiles = [-(-size // winograd.TILE) if size else math.inf for size in x.shape[1:3]]
        if (x.shape[0] or math.inf) * math.prod(tiles) < TILES:
            return self.as_given(x, training)
        return super().call(x, training)

    def convolve(self, x, training):
        pad = 1 if self.conv.padding == "same" else 0
        if training:
            return winograd.trainable_convolution(pad)(x, self.kernel)
        return winograd.convolve(x, self.kernel, pad)


class Interpolation(Convolution):
    """What a transposed convolution does whose kernel is bilinear."""

    def convolve(self, x, training):
        return interpolate(x, self.conv.strides[0], self.conv.kernel_size[0])


class KernelGradients(Convolution):
    """The convolution itself, whose kernel has its gradient found by products."""

    def convolve(self, x, training):
        if not training:
            return super().convolve(x, training)
        return kernel_gradients.trainable_convolution(self.conv.padding)(x, self.kernel)


def is_depthwise(conv):
    return isinstance(conv, layers.DepthwiseConv2D)
