"""The trunk: VGG16 with its dense layers as convolutions (section 4.1 of arXiv 1411.4038)."""

import os
from pathlib import Path
from typing import NamedTuple

import keras
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.geometry import IMAGE, Conv, Grid, Pool
from fcn_keras.surgery import convolutionalize, copy_weights

# (channels, convolutions) of each block; a pooling ends the block.
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
FC_CHANNELS = 4096

# What Keras' VGG16 weights expect: BGR on a scale of 0..255 less this mean.
IMAGENET_MEAN = (103.939, 116.779, 123.68)

# Grey levels of a usual photograph scatter by about this much: dividing by it lets a random
# start see numbers of order one, which He scaling then carries through all 16 layers.
RANDOM_START_STD = 64.0

# Padding of conv1_1 and of fc6. The paper pads the image by 100 pixels, which leaves at least
# one fc6 cell for every image; "same" keeps each map as large as the one it is made from.
GEOMETRIES = {"paper": (100, 0), "same": (1, 3)}

IMAGENET_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels.h5"
IMAGENET_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{IMAGENET_FILE}"
IMAGENET_MD5 = "64373286793e3c8b2b4e3219cbf3544b"


class Feature(NamedTuple):
    """A feature map and where it lies on the image."""

    tensor: keras.KerasTensor
    grid: Grid


class Trunk(NamedTuple):
    """The maps that the heads read, at strides 1, 8, 16 and 32."""

    image: Feature
    pool3: Feature
    pool4: Feature
    fc7: Feature


def vgg16_trunk(
    image, geometry="paper", width=1.0, dropout=0.5, input_mean=IMAGENET_MEAN, input_std=1.0
) -> Trunk:
    """Builds VGG16 as a fully convolutional trunk, from the image to fc7.

    Layers are named as in the reference (`conv1_1` ... `pool5`, `fc6`, `fc7`) and start from
    He's scaling, from which a deep net without normalisation layers trains.

    Args:
        image: `keras.KerasTensor` of shape `(N, H, W, 3)`, RGB in 0..255.
        geometry: `"paper"` or `"same"`, see `GEOMETRIES`.
        width: factor on the number of channels of every layer.
        dropout: rate of the dropout behind fc6 and fc7.
        input_mean: BGR mean that is subtracted from the image.
        input_std: number that the image is divided by.

    Returns:
        A `Trunk` of the maps that FCN-32s, FCN-16s and FCN-8s score.
    """
    first_pad, fc6_pad = GEOMETRIES[geometry]
    x = keras.ops.flip(image, axis=-1)
    # Always float32: bfloat16 would round the mean before it is subtracted.
    x = layers.Normalization(
        mean=list(input_mean), variance=[input_std**2] * 3, dtype="float32", name="normalize"
    )(x)
    grid = IMAGE
    pools = {}
    for block, (channels, convs) in enumerate(BLOCKS, start=1):
        for i in range(1, convs + 1):
            pad = first_pad if (block, i) == (1, 1) else 1
            x, grid = _conv(x, grid, scaled(channels, width), Conv(3, pad=pad), f"conv{block}_{i}")
        pool = Pool()
        # "same" is Caffe's rounding up: for kernel 2 and stride 2 the two are equal.
        x = layers.MaxPooling2D(pool.kernel, pool.stride, "same", name=f"pool{block}")(x)
        grid = pool.grid(grid)
        pools[f"pool{block}"] = Feature(x, grid)
    fc_channels = scaled(FC_CHANNELS, width)
    for name, conv in (("fc6", Conv(7, pad=fc6_pad)), ("fc7", Conv(1))):
        x, grid = _conv(x, grid, fc_channels, conv, name)
        x = layers.Dropout(dropout, name=f"drop{name[-1]}")(x)
    return Trunk(Feature(image, IMAGE), pools["pool3"], pools["pool4"], Feature(x, grid))


def scaled(channels: int, width: float) -> int:
    """Returns the number of channels of a layer that is `width` times as wide as VGG16's."""
    return max(1, round(channels * width))


def _conv(x, grid, channels, conv, name):
    same = 2 * conv.pad == conv.kernel - 1
    if not same and conv.pad:
        x = layers.ZeroPadding2D(conv.pad, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        channels,
        conv.kernel,
        padding="same" if same else "valid",
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return x, conv.grid(grid)


def load_classifier(model: keras.Model, path: str | Path):
    """Puts the weights of Keras' `VGG16(include_top=True)` into a network on this trunk.

    The dense layers fc1 and fc2 become fc6 (7x7) and fc7 (1x1); the 1000 ImageNet classes are
    left behind.

    Args:
        model: a network built on `vgg16_trunk` with `width=1`.
        path: Keras' `.h5` file of the classifier's weights, see `fetch_imagenet`.

    Raises:
        UserError: if the weights do not fit.
    """
    try:
        classifier = keras.applications.VGG16(weights=str(path))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a file of VGG16's weights with its dense layers, as Keras keeps them "
            f"({IMAGENET_URL}, md5 {IMAGENET_MD5}): {error}"
        ) from error
    names = {
        f"block{block}_conv{i}": f"conv{block}_{i}"
        for block, (_, convs) in enumerate(BLOCKS, start=1)
        for i in range(1, convs + 1)
    }
    copy_weights(convolutionalize(classifier), model, names | {"fc1": "fc6", "fc2": "fc7"})


def fetch_imagenet() -> Path:
    """Returns the file of VGG16's ImageNet weights, fetched by Keras the first time.

    Raises:
        UserError: if that fails; says what to do.
    """
    try:
        return Path(
            keras.utils.get_file(
                IMAGENET_FILE, IMAGENET_URL, cache_subdir="models", file_hash=IMAGENET_MD5
            )
        )
    # get_file wraps every failure of the network in a bare Exception.
    except Exception as error:
        home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
        reason = str(error).splitlines()[0]
        raise UserError(
            f"The ImageNet weights of VGG16 could not be fetched ({reason}). "
            f"Download {IMAGENET_URL} (md5 {IMAGENET_MD5}) on a machine with network access and "
            f"put it at {home / 'models' / IMAGENET_FILE}, or give its path as --weights; or train "
            "a narrow network from random weights with --recipe small."
        ) from error
