"""Convolutions as products of matrices, where processors are faster at these."""

import math
from collections.abc import Callable
from contextvars import ContextVar

import keras
import tensorflow as tf
from keras import layers

from fcn_keras import taps, winograd
from fcn_keras.bilinear import Bilinear, interpolate
from fcn_keras.errors import UserError
from fcn_keras.processor import has_only_avx2
from fcn_keras.winograd import MORE_COLUMNS

# With fewer channels, fewer pairs of one that goes in and one that comes out, or fewer tiles,
# moving the values takes longer than multiplying saves.
CHANNELS = 64
PAIRS = 64 * 128
TILES = 20

# With AVX2 alone a product by a matrix of 4096 columns takes twice the time of others, for the
# reason that `winograd` gives. Columns of zeros move the rows. Without these oneDNN lays such a
# matrix out anew, unless the other one has few rows: from half of `ROWS` on, rows of zeros take
# less time than they save.
BAD_COLUMNS = 4096  # of windows' weights
ROWS = 288


def with_products(network: keras.Model) -> keras.Model:
    """Returns a network that computes its large convolutions as products of matrices.

    Its numbers are the same but for rounding (some 1e-6 of the largest). On processors:

    - fc6 and fc7 become what they were before they were convolutions, products of windows and
      weights. oneDNN's convolution does the windows of fc6, of which there are few, at a fifth
      of the speed of a product. It costs memory for them: at width 1 0.1 MB for each cell.
    - Convolutions of 3x3 from at least 64 channels to 128, in float32, become Winograd's, which
      multiply a fourth as often, see `fcn_keras.winograd`. They take up to a seventh more memory
      in all, and in narrow networks gain little.
    - With AVX2 alone those of 3x3 from 64 channels to 64 have the gradient of their kernel found
      by products, see `fcn_keras.taps`.

    Args:
        network: a network of this package, or any other functional one; layers of models within
            it stay as they are.

    Returns:
        A `keras.Model` that shares all weights with `network`, to compute with. What is saved,
        weights alone too, is `network`. `network` itself if it has no layer of these kinds.

    Raises:
        UserError: if Keras computes with something else than TensorFlow.

    Example:

    >>> with_products(model)(image).shape == model(image).shape
    True

    Reference:
        Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation,
        section 3.1: fully connected layers as convolutions, and the way back.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            "`with_products` needs Keras' TensorFlow backend. "
            f"Received: {keras.backend.backend()!r}."
        )
    return _cloned(network, _kind)


def with_own_products(network: keras.Model) -> keras.Model:
    """Returns what `with_products` does, for a network that is only to be exported.

    Its largest layers get weights of their own there, a copy, with some columns of zeros if that
    makes their products faster on processors with AVX2 alone; others lose nothing by it. Layers
    whose kernel interpolates bilinearly do so channel by channel, see `bilinear.interpolate`.

    Example:

    >>> with_own_products(model)(image).shape == model(image).shape
    True
    """

    def kind(layer):
        if _is_bilinear(layer):
            return _Interpolation
        found = _kind(layer)
        if found is _Windows and layer.filters % BAD_COLUMNS == 0:
            return _OwnWindows
        if found is _Winograd and layer.filters % winograd.BAD_FILTERS == 0:
            return _OwnWinograd
        return found

    return _cloned(network, kind)


def _cloned(network, kind):
    """Copies a network, but for the layers' weights, with layers of other kinds where there are."""
    is_graph = isinstance(network, keras.Sequential) or hasattr(network, "operations")
    if not is_graph or not any(map(kind, network.layers)):
        return network

    def clone(layer):
        found = kind(layer)
        return found(layer) if found else layer

    return keras.models.clone_model(network, clone_function=clone)


def on_this_machine(network: keras.Model) -> keras.Model:
    """Returns what computes a network fastest here: `with_products` of it, but on a GPU.

    Graphics processors have convolutions that are as good.

    Example:

    >>> on_this_machine(model)(image).shape == model(image).shape
    True
    """
    return network if tf.config.list_logical_devices("GPU") else with_products(network)


class LastGradients:
    """Finds the gradients of fc6 and fc7 when nearly all others are there.

    That of fc6 takes 411 MB at width 1, as much as what an image of 500x500 leaves for the way
    back. Found last, it does not come on top of that. It waits for all but conv1_1, behind which
    nothing is left: the update of fc6 waits for memory, and goes well with a convolution, which
    does not.

    This is for what `with_products` returned, called with `training=True`, all in one graph; other
    gradients are found as ever.

    Example:

    >>> with LastGradients() as last, tf.GradientTape() as tape:
    ...     loss = tf.reduce_mean(network(images, training=True))
    ...     gradients = tape.gradient(loss, network.trainable_variables)
    >>> gradients = last.add_to(gradients, network.trainable_variables)
    """

    _current = ContextVar("last_gradients", default=None)

    def __init__(self):
        self._left = []

    def __enter__(self):
        self._token = self._current.set(self)
        return self

    def __exit__(self, *_):
        self._current.reset(self._token)

    @classmethod
    def leave(cls, variable: keras.Variable, gradient: Callable[[], tf.Tensor]):
        """Leaves a gradient for later and returns None, or, outside of a `with`, returns it.

        Args:
            variable: what it is the gradient of.
            gradient: finds it, in any shape that has as many numbers.
        """
        last = cls._current.get()
        # A layer may have made its kernel of several variables, each of which has a gradient.
        if last is None or not isinstance(variable, keras.Variable):
            return gradient()
        last._left.append((variable, gradient))
        return None

    def add_to(
        self, gradients: list[tf.Tensor | None], variables: list[keras.Variable]
    ) -> list[tf.Tensor | None]:
        """Returns the gradients that a tape has found for variables, and those that were left."""
        whole = list(gradients)
        # The one of fc6 after the one of fc7.
        for number, variable in reversed(list(enumerate(variables))):
            for gradient in [gradient for owner, gradient in self._left if owner is variable]:
                known = zip(whole, variables, strict=True)
                first = [part for part, v in known if not v.path.startswith("conv1_1")]
                with tf.control_dependencies([part for part in first if part is not None]):
                    found = gradient()
                found = tf.cast(tf.reshape(found, variable.shape), variable.dtype)
                whole[number] = found if whole[number] is None else whole[number] + found
        return whole


def _kind(layer):
    """Returns the class that computes a layer faster, or None."""
    # A class of someone else's may compute something else. A dilated fc6 has many windows that
    # overlap, which would be stored many times over.
    if not (
        type(layer) is layers.Conv2D
        and layer.built
        and layer.strides == layer.dilation_rate == (1, 1)
        and layer.groups == 1
        and layer.data_format == "channels_last"
    ):
        return None
    if layer.name.startswith(("fc6", "fc7")):
        return _Windows
    if (
        layer.kernel_size == (winograd.TAPS, winograd.TAPS)
        and layer.compute_dtype == "float32"
        and min(layer.kernel.shape[2:]) >= CHANNELS
    ):
        if math.prod(layer.kernel.shape[2:]) >= PAIRS:
            return _Winograd
        return _Taps if has_only_avx2() else None
    return None


def _is_bilinear(layer):
    if not (
        type(layer) is layers.Conv2DTranspose
        and layer.built
        and layer.padding == "valid"
        and layer.data_format == "channels_last"
        and layer.compute_dtype == "float32"
        and layer.output_padding is None
        and layer.dilation_rate == (1, 1)
        and layer.kernel_size == tuple(2 * stride for stride in layer.strides)
        and layer.strides[0] == layer.strides[1]
        and layer.filters == layer.kernel.shape[-1]
    ):
        return False
    filled = Bilinear()(layer.kernel.shape, layer.kernel.dtype)
    return bool(tf.reduce_all(tf.convert_to_tensor(layer.kernel) == filled))


class _Product(layers.Layer):
    """Computes what a convolution does."""

    def __init__(self, conv):
        super().__init__(name=conv.name, dtype=conv.dtype_policy)
        self.conv = conv
        self.built = True

    # Gradients written by hand are for training alone: a SavedModel would hold them too, and cannot
    # where weights are constants.
    def call(self, x, training=None):
        found = self.convolve(x, training)
        if self.conv.use_bias:
            found = tf.nn.bias_add(found, self.conv.bias)
        return self.conv.activation(found)

    @property
    def kernel(self):
        return tf.convert_to_tensor(self.conv.kernel)

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

    def get_config(self):
        raise UserError(
            f"{self.name}: is a product that only computes. Save, copy or export the network that "
            "`with_products` was called with, which has the same weights."
        )


class _Windows(_Product):
    def convolve(self, x, training):
        kernel, padded, more = self.kernel, x, 0
        filters = kernel.shape[-1]
        matrix = tf.reshape(kernel, (-1, filters))
        shape = (*self.compute_output_shape(x.shape)[:-1], filters)
        if has_only_avx2() and filters % BAD_COLUMNS == 0:
            more = self._more_rows(x)
            padded = tf.pad(x, [(0, 0), (0, more), (0, 0), (0, 0)])
        windows, sizes = self._windows(padded)
        multiply = self._multiply_to_train(x, sizes) if training else tf.matmul
        found = tf.reshape(multiply(windows, matrix), (*sizes, filters))
        return tf.ensure_shape(found[:, : sizes[1] - more], shape)

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
            sizes, ones = [1, height, width, 1], [1, 1, 1, 1]
            x = tf.image.extract_patches(x, sizes, ones, ones, self.conv.padding.upper())
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
                        of_them = tf.reshape(of_them, (-1, matrix.shape[-1]))
                        return tf.matmul(again, of_them, transpose_a=True)

                return of_windows, LastGradients.leave(self.conv.kernel, of_matrix)

            return tf.matmul(windows, matrix), gradients

        return multiply


class _Winograd(_Product):
    def call(self, x, training=None):
        tiles = [-(-size // winograd.TILE) if size else math.inf for size in x.shape[1:3]]
        if (x.shape[0] or math.inf) * math.prod(tiles) < TILES:
            return self.conv(x)
        return super().call(x, training)

    def convolve(self, x, training):
        pad = 1 if self.conv.padding == "same" else 0
        if training:
            return winograd.trained(pad)(x, self.kernel)
        return winograd.convolve(x, self.kernel, pad)


class _Own:
    """Computes with a copy of the kernel that has more columns, and leaves out what they make."""

    def __init__(self, conv):
        super().__init__(conv)
        more = tf.pad(tf.convert_to_tensor(conv.kernel), [(0, 0)] * 3 + [(0, MORE_COLUMNS)])
        self.own_kernel = tf.Variable(more, trainable=False)

    @property
    def kernel(self):
        return tf.cast(self.own_kernel, self.compute_dtype)

    def convolve(self, x, training):
        return super().convolve(x, training)[..., : self.conv.filters]


class _OwnWindows(_Own, _Windows):
    pass


class _OwnWinograd(_Own, _Winograd):
    pass


class _Interpolation(_Product):
    def convolve(self, x, training):
        return interpolate(x, self.conv.strides[0])


class _Taps(_Product):
    def call(self, x, training=None):
        return super().call(x, training) if training else self.conv(x)

    def convolve(self, x, training):
        return taps.trained(self.conv.padding)(x, self.kernel)
