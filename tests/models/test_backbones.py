"""Networks on classifiers of Keras': geometry, preprocessing, what is kept, files, and mistakes."""

import csv
import itertools
import json
import os
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.classifiers import (
    classifier_of,
    conv,
    coordinates_behind,
    make_positive,
    scatter,
    seen,
    tiny,
)
from helpers.folders import SHARED
from helpers.networks import outputs_of, photo, scatter_scores, small
from keras import layers
from keras.src.applications import efficientnet

from fcn_keras import UserError, build
from fcn_keras.models.backbones import CLASSIFIERS
from fcn_keras.models.classifier_trunk import ClassifierTrunk
from fcn_keras.models.geometry import IMAGE
from fcn_keras.models.layers import Feature
from fcn_keras.models.weights.classifiers import named_classifier

# What each of them is: strides and shifts of the maps of strides 8, 16 and 32, by hand.
SHIFTS = {
    **dict.fromkeys(
        (
            *("mobilenet", "mobilenet_v2", "mobilenet_v3_small"),
            *("efficientnet_b0", "efficientnet_v2_b0"),
        ),
        (7, 15, 31),
    ),
    **dict.fromkeys(("resnet50", "resnet50_v2"), (0, 0, 0)),
    "densenet121": (2, 6, 14),
    **dict.fromkeys(("inception_v3", "inception_resnet_v2"), (13, 21, 37)),
    **dict.fromkeys(("vgg19", "convnext_tiny"), (3.5, 7.5, 15.5)),
}
HEADS = {"score_fr": "fc7", "score_pool4": "pool4", "score_pool3": "pool3"}
VARIANTS = {"fcn32s": 1, "fcn16s": 2, "fcn8s": 3}
IMAGENET_FILE = SHARED / "data/imagenet/mobilenet_v2_1.0_224.weights.h5"


def halving(times=5, **options):
    return [conv(3, 2, **options) for _ in range(times)]


# The classifiers of `keras.applications`, which take long to build.


# InceptionResNetV2, of 780 layers, would take a third of the time of all.
PROBED = [name for name in (*SHIFTS, "mobilenet_v3_large") if name != "inception_resnet_v2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variant"),
    [
        *((name, "fcn8s") for name in SHIFTS),
        *itertools.product(("mobilenet_v2", "vgg19"), ("fcn32s", "fcn16s")),
    ],
)
def test_coordinates_come_out_as_they_went_in(name, variant):
    classifier = named_classifier(name)
    model = build(variant, 2, backbone=classifier)
    before = ClassifierTrunk(classifier, variant).padding[0]
    shifts = dict(zip(HEADS, reversed(SHIFTS[name]), strict=True))
    grids = {
        head: (stride, shifts[head] - before)
        for head, stride in list(zip(HEADS, (32, 16, 8), strict=True))[: VARIANTS[variant]]
    }
    scores_of = coordinates_behind(model, grids)
    for size in [(1, 1), (2, 3), (31, 33), (32, 32), (37, 53), (64, 97), (130, 129)]:
        scores, inside = scores_of(size)
        assert scores.shape == (*size, 2)
        expected = np.moveaxis(np.mgrid[: size[0], : size[1]], 0, -1)
        assert np.abs(scores[inside] - expected[inside]).max(initial=0) < 1e-4
    assert all(part.stop - part.start > 40 for part in inside)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBED)
def test_grids_are_those_that_probing_finds(name):
    """In double precision: a pixel at the end of a field weighs next to nothing.

    But for ConvNeXt, whose few kernels are large: TensorFlow takes minutes for them so.
    """
    dtype = "float32" if name == "convnext_tiny" else "float64"
    keras.config.set_dtype_policy(dtype)
    try:
        classifier = named_classifier(name)
        trunk = ClassifierTrunk(classifier, "fcn8s")
        image = keras.Input((None, None, 3), dtype=dtype)
        maps = trunk.build(Feature(image, IMAGE))
    finally:
        keras.config.set_dtype_policy("float32")
    low = 160 if CLASSIFIERS[name].preprocessing == "none" else 1e-3
    for key, (tensor, grid) in maps.items():
        model = make_positive(keras.Model(image, tensor))
        field = grid.field if np.isfinite(float(grid.field)) else 1400
        # InceptionV3 needs 75 pixels.
        size = (int(field) + 101, 107 if "inception" in name else 43)
        cell = round((size[0] / 2 - float(grid.shift)) / float(grid.stride))
        first, last = seen(model, (low, low * 1.01, size, dtype), cell)
        assert 0 < first and last < size[0] - 1
        assert (first + last) / 2 == grid.stride * cell + grid.shift, key
        if np.isfinite(float(grid.field)):
            assert last - first + 1 == grid.field, key


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50_v2"])
def test_every_pixel_counts(name):
    model = make_positive(build("fcn32s", 1, backbone=name, weights=None))
    run = tf.function(model, input_signature=[tf.TensorSpec((1, None, None, 3), tf.float32)])
    kind = CLASSIFIERS[name].preprocessing
    low = 140 if kind == "tf" else 200  # so that no ReLU6 is at its end
    # What scales the image itself makes negative numbers of the zeros around it.
    for size in [*[(1, 1)] * (kind != "none"), (33, 46), (47, 64), (64, 31)]:
        image = np.random.default_rng(0).uniform(low, low + 1, (1, *size, 3))
        image = tf.constant(image, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(image)
            scores = run(image)
        assert scores.shape == (1, *size, 1)
        gradient = np.abs(tape.gradient(scores, image).numpy()).max(axis=-1)
        if not any(isinstance(layer, layers.MaxPooling2D) for layer in model.layers):
            assert (gradient > 0).all(), size
        # Of a maximum the largest alone counts.
        assert (gradient > 0).mean() > 0.3, size


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, joins",
    [
        ("xception", r"layer add\S* joins maps of block2_pool and batch_normalization\S*"),
        ("nasnet_mobile", r"layer \S+ joins maps of adjust_conv_1_stem_2 and adjust_conv_2_stem_2"),
    ],
)
def test_branches_that_lie_half_a_cell_apart_are_refused(name, joins):
    with pytest.raises(UserError, match=f"{joins}, which lie 1/2 of a cell apart"):
        build("fcn8s", 2, backbone=name, weights=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["mobilenet_v2", "convnext_tiny", "mobilenet_v3_small"],
)
def test_saved_networks_need_no_package(name, tmp_path):
    model = scatter_scores(build("fcn8s", 2, backbone=name, weights=None))
    check_in_another_process(model, tmp_path)


def check_in_another_process(model, folder):
    image = photo(45, 70)
    model.save(folder / "net.keras")
    np.save(folder / "image.npy", image)
    code = (
        "import sys; sys.modules['fcn_keras'] = None\n"
        "import keras, numpy as np\n"
        "model = keras.models.load_model('net.keras', safe_mode=True)\n"
        "np.save('scores.npy', model(np.load('image.npy')))\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, timeout=600, capture_output=True
    )
    expected = np.asarray(model(image))
    found = np.load(folder / "scores.npy")
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stride"), [("mobilenet_v2", 8), ("resnet50_v2", 16)])
def test_named_classifiers_are_dilated(name, stride):
    check_dilated(scatter_softly(named_classifier(name)), stride, (70, 97))


def scatter_softly(classifier, seed=0):
    """Statistics and biases that differ, so that borders and channels are told apart."""
    rng = np.random.default_rng(seed)
    for weight in classifier.weights:
        if weight.path.endswith(("beta", "moving_mean", "bias")):
            weight.assign(rng.normal(0, 0.2, weight.shape))
    return classifier


def check_dilated(classifier, stride, size):
    """The same numbers where cells of both networks look, at the borders too."""
    options = dict(backbone=classifier, preprocessing="tf")
    coarse = build("fcn32s", 2, **options)
    dense = build("fcn32s", 2, **options, output_stride=stride)
    shifts = []
    for output_stride in (32, stride):
        trunk = ClassifierTrunk(classifier, "fcn32s", output_stride)
        assert trunk.maps["fc7"].grid.stride == output_stride
        shifts.append(int(trunk.maps["fc7"].grid.shift) - trunk.padding[0])
    first, rest = divmod(shifts[0] - shifts[1], stride)
    assert first >= 0 and rest == 0
    image = photo(*size)
    expected = outputs_of(coarse, image, "drop7")["drop7"]
    every = 32 // stride
    found = outputs_of(dense, image, "drop7")["drop7"][:, first::every, first::every]
    found = found[:, : expected.shape[1], : expected.shape[2]]
    assert found.shape == expected.shape and np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_b0", "densenet121"])
def test_what_cannot_be_dilated(name):
    reason = {
        "efficientnet_b0": "block4a_se_squeeze sees the whole image",
        "densenet121": "pool4_pool is a pooling",
    }[name]
    with pytest.raises(UserError, match=f"`output_stride` of this backbone must be 32: .*{reason}"):
        build("fcn32s", 2, backbone=name, weights=None, output_stride=8)


@pytest.mark.slow
def test_random_weights_train(run_command, tmp_path):
    code, _, errors = run_command(
        *("train", "--dataset", "shapes", "--backbone", "mobilenet_v3_small", "--weights", "none"),
        *("--run-dir", tmp_path / "run", "--steps", 60, "--crop-size", 64, "--batch-size", 4),
        *("--optimizer", "adam", "--learning-rate", 1e-3),
    )
    assert code == 0, errors
    with open(tmp_path / "run/log.csv") as file:
        [row] = csv.DictReader(file)
    classes = len(json.loads((tmp_path / "run/metrics.json").read_text())["per_class_iu"])
    # Scores start at zero: the first loss is the logarithm of how many classes there are.
    assert 0 < float(row["loss"]) < 0.85 * np.log(classes)


@pytest.mark.slow
def test_efficientnet_normalises_as_keras_does(tmp_path, monkeypatch):
    """Keras builds one layer more for `weights="imagenet"` than for a path of the same file."""
    donor = keras.applications.EfficientNetB0(weights=None, include_top=False)
    scatter_softly(donor)
    [normalization] = [x for x in donor.layers if isinstance(x, layers.Normalization)]
    normalization.adapt_mean.assign([0.485, 0.456, 0.406])
    normalization.adapt_variance.assign([0.229, 0.224, 0.225])
    donor.save_weights(tmp_path / "file.weights.h5")
    monkeypatch.setattr(
        efficientnet.file_utils, "get_file", lambda *_, **__: str(tmp_path / "file.weights.h5")
    )
    keras_own = keras.applications.EfficientNetB0(weights="imagenet", include_top=False)
    image = photo(64, 96)
    expected = np.asarray(keras_own(image.astype("float32")))
    for weights in ("imagenet", tmp_path / "file.weights.h5"):
        model = scatter_scores(build("fcn8s", 2, backbone="efficientnet_b0", weights=weights))
        found = outputs_of(model, image, "drop7")["drop7"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        model.save(tmp_path / "net.keras")
        again = build("fcn8s", 2, backbone="efficientnet_b0", weights=tmp_path / "net.keras")
        np.testing.assert_allclose(again(image), model(image), rtol=1e-4, atol=1e-5)
        with pytest.raises(UserError, match="expect another preprocessing"):
            build("fcn8s", 2, backbone=donor, weights=tmp_path / "net.keras")
    own = build("fcn8s", 2, backbone=keras_own)
    found = outputs_of(own, image, "drop7")["drop7"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


# Small ones


@pytest.mark.slow
@pytest.mark.parametrize("source", ["path", "model"])
def test_the_classifier_s_own_map_is_kept(source):
    if not IMAGENET_FILE.is_file():
        pytest.skip("needs the files of ../shared/data/imagenet")
    classifier = keras.applications.MobileNetV2(weights=None)
    classifier.load_weights(IMAGENET_FILE)
    image = photo(224, 224, count=2)
    inner = keras.Model(classifier.input, classifier.get_layer("out_relu").output)
    expected = np.asarray(inner(image / np.float32(127.5) - 1))
    given = {
        "path": dict(backbone="mobilenet_v2", weights=IMAGENET_FILE),
        "model": dict(backbone=classifier),
    }[source]
    model = build("fcn8s", 2, **given)
    found = outputs_of(model, image, "drop7")["drop7"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_classifier_stays_as_it_is():
    classifier = scatter(tiny(name="mobilenetv2_1.00_64"))
    image = photo(64, 64).astype("float32") / 255
    config, weights, expected = (
        json.dumps(classifier.get_config(), default=str),
        classifier.get_weights(),
        np.asarray(classifier(image)),
    )
    models = [build(variant, 2, backbone=classifier) for variant in ("fcn32s", "fcn32s")]
    for weight in models[0].weights:
        weight.assign(weight + 1)
    assert json.dumps(classifier.get_config(), default=str) == config
    assert [layer.output for layer in classifier.layers]
    for old, new in zip(weights, classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    np.testing.assert_array_equal(classifier(image), expected)
    trunk = {layer.name: layer for layer in models[1].layers}
    for layer in classifier.layers[:-3]:
        if layer.weights:
            for old, new in zip(layer.get_weights(), trunk[layer.name].get_weights(), strict=True):
                np.testing.assert_array_equal(new, old)
    assert "predictions" not in trunk


def test_names_do_not_depend_on_what_was_built_before():
    names = []
    for number in range(2):
        [layers.Conv2D(1, 1) for _ in range(3 * number)], [layers.ReLU() for _ in range(number)]
        classifier = classifier_of(64, *halving(), layers.BatchNormalization())
        model = build("fcn8s", 2, backbone=classifier, preprocessing="tf")
        names.append([layer.name for layer in model.layers if layer.weights])
    assert names[0] == names[1]
    assert "backbone_conv2d_0" in names[0] and "backbone_batch_normalization_0" in names[0]


def test_names_are_told_apart():
    """Layers of two models within one may have one name; some are this package's."""

    def block(x):
        return classifier_of(x.shape[1:], conv(3, 2, name="score_fr"))(x)

    first = [layers.Rescaling(1 / 255, name="normalize"), conv(name="image_pad")]
    classifier = classifier_of(64, *first, *[block] * 5)
    model = build("fcn8s", 2, backbone=classifier, preprocessing="none")
    names = [layer.name for layer in model.layers]
    assert len({*names}) == len(names)
    assert {"backbone_score_fr", "backbone_score_fr_4", "backbone_normalize"} <= {*names}
    image = photo(64, 64)
    expected = np.asarray(classifier(image.astype("float32")))
    np.testing.assert_allclose(outputs_of(model, image, "drop7")["drop7"], expected, rtol=1e-5)


@pytest.mark.parametrize("stride", [pytest.param(16, marks=pytest.mark.slow), 8])
def test_the_same_where_both_look(stride):
    check_dilated(scatter(tiny()), stride, (70, 97))


@pytest.mark.slow
def test_strides_are_taken_out_of_the_last_layer_and_of_four_at_once():
    for classifier in (
        classifier_of(64, *halving(4), conv(2, 2, "valid")),
        classifier_of(64, conv(4, 4, "valid"), conv(2, 2, "valid"), conv(4, 4, "valid")),
        keras.Sequential([keras.Input((64, 64, 3)), *halving(4), layers.MaxPooling2D()]),
    ):
        # No biases: zeros around the image stay zeros, as those are that layers pad with.
        check_dilated(classifier, 16, (64, 96))


def test_what_is_shared_by_maps_of_two_strides_is_not_dilated():
    twice = conv()
    classifier = classifier_of(64, *halving(3, channels=4), twice, *halving(2), twice)
    with pytest.raises(UserError, match="is used at maps of two strides"):
        build("fcn32s", 2, backbone=classifier, preprocessing="tf", output_stride=8)


def test_normalisations_become_numbers():
    """Also those that are turned round; random weights keep them."""
    numbers = dict(mean=[10.0, 20.0, 30.0], variance=[4.0, 9.0, 16.0])
    classifier = scatter(
        classifier_of(
            64,
            layers.Normalization(**numbers),
            layers.Normalization(**numbers, invert=True),
            *halving(),
        )
    )
    model = build("fcn32s", 2, backbone=classifier, preprocessing="none")
    image = photo(64, 64)
    expected = np.asarray(classifier(image.astype("float32")))
    np.testing.assert_allclose(
        outputs_of(model, image, "drop7")["drop7"], expected, rtol=1e-4, atol=1e-4
    )
    random = build("fcn32s", 2, backbone=classifier, preprocessing="none", weights=None)
    found = outputs_of(random, image, "standardize", "drop7")
    np.testing.assert_allclose(
        found["standardize"], (image - numbers["mean"]) / [2, 3, 4], rtol=1e-5, atol=1e-5
    )
    assert np.abs(found["drop7"] - expected).max() > 0.01


# Preprocessing


def normalized(kind, image):
    """What a network makes of an image before its classifier."""
    classifier = classifier_of(64, *halving())
    model = build("fcn32s", 1, backbone=classifier, preprocessing=kind)
    return outputs_of(model, image, "normalize")["normalize"]


def test_preprocessing_is_that_of_each_family():
    image = np.random.default_rng(0).integers(0, 256, (1, 7, 9, 3)).astype("float32")
    found = {kind: normalized(kind, image) for kind in ("tf", "torch", "caffe", "none")}
    for name, spec in CLASSIFIERS.items():
        builder = getattr(keras.applications, spec.builder)
        module = sys.modules[builder.__module__]
        expected = module.preprocess_input(image.copy())
        np.testing.assert_allclose(found[spec.preprocessing], expected, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "name, kind",
    [
        ("mobilenet_1.00_224", "tf"),
        ("mobilenetv2_0.35_96", "tf"),
        ("resnet50", "caffe"),
        ("resnet101v2", "tf"),
        ("densenet169", "torch"),
        ("inception_v3", "tf"),
        ("inception_resnet_v2", "tf"),
        ("vgg19", "caffe"),
    ],
)
def test_preprocessing_is_known_by_the_name(name, kind):
    classifier = classifier_of(64, *halving(), name=name)
    model = build("fcn32s", 1, backbone=classifier)
    image = photo(5, 6)
    found = outputs_of(model, image, "normalize")["normalize"]
    np.testing.assert_allclose(found, normalized(kind, image), atol=1e-5)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "efficientnetv2-b0", "convnext_tiny"])
def test_classifiers_without_their_own_preprocessing_are_not_taken_for_others(name):
    with pytest.raises(UserError, match=f"`preprocessing` must be given for {name}"):
        build("fcn32s", 1, backbone=classifier_of(64, *halving(), name=name))
    inside = classifier_of(64, layers.Rescaling(1 / 255), *halving(), name=name)
    image = photo(5, 6)
    model = build("fcn32s", 1, backbone=inside)
    np.testing.assert_array_equal(outputs_of(model, image, "normalize")["normalize"], image)


# Weights, of a small classifier that stands for MobileNetV2


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(keras.applications, "MobileNetV2", tiny)


def save_legacy(model, path, whole=False):
    """Writes Keras' older file of weights, or of a whole model."""
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if whole else file
        group.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        group.attrs["backend"] = b"tensorflow"
        group.attrs["keras_version"] = b"2.2.4"
        for layer in model.layers:
            part = group.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            part.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.get_weights(), strict=True):
                part.create_dataset(name, data=weight)


WRITERS = {
    "w.weights.h5": lambda model, path: model.save_weights(path),
    "old.h5": save_legacy,
    "whole.h5": lambda model, path: save_legacy(model, path, whole=True),
}


@pytest.mark.parametrize(
    "include_top, name",
    [
        (True, "w.weights.h5"),
        (False, "old.h5"),
        pytest.param(True, "whole.h5", marks=pytest.mark.slow),
    ],
)
def test_files_of_a_classifier_s_weights(name, include_top, stand_in, tmp_path):
    classifier = scatter(tiny(include_top=include_top, alpha=0.5))
    if include_top:
        classifier.compile("adam", "mse")
        classifier.optimizer.build(classifier.trainable_variables)
    WRITERS[name](classifier, tmp_path / name)
    model = build("fcn32s", 2, backbone="mobilenet_v2", weights=tmp_path / name, width=0.5)
    found = {layer.name: layer.get_weights() for layer in model.layers}
    for layer in classifier.layers:
        for old, new in zip(layer.get_weights(), found.get(layer.name, []), strict=False):
            np.testing.assert_array_equal(new, old)
    assert len(found["stem4"]) == 1 and len(found["bn4"]) == 4


def save_with(classifier, path, number):
    classifier.get_layer("stem2").kernel.assign(classifier.get_layer("stem2").kernel * number)
    classifier.save_weights(path)


def cut(path):
    tiny().save_weights(path)
    path.write_bytes(path.read_bytes()[:5000])


def save_other(path):
    model = classifier_of(64, *[conv(3, 2, name=f"other{i}") for i in range(5)])
    model.save_weights(path)


def save_renamed(path):
    def rename(layer):
        return type(layer).from_config(layer.get_config() | {"name": f"x{layer.name}"})

    keras.models.clone_model(tiny(), clone_function=rename).save_weights(path)


@pytest.mark.parametrize(
    "name, write, message",
    [
        ("a.weights.h5", save_other, "a.weights.h5: holds 10 arrays, and mobilenet_v2 has 35, or"),
        ("a.weights.h5", save_renamed, "holds no weights of mobilenet_v2 .it has no layer bn"),
        ("a.weights.h5", cut, "a.weights.h5: is no HDF5 file"),
        ("a.h5", lambda path: path.write_text("x"), "a.h5: is no HDF5 file"),
        ("a.h5", lambda path: None, "a.h5', which is no file"),
        ("a.weights.h5", lambda path: None, "a.weights.h5', which is no file"),
        (
            "a.weights.h5",
            lambda path: save_with(tiny(), path, np.nan),
            "a.weights.h5: stem2/kernel holds numbers that are not finite",
        ),
        ("a.weights.h5", lambda path: tiny(alpha=0.5).save_weights(path), "holds no weights of"),
        ("a.keras", lambda path: small().save(path), "do not fit"),
        ("a.keras", lambda path: tiny().save(path), "is no network of this package"),
        ("a.weights.h5", lambda path: small().save_weights(path), "weights of another network"),
    ],
)
def test_files_that_do_not_fit(name, write, message, stand_in, tmp_path):
    write(tmp_path / name)
    with pytest.raises(UserError, match=message) as caught:
        build("fcn32s", 3, backbone="mobilenet_v2", weights=tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_files_of_a_network(ending, stand_in, tmp_path):
    model = scatter(build("fcn32s", 2, backbone="mobilenet_v2", weights=None))
    path = tmp_path / f"net{ending}"
    model.save(path) if ending == ".keras" else model.save_weights(path)
    image = photo(45, 70)
    again = build("fcn32s", 2, backbone="mobilenet_v2", weights=path)
    np.testing.assert_array_equal(again(image), model(image))
    if ending == ".keras":
        classifier = tiny(input_shape=(224, 224, 3))
        again = build("fcn32s", 2, backbone=classifier, preprocessing="tf", weights=path)
        np.testing.assert_array_equal(again(image), model(image))
        with pytest.raises(UserError, match="weights expect another preprocessing than 'torch'"):
            build("fcn32s", 2, backbone=classifier, preprocessing="torch", weights=path)


OFFLINE = "URL fetch failure on https://example.org/mobilenet_v2/file_no_top.h5: None -- no route"


def test_without_network(monkeypatch, tmp_path):
    def offline(weights=None, **options):
        if weights == "imagenet":
            raise Exception(OFFLINE)
        return tiny(weights, **options)

    monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(UserError) as caught:
        build("fcn32s", 2, backbone="mobilenet_v2")
    for part in (
        "https://example.org/mobilenet_v2/file_no_top.h5 on a machine with network",
        f"put it at {tmp_path / 'models' / 'file_no_top.h5'}",
        "--weights",
        "--recipe small",
    ):
        assert part in str(caught.value)


@pytest.mark.slow
def test_the_file_in_keras_home_is_used(monkeypatch, tmp_path):
    """And without it the file that Keras asks for is named; Keras reads the folder at its start."""
    code = (
        "import keras, numpy as np, sys, urllib.error\n"
        "from fcn_keras import build, UserError\n"
        "from keras.src.utils import file_utils\n"
        "def offline(*_): raise urllib.error.URLError('no route')\n"
        "file_utils.urlretrieve = offline\n"
        "try:\n"
        "    build('fcn32s', 2, backbone='mobilenet', width=0.25)\n"
        "except UserError as error: print(error)\n"
        "keras.utils.set_random_seed(1)\n"
        "donor = keras.applications.MobileNet(weights=None, include_top=False, alpha=0.25,\n"
        "                                     input_shape=(224, 224, 3))\n"
        "donor.save(sys.argv[1])\n"
        "model = build('fcn32s', 2, backbone='mobilenet', width=0.25)\n"
        "name = 'conv_pw_13'\n"
        "[one], [two] = donor.get_layer(name).get_weights(), model.get_layer(name).get_weights()\n"
        "print('same', np.array_equal(one, two))\n"
    )
    path = tmp_path / "models/mobilenet_2_5_224_tf_no_top.h5"
    path.parent.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        env={**os.environ, "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("The", "same"))]
    assert f"put it at {path}" in lines[0] and "storage.googleapis.com" in lines[0]
    assert lines[1] == "same True"


def test_width(stand_in):
    model = build("fcn32s", 2, backbone="mobilenet_v2", weights=None, width=0.5)
    assert [model.get_layer(f"stem{i}").filters for i in range(5)] == [2, 4, 6, 8, 10]


# Mistakes

GIVEN = classifier_of(64, *halving(), name="mine")


@pytest.mark.parametrize(
    "variant, options, message",
    [
        ("fcn8s", dict(backbone="resnet51"), "`backbone` must be one of vgg16, .*resnet51"),
        ("fcn8s", dict(backbone=3), "`backbone` must be a name, or a Keras model"),
        ("fcn8s", dict(backbone=keras.Sequential([conv()])), "a sequence of layers with an input"),
        ("fcn-alexnet", dict(backbone="resnet50"), "`backbone` of fcn-alexnet must be left out"),
        ("fcn32s-hha", dict(backbone=GIVEN), "`backbone` of fcn32s-hha must be left out.*mine"),
        ("fcn32s-color-hha", dict(backbone="resnet50"), "`backbone` of fcn32s-color-hha"),
        ("fcn32s-color-d", dict(backbone="resnet50"), "`backbone` of fcn32s-color-d"),
        ("fcn8s", dict(backbone="resnet50", geometry="same"), "`geometry` is VGG16's"),
        ("fcn8s", dict(backbone="resnet50", elide_padding=False), "`elide_padding` is VGG16's"),
        ("fcn8s", dict(backbone=GIVEN, input_mean=(1, 2, 3)), "`input_mean` is VGG16's"),
        ("fcn8s", dict(backbone=GIVEN, input_std=2.0), "`input_std` is VGG16's"),
        ("fcn8s", dict(backbone=GIVEN), "`preprocessing` must be given for mine"),
        ("fcn8s", dict(backbone=GIVEN, preprocessing="rgb"), "must be one of tf, torch, caffe, no"),
        ("fcn8s", dict(backbone="resnet50", preprocessing="tf"), "of resnet50 is known"),
        ("fcn8s", dict(preprocessing="tf"), "`preprocessing` is known for VGG16"),
        ("fcn8s", dict(backbone="resnet50", width=0.5), "`width` of resnet50 must be 1"),
        ("fcn8s", dict(backbone=GIVEN, preprocessing="tf", width=0.5), "`width` of a model"),
        (
            "fcn8s",
            dict(backbone=classifier_of((64, 64, 1), *halving()), preprocessing="tf"),
            r"of one image `\(N, H, W, 3\)`.*64, 64, 1",
        ),
        (
            "fcn8s",
            dict(
                backbone=keras.Model(
                    pair := [keras.Input((64, 64, 3)) for _ in range(2)], layers.Add()(pair)
                ),
                preprocessing="tf",
            ),
            "of one image",
        ),
        ("fcn16s", dict(backbone=GIVEN, preprocessing="tf", output_stride=8), "must be 32"),
        (
            "fcn8s",
            dict(backbone=GIVEN, preprocessing="tf", weights="no.keras"),
            "'no.keras', which is no file",
        ),
        ("fcn8s", dict(backbone="mobilenet", weights="no.h5"), "'no.h5', which is no file"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(variant, options, message):
    with pytest.raises(UserError, match=message) as caught:
        build(variant, 2, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["net.h5", "net.npz"])
def test_files_of_vgg_are_refused(name, tmp_path):
    if name.endswith(".h5"):
        tiny().save_weights(tmp_path / "a.weights.h5")
        (tmp_path / "a.weights.h5").rename(tmp_path / name)
    else:
        np.savez(tmp_path / name, conv1_1=np.zeros(3))
    with pytest.raises(UserError):
        build("fcn8s", 2, backbone=GIVEN, preprocessing="tf", weights=tmp_path / name)
