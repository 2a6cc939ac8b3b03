"""Convolutions as products of matrices, where processors are faster at these."""

import math
from functools import partial

import keras
import tensorflow as tf
from keras import layers

from fcn_keras.cpu import layers as faster, windows, winograd
from fcn_keras.cpu.crops import InterpolatedCrop
from fcn_keras.cpu.rebuilding import rebuilt
from fcn_keras.errors import UserError
from fcn_keras.models.bilinear import Bilinear
from fcn_keras.system import processor

# With fewer channels, or fewer pairs of one that goes in and one that comes out, moving the values
# takes longer than multiplying saves.
CHANNELS = 64
PAIRS = 64 * 128

# From so many classes on a training step interpolates class by class in less time than a transposed
# convolution multiplies all pairs of them: of 150 in half of it, of 250 in a third.
MANY_CLASSES = 40


def with_products(
    network: keras.Model, *, fixed: bool = False, frozen: bool = False
) -> keras.Model:
    """Returns a network that computes its large convolutions as products of matrices.

    Its numbers are the same but for rounding (some 1e-6 of the largest). On processors:

    - fc6 and fc7 become what they were before they were convolutions, products of windows and
      weights. oneDNN's convolution does the windows of fc6, of which there are few, at a fifth
      of the speed of a product. It costs memory for them: at width 1 0.1 MB for each cell.
    - Convolutions of 3x3 from at least 64 channels to 128, in float32, become Winograd's, which
      multiply a fourth as often, see `fcn_keras.cpu.winograd`. They take up to a seventh more
      memory in all, and in narrow networks gain little.
    - With AVX2 alone those of 3x3 from 64 channels to 64 have the gradient of their kernel found
      by products, see `fcn_keras.cpu.kernel_gradients`.
    - Batch normalisation that does not learn, behind a convolution in float32, is folded into its
      kernel. While it learns, it is computed as it is.
    - Scores are cropped by slices, whose gradient is no sum over indices.
    - The padding before a depthwise convolution with a stride makes no copy of the map.

    Args:
        network: a network of this package, or any other functional one; layers of models within
            it stay as they are.
        fixed: whether its weights will stay as they are. Then layers whose kernel interpolates
            bilinearly do so channel by channel, and only what is not cropped.
        frozen: whether weights that are not trained will stay as they are, as in a training. Then
            such layers of many channels do so whose kernel is not trained.

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
    kind = _kind_if_fixed if fixed else _kind_if_frozen if frozen else _kind
    return rebuilt(network, kind)


def _kind_if_fixed(layer, norm):
    return faster.Interpolation if _is_bilinear(layer) else _kind(layer, norm)


def _kind_if_frozen(layer, norm):
    if layer.trainable or not _is_bilinear(layer) or layer.filters < MANY_CLASSES:
        return _kind(layer, norm)
    return faster.Interpolation


def with_own_products(
    network: keras.Model, exact: keras.Model | None = None, stored: str | None = None
) -> keras.Model:
    """Returns what `with_products` does, for a network that is only to be exported.

    Layers that batch normalisation is folded into, and the largest ones, get weights of their own
    there, a copy; these with some columns of zeros, if that makes their products faster on
    processors with AVX2 alone; others lose nothing by it.

    Args:
        network: see `with_products`.
        exact: the network that `network` is a copy of, in another precision. Kernels are folded
            with its weights, and rounded once.
        stored: dtype of the weights of all convolutions, where it is not the one that they compute
            in.

    Example:

    >>> with_own_products(model)(image).shape == model(image).shape
    True
    """

    def kind(layer, norm):
        usual = _kind_if_fixed(layer, norm)
        if usual is None and stored and _can_be_stored(layer):
            usual = faster.Convolution
        bad = {windows.Windows: windows.BAD_COLUMNS, faster.Winograd: winograd.BAD_FILTERS}
        more = 0
        if usual in bad and layer.filters % bad[usual] == 0:
            more = winograd.MORE_COLUMNS
        if usual is windows.Windows and layer.compute_dtype == "bfloat16":
            usual, more = windows.RowsOfWeights, 0
        own = isinstance(usual, type) and issubclass(usual, faster.Convolution)
        needed = more or norm or stored or usual is windows.RowsOfWeights
        if not own or usual is faster.Interpolation or not needed:
            return usual
        originals = None
        if exact is not None and norm is not None:
            originals = faster.Convolution(*(exact.get_layer(x.name) for x in (layer, norm)))
        return partial(usual, more_columns=more, exact=originals, stored=stored)

    return rebuilt(network, kind)


def on_this_machine(
    network: keras.Model, *, fixed: bool = False, frozen: bool = False
) -> keras.Model:
    """Returns what computes a network fastest here: `with_products` of it, but on a GPU.

    Graphics processors have convolutions that are as good.

    Example:

    >>> on_this_machine(model)(image).shape == model(image).shape
    True
    """
    if tf.config.list_logical_devices("GPU"):
        return network
    return with_products(network, fixed=fixed, frozen=frozen)


def _kind(layer, norm=None):
    """Returns what computes a layer faster, with normalisation behind it, or None."""
    if _is_uniform(layer):
        return _with_one_number
    return _product(layer) or (norm is not None and _folded(layer)) or None


def _can_be_stored(layer):
    return (
        type(layer) in (layers.Conv2D, layers.DepthwiseConv2D)
        and layer.built
        and layer.data_format == "channels_last"
    )


def _is_uniform(layer):
    """Whether a layer adds the same number to all channels, but has it once for each."""
    return (
        type(layer) is layers.Rescaling
        and isinstance(layer.scale, int | float)
        and isinstance(layer.offset, list | tuple)
        and len({*layer.offset}) == 1
    )


def _with_one_number(layer):
    """Adds one number instead of a list: with three channels in a fourth of the time."""
    return layers.Rescaling(layer.scale, layer.offset[0], dtype=layer.dtype_policy, name=layer.name)


def _folded(layer):
    is_pointwise = (
        type(layer) is layers.Conv2D
        and layer.kernel_size == layer.strides == (1, 1)
        and layer.groups == 1
    )
    return faster.Pointwise if is_pointwise else faster.Convolution


def _product(layer):
    """Returns the class that computes a convolution as products, or None."""
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
        return windows.Windows
    if (
        layer.kernel_size == (winograd.TAPS, winograd.TAPS)
        and layer.compute_dtype == "float32"
        and min(layer.kernel.shape[2:]) >= CHANNELS
    ):
        if math.prod(layer.kernel.shape[2:]) >= PAIRS:
            return faster.Winograd
        return faster.KernelGradients if processor.has_only_avx2() else None
    return None


def _is_bilinear(layer):
    return is_bilinear(layer) and layer.compute_dtype == "float32"


def is_bilinear(layer: keras.Operation) -> bool:
    """Whether a layer interpolates each channel by itself, whatever it computes in."""
    if not (
        type(layer) is layers.Conv2DTranspose
        and layer.built
        and layer.padding == "valid"
        and layer.data_format == "channels_last"
        and layer.output_padding is None
        and layer.dilation_rate == (1, 1)
        and layer.strides[0] == layer.strides[1]
        and layer.kernel_size[0] == layer.kernel_size[1]
        and 2 * layer.strides[0] - layer.kernel_size[0] in (0, 1)
        and layer.filters == layer.kernel.shape[-1]
        and not layer.use_bias
        and layer.activation is keras.activations.linear
    ):
        return False
    filled = Bilinear()(layer.kernel.shape, layer.kernel.dtype)
    return bool(tf.reduce_all(tf.convert_to_tensor(layer.kernel) == filled))


def interpolations_of(network: keras.Model) -> list[keras.Layer]:
    """Returns the layers of what `with_products` returned that interpolate whatever `conv` is."""
    kinds = faster.Interpolation, InterpolatedCrop
    return [layer for layer in network.layers if isinstance(layer, kinds)]
