"""Small networks, pictures for them, and what the paper says of both."""

import keras
import numpy as np

from fcn_keras import build
from fcn_keras.models.variants import ALEXNET, COLOR_D, COLOR_HHA, HHA

GEOMETRIES = ("paper", "same")
# Those of one VGG16; test_alexnet.py and test_fusion.py have what the others are like inside.
VGG = ("fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce", HHA)
# For tests of files: every variant, and each geometry some times.
NETWORKS = [
    ("fcn32s", "paper"),
    ("fcn16s", "same"),
    ("fcn8s", "paper"),
    ("fcn8s-atonce", "same"),
    (ALEXNET, "paper"),
    (HHA, "same"),
    (COLOR_D, "paper"),
    (COLOR_HHA, "paper"),
]
WIDTH = 1 / 16
SIZES = [(1, 1), (1, 7), (37, 53), (97, 130), (375, 500), (500, 334)]

TRUNK = [
    *("conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "pool2"),
    *("conv3_1", "conv3_2", "conv3_3", "pool3", "conv4_1", "conv4_2", "conv4_3", "pool4"),
    *("conv5_1", "conv5_2", "conv5_3", "pool5", "fc6", "drop6", "fc7", "drop7"),
]
HEADS = {
    "fcn32s": ["score_fr", "upscore"],
    "fcn16s": ["score_fr", "upscore2", "score_pool4", "fuse_pool4", "upscore16"],
    "fcn8s": [
        *("score_fr", "upscore2", "score_pool4", "fuse_pool4"),
        *("upscore_pool4", "score_pool3", "fuse_pool3", "upscore8"),
    ],
}
HEADS["fcn8s-atonce"] = [*HEADS["fcn8s"], "scale_pool4", "scale_pool3"]
HEADS[HHA] = HEADS["fcn32s"]

# Kernel and stride of the upsampling layers.
DECONVS = {
    "upscore": (64, 32),
    "upscore2": (4, 2),
    "upscore16": (32, 16),
    "upscore_pool4": (4, 2),
    "upscore8": (16, 8),
}

# Where the cells of each map lie on the image, from the coordinate rule in the paper's reference:
# cell `i` of pool3 looks at `8 * i + shift`, and so on.
SHIFTS = {
    "paper": {"pool3": -95.5, "pool4": -91.5, "drop7": 12.5},
    "same": {"pool3": 3.5, "pool4": 7.5, "drop7": 15.5},
}
STRIDES = {"pool3": 8, "pool4": 16, "drop7": 32}
FIELDS = {"pool3": 44, "pool4": 100, "drop7": 404}


def small(variant="fcn8s", num_classes=3, **options):
    return build(variant, num_classes, **({"weights": None, "width": WIDTH} | options))


def scatter_scores(model, seed=0):
    """Gives the layers that score random weights in place of zeros, so that scores differ."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name.startswith("score_") and layer.weights:
            kernel, bias = layer.get_weights()
            kernel = rng.normal(0, kernel.shape[2] ** -0.5, kernel.shape)
            layer.set_weights([kernel, rng.normal(0, 1, bias.shape)])
    return model


def photo(height, width, count=1, seed=0, channels=3):
    """RGB bytes with structure of all sizes, as photographs have."""
    rng = np.random.default_rng(seed)
    image = np.zeros((count, height, width, channels))
    for cells in (2, 5, 20):
        coarse = rng.uniform(-80, 80, (count, cells, cells, channels))
        image += np.asarray(keras.ops.image.resize(coarse, (height, width)))
    return np.clip(image + 128, 0, 255).astype("uint8")


def photo_for(model, height, width):
    return photo(height, width, channels=model.input_shape[-1])


def outputs_of(model, image, *names):
    """What some of a model's layers make of an image: layer name -> array."""
    inner = keras.Model(model.input, {name: model.get_layer(name).output for name in names})
    return {name: np.asarray(output) for name, output in inner(image).items()}


def scaled(channels, width):
    return max(1, round(channels * width))


def parameters(variant, classes, width):
    """Weights and biases, summed up from the paper's table of layers."""
    total, last, at = 0, 3, {}
    for block, (channels, convs) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 1):
        for _ in range(convs):
            total += 3 * 3 * last * scaled(channels, width) + scaled(channels, width)
            last = scaled(channels, width)
        at[f"score_pool{block}"] = last
    fc = scaled(4096, width)
    total += 7 * 7 * last * fc + fc + fc * fc + fc
    at["score_fr"] = fc
    for name in HEADS[variant]:
        if name in at:
            total += at[name] * classes + classes
        elif name in DECONVS:
            total += DECONVS[name][0] ** 2 * classes**2  # no bias
    return total


def size_after(layers, n):
    """How many cells an axis of `n` pixels has after `layers`."""
    for layer in layers:
        n = layer.size(n)
    return n
