"""Keras' ImageNet weights of VGG16."""

import os
from pathlib import Path

import keras

from fcn_keras.errors import UserError, first_line
from fcn_keras.models.architecture import BLOCKS, CONV1_1_BGRD
from fcn_keras.models.surgery import convolutionalize
from fcn_keras.models.weights.copying import copy_weights
from fcn_keras.models.weights.first_layer import reads_depth

IMAGENET_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels.h5"

IMAGENET_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{IMAGENET_FILE}"

IMAGENET_MD5 = "64373286793e3c8b2b4e3219cbf3544b"


def load_classifier(model: keras.Model, path: str | Path) -> None:
    """Puts the weights of Keras' `VGG16(include_top=True)` into a network on this trunk.

    The dense layers fc1 and fc2 become fc6 (7x7) and fc7 (1x1); the 1000 ImageNet classes are
    left behind.

    Args:
        model: a network on VGG16 with `width=1`.
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
    copy_classifier(classifier, model)


def copy_classifier(classifier: keras.Model, model: keras.Model) -> None:
    """Puts the weights of Keras' VGG16 with its dense layers into a network on this trunk.

    Args:
        classifier: `keras.applications.VGG16(include_top=True)`.
        model: see `load_classifier`.

    Raises:
        UserError: if they do not fit.
    """
    names = {
        f"block{block}_conv{i}": f"conv{block}_{i}"
        for block, (_, convs) in enumerate(BLOCKS, start=1)
        for i in range(1, convs + 1)
    }
    names |= {"fc1": "fc6", "fc2": "fc7"}
    if reads_depth(model):
        names["block1_conv1"] = CONV1_1_BGRD
    copy_weights(convolutionalize(classifier), model, names)


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
        raise UserError(
            f"The ImageNet weights of VGG16 could not be fetched ({first_line(error)}). "
            f"Download {IMAGENET_URL} (md5 {IMAGENET_MD5}) on a machine with network access and "
            f"put it at {home / 'models' / IMAGENET_FILE}, or give its path as --weights; or train "
            "a narrow network from random weights with --recipe small."
        ) from error
