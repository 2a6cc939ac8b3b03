"""Layers that do not learn, not from the beginning, or slower than others."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.classifiers import scatter, tiny

from fcn_keras import build
from fcn_keras.errors import UserError
from fcn_keras.models.head import is_of_head
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.adam import Adam
from fcn_keras.training.batch_norm import settle
from fcn_keras.training.freezing import Thaw, freeze
from fcn_keras.training.optimizers import make_optimizer
from fcn_keras.training.rate_factors import SGD
from fcn_keras.training.task import SegmentationTask


def vgg():
    keras.utils.set_random_seed(0)
    network = build("fcn8s", 3, weights=None, width=1 / 32, dropout=0.0, upsampling="learned")
    for name in ("score_fr", "score_pool4", "score_pool3"):
        kernel = network.get_layer(name).kernel
        kernel.assign(np.random.default_rng(1).normal(size=kernel.shape))
    return network


def on_a_classifier():
    keras.utils.set_random_seed(0)
    return build("fcn8s", 3, backbone=scatter(tiny()), preprocessing="tf", dropout=0.0)


def after_a_step(make, which, **options):
    """Names of the layers -> weights before and after a step, of SGD without a momentum."""
    network = make()
    freeze(network, which)
    task = SegmentationTask(network, micro_batch=2, **options)
    task.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 40, 44, 3)).astype("uint8")
    labels = rng.integers(0, 3, (2, 40, 44, 1)).astype("uint8")
    before = {layer.name: layer.get_weights() for layer in network.layers if layer.weights}
    data = tf.data.Dataset.from_tensors((images, labels))
    task.fit(data, steps_per_epoch=1, epochs=1, shuffle=False, verbose=0)
    return {
        layer.name: (before[layer.name], layer.get_weights())
        for layer in network.layers
        if layer.weights
    }


def moved(weights):
    return {
        name
        for name, (before, after) in weights.items()
        if any((a != b).any() for a, b in zip(before, after, strict=True))
    }


CONVOLUTIONS = {f"conv{block}_{n}" for block in (1, 2) for n in (1, 2)} | {
    f"conv{block}_{n}" for block in (3, 4, 5) for n in (1, 2, 3)
}
SCORES = {"score_fr", "score_pool4", "score_pool3", "upscore2", "upscore_pool4", "upscore8"}


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ("", CONVOLUTIONS | {"fc6", "fc7"} | SCORES),
        ("trunk", SCORES),
        ("conv1_1..pool3", {*sorted(CONVOLUTIONS)[7:]} | {"fc6", "fc7"} | SCORES),
        ("fc7..conv4_1", {*sorted(CONVOLUTIONS)[:7]} | SCORES),
        ("fc[67]", CONVOLUTIONS | SCORES),
        (
            "conv1_1|score_.*",
            CONVOLUTIONS - {"conv1_1"}
            | {"fc6", "fc7"}
            | SCORES - {"score_fr", "score_pool4", "score_pool3"},
        ),
    ],
)
def test_which_layers_are_meant(which, left, capsys):
    network = vgg()
    freeze(network, which)
    assert {layer.name for layer in network.layers if layer.trainable_variables} == left
    assert (f"(--freeze {which})" in capsys.readouterr().out) == bool(which)


def test_what_is_frozen_stays_and_all_else_learns_as_ever():
    found, whole = (after_a_step(vgg, which) for which in ("conv[123]_.|fc7", ""))
    frozen = {*sorted(CONVOLUTIONS)[:7], "fc7"}
    assert moved(whole) - moved(found) == frozen
    for name in moved(found):
        for one, other in zip(found[name][1], whole[name][1], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_frozen_normalisation_keeps_its_statistics():
    found = after_a_step(on_a_classifier, "trunk")
    assert {name for name in found if not name.startswith(("score", "up"))}
    assert moved(found) == {"score_fr", "score_pool4", "score_pool3"}


@pytest.mark.slow
def test_with_activations_computed_twice():
    once, twice = (after_a_step(vgg, "conv1_1..pool3", remat=remat) for remat in (False, True))
    assert moved(once) == moved(twice)
    for name in once:
        for one, other in zip(once[name][1], twice[name][1], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("conv1_1..pool9", r"no layer 'pool9' \(near: pool5, .*Received: 'conv1_1..pool9'"),
        ("conv9..pool3", "no layer 'conv9'"),
        ("pool3", "no layer with weights is meant"),
        ("nothing", "no layer with weights is meant.*'nothing'"),
        ("(", "`freeze` must be trunk, two layers as in conv1_1..pool3, or a regular expression"),
        (".*", "`freeze` must leave layers that learn"),
    ],
)
def test_no_layers(which, message):
    with pytest.raises(UserError, match=message):
        freeze(vgg(), which)


def test_nothing_to_thaw():
    with pytest.raises(UserError, match="`freeze_epochs` must be 0 where nothing is frozen"):
        resolve("small", freeze_epochs=3)


def test_what_a_recipe_freezes_is_of_its_backbone():
    assert resolve("light", dataset="my/photos", backbone="resnet50").freeze == ""


def batches(steps):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 40, 44, 3)).astype("uint8")
    labels = rng.integers(0, 3, (2, 40, 44, 1)).astype("uint8")
    return dict(
        x=tf.data.Dataset.from_tensors((images, labels)).repeat(),
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
    )


class Watch(keras.callbacks.Callback):
    """Notes all weights after each step, and before the first."""

    def on_train_begin(self, logs=None):
        self.seen = [self.model.network.get_weights()]

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.model.network.get_weights())

    def moved(self, step, names):
        """By how much each layer moved at most in a step, from 1."""
        found = {}
        paths = [weight.path.split("/")[0] for weight in self.model.network.weights]
        for path, before, after in zip(paths, *self.seen[step - 1 : step + 1], strict=True):
            if path in names:
                found[path] = max(found.get(path, 0.0), np.abs(after - before).max())
        return found


def test_frozen_for_some_epochs(capsys):
    """Two steps of the head alone, then of all; Adam's first step is as long as its rate."""
    network = on_a_classifier()
    settle(network, resolve("small", backbone="mobilenet_v2", batch_norm="frozen"))
    task = SegmentationTask(network, ema=0.5)
    task.compile(Adam(1e-3, epsilon=1e-12), jit_compile=False)
    task.freeze("trunk")
    watch = Watch()
    task.fit(epochs=3, callbacks=[Thaw(2, 1), watch], **batches(1))
    assert "epoch 3: all layers learn from here on (--freeze-epochs 2)" in capsys.readouterr().out
    scores = {"score_fr", "score_pool4", "score_pool3"}
    names = {weight.path.split("/")[0] for weight in network.weights}
    norms = {layer.name for layer in network.layers if "Norm" in type(layer).__name__}
    trunk = {name for name in names - norms if not name.startswith(("score", "up"))}
    for step in (1, 2, 3):
        moved = watch.moved(step, names)
        assert {name for name in moved if moved[name]} == scores | (trunk if step == 3 else set())
    assert max(watch.moved(3, trunk).values()) == pytest.approx(1e-3, rel=0.001)


@pytest.mark.slow
def test_statistics_of_frozen_epochs_stay():
    network = on_a_classifier()
    task = SegmentationTask(network)
    task.compile(SGD(1e-3), jit_compile=False)
    task.freeze("trunk")
    watch = Watch()
    task.fit(epochs=2, callbacks=[Thaw(1, 1), watch], **batches(1))
    norms = {layer.name for layer in network.layers if "Norm" in type(layer).__name__}
    assert norms and not any(watch.moved(1, norms).values())
    assert all(watch.moved(2, norms).values())


@pytest.mark.parametrize("rule", ["sgd", "adam", "adamw", "caffe_sgd"])
def test_heads_learn_faster(rule):
    """By a factor, which the decay of weights does not know."""
    options = dict(optimizer=rule, learning_rate=1e-2, warmup=0.0, clip_norm=0.0)
    moved = []
    for factor in (1.0, 5.0):
        network = vgg()
        names = [layer.name for layer in network.layers if is_of_head(layer)]
        settings = resolve("small", head_learning_rate_factor=factor, **options)
        optimizer = make_optimizer(settings, 100, names)
        optimizer.build(network.trainable_variables)
        before = [variable.numpy() for variable in network.trainable_variables]
        ones = [tf.ones(variable.shape) for variable in network.trainable_variables]
        optimizer.apply(ones, network.trainable_variables)
        moved.append(
            {
                variable.path: variable.numpy() - value
                for variable, value in zip(network.trainable_variables, before, strict=True)
            }
        )
    for path, step in moved[0].items():
        factor = 5.0 if path.split("/")[0] in SCORES else 1.0
        np.testing.assert_allclose(moved[1][path], factor * step, rtol=1e-3, atol=1e-7)
    assert {path.split("/")[0] for path in moved[0]} >= SCORES
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
