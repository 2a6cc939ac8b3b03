"""Layers that compute what a convolution does, as products of matrices."""

import math

import tensorflow as tf
from keras import layers

from fcn_keras.cpu import kernel_gradients, winograd
from fcn_keras.cpu.last_gradients import LastGradients
from fcn_keras.errors import UserError
from fcn_keras.models.bilinear import interpolate
from fcn_keras.system import processor

# With fewer tiles moving the values takes longer than multiplying saves.
TILES = 20

# With AVX2 alone a product by a matrix of 4096 columns takes twice the time of others, for the
# reason that `winograd` gives. Columns of zeros move the rows. Without these oneDNN lays such a
# matrix out anew, unless the other one has few rows: from half of `ROWS` on, rows of zeros take
# less time than they save.
BAD_COLUMNS = 4096  # of windows' weights
ROWS = 288


class _Product(layers.Layer):
    """Computes what a convolution does.

    Args:
        conv: the convolution.
        more_columns: of zeros, in a copy of the kernel; what they make is left out. With 0 the
            kernel is the convolution's own.
    """

    def __init__(self, conv, more_columns=0):
        super().__init__(name=conv.name, dtype=conv.dtype_policy)
        self.conv = conv
        self.own_kernel = None
        if more_columns:
            wider = tf.pad(self.kernel, [(0, 0)] * 3 + [(0, more_columns)])
            self.own_kernel = tf.Variable(wider, trainable=False)
        self.built = True

    # Gradients written by hand are for training alone: a SavedModel would hold them too, and cannot
    # where weights are constants.
    def call(self, x, training=None):
        y = self.convolve(x, training)
        if self.own_kernel is not None:
            y = y[..., : self.conv.filters]
        if self.conv.use_bias:
            y = tf.nn.bias_add(y, self.conv.bias)
        return self.conv.activation(y)

    @property
    def kernel(self):
        if self.own_kernel is None:
            return tf.convert_to_tensor(self.conv.kernel)
        return tf.cast(self.own_kernel, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

    def get_config(self):
        raise UserError(
            f"{self.name}: is a product that only computes. Save, copy or export the network that "
            "`with_products` was called with, which has the same weights."
        )


class Windows(_Product):
    """Multiplies each window of the images by the kernel, written as a matrix."""

    def convolve(self, x, training):
        kernel, padded, more = self.kernel, x, 0
        filters = kernel.shape[-1]
        matrix = tf.reshape(kernel, (-1, filters))
        if processor.has_only_avx2() and filters % BAD_COLUMNS == 0:
            more = self._more_rows(x)
            padded = tf.pad(x, [(0, 0), (0, more), (0, 0), (0, 0)])
        windows, sizes = self._windows(padded)
        multiply = self._multiply_to_train(x, sizes) if training else tf.matmul
        products = tf.reshape(multiply(windows, matrix), (*sizes, filters))
        return tf.ensure_shape(
            products[:, : sizes[1] - more], (*self.compute_output_shape(x.shape)[:-1], filters)
        )

    def _more_rows(self, x):
        """How many rows of zeros below the images give as many windows as make a product fast."""
        images, height, width = tf.unstack(tf.shape(x)[:3])
        if self.conv.padding == "valid":
            height -= self.conv.kernel_size[0] - 1
            width -= self.conv.kernel_size[1] - 1
        line = tf.maximum(images * width, 1)
        missing = ROWS - height * line
        return tf.where((missing > 0) & (missing <= ROWS // 2), -(-missing // line), 0)

    def _windows(self, x):
        """Returns a row for each window of images, `(n h w, values)`, and `n`, `h` and `w`."""
        (height, width), channels = self.conv.kernel_size, x.shape[-1]
        if (height, width) != (1, 1):
            x = tf.image.extract_patches(
                x, [1, height, width, 1], [1] * 4, [1] * 4, self.conv.padding.upper()
            )
        return tf.reshape(x, (-1, height * width * channels)), tf.unstack(tf.shape(x))[:3]

    def _multiply_to_train(self, x, sizes):
        """Returns a function that multiplies windows by a matrix.

        Args:
            x: the images.
            sizes: how many windows there are, `n`, `h` and `w`, with those of rows of zeros.
        """

        @tf.autograph.experimental.do_not_convert  # autograph would take the pair for the result
        @tf.custom_gradient
        def multiply(windows, matrix):
            def gradients(upstream):
                of_windows = tf.matmul(upstream, matrix, transpose_b=True)

                def of_matrix():
                    # A variable that is updated while another computation reads it is copied. With
                    # the gradient of the matrix an optimizer could begin, so that one comes last.
                    with tf.control_dependencies([of_windows]):
                        # The same windows again: they take 49 times the memory of the images. Rows
                        # of zeros add nothing to them, and would not make this product faster.
                        again, (_, height, _) = self._windows(x)
                        of_them = tf.reshape(upstream, (*sizes, matrix.shape[-1]))[:, :height]
                        return tf.matmul(
                            again, tf.reshape(of_them, (-1, matrix.shape[-1])), transpose_a=True
                        )

                return of_windows, LastGradients.leave(self.conv.kernel, of_matrix)

            return tf.matmul(windows, matrix), gradients

        return multiply


class Winograd(_Product):
    """Convolves by Winograd's method, see `fcn_keras.cpu.winograd`."""

    def call(self, x, training=None):
        tiles = [-(-size // winograd.TILE) if size else math.inf for size in x.shape[1:3]]
        if (x.shape[0] or math.inf) * math.prod(tiles) < TILES:
            return self.conv(x)
        return super().call(x, training)

    def convolve(self, x, training):
        pad = 1 if self.conv.padding == "same" else 0
        if training:
            return winograd.trainable_convolution(pad)(x, self.kernel)
        return winograd.convolve(x, self.kernel, pad)


class Interpolation(_Product):
    """What a transposed convolution does whose kernel is bilinear."""

    def convolve(self, x, training):
        return interpolate(x, self.conv.strides[0], self.conv.kernel_size[0])


class KernelGradients(_Product):
    """The convolution itself, whose kernel has its gradient found by products."""

    def call(self, x, training=None):
        return super().call(x, training) if training else self.conv(x)

    def convolve(self, x, training):
        return kernel_gradients.trainable_convolution(self.conv.padding)(x, self.kernel)
