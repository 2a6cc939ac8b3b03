"""A network to export, and pictures as files."""

import io

import keras
import numpy as np
import tensorflow as tf
from helpers.classifiers import tiny
from PIL import Image

import fcn_keras
from fcn_keras.exporters.decoding import decode_or_skip

CLASSES = ["sky", "road", "car", "tree", "none of these"]
COLORS = [(i, 50 * i, 255 - i) for i in range(5)]


def photo(height, width, seed=0):
    """Patches of random colours under noise: all sorts of things to see, none of them smooth."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    image = patches.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    return (image + rng.integers(-20, 21, image.shape)).clip(0, 255).astype("uint8")


def encoded(image, format, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def network_to_export():
    keras.utils.set_random_seed(1)
    model = fcn_keras.build("fcn8s", 5, weights=None, width=0.03125, geometry="same")
    rng = np.random.default_rng(1)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = model.get_layer(name)
        layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    # No class above the others all over the picture.
    layer = model.get_layer("score_fr")
    kernel, bias = layer.get_weights()
    typical = np.median(model(photo(96, 96)[None]), axis=(0, 1, 2))
    layer.set_weights([kernel, bias - typical])
    return model


def network_on(backbone):
    """A network on a classifier, `"tiny"` or one of Keras', whose statistics and scores differ."""
    keras.utils.set_random_seed(1)
    if backbone == "tiny":
        model = fcn_keras.build("fcn8s", 5, backbone=tiny(), preprocessing="tf")
    else:
        width = 0.35 if backbone == "mobilenet_v2" else 1.0
        model = fcn_keras.build("fcn8s", 5, backbone=backbone, weights=None, width=width)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.weights])
        elif layer.name.startswith("score") and layer.weights:
            layer.set_weights([0.1 * rng.normal(size=w.shape) for w in layer.weights])
    return model


def tiny_network():
    image = keras.Input((None, None, 3))
    return keras.Model(image, keras.layers.Conv2D(5, 1)(image))


def tree(folder):
    """All that is in a folder, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def decoder(max_pixels):
    """`decode_or_skip` in a graph, as it is served; None for what it skips."""
    graph = tf.function(
        lambda data: decode_or_skip(data, max_pixels),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )

    def decode(data):
        image, good = graph(tf.constant(data))
        assert good or image.shape == (1, 1, 3)
        return image.numpy() if good else None

    return decode
