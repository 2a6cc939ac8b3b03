"""The reference's experiments: their numbers, and the loss that each starts with."""

import math
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.recipes.common.resolving import RECIPES, resolve
from fcn_keras.training.initial_network import make_network
from fcn_keras.training.losses.sums import make_loss
from fcn_keras.training.run import default_path
from fcn_keras.training.task import SegmentationTask

VOC = (104.00699, 116.66877, 122.67892)
CONTEXT = (104.007, 116.669, 122.679)
NYUD = (116.190, 97.203, 92.318)
SIFTFLOW = (114.578, 115.294, 108.353)

# The reference's solver.prototxt, solve.py and data layers: variant, what it starts from,
# base_lr, iterations, mean.
SOLVERS = {
    "voc-fcn32s": ("fcn32s", "imagenet", 1e-10, 100_000, VOC),
    "voc-fcn16s": ("fcn16s", "voc-fcn32s", 1e-12, 100_000, VOC),
    "voc-fcn8s": ("fcn8s", "voc-fcn16s", 1e-14, 100_000, VOC),
    "voc-fcn8s-atonce": ("fcn8s-atonce", "imagenet", 1e-10, 300_000, VOC),
    "nyud-fcn32s-color": ("fcn32s", "imagenet", 1e-10, 100_000, NYUD),
    "nyud-fcn32s-hha": ("fcn32s-hha", "imagenet", 1e-10, 100_000, None),
    "nyud-fcn32s-color-d": ("fcn32s-color-d", "imagenet", 1e-10, 100_000, (*NYUD, 7.844)),
    "nyud-fcn32s-color-hha": (
        *("fcn32s-color-hha", "nyud-fcn32s-color,nyud-fcn32s-hha", 1e-12, 100_000, None),
    ),
    "siftflow-fcn32s": ("fcn32s", "imagenet", 1e-10, 100_000, SIFTFLOW),
    "siftflow-fcn16s": ("fcn16s", "siftflow-fcn32s", 1e-12, 100_000, SIFTFLOW),
    "siftflow-fcn8s": ("fcn8s", "siftflow-fcn16s", 1e-12, 100_000, SIFTFLOW),
    "pascalcontext-fcn32s": ("fcn32s", "imagenet", 1e-10, 400_000, CONTEXT),
    "pascalcontext-fcn16s": ("fcn16s", "pascalcontext-fcn32s", 1e-12, 400_000, CONTEXT),
    "pascalcontext-fcn8s": ("fcn8s", "pascalcontext-fcn16s", 1e-14, 400_000, CONTEXT),
}
EXPERIMENTS = [name for name in RECIPES if name not in ("shapes", "light", "folder", "small")]
MODERN = [name for name in EXPERIMENTS if name.endswith("modern")]

CLASSES = {"voc": 21, "nyud": 40, "siftflow": {"sem": 33, "geo": 3}, "pascalcontext": 60}


def module(recipe):
    return import_module(f"fcn_keras.recipes.{recipe.replace('-', '_')}")


def directory(recipe):
    settings = resolve(recipe)
    return str(default_path(settings.dataset, settings.variant))


def test_every_experiment_is_here():
    assert {*SOLVERS, *MODERN, "voc-fcn-alexnet"} == {*EXPERIMENTS}
    assert {name.partition("-")[0] for name in MODERN} == {*CLASSES}


@pytest.mark.parametrize("recipe", SOLVERS)
def test_solvers(recipe):
    variant, start, rate, iterations, mean = SOLVERS[recipe]
    settings = resolve(recipe)
    assert (settings.variant, settings.learning_rate) == (variant, rate)
    assert (settings.steps, settings.input_mean) == (iterations, mean)
    if start == "imagenet":
        assert (settings.weights, settings.init_from) == (start, "")
    else:  # where the stage before leaves its run
        assert settings.init_from == ",".join(directory(name) for name in start.split(","))
    assert (settings.optimizer, settings.momentum, settings.weight_decay) == (
        *("caffe_sgd", 0.99, 5e-4),
    )
    assert (settings.accumulate, settings.normalization) == (1, "sum")


def test_alexnet():
    settings = resolve("voc-fcn-alexnet")
    assert settings.variant == "fcn-alexnet"
    assert settings.weights == "bvlc_reference_caffenet.caffemodel"
    assert (settings.optimizer, settings.learning_rate) == ("caffe_sgd", 1e-4)
    assert (settings.momentum, settings.weight_decay) == (0.9, 5e-4)
    # Caffe counts a step for 20 images, here each image is one.
    assert settings.accumulate == 20 and settings.steps == 100_000 * 20
    assert settings.normalization == "valid_pixels"
    assert settings.input_mean == VOC


@pytest.mark.parametrize("recipe", [*SOLVERS, "voc-fcn-alexnet"])
def test_what_all_solvers_share(recipe):
    settings = resolve(recipe)
    assert (settings.crop_size, settings.batch_size, settings.replacement) == (None, 1, True)
    assert (settings.flip, settings.scale_min, settings.scale_max, settings.color) == (0, 1, 1, 0)
    assert (settings.schedule, settings.warmup, settings.dropout) == ("constant", 0, 0.5)
    assert settings.geometry == "paper" and settings.width == 1
    assert not settings.learn_upsampling and settings.class_weights == "none"
    assert settings.output_stride == 32 and settings.narrowed() == []


@pytest.mark.parametrize("recipe", MODERN)
def test_modern_recipes(recipe):
    settings = resolve(recipe)
    assert settings.batch_size > 1 and settings.crop_size
    assert settings.normalization == "valid_pixels" and settings.schedule == "cosine"
    assert settings.geometry == "paper" and settings.narrowed() == []
    # A step's gradient moves the weights as far as 16 images of the reference's, each of about
    # 500x375 pixels, do at a rate of 1e-10 on the sum.
    reference = 16 * 1e-10 * 500 * 375 / (1 - 0.99)
    ours = settings.learning_rate / (1 - settings.momentum)
    assert ours == pytest.approx(reference, rel=0.1)


@pytest.mark.parametrize("recipe", EXPERIMENTS)
def test_docstrings_tell_what_there_is_to_know(recipe):
    text = module(recipe).__doc__
    assert f"python train.py --recipe {recipe}\n" in text
    assert "\nPublished: " in text and "\nCost: " in text
    assert Path(module(recipe).__file__).stem == recipe.replace("-", "_")


# Percent, as section 4 of the papers and the reference's repository give them.
PUBLISHED = {
    "voc-fcn32s": (90.5, 76.5, 63.6, 83.5),
    "voc-fcn16s": (91.0, 78.1, 65.0, 84.3),
    "voc-fcn8s": (91.2, 77.6, 65.5, 84.5),
    "voc-fcn8s-atonce": (91.1, 78.5, 65.4, 84.4),
    "voc-fcn-alexnet": (None, None, 48.0, None),
    "nyud-fcn32s-color": (60.0, 42.2, 29.2, 43.9),
    "nyud-fcn32s-hha": (57.1, 35.2, 24.2, 40.4),
    "nyud-fcn32s-color-d": (61.5, 42.4, 30.5, 45.5),
    "nyud-fcn32s-color-hha": (64.3, 44.9, 32.8, 48.0),
    "siftflow-fcn16s": (85.2, 51.7, 39.5, 76.1),
    "pascalcontext-fcn32s": (63.8, 42.7, 31.8, 48.3),
    "pascalcontext-fcn16s": (65.7, 46.2, 34.8, 50.7),
    "pascalcontext-fcn8s": (65.9, 46.5, 35.1, 51.0),
}


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_published_rows(recipe):
    names = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")
    row = {k: v for k, v in zip(names, PUBLISHED[recipe], strict=True) if v is not None}
    assert module(recipe).PUBLISHED == row


# The first loss


@pytest.mark.parametrize("recipe", EXPERIMENTS)
def test_first_loss(recipe):
    """All scores are zero: each pixel that counts costs the logarithm of the classes."""
    classes = CLASSES[recipe.partition("-")[0]]
    heads = classes if isinstance(classes, dict) else {}
    settings = replace(resolve(recipe), weights="none", init_from="", width=1 / 64)
    network = make_network(settings, classes)
    task = SegmentationTask(
        network, make_loss(settings.loss, settings.normalization), heads=tuple(heads)
    )
    task.compile(run_eagerly=True)

    rng = np.random.default_rng(0)
    size = (17, 23)
    images = rng.integers(0, 256, (1, *size, network.input_shape[-1])).astype("uint8")
    labels, expected = [], 0
    for number in heads.values() or [classes]:
        label = rng.integers(0, number, size)
        label[rng.random(size) < 0.3] = 255
        labels.append(label)
        valid = (label != 255).sum()
        assert 0 < valid < label.size
        pixels = valid if settings.normalization == "sum" else 1
        expected += math.log(number) * pixels
    labels = np.stack(labels, axis=-1)[None].astype("uint8")
    loss = task.evaluate(tf.data.Dataset.from_tensors((images, labels)), verbose=0)[0]
    assert loss == pytest.approx(expected, rel=1e-5)


def test_first_loss_of_the_reference():
    """What Caffe prints on an image of VOC, of PASCAL-Context and of SIFT Flow."""
    assert round(math.log(21) * 500 * 375) == 570_848
    assert round(math.log(60) * 500 * 375) == 767_690
    assert round(math.log(33) * 256 * 256) + round(math.log(3) * 256 * 256) == 229_147 + 71_999


def test_another_backbone_does_not_get_what_is_meant_for_the_recipe_s_own():
    assert (resolve("shapes").geometry, resolve("shapes").width) == ("same", 0.25)
    for recipe in ("shapes", "small"):
        settings = resolve(recipe, backbone="resnet50")
        assert (settings.geometry, settings.width) == ("paper", 1.0)
        assert settings.weights == "none"
        assert settings.learning_rate == resolve(recipe).learning_rate
    assert resolve("small", backbone="mobilenet_v2", width=0.35).width == 0.35
    assert resolve("small", backbone="vgg16").geometry == "same"


def test_the_older_name_of_upsampling_counts():
    assert resolve("light", dataset="my/photos").upsampling == "nonlinear"
    assert resolve("light", dataset="my/photos", learn_upsampling=True).upsampling == "learned"
    assert resolve("light", dataset="my/photos", upsampling="bilinear").upsampling == "bilinear"


@pytest.mark.parametrize("recipe", RECIPES)
def test_epochs_that_are_given_count(recipe):
    """Also where a recipe says how many steps a training has."""
    settings = resolve(recipe, epochs=3)
    assert settings.length(16) == (3, math.ceil(16 / settings.images_per_step))
    assert resolve(recipe, epochs=3, steps=5).steps == 5
