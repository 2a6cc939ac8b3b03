"""Padding that is computed once and repeated gives what padding computed everywhere gives."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import size_after

from fcn_keras import build
from fcn_keras.models.elision import Border, thin_border
from fcn_keras.models.geometry import Conv, Pool, Widen, walk
from fcn_keras.system.processor import has_only_avx2

VGG = [
    [Conv(3), Conv(3, pad=1), Pool()],
    [Conv(3, pad=1), Conv(3, pad=1), Pool()],
    [Conv(3, pad=1), Conv(3, pad=1), Conv(3, pad=1), Pool()],
]
NETWORKS = [("fcn8s", {}), ("fcn-alexnet", {}), ("fcn32s", {"output_stride": 8})]


def pair(variant, **options):
    """A network that elides its padding, and one that does not, of the same random weights."""
    rng = np.random.RandomState(0)
    networks = [
        build(variant, 3, weights=None, width=1 / 32, dropout=0, elide_padding=elide, **options)
        for elide in (True, False)
    ]
    # Biases make the padding other than zero, and scores show what the trunk says.
    weights = [
        rng.normal(size=w.shape) if w.ndim == 1 or "score" in v.path else w
        for v, w in zip(networks[0].variables, networks[0].get_weights(), strict=True)
    ]
    for network in networks:
        network.set_weights(weights)
    return networks


def maps_of(network, images):
    """pool3 to pool5 where there are any, and the scores."""
    names = {layer.name for layer in network.layers} & {"pool1", "pool3", "pool4", "pool5"}
    names -= {"pool1"} if "pool3" in names else set()
    outputs = [network.get_layer(name).output for name in sorted(names)]
    return keras.Model(network.input, [*outputs, network.output])(images)


@pytest.mark.parametrize(
    "variant, options",
    [NETWORKS[0], *(pytest.param(*network, marks=pytest.mark.slow) for network in NETWORKS[1:])],
)
def test_maps_are_equal(variant, options):
    """To the bit, but with AVX2 alone: what a sum is rounded to depends on its map's size there."""
    tolerance = 2e-6 if has_only_avx2() else 0
    elided, plain = pair(variant, **options)
    rng = np.random.RandomState(1)
    heights = [*range(1, 18), 33, 64, 97, 150]
    for height, width in zip(heights, rng.permutation(heights), strict=True):
        images = rng.randint(0, 256, (1, height, width, 3)).astype("uint8")
        for found, expected in zip(maps_of(elided, images), maps_of(plain, images), strict=True):
            scale = np.abs(expected).max()
            np.testing.assert_allclose(
                found, expected, rtol=0, atol=tolerance * scale, err_msg=f"{height}x{width}"
            )


# Sums over all pixels, of which a network without elision has more, are rounded in float32: by how
# much depends on how threads share them out. A bias of the dilated network was off by 2.7e-5.
@pytest.mark.parametrize("precision, tolerance", [("float64", 1e-6), ("float32", 5e-5)])
@pytest.mark.parametrize("variant, options", NETWORKS)
def test_gradients_are_equal(variant, options, precision, tolerance):
    images = np.random.RandomState(2).randint(0, 256, (2, 37, 60, 3)).astype("uint8")
    gradients = []
    keras.config.set_dtype_policy(precision)
    try:
        networks = pair(variant, **options)
    finally:
        keras.config.set_dtype_policy("float32")
    for network in networks:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(network(images)))
        gradients.append(tape.gradient(loss, network.trainable_variables))
    for found, expected in zip(*gradients, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def test_early_maps_are_smaller():
    elided, plain = pair("fcn8s")
    sizes = [
        keras.Model(network.input, network.get_layer("conv1_2").output)(
            np.zeros((1, 224, 224, 3), "uint8")
        ).shape[1]
        for network in (elided, plain)
    ]
    assert sizes == [224 + 16 - 2, 224 + 200 - 2]


def test_same_geometry_has_nothing_to_elide():
    names = [
        [
            layer.name
            for layer in build(
                "fcn8s", 2, geometry="same", elide_padding=elide, weights=None, width=1 / 64
            ).layers
        ]
        for elide in (True, False)
    ]
    assert names[0] == names[1]


def test_thin_border_of_vgg():
    assert thin_border(VGG, 100) == (8, [Widen(1, 6), Widen(2, 8), Widen(3, 6)])
    # A little padding has no row that nothing disturbs.
    assert thin_border(VGG, 20) == (20, [])


@pytest.mark.parametrize("pad", [60, 81, 97, 100, 101, 128])
def test_widened_maps_have_the_size_and_the_place_of_padded_ones(pad):
    thin, borders = thin_border(VGG, pad)
    assert thin < pad
    plain = [Conv(3, pad=pad), *VGG[0][1:], *VGG[1], *VGG[2]]
    layers = [Conv(3, pad=thin), *VGG[0][1:], borders[0], *VGG[1], borders[1], *VGG[2], borders[2]]
    assert walk(layers).shift == walk(plain).shift
    for size in range(1, 300):
        assert size_after(layers, size) == size_after(plain, size)


def test_border_by_hand():
    """Five zeros before an image: what a 3x3 convolution, and a pooling behind it, make of them."""
    border = Border(disturbed=0, alike=5).after(Conv(3))  # three rows see zeros alone
    assert border == Border(0, 3)
    border = border.after(Conv(3, pad=1))  # the first sees the padding, the third an image row
    assert border == Border(1, 2) and border.constant
    assert border.after(Pool()) == Border(1, 1)  # one row is left, and the edge disturbs it
    assert not border.after(Pool()).constant
