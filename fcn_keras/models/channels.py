"""Images of any number of channels: what a network makes of them.

An image that is no photograph has numbers of another range, and channels that no pre-trained weight
has seen. So each channel is first brought to the mean and the deviation that photographs have; from
there on all goes as with photographs, whose weights then see what they were trained on.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.models.weights.first_layer import reads_depth

# Mean and deviation of ImageNet's photographs: red, green, blue.
PHOTO_MEAN = (123.675, 116.28, 103.53)
PHOTO_STD = (58.395, 57.12, 57.375)

# What the numbers in an image may be; the last one stands for all others.
DTYPES = ("uint8", "uint16", "float32")

# The layer that brings an image to a photograph's numbers is called this and the image's dtype.
FROM = "from_"


class Stored(NamedTuple):
    """What the images are that a network takes with their numbers as stored.

    Attributes:
        dtype: of their numbers, one of `DTYPES`.
        mean: of each channel in the training set.
        std: how far it deviates from that there.
    """

    dtype: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def checked_stored(
    channels: int,
    dtype: str,
    mean: Sequence[float] | None,
    std: float | Sequence[float] | None,
) -> Stored:
    """Returns what images are, as `fcn_keras.build` is told.

    Bytes of which nothing else is known are taken for those of photographs.

    Raises:
        UserError: if that cannot be.
    """
    if channels < 1:
        raise UserError(f"`channels` must be at least 1. Received: {channels}.")
    if dtype not in DTYPES:
        raise UserError(f"`input_dtype` must be one of {', '.join(DTYPES)}. Received: {dtype!r}.")
    if mean is None and std is None and dtype == "uint8":
        return Stored(dtype, extended(PHOTO_MEAN, channels), extended(PHOTO_STD, channels))
    means, stds = [
        _of_each_channel(name, numbers, channels, dtype)
        for name, numbers in (("input_mean", mean), ("input_std", std))
    ]
    if not (all(map(math.isfinite, means)) and all(0 < number < math.inf for number in stds)):
        raise UserError(
            "`input_mean` must be finite, and `input_std` above 0 and finite. "
            f"Received: {means} and {stds}."
        )
    return Stored(dtype, means, stds)


def _of_each_channel(name, numbers, channels, dtype):
    if not isinstance(numbers, list | tuple) or len(numbers) != channels:
        raise UserError(
            f"`{name}` must be {channels} numbers, one for each channel of {dtype}. "
            f"Received: {numbers}."
        )
    return tuple(map(float, numbers))


def extended(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    """Returns numbers of three colours for so many channels: further ones have their mean.

    Fewer than three channels are no colours: all have the mean.
    """
    mean = sum(numbers) / len(numbers)
    if channels < len(numbers):
        return (mean,) * channels
    return (*numbers, *(mean,) * (channels - len(numbers)))


def as_photograph(image: keras.KerasTensor, stored: Stored) -> keras.KerasTensor:
    """Brings each channel of an image to the mean and the deviation of a photograph's.

    Args:
        image: `(N, H, W, C)`; its first three channels, if there are so many, are red, green, blue.
        stored: what it holds. The name of the layer keeps the dtype.

    Returns:
        `(N, H, W, C)`, float32.
    """
    channels = len(stored.mean)
    scale = np.divide(extended(PHOTO_STD, channels), stored.std)
    offset = np.subtract(extended(PHOTO_MEAN, channels), scale * stored.mean)
    # Always float32: bfloat16 would round numbers of 16 bits before they are scaled.
    rescale = layers.Rescaling(
        scale.tolist(), offset.tolist(), dtype="float32", name=f"{FROM}{stored.dtype}"
    )
    return rescale(image)


def stored_numbers(model: keras.Model) -> Stored | None:
    """Returns what the images are that a network takes; None if they are photographs."""
    for layer in model.layers:
        dtype = layer.name.removeprefix(FROM)
        if isinstance(layer, layers.Rescaling) and layer.name != dtype and dtype in DTYPES:
            scale, offset = np.asarray(layer.scale), np.asarray(layer.offset)
            mean = (np.array(extended(PHOTO_MEAN, len(scale))) - offset) / scale
            std = np.array(extended(PHOTO_STD, len(scale))) / scale
            return Stored(dtype, tuple(mean.tolist()), tuple(std.tolist()))
    return None


def stored_pixels(model: keras.Model) -> tuple[int, str] | None:
    """Returns channels and dtype of the images that a network takes; None if they are photographs.

    Networks that were made elsewhere take photographs if they have three channels, or else bytes.
    """
    channels = model.input_shape[-1]
    stored = stored_numbers(model)
    if stored:
        return channels, stored.dtype
    if channels == len(PHOTO_MEAN):
        return None
    return channels, "uint16" if reads_depth(model) else "uint8"


def image_spec(model: keras.Model) -> tuple[tuple[int | None, ...], str]:
    """Returns the shape and the dtype of the images that a network takes: `(N, H, W, C)`."""
    _, dtype = stored_pixels(model) or (3, "uint8")
    return model.input_shape, dtype
