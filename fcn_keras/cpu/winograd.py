"""Convolutions of 3x3 in a fourth of the multiplications, as Winograd found.

A tile of 4x4 results needs 6x6 inputs. Both, and the kernel, are seen as polynomials: their
product is found from its values at five points and its highest coefficient, an axis at a time.
Between the values of inputs and kernels are 36 products of matrices, for all tiles and channels
at once, where the definition has 144. To get the values and to get back are two more products,
with constants.

Reference:
    Lavin, Gray: Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308.
    Barabasz, Anderson, Soodhalter, Gregg: Error Analysis and Improving the Accuracy of Winograd
    Convolution for Deep Neural Networks, arXiv 1803.10986, for the choice of the points.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fcn_keras.system import processor

TILE = 4

TAPS = 3

READ = TILE + TAPS - 1

POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)

# With AVX2 alone a product by a matrix of 512 columns takes half as long again as by one of 528:
# rows lie a power of two apart in memory, and only few of them are in the cache at once.
BAD_FILTERS = 512

MORE_COLUMNS = 16


def _transforms():
    """Returns what turns inputs, kernels and products of one axis over.

    With `(found @ ((kernels @ k) * (inputs @ x)))` the results are those of the definition.
    """
    points = np.array(POINTS)
    others = [np.delete(points, number) for number in range(len(points))]
    inputs = np.zeros((READ, READ))
    for row, roots in enumerate(others):
        inputs[row, :-1] = np.poly(roots)[::-1]
    inputs[-1] = np.poly(points)[::-1]
    kernels = np.vander(points, TAPS, increasing=True)
    kernels /= [[np.prod(point - rest)] for point, rest in zip(points, others, strict=True)]
    kernels = np.vstack([kernels, np.eye(TAPS)[-1]])
    found = np.vstack([np.vander(points, TILE, increasing=True), np.eye(TILE)[-1]]).T
    return inputs, kernels, found


# Of both axes of an image at once.
INPUTS, KERNELS, FOUND = (np.kron(matrix, matrix).astype("float32") for matrix in _transforms())


def convolve(x: tf.Tensor, kernel: tf.Tensor, pad: int) -> tf.Tensor:
    """Convolves images.

    Its gradient keeps much in memory: to train with, see `trainable_convolution`.

    A number that is not finite spoils its whole tile.

    Args:
        x: `(N, H, W, C)`, float32.
        kernel: `(3, 3, C, F)`, float32.
        pad: zeros around the image.

    Returns:
        `(N, H + 2 pad - 2, W + 2 pad - 2, F)`.

    Example:

    >>> convolve(images, kernel, pad=1).shape[:3] == images.shape[:3]
    True

    Reference:
        arXiv 1509.09308, section 4.2.
    """
    tiles = _Tiles(x, pad)
    channels, filters = kernel.shape[2:]
    more = _filters_of_zeros(filters)
    [kernel] = _after(x, kernel)
    if more:
        kernel = tf.pad(kernel, [(0, 0)] * 3 + [(0, more)])
    filters += more
    kernel = tf.matmul(KERNELS, tf.reshape(kernel, (TAPS * TAPS, channels * filters)))
    kernel = tf.reshape(kernel, (READ * READ, channels, filters))
    products = tf.matmul(tiles.values_of_inputs(x), kernel)
    found = tf.matmul(FOUND, tf.reshape(products, (READ * READ, tiles.number * filters)))
    results = tf.gather(tf.reshape(found, (-1, filters)), tiles.places())
    return results[..., :-more] if more else results


def _filters_of_zeros(filters):
    return MORE_COLUMNS if processor.has_only_avx2() and filters % BAD_FILTERS == 0 else 0


def trainable_convolution(pad: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns `convolve` to train with, as a function of images and kernel.

    Its gradients are found in the same way. Only the images and the kernel are kept for them.

    Example:

    >>> trainable_convolution(pad=1)(images, kernel).shape[:3] == images.shape[:3]
    True
    """

    @tf.autograph.experimental.do_not_convert  # autograph would take the pair for the result
    @tf.custom_gradient
    def convolved(x, kernel):
        def gradients(upstream):
            inputs, weights = _after(upstream, x, kernel)
            mirrored = tf.transpose(tf.reverse(weights, (0, 1)), (0, 1, 3, 2))
            of_inputs = convolve(upstream, mirrored, TAPS - 1 - pad)
            return of_inputs, _gradient_of_kernel(inputs, upstream, pad)

        return convolve(x, kernel, pad), gradients

    return convolved


def _after(tensor, *others):
    """Returns `others`, for computations that are to wait until `tensor` is there.

    TensorFlow would begin with the values of all kernels, and go on with those of all inputs as
    soon as the forward pass is over, and keep them.
    """
    with tf.control_dependencies([tensor]):
        return [tf.identity(other) for other in others]


def _gradient_of_kernel(x, upstream, pad):
    tiles = _Tiles(x, pad)
    channels, filters = x.shape[-1], upstream.shape[-1]
    more = _filters_of_zeros(filters)
    values = tf.matmul(
        tiles.values_of_inputs(x), tiles.values_of_results(upstream, more), transpose_a=True
    )
    found = tf.matmul(KERNELS, tf.reshape(values, (READ * READ, -1)), transpose_a=True)
    return tf.reshape(found, (TAPS, TAPS, channels, filters + more))[..., :filters]


class _Tiles:
    """How images are cut into tiles: the last ones of an axis reach over what there is.

    Attributes:
        number: of all tiles.
    """

    def __init__(self, x, pad):
        self.pad = pad
        self.images, *self.sizes = tf.unstack(tf.shape(x)[:3])
        self.results = [size + 2 * pad - (TAPS - 1) for size in self.sizes]
        self.counts = [-(-size // TILE) for size in self.results]
        self.number = self.images * self.counts[0] * self.counts[1]

    def values_of_inputs(self, x):
        """`(N, H, W, C)` to `(36, tiles, C)`."""
        padding = [
            (self.pad, count * TILE + TAPS - 1 - size - self.pad)
            for size, count in zip(self.sizes, self.counts, strict=True)
        ]
        return self._values(INPUTS, tf.pad(x, [(0, 0), *padding, (0, 0)]), READ)

    def values_of_results(self, y, more=0):
        """`(N, h, w, F)` to `(36, tiles, F + more)`: the way back of what `convolve` does last."""
        padding = [
            (0, count * TILE - size) for size, count in zip(self.results, self.counts, strict=True)
        ]
        return self._values(FOUND.T, tf.pad(y, [(0, 0), *padding, (0, more)]), TILE)

    def _values(self, transform, padded, read):
        """Gathers the rows of all tiles, of `read` rows and columns each, and transforms them."""
        height, width = tf.unstack(tf.shape(padded)[1:3])
        channels = padded.shape[-1]
        within = tf.range(read)[:, None]
        rows, columns = (within + TILE * tf.range(count) for count in self.counts)
        image = tf.range(self.images)[:, None, None] * height
        places = (image + rows[:, None, None, :, None]) * width + columns[:, None, None, :]
        taken = tf.gather(tf.reshape(padded, (-1, channels)), tf.reshape(places, (-1,)))
        values = tf.matmul(transform, tf.reshape(taken, (read * read, self.number * channels)))
        return tf.reshape(values, (READ * READ, self.number, channels))

    def places(self):
        """Where each result `(N, h, w)` lies among those of all tiles, `(16, tiles)`."""
        rows, columns = map(tf.range, self.results)
        image = tf.range(self.images)[:, None, None]
        row = rows[:, None]
        tile = (image * self.counts[0] + row // TILE) * self.counts[1] + columns // TILE
        return (row % TILE * TILE + columns % TILE) * self.number + tile
