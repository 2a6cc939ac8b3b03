"""Published weights through `convert`, as a user calls it."""

import functools
import json
import re

import keras
import numpy as np
import pytest
from helpers.caffe_files import write_caffemodel
from helpers.caffe_nets import NETS, random_blobs
from helpers.classifiers import scatter, tiny
from helpers.networks import photo, photo_for, scatter_scores, small

from fcn_keras import UserError, build
from fcn_keras.models.layers import preprocessing_of

CLASSES, SEED = 5, 3
WIDTHS = {variant: 1 / 16 if variant == "fcn-alexnet" else 1 / 32 for variant in NETS}


@pytest.fixture
def convert(run_command):
    """Calls the command; returns its exit code and what it printed."""
    return functools.partial(run_command, "convert")


@pytest.fixture
def refused(convert, tmp_path):
    """Checks that the command answers in one line, and writes nothing."""

    def check(*args, words):
        before = sorted(tmp_path.rglob("*"))
        code, out, err = convert(*args)
        assert (code, out) == (2, ""), err
        assert re.fullmatch(r"error: .+\n", err), err
        for word in words:
            assert str(word) in err, err
        assert sorted(tmp_path.rglob("*")) == before

    return check


def published(folder, variant, name="net.caffemodel", without=(), **options):
    blobs = random_blobs(variant, CLASSES, WIDTHS[variant], SEED)
    for layer in without:
        del blobs[layer]
    return write_caffemodel(folder / name, blobs, **options)


def loaded(path, variant):
    """The network with the weights of Caffe's file put in by hand."""
    model = build(
        variant,
        CLASSES,
        weights=None,
        width=WIDTHS[variant],
        input_std=1.0,
        input_mean=(104.00699, 116.66877, 122.67892),
    )
    for name, (kind, arrays) in random_blobs(variant, CLASSES, WIDTHS[variant], SEED).items():
        if kind != "Scale":
            kernel, *bias = arrays
            model.get_layer(name).set_weights([np.transpose(kernel, (2, 3, 1, 0)), *bias])
    return model


@pytest.mark.parametrize("variant", NETS)
def test_classes_and_width_are_the_files(convert, tmp_path, variant):
    source, target = published(tmp_path, variant), tmp_path / "out.keras"
    code, out, err = convert(source, target, "--variant", variant)
    assert (code, err) == (0, "")
    expected = loaded(source, variant)
    assert out == f"{expected.count_params():,} parameters of {variant} in {target}\n"
    model = keras.models.load_model(target, safe_mode=True)
    assert model.name == variant
    image = photo(40, 53)
    logits = np.asarray(expected(image))
    np.testing.assert_allclose(model(image), logits, atol=1e-5 * np.abs(logits).max())
    assert np.ptp(logits) > 0.1
    # The same file as weights, or by way of numbers alone.
    for path in (source, target):
        again = build(variant, CLASSES, weights=path, width=WIDTHS[variant])
        np.testing.assert_allclose(again(image), logits, atol=1e-5 * np.abs(logits).max())


@pytest.mark.parametrize("variant", ["fcn16s", "fcn-alexnet"])
@pytest.mark.parametrize("options", [{"form": "v1"}, {"packed": False}, {"legacy": True}])
def test_older_files(convert, tmp_path, variant, options):
    source, target = published(tmp_path, variant, **options), tmp_path / "out.keras"
    code, _, err = convert(source, target, "--variant", variant, "--num-classes", CLASSES)
    assert (code, err) == (0, "")
    model = keras.models.load_model(target)
    np.testing.assert_allclose(
        model(photo(20, 33)), loaded(source, variant)(photo(20, 33)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("variant", ["fcn8s", "fcn-alexnet"])
def test_weights_alone(convert, tmp_path, variant):
    source, target = published(tmp_path, variant), tmp_path / "out.weights.h5"
    code, _, err = convert(source, target, "--variant", variant)
    assert (code, err) == (0, "")
    model = build(variant, CLASSES, weights=target, width=WIDTHS[variant])
    mean, std = preprocessing_of(model)
    np.testing.assert_allclose(mean, (104.00699, 116.66877, 122.67892), rtol=1e-6)
    assert std == 1
    expected = loaded(source, variant)(photo(40, 53))
    np.testing.assert_allclose(model(photo(40, 53)), expected, rtol=1e-4, atol=1e-4)


def test_mean_of_another_data_set(convert, tmp_path):
    source = published(tmp_path, "fcn32s")
    for name in ("out.keras", "out.weights.h5"):
        arguments = ("--variant", "fcn32s", "--input-mean", "1,2,3.5")
        assert convert(source, tmp_path / name, *arguments)[0] == 0
        model = build("fcn32s", CLASSES, weights=tmp_path / name, width=1 / 32)
        assert tuple(preprocessing_of(model)[0]) == (1, 2, 3.5)


def caffe_layers(model):
    """What Caffe would keep of a network."""
    return {
        layer.name: ("Convolution", [np.transpose(k, (3, 2, 0, 1)), *bias])
        for layer in model.layers
        if layer.weights
        for k, *bias in [layer.get_weights()]
    }


@pytest.mark.parametrize(
    "variant, classes",
    [
        ("fcn16s", {"sem": 4, "geo": 3}),
        ("fcn32s-hha", 4),
        ("fcn32s-color-d", 4),
        ("fcn32s-color-hha", 4),
    ],
)
def test_networks_of_other_data_sets(convert, tmp_path, variant, classes):
    """Two heads, depth, and two trunks: names with endings."""
    model = small(variant, classes, width=1 / 32, input_std=1.0)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "normalize" not in weight.path:
            weight.assign(rng.normal(0, 0.1, weight.shape))
    source = write_caffemodel(tmp_path / "net.caffemodel", caffe_layers(model))
    code, _, err = convert(source, tmp_path / "out.keras", "--variant", variant)
    assert (code, err) == (0, "")
    found = keras.models.load_model(tmp_path / "out.keras")
    kept = {w.path: w.numpy() for w in found.weights}
    assert kept.keys() == {w.path for w in model.weights}
    for weight in model.weights:
        np.testing.assert_array_equal(kept[weight.path], weight.numpy())
    outputs = found(photo_for(found, 20, 33))
    if isinstance(classes, dict):
        assert {name: logits.shape[-1] for name, logits in outputs.items()} == classes
    means = {"hha": (132.431, 94.076, 118.477), "color-d": (116.66877, 122.67892, 7.844)}
    kind = next((kind for kind in means if variant.endswith(kind)), None)
    mean = preprocessing_of(found)[0]
    np.testing.assert_allclose(mean[-3:], means.get(kind, (104.00699, 116.66877, 122.67892)))


def test_networks_on_other_classifiers(convert, tmp_path):
    """From a network to weights alone, and back; what they are of must be said."""
    options = dict(backbone=scatter(tiny()), preprocessing="torch")
    model = scatter_scores(build("fcn8s", 4, **options))
    model.save(tmp_path / "net.keras")
    code, out, err = convert(tmp_path / "net.keras", tmp_path / "net.weights.h5")
    assert (code, err) == (0, "")
    assert out.startswith(f"{model.count_params():,} parameters of fcn8s")
    image = photo(40, 53)
    options["backbone"] = tiny(alpha=1)
    for name in ("net.keras", "net.weights.h5"):
        again = build("fcn8s", 4, weights=tmp_path / name, **options)
        np.testing.assert_array_equal(again(image), model(image))
        assert preprocessing_of(again) == preprocessing_of(model)
    for changed in ({"preprocessing": "tf"}, {"backbone": tiny(alpha=2)}):
        with pytest.raises(UserError, match=r"net.weights.h5: (holds|its weights expect another)"):
            build("fcn8s", 4, weights=tmp_path / "net.weights.h5", **(options | changed))
    code, out, err = convert(tmp_path / "net.keras", "--list", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["depthwise0"] == [[3, 3, 4, 1], [4]]
    # Networks on other classifiers are nobody's but this package's.
    source = published(tmp_path, "fcn32s")
    with pytest.raises(UserError, match="`weights` on tiny must be"):
        build("fcn32s", CLASSES, weights=source, **options)


# Mistakes


def test_wrong_variant(refused, tmp_path):
    source = published(tmp_path, "fcn16s")
    out = tmp_path / "out.keras"
    words = [source, "does not fit fcn8s", "score_pool3", "upscore8", "surplus", "upscore16"]
    refused(source, out, "--variant", "fcn8s", words=words)
    refused(source, out, "--variant", "fcn32s", words=[source, "surplus", "score_pool4"])
    refused(source, out, "--variant", "fcn-alexnet", words=[source, "conv1_1", "conv1"])


def test_alexnet_as_vgg(refused, tmp_path):
    source = published(tmp_path, "fcn-alexnet")
    words = [source, "no layer conv1_1", "fcn8s"]
    refused(source, tmp_path / "out.keras", "--variant", "fcn8s", words=words)


def test_no_variant(refused, tmp_path):
    source = published(tmp_path, "fcn16s")
    refused(source, tmp_path / "out.keras", words=["--variant", source, "fcn16s, fcn8s"])


@pytest.mark.parametrize("layer", ["conv1_1", "conv3_2", "fc6", "score_pool4", "upscore16"])
def test_missing_layer(refused, tmp_path, layer):
    source = published(tmp_path, "fcn16s", without=[layer])
    refused(source, tmp_path / "out.keras", "--variant", "fcn16s", words=[source, layer])


def test_no_scores(refused, tmp_path):
    source = published(tmp_path, "fcn32s", without=["score_fr"])
    words = [source, "scores no classes", "--weights"]
    refused(source, tmp_path / "out.keras", "--variant", "fcn32s", words=words)


@pytest.mark.parametrize("ending", ["keras", "weights.h5"])
def test_truncated_file(refused, tmp_path, ending):
    source = published(tmp_path, "fcn32s")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    refused(source, tmp_path / f"out.{ending}", "--variant", "fcn32s", words=[source])


@pytest.mark.parametrize("content", ["", "not a network\n" * 100])
def test_text_file(refused, tmp_path, content):
    source = tmp_path / "net.caffemodel"
    source.write_text(content)
    refused(source, tmp_path / "out.keras", "--variant", "fcn32s", words=[source])


def test_no_file(refused, tmp_path):
    source = tmp_path / "net.caffemodel"
    refused(source, tmp_path / "out.keras", "--variant", "fcn32s", words=[source])


@pytest.mark.parametrize("options", [["--num-classes", "7"], ["--width", "0.125"]])
def test_other_classes_or_width_than_the_files(refused, tmp_path, options):
    source = published(tmp_path, "fcn32s")
    words = [source, "other shapes", "score_fr"]
    refused(source, tmp_path / "out.keras", "--variant", "fcn32s", *options, words=words)


def test_wrong_ending(refused, tmp_path):
    source = published(tmp_path, "fcn32s")
    words = [tmp_path / "out.h5", ".keras or .weights.h5"]
    refused(source, tmp_path / "out.h5", "--variant", "fcn32s", words=words)


def test_onto_an_existing_file(refused, tmp_path):
    source = published(tmp_path, "fcn32s")
    (tmp_path / "out.keras").write_text("earlier work")
    refused(source, tmp_path / "out.keras", "--variant", "fcn32s", words=["exists already"])
    assert (tmp_path / "out.keras").read_text() == "earlier work"


def test_variant_of_a_file_that_tells_it(refused, tmp_path):
    small("fcn32s").save(tmp_path / "net.keras")
    words = ["--variant", tmp_path / "net.keras"]
    arguments = (tmp_path / "net.keras", tmp_path / "out.weights.h5", "--variant", "fcn32s")
    refused(*arguments, words=words)
