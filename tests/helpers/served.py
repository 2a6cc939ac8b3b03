"""An exported network, and what it answers."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fcn_keras.exporters.saved_model import export

CLASSES = 5


def encoded(image, format="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format)
    return file.getvalue()


def write_network(folder):
    keras.utils.set_random_seed(3)
    image = keras.Input((None, None, 3))
    scores = keras.layers.Conv2D(CLASSES, 3, padding="same", bias_initializer="normal")(image)
    colors = [(i, i, i) for i in range(CLASSES)]
    return export(keras.Model(image, scores), folder, list("abcde"), colors)


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """The signatures of an exported network."""
    loaded = tf.saved_model.load(write_network(tmp_path_factory.mktemp("exported")))
    yield loaded.signatures


@pytest.fixture(scope="session")
def files():
    """Image files of several sizes, one of them broken."""
    rng = np.random.default_rng(5)
    sizes = [(1, 1), (31, 45), (20, 7), (64, 64), (9, 100)]
    images = [rng.integers(0, 256, (*size, 3), "uint8") for size in sizes]
    formats = ["PNG", "JPEG", "BMP", "PNG", "JPEG"]
    contents = [encoded(image, format) for image, format in zip(images, formats, strict=True)]
    return [*contents[:3], contents[3][:200], *contents[3:]]


@pytest.fixture(scope="session")
def right(network, files):
    """The label maps of `files`; None for the broken one."""
    masks = network["serving_default"](image_bytes=tf.constant(files))["mask_bytes"].numpy()
    label_maps = [tf.io.decode_png(mask)[:, :, 0].numpy() if mask else None for mask in masks]
    assert [m is None for m in label_maps] == [False, False, False, True, False, False]
    assert len(np.unique(label_maps[4])) > 2
    return label_maps


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for label_map, wanted in zip(found, expected, strict=True):
        if wanted is None:
            assert label_map is None
        else:
            assert label_map.dtype == np.uint8
            np.testing.assert_array_equal(label_map, wanted)
