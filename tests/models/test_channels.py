"""Networks on images of any channels: what they make of them, and of weights for three."""

import keras
import numpy as np
import pytest
from helpers.caffe_files import write_caffemodel
from helpers.networks import outputs_of

from fcn_keras import build
from fcn_keras.errors import UserError
from fcn_keras.exporters import weights as weights_file
from fcn_keras.exporters.networks import with_precision
from fcn_keras.models.channels import PHOTO_MEAN, PHOTO_STD, stored_numbers, stored_pixels
from fcn_keras.models.surgery import expand_classes
from fcn_keras.models.weights.first_layer import spread

# Each backbone with what makes it small, and the layer that sees the image.
BACKBONES = {
    "vgg16": (dict(width=1 / 16), "conv1_1"),
    "mobilenet_v2": (dict(width=0.35), "Conv1"),
    "efficientnet_b0": ({}, "stem_conv"),
    "densenet121": ({}, "conv1_conv"),
}


def numbers(channels):
    """A mean and a deviation for each channel, all of them different."""
    return dict(
        input_mean=[3000.0 - 70 * c for c in range(channels)],
        input_std=[250.0 + 30 * c for c in range(channels)],
    )


def image_of(channels, height=49, width=66, dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(2000, 4000, (1, height, width, channels)).astype(dtype)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_spread_keeps_what_a_grey_photograph_gives(channels):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 8)).astype("float32")
    wide = spread(kernel, channels)
    assert wide.shape == (3, 3, channels, 8) and wide.dtype == "float32"
    np.testing.assert_allclose(wide.sum(axis=2), kernel.sum(axis=2), rtol=1e-5, atol=1e-6)
    if channels > 3:
        np.testing.assert_allclose(wide[:, :, :3], kernel * 3 / channels, rtol=1e-6)
        for further in range(3, channels):
            np.testing.assert_allclose(
                wide[:, :, further], kernel.mean(axis=2) * 3 / channels, rtol=1e-5, atol=1e-7
            )


def photograph_like(image, mean, std):
    """By hand: each channel with the mean and the deviation that it has in photographs."""
    channels = image.shape[-1]
    average = np.mean(PHOTO_MEAN), np.mean(PHOTO_STD)
    means, stds = (
        np.array([(*colors, *[other] * 9)[c] if channels >= 3 else other for c in range(channels)])
        for colors, other in zip((PHOTO_MEAN, PHOTO_STD), average, strict=True)
    )
    return (image - np.array(mean)) / std * stds + means


@pytest.mark.parametrize(
    ("backbone", "channels", "dtype"),
    [
        ("vgg16", 1, "uint16"),
        ("vgg16", 3, "float32"),
        ("vgg16", 5, "uint16"),
        ("mobilenet_v2", 2, "float32"),
        ("mobilenet_v2", 4, "uint16"),
        ("densenet121", 4, "uint16"),
    ],
)
def test_preprocessing(backbone, channels, dtype):
    """What the first layer sees, worked out by hand for each family of classifiers."""
    options, _ = BACKBONES[backbone]
    given = numbers(channels)
    model = build(
        *("fcn32s", 3),
        backbone=backbone,
        weights=None,
        channels=channels,
        input_dtype=dtype,
        **given,
        **options,
    )
    image = image_of(channels, dtype=dtype)
    expected = photograph_like(image.astype("float64"), *given.values())
    if backbone == "vgg16":
        bgr = [2, 1, 0, 3, 4][:channels] if channels >= 3 else [0]
        mean = [103.939, 116.779, 123.68]
        mean = [*mean, *[np.mean(mean)] * 2][:channels] if channels >= 3 else [np.mean(mean)]
        expected = (expected[..., bgr] - mean) / 64
    elif backbone == "mobilenet_v2":
        expected = expected / 127.5 - 1
    else:
        means, stds = (
            [*numbers, np.mean(numbers), np.mean(numbers)][:channels]
            if channels >= 3
            else [np.mean(numbers)]
            for numbers in (PHOTO_MEAN, PHOTO_STD)
        )
        expected = (expected - means) / stds
    found = outputs_of(model, image, "normalize")["normalize"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)
    assert stored_pixels(model) == (channels, dtype)
    stored = stored_numbers(model)
    np.testing.assert_allclose(stored.mean, given["input_mean"], rtol=1e-9)
    np.testing.assert_allclose(stored.std, given["input_std"], rtol=1e-9)


@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name != "vgg16"])
def test_a_classifier_is_spread(backbone):
    _, first = BACKBONES[backbone]
    builder = {
        "mobilenet_v2": keras.applications.MobileNetV2,
        "efficientnet_b0": keras.applications.EfficientNetB0,
        "densenet121": keras.applications.DenseNet121,
    }[backbone]
    classifier = builder(weights=None, include_top=False, input_shape=(224, 224, 3))
    model = build("fcn8s", 3, backbone=classifier, channels=4)
    layers = {layer.name: layer for layer in model.layers}
    for layer in classifier.layers:
        if layer.name not in layers or not layer.weights:
            continue
        for old, new in zip(layer.get_weights(), layers[layer.name].get_weights(), strict=True):
            if layer.name == first and old.ndim == 4:
                old = spread(old, 4)
            np.testing.assert_array_equal(new, old)
    assert layers[first].kernel.shape[2] == 4
    assert model(np.zeros((1, 33, 47, 4), "uint8")).shape == (1, 33, 47, 3)


@pytest.mark.filterwarnings("ignore:This model usually expects")
def test_a_classifier_of_four_channels():
    classifier = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(96, 96, 4), alpha=0.35
    )
    model = build("fcn8s", 3, backbone=classifier, channels=4)
    np.testing.assert_array_equal(
        model.get_layer("Conv1").kernel, classifier.get_layer("Conv1").kernel
    )


def test_published_classifiers_are_spread(tmp_path):
    """Caffe's axes are others."""
    colors = build("fcn32s", 3, weights=None, width=1 / 16)
    path = tmp_path / "vgg.caffemodel"
    convolutions = {
        layer.name: (
            "Convolution",
            [layer.kernel.numpy().transpose(3, 2, 0, 1), layer.bias.numpy()],
        )
        for layer in colors.layers
        if layer.weights and not layer.name.startswith(("score", "up"))
    }
    write_caffemodel(path, convolutions)
    wide = build("fcn32s", 3, weights=path, width=1 / 16, channels=5)
    kernel, bias = colors.get_layer("conv1_1").get_weights()
    found = wide.get_layer("conv1_1").get_weights()
    np.testing.assert_allclose(found[0], spread(kernel, 5), rtol=1e-6)
    np.testing.assert_array_equal(found[1], bias)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_files_bring_along_what_the_images_are(ending, tmp_path):
    options = dict(width=1 / 16, channels=4)
    model = build("fcn8s", 3, weights=None, input_dtype="uint16", **numbers(4), **options)
    path = tmp_path / f"net{ending}"
    model.save(path) if ending == ".keras" else weights_file.write(model, path)
    same = build("fcn8s", 3, weights=path, **options)
    assert stored_pixels(same) == (4, "uint16")
    np.testing.assert_array_equal(same(image_of(4)), model(image_of(4)))
    other = build("fcn8s", 3, weights=path, input_mean=[9.0] * 4, input_std=[2.0] * 4, **options)
    np.testing.assert_allclose(stored_numbers(other).mean, 9, rtol=1e-9)


def test_a_network_of_colours_starts_one_of_four_channels(tmp_path):
    colors = build("fcn8s", 3, weights=None, width=1 / 16)
    colors.save(tmp_path / "colors.keras")
    wide = build("fcn8s", 3, weights=tmp_path / "colors.keras", width=1 / 16, channels=4)
    for layer in colors.layers:
        for old, new in zip(
            layer.get_weights(), wide.get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(
                new, spread(old, 4) if layer.name == "conv1_1" and old.ndim == 4 else old
            )


def test_bytes_of_three_channels_are_photographs_by_default():
    """To the bit: nothing of another kind of image is in the graph."""
    keras.utils.set_random_seed(0)
    usual = build("fcn8s", 3, weights=None, width=1 / 16)
    assert stored_pixels(usual) is None
    names = [layer.name for layer in usual.layers]
    keras.utils.set_random_seed(0)
    stored = build("fcn8s", 3, weights=None, width=1 / 16, input_dtype="uint8")
    assert [layer.name for layer in stored.layers] == [names[0], "from_uint8", *names[1:]]
    image = image_of(3) % 256
    np.testing.assert_allclose(stored(image), usual(image), atol=1e-4)


def test_more_classes_keep_the_channels():
    model = build(
        "fcn8s", 3, weights=None, width=1 / 16, channels=4, **numbers(4), input_dtype="uint16"
    )
    grown = expand_classes(model, 5)
    assert stored_pixels(grown) == (4, "uint16")
    np.testing.assert_array_equal(grown(image_of(4))[..., :3], model(image_of(4)))


def test_numbers_of_16_bits_stay_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        options = dict(width=1 / 16, channels=4, input_dtype="uint16", **numbers(4))
        model = build("fcn8s", 3, weights=None, **options)
    finally:
        keras.config.set_dtype_policy("float32")
    image = image_of(4)
    found = outputs_of(model, image, "from_uint16")["from_uint16"]
    expected = photograph_like(image.astype("float64"), *numbers(4).values())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_numbers_of_16_bits_stay_in_exports_of_half_precision():
    """8 bits of them would be left before they are scaled."""
    options = dict(width=1 / 16, channels=4, input_dtype="uint16", **numbers(4))
    model = build("fcn8s", 3, weights=None, **options)
    image = image_of(4)
    half = with_precision(model, "bfloat16")
    assert half.get_layer("conv1_1").compute_dtype == "bfloat16"
    np.testing.assert_array_equal(
        outputs_of(half, image, "from_uint16")["from_uint16"],
        outputs_of(model, image, "from_uint16")["from_uint16"],
    )


REFUSED = {
    "no channel": (dict(channels=0), "`channels` must be at least 1"),
    "half a channel": (dict(channels=2.5), "channels"),
    "no dtype": (dict(channels=4, input_dtype="int8"), "`input_dtype` must be one of"),
    "no numbers": (dict(channels=4, input_dtype="uint16"), "`input_mean` must be 4 numbers"),
    "few numbers": (
        dict(channels=4, input_mean=[1.0] * 4, input_std=[1.0] * 3),
        "`input_std` must be 4 numbers",
    ),
    "no deviation": (
        dict(channels=1, input_mean=[1.0], input_std=[0.0]),
        "`input_std` above 0",
    ),
    "infinite": (dict(channels=1, input_mean=[np.inf], input_std=[1.0]), "must be finite"),
    "HHA": (dict(variant="fcn32s-hha", channels=4), "must be left out"),
    "early fusion": (dict(variant="fcn32s-color-d", channels=5), "must be left out"),
    "shape": (dict(channels=4, input_shape=(None, None, 3)), r"\(H, W, 4\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    options, text = REFUSED[case]
    with pytest.raises(UserError, match=text):
        build(**{"variant": "fcn8s", "weights": None, "width": 1 / 16, **options})
