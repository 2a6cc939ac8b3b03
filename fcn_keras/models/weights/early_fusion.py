"""What FCN-32s on colours and depth takes from a network on colours alone.

Its first layer reads a fourth channel, the depth, for which it starts with the mean of what the
others have.

Reference:
    `nyud-fcn32s-color-d/solve.py` of shelhamer/fcn.berkeleyvision.org.
"""

from collections.abc import Collection, Mapping

import keras
import numpy as np

from fcn_keras.models.architecture import CONV1_1_BGRD

# The layer of a network on colours in the place of `CONV1_1_BGRD`.
CONV1_1 = "conv1_1"


def with_depth(kernel: np.ndarray, axis: int) -> np.ndarray:
    """Appends a channel to those that a kernel reads: their mean.

    Args:
        kernel: of a convolution, BGR.
        axis: of the channels that it reads.
    """
    return np.concatenate([kernel, kernel.mean(axis=axis, keepdims=True)], axis=axis)


def blobs_with_depth(blobs: Mapping[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Returns weights in Caffe's layout with a first layer that reads depth, too."""
    found = dict(blobs)
    if CONV1_1 in found and CONV1_1_BGRD not in found:
        kernel, *bias = found.pop(CONV1_1)
        found[CONV1_1_BGRD] = [with_depth(kernel, 1), *bias]
    return found


def reads_depth(model: keras.Model) -> bool:
    """Whether a network's fourth channel is a depth in millimetres, of more than 8 bits."""
    return any(layer.name == CONV1_1_BGRD for layer in model.layers)


def fill_with_depth(colors: keras.Layer, model: keras.Model) -> bool:
    """Fills the first layer of a network on colours and depth.

    Args:
        colors: the first layer of a network on colours.
        model: the network on colours and depth.

    Returns:
        Whether it fits; if not, nothing is done.
    """
    target = model.get_layer(CONV1_1_BGRD)
    kernel, *bias = colors.get_weights()
    if kernel.ndim != 4:
        return False
    weights = [with_depth(kernel, 2), *bias]
    if [w.shape for w in weights] != [tuple(w.shape) for w in target.weights]:
        return False
    target.set_weights(weights)
    return True


def fill_the_rest(
    layers: Mapping[str, keras.Layer], model: keras.Model, others: Collection[str]
) -> list[str]:
    """Fills the first layer of a network whose other layers have been copied by their names.

    Args:
        layers: the layers of the network on colours by name.
        model: the network on colours and depth.
        others: names of layers that are still to be filled.

    Returns:
        Those of `others` that are not filled even so.
    """
    if CONV1_1_BGRD not in others or CONV1_1 not in layers:
        return [*others]
    filled = fill_with_depth(layers[CONV1_1], model)
    return [name for name in others if not (filled and name == CONV1_1_BGRD)]
