"""Convolutions of few, large windows, as products of two matrices."""

import math

import tensorflow as tf

from fcn_keras.cpu.last_gradients import LastGradients
from fcn_keras.cpu.layers import Convolution
from fcn_keras.system import processor

# With AVX2 alone a product by a matrix of 4096 columns takes twice the time of others, for the
# reason that `winograd` gives. Columns of zeros move the rows. Without these oneDNN lays such a
# matrix out anew, unless the other one has few rows: from half of `ROWS` on, rows of zeros take
# less time than they save.
BAD_COLUMNS = 4096  # of windows' weights
ROWS = 288


class Windows(Convolution):
    """Multiplies each window of the images by the kernel, written as a matrix."""

    def convolve(self, x, training):
        padded, more = x, 0
        is_bad = self.conv.filters % BAD_COLUMNS == 0 and not self.is_wider
        if is_bad and processor.has_only_avx2():
            more = self._more_rows(x)
            padded = tf.pad(x, [(0, 0), (0, more), (0, 0), (0, 0)])
        if training:
            windows, sizes = self._windows(padded)
            products = self._multiply_to_train(x, sizes)(windows, self._matrix())
        else:
            windows, sizes = self._gathered(padded)
            products = self.multiply(windows)
        products = tf.reshape(products, (*sizes, products.shape[-1]))
        return tf.ensure_shape(
            products[:, : sizes[1] - more],
            (*self.compute_output_shape(x.shape)[:-1], products.shape[-1]),
        )

    def multiply(self, windows):
        """Multiplies windows `(M, K)` by the kernel: `(M, F)`, or some columns of zeros more."""
        return tf.matmul(windows, self._matrix())

    def _matrix(self):
        kernel = self.kernel
        return tf.reshape(kernel, (-1, kernel.shape[-1]))

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

    def _gathered(self, x):
        """Returns what `_windows` does, where nothing is trained: in a fourth of the time."""
        taps, channels = self.conv.kernel_size, x.shape[-1]
        if taps == (1, 1):  # each pixel is a window
            return self._windows(x)
        if self.conv.padding == "same":
            x = tf.pad(x, [(0, 0), *(((tap - 1) // 2, tap // 2) for tap in taps), (0, 0)])
        images, height, width = tf.unstack(tf.shape(x)[:3])
        rows, columns = (
            tf.range(size - tap + 1)[:, None] + tf.range(tap)
            for size, tap in zip((height, width), taps, strict=True)
        )
        cells = rows[:, None, :, None] * width + columns[:, None]  # of each window, in their order
        pixels = tf.reshape(x, (images, height * width, channels))
        windows = tf.gather(pixels, tf.reshape(cells, [-1]), axis=1)
        sizes = images, tf.shape(rows)[0], tf.shape(columns)[0]
        return tf.reshape(windows, (-1, math.prod(taps) * channels)), sizes

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

                if self.norm is not None:
                    return of_windows, of_matrix()
                return of_windows, LastGradients.leave(self.conv.kernel, of_matrix)

            return tf.matmul(windows, matrix), gradients

        return multiply


class RowsOfWeights(Windows):
    """Multiplies windows by a copy of the kernel in which the weights of each filter lie together.

    So oneDNN reads them faster in bfloat16, where it multiplies two neighbours at once: fc6 of an
    image of 500x500 takes 0.8 of the time, of 224x224 0.6. In float32 it would take longer.
    """

    def __init__(self, *layers, **options):
        super().__init__(*layers, **options)
        self.own_kernel = tf.Variable(tf.transpose(self._matrix()), trainable=False)

    def multiply(self, windows):
        return tf.matmul(windows, self.own_kernel, transpose_b=True)
