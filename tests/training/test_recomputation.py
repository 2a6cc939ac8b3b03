"""Pieces of networks on classifiers that are computed twice: the same gradients, in less memory."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.classifiers import scatter, tiny
from helpers.networks import small
from keras import layers

from fcn_keras import build
from fcn_keras.training.recomputation import Recomputed


def on_tiny(draw=None):
    """FCN-8s on a classifier of five strided blocks, with a layer that draws numbers behind one."""
    classifier = tiny(include_top=False)
    if draw:

        def call(layer, *args, **kwargs):
            made = layer(*args, **kwargs)
            return layers.Dropout(0.5, name="drawn")(made) if layer.name == draw else made

        classifier = keras.models.clone_model(classifier, call_function=call)
    return frozen(build("fcn8s", 3, backbone=classifier, preprocessing="tf", dropout=0.0))


def frozen(network):
    scatter(network)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
    return network


def pieces(network):
    """The names of the layers that make what is kept."""
    return [
        [tensor._keras_history.operation.name for tensor in block.outputs]
        for block in Recomputed(network).blocks
    ]


def gradients(call, network, images):
    # The same numbers are drawn each time.
    for seed in (state for state in network.non_trainable_variables if "seed" in state.path):
        seed.assign([1, 2])

    @tf.function
    def of(images):
        with tf.GradientTape() as tape:
            logits = call(images, training=True)
            loss = tf.reduce_mean(logits**2)
        return [logits, *tape.gradient(loss, network.trainable_variables)]

    return of(images)


def compare(network, size=(33, 47)):
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), "uint8")
    kept = gradients(network, network, tf.constant(images))
    recomputed = gradients(Recomputed(network), network, tf.constant(images))
    assert len(kept) > 10
    for one, other in zip(kept, recomputed, strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5 * np.abs(one).max())


def test_gradients_are_the_same():
    """Of a layer that draws numbers none is asked for twice: they would be other numbers."""
    network = on_tiny(draw="stem1")
    assert pieces(network) == [["stem0"], ["stem1"]]
    compare(network)


def test_where_networks_are_cut():
    # The narrowest, and the first of those that are as narrow.
    assert pieces(on_tiny()) == [["stem0"], ["stem1"], ["stem2"]]
    assert pieces(small("fcn8s", geometry="same")) == [["pool1"], ["pool2"], ["pool3"]]
    # Narrower than pool1, which is widened before conv2_1.
    assert pieces(small("fcn8s")) == [["pool1_thin"], ["pool2_thin"], ["pool3_thin"]]
    assert [sorted(names) for names in pieces(small("fcn32s-color-hha"))] == [
        [f"pool{number}{trunk}_thin" for trunk in ("color", "hha")] for number in (1, 2, 3)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone, options, number",
    [
        ("mobilenet_v2", {"width": 0.35}, 3),
        ("resnet50", {}, 3),
        # Drops whole blocks from stride 4 on.
        ("efficientnet_b0", {}, 2),
    ],
)
def test_classifiers(backbone, options, number):
    network = build("fcn8s", 3, backbone=backbone, weights=None, dropout=0.0, **options)
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if layer.name.startswith("score_") and layer.weights:
            layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
    assert len(pieces(network)) == number
    compare(network, (65, 40))
