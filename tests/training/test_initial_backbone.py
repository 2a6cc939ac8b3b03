"""Networks on one classifier, each started from one of another variant."""

import keras
import numpy as np
import pytest
from helpers.classifiers import scatter, tiny

from fcn_keras import UserError, build
from fcn_keras.training.initial_network import make_network
from fcn_keras.training.settings import Settings


@pytest.fixture(autouse=True)
def small_classifier(monkeypatch):
    monkeypatch.setattr(keras.applications, "MobileNetV2", tiny)


def start(variant, path, **options):
    options = {"backbone": "mobilenet_v2"} | options
    return make_network(Settings(variant=variant, init_from=str(path), **options), 3)


def saved(variant, path, **options):
    network = scatter(
        build(variant, 3, **({"backbone": "mobilenet_v2", "weights": None} | options))
    )
    network.save(path)
    return network


def test_stages(tmp_path, capsys):
    """FCN-32s, FCN-16s, FCN-8s, as the paper trains them."""
    before = saved("fcn32s", tmp_path / "fcn32s.keras")
    for variant, last, new in (
        ("fcn16s", "fcn32s", ["score_pool4", "upscore2", "upscore16"]),
        ("fcn8s", "fcn16s", ["score_pool3", "upscore_pool4", "upscore8"]),
    ):
        network = start(variant, tmp_path / f"{last}.keras")
        told = capsys.readouterr().out.split(": every layer but ")[1].strip()
        assert sorted(told.split(", ")) == sorted(new)
        for layer in before.layers:
            if layer.weights and not layer.name.startswith("up"):
                for weight, copy in zip(
                    layer.get_weights(), network.get_layer(layer.name).get_weights(), strict=True
                ):
                    np.testing.assert_array_equal(copy, weight)
        scatter(network).save(tmp_path / f"{variant}.keras")
        before = network


def test_other_classifiers_are_refused(tmp_path):
    saved("fcn32s", tmp_path / "net.keras")
    # All of its layers have the same names and shapes.
    saved("fcn32s", tmp_path / "other.keras", backbone=tiny(), preprocessing="caffe")
    saved("fcn32s", tmp_path / "vgg.keras", backbone="vgg16", width=1 / 64)
    vgg = {"backbone": "vgg16", "width": 1 / 64}
    for path, options, message in (
        ("net.keras", {"width": 2.0}, "has 0 of the 15 layers that mobilenet_v2 of width 2 is"),
        ("net.keras", vgg, "has 0 of the 15 layers that vgg16 of width 0.015625 is"),
        ("vgg.keras", {}, "has 0 of the 15 layers that mobilenet_v2 of width 1 is"),
        ("other.keras", {}, "the same preprocessing.*another one than mobilenet_v2 has"),
    ):
        with pytest.raises(UserError, match=message):
            start("fcn16s", tmp_path / path, **options)
