from functools import reduce

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.classifiers import classifier_of, conv, make_positive, scatter, tiny
from helpers.networks import scatter_scores
from keras import layers

from fcn_keras import UserError, build
from fcn_keras.inference.tiling import Tiling
from fcn_keras.models.geometry import Conv, Deconv, Pool, Sight

NETWORKS = {
    "fcn32s": {},
    "fcn16s": {},
    "fcn8s": {},
    "fcn8s, plain": {"elide_padding": False},
    "fcn8s, same": {"geometry": "same"},
    "fcn32s, same": {"geometry": "same"},
    "fcn8s-atonce": {},
    "fcn-alexnet": {},
    "fcn32s, 16": {"output_stride": 16},
    "fcn32s, 8, same": {"output_stride": 8, "geometry": "same"},
}


def network(name):
    """A narrow network all of whose layers matter."""
    keras.utils.set_random_seed(1)
    variant = name.partition(",")[0]
    model = build(variant, 3, weights=None, width=0.0625, **NETWORKS[name])
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if layer.name.startswith("score_"):
            layer.set_weights([rng.normal(0, 0.3, w.shape) for w in layer.get_weights()])
    return model


def photo(height, width):
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), "uint8")


def scores(model, image):
    return np.asarray(model(image[None]))[0]


def scores_by_parts(tiling, model, image):
    output = np.empty((*image.shape[:2], model.output_shape[-1]), "float32")
    return tiling.map(model, image, output)


# One of each kind: with skips and dilated, padded once, everywhere and half.
QUICK = ("fcn8s", "fcn8s, same", "fcn-alexnet", "fcn32s, 8, same")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NETWORKS],
)
def test_parts_make_the_whole(name):
    model = network(name)
    # A part that needs nothing of the far end of the image, and parts that are cut short.
    for height, width, tile in ((333, 640, 150), (47, 530, 97)):
        image = photo(height, width)
        whole = scores(model, image)
        parts = scores_by_parts(Tiling(model, tile), model, image)
        assert np.ptp(whole) > 1
        np.testing.assert_allclose(parts, whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["fcn8s", "fcn32s, same"])
def test_what_lies_around_a_part_is_needed(name):
    model, image = network(name), photo(40, 700)
    tiling = Tiling(model, 200)
    tiling.reach -= 50
    difference = np.abs(scores_by_parts(tiling, model, image) - scores(model, image)).max()
    assert difference > 1e-3


def reach(layers):
    return reduce(Sight.behind, layers, Sight()).reach


def test_reach():
    # VGG16's fc6 sees 404 pixels (the published receptive field of its pool5, 212, and 6 cells).
    block = [Conv(3, pad=1), Conv(3, pad=1), Pool()]
    longer = [Conv(3, pad=1), *block]
    assert reach([*block, *block, *longer, *longer, *longer, Conv(7)]) * 2 + 1 == 404
    # A bilinear kernel of 4 reads the cells left and right of a pixel of half their stride.
    assert reach([Conv(1, stride=2), Deconv(4, 2)]) == 1.5


@pytest.mark.parametrize("length, tile", [(1, 1), (500, 500), (500, 177), (31, 500), (1000, 32)])
def test_parts_cover_an_axis_once(length, tile):
    tiling = Tiling(network("fcn8s"), tile)
    covered = np.zeros(length, int)
    pixels = np.arange(length)
    for seen, part, inner in tiling.parts(length):
        covered[part] += 1
        np.testing.assert_array_equal(pixels[seen][inner], pixels[part])
        assert 0 <= seen.start <= part.start < part.stop <= seen.stop <= length
        assert seen.start % 32 == 0
        assert part.start - seen.start < tiling.reach + tiling.stride
        assert seen.stop - part.stop <= tiling.reach
    np.testing.assert_array_equal(covered, 1)


def on_classifier(classifier, variant="fcn8s"):
    return scatter(build(variant, 3, backbone=classifier, preprocessing="tf", dropout=0))


def unpadded():
    """As InceptionV3 begins and goes on: windows without padding, and such along one axis."""
    unpadded = [conv(3, 2, "valid") for _ in range(5)]
    flat = [conv((1, 5)), conv((3, 1)), layers.AveragePooling2D(3, 1, "same")]
    return classifier_of(299, unpadded[0], *flat, *unpadded[1:], name="unpadded")


@pytest.mark.parametrize("make", [tiny, unpadded])
def test_parts_on_classifiers(make):
    model = on_classifier(make())
    for height, width, tile in ((35, 510, 97), (240, 63, 120)):
        assert_parts_make_the_whole(model, Tiling(model, tile), photo(height, width))
    tiling = Tiling(model, 97)
    assert tiling.stride == 32
    tiling.reach //= 2
    whole = scores(model, photo(35, 510))
    parts = scores_by_parts(tiling, model, photo(35, 510))
    assert np.abs(parts - whole).max() > 1e-4 * np.ptp(whole)


def test_steps_are_those_that_images_are_padded_to():
    model = build("fcn32s", 3, backbone=tiny(), preprocessing="tf", output_stride=8)
    scatter(model)
    tiling = Tiling(model, 70)
    assert tiling.stride == 32
    assert_parts_make_the_whole(model, tiling, photo(40, 431))


def assert_parts_make_the_whole(model, tiling, image):
    whole = scores(model, image)
    assert np.ptp(whole) > 0.1
    parts = scores_by_parts(tiling, model, image)
    np.testing.assert_allclose(parts, whole, atol=1e-5 * np.abs(whole).max(), rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet50", "inception_v3"])
def test_parts_on_classifiers_of_keras(backbone):
    keras.utils.set_random_seed(1)
    model = scatter_scores(build("fcn8s", 3, backbone=backbone, weights=None))
    tiling = Tiling(model, 650)
    # Longer than what is seen for the first part, and for the last.
    assert 650 + tiling.reach + 32 < 2599
    assert_parts_make_the_whole(model, tiling, photo(3, 2599))


def test_reach_is_what_a_pixel_sees():
    model = make_positive(build("fcn32s", 3, backbone=tiny(), preprocessing="tf", dropout=0))
    image = tf.fill((1, 401, 1, 3), 200.0)

    @tf.function
    def gradient(row):
        with tf.GradientTape() as tape:
            tape.watch(image)
            score = model(image)[0, row, 0, 0]
        return tape.gradient(score, image)[0, :, 0]

    farthest = 0
    for row in range(180, 212):  # one of each kind
        seen = np.flatnonzero(np.any(gradient(tf.constant(row)), axis=1))
        farthest = max(farthest, row - seen[0], seen[-1] - row)
    assert Tiling(model, 1).reach == farthest


def squeezed():
    """A classifier that scales its channels by what is in the whole image."""
    x = image = keras.Input((None, None, 3))
    for number in range(5):
        x = layers.Conv2D(4, 2, 2, padding="same", activation="relu")(x)
        if number == 3:
            mean = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
            x = layers.Multiply(name="excite")([x, layers.Conv2D(4, 1)(mean)])
    return keras.Model(image, x, name="squeezed")


def test_what_sees_the_whole_image_is_refused():
    model = build("fcn8s", 3, backbone=squeezed(), preprocessing="tf", weights=None)
    with pytest.raises(UserError, match="with fcn8s: its layer squeeze .GlobalAveragePooling2D. "):
        Tiling(model, 100)
    for layer in (
        layers.GroupNormalization(3, name="other"),
        layers.LayerNormalization(axis=(1, 2, 3), name="other"),
        layers.UpSampling2D(name="other"),
    ):
        image = keras.Input((9, 9, 3))
        x = layers.Rescaling(1.0, name="normalize")(image)
        with pytest.raises(UserError, match=rf"its layer other \({type(layer).__name__}\) sees"):
            Tiling(keras.Model(image, layers.Conv2D(3, 1)(layer(x))), 100)


def test_mistakes():
    with pytest.raises(UserError, match="`tile` must be at least 1. Received: 0"):
        Tiling(network("fcn8s"), 0)
    image = keras.Input((None, None, 3))
    other = keras.Model(image, layers.Conv2D(3, 3, padding="same")(image), name="other")
    with pytest.raises(UserError, match="of this package.*other"):
        Tiling(other, 100)
