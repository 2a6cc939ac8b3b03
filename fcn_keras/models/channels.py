"""Images of any number of channels: what a network makes of them, and of weights for three.

An image that is no photograph has numbers of another range, and channels that no pre-trained weight
has seen. So each channel is first brought to the mean and the deviation that photographs have; from
there on all goes as with photographs, whose weights then see what they were trained on.
"""

import re
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from fcn_keras.errors import UserError

# Mean and deviation of ImageNet's photographs: red, green, blue.
PHOTO_MEAN = (123.675, 116.28, 103.53)
PHOTO_STD = (58.395, 57.12, 57.375)

# What the numbers in an image may be; the last one stands for all others.
DTYPES = ("uint8", "uint16", "float32")

# The layer that brings an image to a photograph's numbers is called this and the image's dtype.
FROM = "from_"


def extended(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    """Returns numbers of three colours for so many channels: further ones have their mean.

    Fewer than three channels are no colours: all have the mean.
    """
    mean = sum(numbers) / len(numbers)
    if channels < len(numbers):
        return (mean,) * channels
    return (*numbers, *(mean,) * (channels - len(numbers)))


def as_photograph(
    image: keras.KerasTensor, dtype: str, mean: Sequence[float], std: Sequence[float]
) -> keras.KerasTensor:
    """Brings each channel of an image to the mean and the deviation of a photograph's.

    Args:
        image: `(N, H, W, C)`; its first three channels, if there are so many, are red, green, blue.
        dtype: of the images, which the name of the layer keeps.
        mean: of each channel in the training set.
        std: how far it deviates from that there.

    Returns:
        `(N, H, W, C)`, float32.
    """
    scale = np.divide(extended(PHOTO_STD, len(mean)), std)
    offset = np.subtract(extended(PHOTO_MEAN, len(mean)), np.multiply(scale, mean))
    # Always float32: bfloat16 would round numbers of 16 bits before they are scaled.
    rescale = layers.Rescaling(
        scale.tolist(), offset.tolist(), dtype="float32", name=f"{FROM}{dtype}"
    )
    return rescale(image)


def stored_pixels(model: keras.Model) -> tuple[int, str] | None:
    """Returns channels and dtype of the images that a network takes; None if they are photographs.

    Networks that were made elsewhere take photographs if they have three channels, or bytes.
    """
    channels = model.input_shape[-1]
    layer = _rescaling(model)
    if layer:
        return channels, layer.name.removeprefix(FROM)
    if channels == len(PHOTO_MEAN):
        return None
    return channels, "uint16" if reads_depth(model) else "uint8"


def channel_numbers(model: keras.Model) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the mean and the deviation of each channel that a network was built with.

    Raises:
        UserError: if it takes photographs.
    """
    layer = _rescaling(model)
    if layer is None:
        raise UserError(f"{model.name}: takes photographs, of which it knows no other numbers.")
    scale, offset = np.asarray(layer.scale, "float64"), np.asarray(layer.offset, "float64")
    mean = (np.array(extended(PHOTO_MEAN, len(scale))) - offset) / scale
    std = np.array(extended(PHOTO_STD, len(scale))) / scale
    return tuple(mean.tolist()), tuple(std.tolist())


def _rescaling(model):
    for layer in model.layers:
        if isinstance(layer, layers.Rescaling) and re.fullmatch(
            f"{FROM}({'|'.join(DTYPES)})", layer.name
        ):
            return layer
    return None


def spread(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Returns a kernel for so many channels, of one for red, green and blue.

    The three keep theirs, and further channels get the mean of the three, as the reference does it
    for depth; so do fewer than three. Then all is multiplied by `3 / channels`: an image whose
    channels are all the same gives what a grey photograph gives.

    Args:
        kernel: `(h, w, 3, O)`, the colours in any order.
        channels: how many.

    Returns:
        `(h, w, channels, O)`.

    Reference:
        `nyud-fcn32s-color-d/solve.py` of shelhamer/fcn.berkeleyvision.org.
    """
    if channels == kernel.shape[2]:
        return kernel
    mean = kernel.mean(axis=2, keepdims=True, dtype="float64")
    kept = kernel if channels > kernel.shape[2] else kernel[:, :, :0]
    wide = np.concatenate([kept, *[mean] * (channels - kept.shape[2])], axis=2)
    return (wide * (kernel.shape[2] / channels)).astype(kernel.dtype)
