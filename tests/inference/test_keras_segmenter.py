import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras import UserError, build
from fcn_keras.inference.keras_segmenter import make_segmenter

CLASSES = 4


@pytest.fixture(scope="module")
def network():
    """A network that sees what lies to the left of a pixel only."""
    image = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D(CLASSES, (1, 3), padding="same")
    model = keras.Model(image, conv(image))
    kernel = np.random.default_rng(0).normal(0, 0.05, (1, 3, 3, CLASSES))
    kernel[:, 2] = 0
    conv.set_weights([kernel, np.zeros(CLASSES)])
    return model


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (24, 37, 3), "uint8")


def probabilities(network, image):
    logits = np.asarray(network(np.asarray(image, "float32")[None]))[0]
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def resized(array, height, width):
    """Pillow's own way of scaling, channel by channel."""
    channels = [
        np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR))
        for channel in np.moveaxis(np.asarray(array, "float32"), -1, 0)
    ]
    return np.stack(channels, axis=-1)


def test_the_mirrored_image_counts_as_much(network, image):
    straight = probabilities(network, image)
    mean = straight + probabilities(network, image[:, ::-1])[:, ::-1]
    found = make_segmenter(network, flip=True)(image[None])[0].numpy()
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, mean.argmax(axis=-1))
    assert (found != straight.argmax(axis=-1)).any()


def test_every_scale_counts_as_much(network, image):
    total = 0
    for height, width in ((18, 28), (24, 37), (36, 56)):  # 27.75 and 55.5 columns, rounded
        seen = probabilities(network, resized(image, height, width))
        total = total + resized(seen, *image.shape[:2])
    best = np.sort(total, axis=-1)
    clear = best[..., -1] - best[..., -2] > 1e-4  # the two ways of scaling round differently
    found = make_segmenter(network, scales=(0.75, 1, 1.5))(image[None])[0].numpy()
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found[clear], total.argmax(axis=-1)[clear])
    assert (found != probabilities(network, image).argmax(axis=-1)).any()


def test_a_scale_leaves_a_pixel(network):
    image = np.zeros((1, 1, 1, 3), "uint8")
    assert make_segmenter(network, scales=(0.1,))(image).shape == (1, 1, 1)


def test_parts_and_views_together():
    keras.utils.set_random_seed(0)
    model = build("fcn8s", 3, weights=None, width=0.0625)
    rng = np.random.default_rng(1)
    for name in ("score_pool3", "score_fr"):
        layer = model.get_layer(name)
        weights = [rng.normal(0, 1, w.shape) for w in layer.get_weights()]
        layer.set_weights([weights[0], 0 * weights[1]])
    images = rng.integers(0, 256, (2, 2, 11, 3), "uint8").repeat(25, axis=1).repeat(37, axis=2)
    for options in ({}, {"flip": True, "scales": (0.5, 1.25)}):
        whole = np.asarray(make_segmenter(model, **options)(images))
        assert len(np.unique(whole)) > 1
        parts = make_segmenter(model, tile=130, **options)(images)
        np.testing.assert_array_equal(parts, whole)
        one, other = (
            np.asarray(make_segmenter(model, tile, **options, probabilities=True)(images))
            for tile in (None, 130)
        )
        assert one.shape == (*images.shape[:3], 3)
        np.testing.assert_allclose(one, other, atol=1e-4)
        np.testing.assert_array_equal(one.argmax(-1), whole)


@pytest.mark.parametrize("scales", [(), (0,), (1, -1), (17,), (float("inf"),), (float("nan"),)])
def test_scales_must_be_numbers_above_0(network, scales):
    with pytest.raises(UserError, match="`scales` must be numbers above 0, and up to 16. Received"):
        make_segmenter(network, scales=scales)


def test_segmenter_is_traced_once(network):
    traces = 0

    class Counting(keras.layers.Layer):
        def call(self, image):
            nonlocal traces
            traces += 1
            return image

    image = keras.Input((None, None, 3))
    segment = make_segmenter(keras.Model(image, network(Counting()(image))))
    traces = 0
    for count, height, width in ((1, 7, 9), (2, 20, 5), (1, 1, 1)):
        images = np.stack(
            [
                np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")
                for seed in range(count)
            ]
        )
        class_ids = segment(images).numpy()
        assert class_ids.dtype == np.uint8
        for found, one in zip(class_ids, images, strict=True):
            np.testing.assert_array_equal(found, probabilities(network, one).argmax(axis=-1))
    assert traces == 1


@pytest.mark.parametrize("options", [{}, {"tile": 32}, {"scales": (1.0, 1.0)}])
def test_what_is_learned_is_seen(options):
    """Of layers that interpolate at first, and learn then: now, or when they are thawed."""
    network = build("fcn8s", 3, weights=None, width=1 / 32, upsampling="learned")
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if layer.name.startswith("score_") and layer.weights:
            layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    last = network.get_layer("upscore8")
    images = np.random.default_rng(1).integers(0, 256, (2, 5, 7, 3), "uint8")
    segmenters = [make_segmenter(network, **options, probabilities=True)]
    last.trainable = False
    segmenters += [make_segmenter(network, **options, probabilities=True, fixed=False)]
    before = keras.ops.softmax(network(images))
    last.kernel.assign(rng.normal(size=last.kernel.shape))
    expected = keras.ops.softmax(network(images))
    assert np.abs(expected - before).max() > 0.1
    for segmenter in segmenters:
        np.testing.assert_allclose(segmenter(images), expected, rtol=0, atol=1e-5)
