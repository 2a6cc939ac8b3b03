"""Colours and depth fused in the first layer: FCN-32s on four channels."""

import keras
import numpy as np
import pytest
from helpers.caffe_files import write_caffemodel
from helpers.networks import TRUNK, WIDTH, outputs_of, parameters, photo, scatter_scores, small
from PIL import Image
from scipy.signal import correlate

from fcn_keras.errors import UserError
from fcn_keras.inference.keras_segmenter import make_segmenter
from fcn_keras.inference.predict import predict
from fcn_keras.models.cost import cost
from fcn_keras.models.layers import preprocessing_of
from fcn_keras.models.variants import COLOR_D
from fcn_keras.training.initial_network import make_network
from fcn_keras.training.settings import Settings

FIRST = "conv1_1_bgrd"
VGG_MEAN, CAFFE_MEAN = (103.939, 116.779, 123.68), (104.00699, 116.66877, 122.67892)
LOG_DEPTH = 7.844
COLORS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]


def room(height, width, seed=0):
    """Colours and millimetres, up to what 16 bits hold, and some that are unknown."""
    depth = np.exp(np.random.default_rng(seed).uniform(0, np.log(65535), (1, height, width, 1)))
    depth[:, ::3, ::4] = 0
    colors = photo(height, width, seed=seed).astype("uint16")
    return np.concatenate([colors, np.round(depth).astype("uint16")], axis=-1)


def prepared(image, mean):
    """By the definition: blue, green, red, logarithm of depth, less a mean."""
    image = image.astype("float64")
    depth = np.log(np.where(image[..., 3:] < 1, 1, image[..., 3:]))
    return np.concatenate([image[..., 2::-1], depth], axis=-1) - mean


def convolved(image, kernel, bias):
    """A 3x3 convolution with its ReLU, in float64, inside of the image alone."""
    maps = [correlate(image[0], kernel[..., o], "valid")[..., 0] for o in range(len(bias))]
    return np.maximum(np.stack(maps, axis=-1) + bias, 0)


def check_first_layer(model, colors, bias, mean):
    """The response of the first layer, from the kernel on colours by hand."""
    image = room(9, 12)
    depth = (colors[:, :, :1] + colors[:, :, 1:2] + colors[:, :, 2:]) / 3
    expected = convolved(prepared(image, mean), np.concatenate([colors, depth], 2), bias)
    found = outputs_of(model, image, FIRST)[FIRST][0, 1:-1, 1:-1]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_layers():
    names = [layer.name for layer in small(COLOR_D).layers]
    trunk = [FIRST, *TRUNK[1:]]
    assert [name for name in names if name in trunk] == trunk
    assert {"score_fr", "upscore", "score"} <= {*names} and "conv1_1" not in names


@pytest.mark.parametrize("classes", [3, 40])
def test_parameters(classes):
    """Those of FCN-32s, and nine more for each map of the first layer."""
    more = 3 * 3 * 1 * int(64 * WIDTH)
    assert small(COLOR_D, classes).count_params() == parameters("fcn32s", classes, WIDTH) + more


def test_parameters_of_the_full_network():
    found = cost(COLOR_D, (480, 640), 40)
    assert found[FIRST].parameters == 2368 == 3 * 3 * 4 * 64 + 64
    assert found.parameters == parameters("fcn32s", 40, 1) + 3 * 3 * 1 * 64
    assert found[FIRST].forward_flops * 3 == cost("fcn32s", (480, 640), 40)["conv1_1"].macs * 2 * 4


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_what_the_first_layer_reads(dtype):
    model = small(COLOR_D, input_mean=(1.0, 2.0, 3.0, 4.0), input_std=2.0)
    image = room(8, 9)
    found = outputs_of(model, image.astype(dtype), "normalize")["normalize"]
    np.testing.assert_allclose(found, prepared(image, (1, 2, 3, 4)) / 2, rtol=1e-5, atol=1e-5)


def test_unknown_depth_is_as_near_as_can_be():
    model = scatter_scores(small(COLOR_D))
    image = room(40, 50)
    near = np.where(image == 0, 1, image)
    assert (near[..., 3] != image[..., 3]).any()
    image[..., :3] = near[..., :3]
    np.testing.assert_array_equal(model(image), model(near))


def test_preprocessing_of_a_random_start():
    assert preprocessing_of(small(COLOR_D)) == ((*VGG_MEAN, LOG_DEPTH), (64.0, 64.0, 64.0, 0.5))


@pytest.mark.parametrize("options", [{}, {"geometry": "same"}, {"output_stride": 16}], ids=str)
def test_without_depth_it_is_fcn32s(options):
    """Where the depth's kernel is zero, whatever the depth is."""
    colors = scatter_scores(small("fcn32s", **options))
    model = small(COLOR_D, input_std=64.0, **options)
    for layer in colors.layers:
        weights = layer.get_weights()
        if layer.name == "conv1_1":
            kernel, bias = weights
            weights = [np.concatenate([kernel, 0 * kernel[:, :, :1]], axis=2), bias]
        if weights:
            name = FIRST if layer.name == "conv1_1" else layer.name
            model.get_layer(name).set_weights(weights)
    image = room(61, 83)
    expected = np.asarray(colors(image[..., :3]))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(model(image), expected, atol=1e-5)


def test_depth_shows_in_the_scores():
    model = scatter_scores(small(COLOR_D))
    one, other = room(40, 50), room(40, 50)
    other[..., 3] = room(40, 50, seed=1)[..., 3]
    assert np.abs(np.asarray(model(one)) - np.asarray(model(other))).max() > 1e-3


def test_start_from_keras_classifier(tmp_path, monkeypatch):
    classifier = narrow_vgg16()
    path = tmp_path / "classifier.h5"
    path.touch()
    monkeypatch.setattr(keras.applications, "VGG16", lambda weights: classifier)
    kernel, bias = classifier.get_layer("block1_conv1").get_weights()
    model = small(COLOR_D, weights=path, geometry="same")
    check_first_layer(model, kernel, bias, (*VGG_MEAN, LOG_DEPTH))
    # So does the model itself.
    again = small(COLOR_D, backbone=classifier, weights="imagenet", geometry="same")
    for found, expected in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        model.get_layer("conv5_3").kernel, classifier.get_layer("block5_conv3").kernel
    )


def narrow_vgg16():
    """What `keras.applications.VGG16` builds, with fewer channels."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((224, 224, 3))
    for block, (channels, convs) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 1):
        for i in range(1, convs + 1):
            conv = dict(padding="same", activation="relu", bias_initializer="random_normal")
            x = keras.layers.Conv2D(int(channels * WIDTH), 3, name=f"block{block}_conv{i}", **conv)(
                x
            )
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    for name in ("fc1", "fc2"):
        x = keras.layers.Dense(int(4096 * WIDTH), activation="relu", name=name)(x)
    return keras.Model(image, keras.layers.Dense(10, name="predictions")(x), name="vgg16")


def caffe_layers(model):
    """What Caffe would keep of a network: kernels `(O, I, H, W)`."""
    return {
        layer.name: ("Convolution", [layer.get_weights()[0].transpose(3, 2, 0, 1), *bias])
        for layer in model.layers
        if layer.weights
        for bias in [layer.get_weights()[1:]]
    }


def randomized(variant):
    model = small(variant, geometry="same")
    rng = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


def test_start_from_caffes_classifier(tmp_path):
    source = randomized("fcn32s")
    layers = {k: v for k, v in caffe_layers(source).items() if not k.startswith(("score", "up"))}
    path = write_caffemodel(tmp_path / "VGG_ILSVRC_16_layers.caffemodel", layers)
    model = small(COLOR_D, weights=path, geometry="same")
    kernel, bias = source.get_layer("conv1_1").get_weights()
    check_first_layer(model, kernel, bias, (*CAFFE_MEAN, LOG_DEPTH))
    assert not np.asarray(model(room(20, 30))).any()  # scores start from zero


def test_caffemodel_of_its_own(tmp_path):
    source = randomized(COLOR_D)
    path = write_caffemodel(tmp_path / "net.caffemodel", caffe_layers(source))
    model = small(COLOR_D, weights=path, geometry="same")
    for found, expected in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("std", [1.0, 64.0])
def test_run_on_colours_as_start(tmp_path, capsys, std):
    mean = (116.0, 97.0, 92.0)
    source = scatter_scores(small("fcn32s", geometry="same", input_mean=mean, input_std=std))
    source.save(tmp_path / "colors.keras")
    settings = Settings(
        variant=COLOR_D,
        init_from=str(tmp_path / "colors.keras"),
        geometry="same",
        width=WIDTH,
        weights="none",
    )
    model = make_network(settings, 3)
    assert "all layers" in capsys.readouterr().out
    assert preprocessing_of(model) == ((*mean, LOG_DEPTH), std)
    kernel, bias = source.get_layer("conv1_1").get_weights()
    check_first_layer(model, kernel / std, bias, (*mean, LOG_DEPTH))


def test_run_of_its_own_as_start(tmp_path):
    source = scatter_scores(small(COLOR_D))
    source.save(tmp_path / "net.keras")
    settings = Settings(
        variant=COLOR_D, init_from=str(tmp_path / "net.keras"), width=WIDTH, weights="none"
    )
    image = room(40, 50)
    np.testing.assert_allclose(make_network(settings, 3)(image), source(image), atol=1e-5)


@pytest.mark.parametrize("views", [{}, {"tile": 32}, {"flip": True}], ids=str)
def test_segmenters_see_all_of_the_depth(views):
    """In bytes, 300 mm and 300 + 256 mm would be one."""
    model = scatter_scores(small(COLOR_D))
    image, in_bytes = room(40, 50), room(40, 50)
    in_bytes[..., 3] %= 256
    seen = [image, image[:, :, ::-1]] if "flip" in views else [image]
    scores = [keras.ops.softmax(np.asarray(model(view))) for view in seen]
    if "flip" in views:
        scores[1] = scores[1][:, :, ::-1]
    expected = np.mean([np.asarray(each) for each in scores], axis=0)
    segment = make_segmenter(model, probabilities=True, **views)
    np.testing.assert_allclose(segment(image), expected, atol=1e-5)
    assert np.abs(np.asarray(segment(in_bytes)) - expected).max() > 1e-3


def test_files_hold_colours_and_depth(tmp_path):
    """A TIFF of 16 bits with four channels is what the network takes; a photograph is not."""
    tifffile = pytest.importorskip("tifffile")
    network = scatter_scores(small(COLOR_D))
    image = room(40, 51)[0]
    tifffile.imwrite(tmp_path / "room.tif", image)
    [label_map] = predict(
        network, [tmp_path / "room.tif"], tmp_path / "out", ["a", "b", "c"], COLORS
    )
    expected = np.asarray(network(image[None]))[0].argmax(axis=-1)
    np.testing.assert_array_equal(np.asarray(Image.open(label_map)), expected)
    keras.utils.save_img(tmp_path / "photo.png", photo(8, 9)[0])
    with pytest.raises(UserError, match=r"photo\.png: has 3 channels of uint8, and 4 are wanted"):
        predict(network, [tmp_path / "photo.png"], tmp_path / "p", [*"abc"], COLORS)
