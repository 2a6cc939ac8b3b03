"""The layer that sees the image, where it has other channels than the three of its weights.

Reference:
    `nyud-fcn32s-color-d/solve.py` of shelhamer/fcn.berkeleyvision.org.
"""

from collections.abc import Mapping

import keras
import numpy as np

from fcn_keras.models.architecture import CONV1_1_BGRD

COLORS = 3

# What it is called on VGG16 and on CaffeNet.
CONV1_1, CONV1 = "conv1_1", "conv1"


def reads_depth(model: keras.Model) -> bool:
    """Whether a network's fourth channel is a depth in millimetres, of more than 8 bits."""
    return any(layer.name == CONV1_1_BGRD for layer in model.layers)


def widened(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Returns a kernel for so many channels, of one for red, green and blue.

    The three keep theirs, and further channels get the mean of the three, as the reference does it
    for depth; so do fewer than three.

    Args:
        kernel: `(h, w, 3, O)`, the colours in any order.
        channels: how many.

    Returns:
        `(h, w, channels, O)`.
    """
    mean = kernel.mean(axis=2, keepdims=True, dtype="float64").astype(kernel.dtype)
    kept = kernel if channels >= COLORS else kernel[:, :, :0]
    return np.concatenate([kept, *[mean] * (channels - kept.shape[2])], axis=2)


def spread(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Returns what `widened` does, times `3 / channels`.

    So an image whose channels are all the same gives what a grey photograph gives.
    """
    return widened(kernel, channels) * np.asarray(COLORS / channels, kernel.dtype)


def blobs_for(model: keras.Model, blobs: Mapping[str, list[np.ndarray]]) -> dict:
    """Returns a classifier's weights in Caffe's layout for the images that a network takes."""
    found = dict(blobs)
    for name in {CONV1_1, CONV1} & {*found}:
        kernel, *bias = found.pop(name)
        depth = reads_depth(model)
        if kernel.ndim == 4 and kernel.shape[1] == COLORS != model.input_shape[-1]:
            widen = widened if depth else spread
            wide = widen(kernel.transpose(2, 3, 1, 0), model.input_shape[-1])
            kernel = wide.transpose(3, 2, 0, 1)
        found[CONV1_1_BGRD if depth else name] = [kernel, *bias]
    return found
