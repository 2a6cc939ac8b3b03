"""`train.py` for a small network with batch normalisation, in place of those that it builds."""

import sys

import keras
import numpy as np
from keras import layers

from fcn_keras import cli
from fcn_keras.training import initial_network


def network(num_classes=3, seed=0, width=8, momentum=0.9):
    """Normalises behind convolutions of all kinds; weights and statistics are drawn.

    On processors its `fc6` is computed as a product of matrices.
    """
    image = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 64, -2, name="scale")(image)
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name="conv1")(x)
    x = layers.BatchNormalization(momentum=momentum, name="norm1")(x)
    start = x = layers.ReLU(name="relu1")(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.BatchNormalization(momentum=momentum, center=False, name="norm2")(x)
    x = layers.ReLU(6.0, name="relu2")(x)
    x = layers.Conv2D(width, 1, use_bias=False, name="conv2")(x)
    x = layers.BatchNormalization(momentum=momentum, scale=False, name="norm3")(x)
    x = layers.Add(name="add")([start, x])
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name="fc6")(x)
    x = layers.BatchNormalization(momentum=momentum, epsilon=1e-5, name="norm4")(x)
    x = layers.ReLU(name="relu4")(x)
    x = layers.Conv2D(num_classes, 1, name="score_fr")(x)
    model = keras.Model(image, layers.Identity(dtype="float32", name="score")(x))
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith("kernel"):
            value = rng.normal(0, np.prod(weight.shape[:-1]) ** -0.5, weight.shape)
        elif weight.path.endswith(("mean", "beta")):
            value = rng.normal(0, 0.5, weight.shape)
        else:
            value = rng.uniform(0.5, 2, weight.shape)
        weight.assign(value)
    return model


def build(variant, num_classes, **options):
    return network(num_classes)


if __name__ == "__main__":
    initial_network.build = build
    sys.exit(cli.main("train"))
