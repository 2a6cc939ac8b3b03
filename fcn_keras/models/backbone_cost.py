"""What a network on a classifier of Keras' computes and keeps for one image, by its own layers."""

from typing import Any

import keras
import numpy as np
from keras import layers

from fcn_keras.models.fcn import build
from fcn_keras.models.layer_cost import LayerCost
from fcn_keras.models.sights import calls_of

_DENSE = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense)
_TRANSPOSED = layers.Conv2DTranspose
# What makes no numbers of its own.
_FREE = (layers.InputLayer, layers.Dropout, layers.Identity)
# What is float32 under every precision policy.
_FLOAT32 = ("normalize", "standardize", "score")


def backbone_costs(
    variant: str, size: tuple[int, int], num_classes: int, **options: Any
) -> list[LayerCost]:
    """Counts what each layer takes, batch normalisation as if it were frozen.

    Args:
        variant, num_classes, options: see `fcn_keras.build`, by which the network is built.
        size: height and width of the image.

    Raises:
        UserError: if there is no such network.
    """
    network = build(variant, num_classes, weights=None, input_shape=(*size, 3), **options)
    costs: list[LayerCost] = []
    for call in calls_of(network):
        layer = call.operation
        is_layer = isinstance(layer, keras.Layer)
        if is_layer and (not isinstance(layer, _FREE) or layer.name in _FLOAT32):
            seen = any(cost.macs for cost in costs)
            costs.append(_cost(layer, call.input_tensors[0], call.output_tensors[0], not seen))
    return costs


def _cost(layer, taken, made, first):
    height, width = _sides(made)
    places = _sides(taken if isinstance(layer, _TRANSPOSED) else made)
    kernels = [x for x in layer.weights if len(x.shape) > 1]
    macs = 0
    if isinstance(layer, (*_DENSE, _TRANSPOSED)):
        # Each place is as many products as the kernels have numbers.
        macs = int(np.prod(places) * sum(np.prod(x.shape) for x in kernels))
    frozen = isinstance(layer, layers.BatchNormalization)
    return LayerCost(
        layer.name,
        height,
        width,
        int(made.shape[-1]),
        macs,
        int(layer.count_params()),
        trained=bool(layer.trainable_weights) and not frozen,
        first=first and macs > 0,
        float32=layer.name in _FLOAT32,
    )


def _sides(tensor):
    """Height and width of a map; 1 for numbers about the whole image."""
    return tensor.shape[1:3] if len(tensor.shape) == 4 else (1, 1)
