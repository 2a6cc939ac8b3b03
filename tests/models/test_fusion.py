"""Depth in place of colours, and beside them: FCN-32s on HHA, and late fusion."""

import keras
import numpy as np
import pytest
from helpers.networks import (
    DECONVS,
    TRUNK,
    WIDTH,
    outputs_of,
    parameters,
    photo,
    scatter_scores,
    small,
)

from fcn_keras.models.variants import COLOR_HHA, HHA

HHA_MEAN = (132.431, 94.076, 118.477)


def test_layers():
    names = [layer.name for layer in small(COLOR_HHA).layers]
    for suffix in ("color", "hha"):
        trunk = [f"{name}{suffix}" for name in TRUNK]
        assert [name for name in names if name in trunk] == trunk
        assert f"score_fr{suffix}" in names
    assert {"score_fused", "upscore", "score"} <= {*names}
    assert not {*TRUNK} & {*names}


@pytest.mark.parametrize("classes", [3, 40])
def test_parameters(classes):
    deconv = DECONVS["upscore"][0] ** 2 * classes**2
    expected = 2 * (parameters("fcn32s", classes, WIDTH) - deconv) + deconv
    assert small(COLOR_HHA, classes).count_params() == expected
    assert small(HHA, classes).count_params() == parameters("fcn32s", classes, WIDTH)


def test_depth_keeps_its_order():
    """Colours are turned into BGR; the channels of HHA stay as they are in the file."""
    pixel = np.array([[[[10, 20, 30, 40, 50, 60]]]], "uint8")
    found = outputs_of(small(HHA, input_std=2.0), pixel[..., 3:], "normalize")["normalize"]
    depth = [(value - mean) / 2 for value, mean in zip((40, 50, 60), HHA_MEAN, strict=True)]
    np.testing.assert_allclose(found[0, 0, 0], depth, rtol=1e-5)

    model = small(COLOR_HHA, input_std=2.0)
    found = outputs_of(model, pixel, "normalizecolor", "normalizehha")
    np.testing.assert_allclose(found["normalizehha"][0, 0, 0], depth, rtol=1e-5)
    colors = [(30 - 103.939) / 2, (20 - 116.779) / 2, (10 - 123.68) / 2]
    np.testing.assert_allclose(found["normalizecolor"][0, 0, 0], colors, rtol=1e-5)


@pytest.mark.parametrize("geometry", ["paper", "same"])
def test_scores_are_the_mean_of_both(geometry):
    fused = scatter_scores(small(COLOR_HHA, geometry=geometry))
    image = photo(41, 60, channels=6)
    logits = []
    for suffix, part, variant in (("color", slice(0, 3), "fcn32s"), ("hha", slice(3, 6), HHA)):
        single = small(variant, geometry=geometry)
        for layer in single.layers:
            if layer.weights and layer.name != "upscore":
                layer.set_weights(fused.get_layer(f"{layer.name}{suffix}").get_weights())
        logits.append(np.asarray(single(image[..., part])))
    assert np.abs(logits[0] - logits[1]).max() > 0.1
    np.testing.assert_allclose(fused(image), (logits[0] + logits[1]) / 2, atol=1e-5)


def test_two_heads():
    model = small(COLOR_HHA, {"sem": 3, "geo": 2})
    found = model(photo(24, 30, channels=6))
    assert {name: scores.shape[1:] for name, scores in found.items()} == {
        "sem": (24, 30, 3),
        "geo": (24, 30, 2),
    }


def test_scores_lie_over_the_pixels_they_belong_to():
    model = small(COLOR_HHA, num_classes=2)
    inputs = [model.get_layer(f"drop7{suffix}").output for suffix in ("color", "hha")]
    heads = keras.Model([model.input, *inputs], model.output)
    for suffix, share in (("color", 0.5), ("hha", 1.5)):
        conv = model.get_layer(f"score_fr{suffix}")
        kernel, bias = (np.zeros_like(w) for w in conv.get_weights())
        kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = share
        conv.set_weights([kernel, bias])
    size = (131, 97)
    image = np.zeros((1, *size, 6), "float32")
    place = np.zeros_like(outputs_of(model, image, "drop7hha")["drop7hha"])
    y, x = (32 * np.arange(n) + 12.5 for n in place.shape[1:3])
    place[0, ..., 0], place[0, ..., 1] = y[:, None], x
    found = np.asarray(heads([image, place, place]))[0]
    inside = (slice(13, min(131, int(y[-1]) + 1)), slice(13, min(97, int(x[-1]) + 1)))
    expected = np.moveaxis(np.mgrid[: size[0], : size[1]], 0, -1)
    assert np.abs(found[inside] - expected[inside]).max() < 1e-4


def test_both_trunks_learn():
    model = scatter_scores(small(COLOR_HHA, num_classes=2, width=1 / 32, dropout=0.0))
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,
    )
    before = {w.path: w.numpy() for w in model.trainable_weights}
    image = photo(24, 30, channels=6)
    model.train_on_batch(image, (image[..., :1] > 128).astype("uint8"))
    for weight in model.trainable_weights:
        assert (weight.numpy() != before[weight.path]).any(), weight.path
