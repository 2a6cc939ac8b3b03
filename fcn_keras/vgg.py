"""The trunk: VGG16 with its dense layers as convolutions (section 4.1 of arXiv 1411.4038)."""

import math
import os
from pathlib import Path

import keras
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.feature import Feature, Trunk, convolve, pool, widen
from fcn_keras.geometry import Conv, DensePool, Pool, thin_border
from fcn_keras.surgery import convolutionalize, copy_weights

# (channels, convolutions) of each block; a pooling ends the block.
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
FC_CHANNELS = 4096

# Padding of conv1_1 and of fc6. The paper pads the image by 100 pixels, which leaves at least
# one fc6 cell for every image; "same" keeps each map as large as the one it is made from.
GEOMETRIES = {"paper": (100, 0), "same": (1, 3)}

# The blocks up to pool3, for leaving out what they would compute of the padding alone; behind
# them the border is too thin to gain anything.
_STAGES = [[Conv(3, pad=1)] * convs + [Pool()] for _, convs in BLOCKS[:3]]
_STAGES[0][0] = Conv(3)

IMAGENET_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels.h5"
IMAGENET_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{IMAGENET_FILE}"
IMAGENET_MD5 = "64373286793e3c8b2b4e3219cbf3544b"


def vgg16_trunk(
    image: Feature,
    geometry="paper",
    output_stride=32,
    width=1.0,
    dropout=0.5,
    suffix="",
    initializer="he_normal",
    elide_padding=True,
    source: Feature | None = None,
) -> Trunk:
    """Builds VGG16 as a fully convolutional trunk, from the image to fc7.

    Layers are named as in the reference (`conv1_1` ... `pool5`, `fc6`, `fc7`).

    Args:
        image: the preprocessed image.
        geometry: `"paper"` or `"same"`, see `GEOMETRIES`.
        output_stride: stride of fc7 on the image: 32, 16 or 8. Below 32 the last poolings move
            by one cell instead of two, and all that follows them is dilated: the same weights
            give the same numbers at the places where both look, and those between (the
            "filter rarefaction" of section 3.2).
        width: factor on the number of channels of every layer.
        dropout: rate of the dropout behind fc6 and fc7.
        suffix: what the names of layers end in.
        initializer: how kernels start.
        elide_padding: whether to compute what becomes of the image's padding once, and to
            repeat it, where it is the same in every row: the same maps from pool3 on.
        source: the image as it came in, which scores are cropped to; `image` if not given.

    Returns:
        A `Trunk` of the maps that FCN-32s, FCN-16s and FCN-8s score.
    """
    first_pad, fc6_pad = GEOMETRIES[geometry]
    borders = []
    if elide_padding:
        first_pad, borders = thin_border(_STAGES, first_pad)
    x, dilation = image, 1
    pools = {}
    for block, (channels, convs) in enumerate(BLOCKS, start=1):
        for i in range(1, convs + 1):
            pad = first_pad if (block, i) == (1, 1) else dilation
            conv = Conv(3, pad=pad, dilation=dilation)
            x = convolve(
                x,
                scaled(channels, width),
                conv,
                f"conv{block}_{i}{suffix}",
                initializer=initializer,
            )
        name = f"pool{block}{suffix}"
        if block <= len(borders):
            x = widen(pool(x, Pool(), f"{name}_thin"), borders[block - 1], name)
        elif x.grid.stride < output_stride:
            x = pool(x, Pool(), name)
        else:
            x = pool(x, DensePool(dilation=dilation), name)
            dilation *= 2
        pools[block] = x
    fc6 = Conv(7, pad=fc6_pad * dilation, dilation=dilation)
    fc6 = Conv(7, pad=fc6.pad + _missing_border(fc6.grid(x.grid)), dilation=dilation)
    for name, conv in (("fc6", fc6), ("fc7", Conv(1))):
        x = convolve(
            x, scaled(FC_CHANNELS, width), conv, f"{name}{suffix}", initializer=initializer
        )
        dropped = layers.Dropout(dropout, name=f"drop{name[-1]}{suffix}")(x.tensor)
        x = Feature(dropped, x.grid)
    return Trunk(source or image, x, pool4=pools[4], pool3=pools[3])


def _missing_border(grid):
    """How many cells a map must start earlier for its upsampled scores to reach pixel 0."""
    reach = (grid.stride * 2 - 1) / 2
    return max(0, math.ceil((grid.shift - reach) / grid.stride))


def scaled(channels: int, width: float) -> int:
    """Returns the number of channels of a layer that is `width` times as wide as VGG16's."""
    return max(1, round(channels * width))


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
