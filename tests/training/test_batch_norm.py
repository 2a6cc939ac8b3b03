"""Batch normalisation in training: frozen, or with the statistics of the whole batch."""

import csv
import json
import random
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import train_with_batch_norm
from helpers.folders import write_folder, write_squares
from helpers.kill_training import differences, kill_and_resume, start, undisturbed
from helpers.train_with_batch_norm import build, network
from keras import layers

from fcn_keras.cpu.products import with_products
from fcn_keras.errors import UserError
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training import initial_network
from fcn_keras.training.batch_norm import WholeStatistics, settle, with_whole_statistics
from fcn_keras.training.task import SegmentationTask
from fcn_keras.training.train import train

SCRIPT = Path(train_with_batch_norm.__file__)


@pytest.fixture
def built(monkeypatch):
    """Lets `train` work on a network with batch normalisation."""
    monkeypatch.setattr(initial_network, "build", build)


# The layers that compute


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.5, "epsilon": 1e-5},
        {"center": False},
        {"scale": False},
        {"axis": 1},
        {"dtype": "mixed_bfloat16"},
        {"dtype": "float64"},
    ],
)
def test_one_replica_computes_what_keras_does(options):
    """Outputs, all gradients, and the moving statistics after two steps."""
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (2, 4, 6, 5)).astype("float32")
    target = rng.normal(size=x.shape)
    found = []
    for kind in (lambda norm: norm, WholeStatistics):
        layer = layers.BatchNormalization(**options)
        layer.build(x.shape)
        compute, images = kind(layer), tf.constant(x)
        for _ in range(2):
            with tf.GradientTape() as tape:
                tape.watch(images)
                y = compute(images, training=True)
                loss = tf.reduce_sum(tf.cast(y, "float64") * target)
            gradients = tape.gradient(loss, [images, *(w.value for w in layer.trainable_weights)])
        found.append([y, *gradients, *layer.weights, compute(images, training=False)])
    assert found[0][0].dtype == found[1][0].dtype
    for expected, value in zip(*found, strict=True):
        expected, value = (np.asarray(tf.cast(a, "float64")) for a in (expected, value))
        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-6)


def test_networks_share_all_but_what_they_compute_with():
    """Also on top of products, and in networks within others; what is saved is left alone."""
    model = network()
    image = keras.Input((None, None, 3))
    outer = keras.Model(image, layers.Conv2D(2, 1)(model(image)))
    norm = layers.BatchNormalization(momentum=0.5)
    twice = keras.Model(image, norm(layers.ReLU()(norm(image))))
    for whole in (model, outer, twice):
        before = whole.get_config()
        twin = with_products(with_whole_statistics(whole))
        assert {id(w) for w in twin.trainable_weights} == {id(w) for w in whole.trainable_weights}
        assert whole.get_config() == before
        x = np.random.default_rng(0).uniform(0, 255, (2, 9, 8, 3)).astype("float32")
        np.testing.assert_allclose(twin(x), whole(x), rtol=1e-4, atol=1e-4)
        start = whole.get_weights()
        expected = whole(x, training=True)
        learned = whole.get_weights()
        whole.set_weights(start)
        np.testing.assert_allclose(twin(x, training=True), expected, rtol=1e-4, atol=1e-4)
        for one, other in zip(whole.get_weights(), learned, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        assert max(np.abs(a - b).max() for a, b in zip(start, learned, strict=True)) > 0.1
    with pytest.raises(UserError, match="norm1: only computes. Save the network"):
        with_whole_statistics(model).get_layer("norm1").get_config()


def test_networks_without_are_left_alone():
    image = keras.Input((None, None, 3))
    plain = keras.Model(image, layers.LayerNormalization()(layers.Conv2D(2, 1)(image)))
    frozen = network()
    settle(frozen, resolve("small", batch_norm="frozen"))
    for model in (plain, frozen):
        assert with_whole_statistics(model) is model
        assert not SegmentationTask(model).learns_statistics
    assert SegmentationTask(network()).learns_statistics


class Other(layers.BatchNormalization):
    """Someone else's, which may compute something else."""


@pytest.mark.parametrize("norm", [Other(name="mine"), layers.BatchNormalization(renorm=True)])
def test_layers_that_cannot_be_replaced(norm):
    image = keras.Input((None, None, 3))
    with pytest.raises(UserError, match=f"{norm.name}: .* must be a plain `BatchNormalization`"):
        with_whole_statistics(keras.Model(image, norm(image)))


# Settings


@pytest.mark.parametrize(
    ("values", "learns"),
    [
        (dict(weights="none"), True),
        (dict(weights="imagenet"), False),
        (dict(weights="some.keras"), False),
        (dict(weights="none", init_from="runs/one"), False),
        (dict(weights="none", batch_norm="frozen"), False),
        (dict(weights="imagenet", batch_norm="synced"), True),
    ],
)
def test_frozen_where_weights_are_pre_trained(values, learns, capsys):
    model, settings = network(), resolve("small", **values)
    assert settings.learns_statistics == learns
    settle(model, settings)
    assert all(model.get_layer(f"norm{i}").trainable == learns for i in (1, 2, 3, 4))
    words = "learned, with the statistics of whole batches" if learns else "frozen, as it was"
    assert capsys.readouterr().out.startswith(f"batch normalisation: {words}")


REFUSED = [
    (dict(accumulate=2), r"`accumulate` must be 1 where .*\. Received: 2\."),
    (dict(accumulate=2, optimizer="caffe_sgd", clip_norm=0.0), "`accumulate` must be 1 where"),
    (dict(remat=True), r"`remat` must be false where .*\. Received: True\."),
]


@pytest.mark.parametrize(("values", "words"), REFUSED)
def test_what_does_not_go_with_statistics(values, words, built, tmp_path):
    """It is refused before anything is written; frozen layers have nothing against it."""
    data = write_folder(tmp_path / "data")
    settings = resolve("small", dataset=str(data), batch_norm="synced", **values)
    with pytest.raises(UserError, match=words) as error:
        train(settings, tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()
    settle(network(), resolve("small", batch_norm="frozen", **values))


def test_batches_of_one_image_are_told_of(capsys):
    settle(network(), resolve("voc-fcn32s", weights="none"))
    assert "These are of one image each" in capsys.readouterr().out


def test_networks_without_are_not_concerned(capsys):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.Conv2D(2, 1)(image))
    for batch_norm in ("frozen", "synced"):
        settle(model, resolve("small", batch_norm=batch_norm, remat=True, accumulate=3))
        assert model.trainable_weights and capsys.readouterr().out == ""


# Training


@pytest.mark.slow
def test_training_is_that_of_plain_keras():
    """Keras' own `fit`, without this package: same weights, same moving statistics."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 9, 11, 3)).astype("float32")
    labels = rng.integers(0, 3, (12, 9, 11, 1))
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    plain, ours = network(), network()
    plain.compile(keras.optimizers.SGD(0.05, 0.9), keras.losses.SparseCategoricalCrossentropy(True))
    plain.fit(batches, epochs=2, shuffle=False, verbose=0)
    task = SegmentationTask(ours)
    task.compile(keras.optimizers.SGD(0.05, 0.9), jit_compile=False)
    task.fit(batches, epochs=2, shuffle=False, verbose=0)
    start = network()
    for one, other, old in zip(plain.weights, ours.weights, start.weights, strict=True):
        np.testing.assert_allclose(other.numpy(), one.numpy(), rtol=1e-5, atol=1e-5)
        assert np.abs(one.numpy() - old.numpy()).max() > 1e-3, one.path


def test_a_moving_statistic_that_is_no_number_is_found(tmp_path, monkeypatch):
    """The loss and all that learns stay numbers: nothing is left of what is divided by infinity."""

    def spoilt(variant, num_classes, **options):
        model = network(num_classes)
        conv = model.get_layer("conv1")
        conv.kernel.assign(1e20 * conv.kernel)
        return model

    monkeypatch.setattr(initial_network, "build", spoilt)
    data = write_squares(tmp_path / "data", train=3)
    options = dict(batch_size=2, crop_size=(16, 16), epochs=1, optimizer="sgd", clip_norm=0.0)
    # Of the second step, whose batch is filled up with an image of the first.
    with pytest.raises(UserError, match=r"a weight became nan in epoch 1, step 2, on \d, \d\."):
        train(resolve("small", dataset=str(data), **options), tmp_path / "run")
    assert not (tmp_path / "run" / "last.keras").exists()


# Replicas, machines, kills: in processes of their own

# The last of three batches of an epoch has one image of its own.
TINY = (
    *("--recipe", "small", "--epochs", "2", "--batch-size", "4", "--crop-size", "16x20"),
    *("--scale-min", "0.8", "--optimizer", "sgd", "--learning-rate", "0.02", "--validate-every"),
    *("1", "--backup-steps", "2", "--deterministic"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("squares"), train=9)


def weights(run):
    model = keras.models.load_model(run / "last.keras", compile=False)
    return {weight.path: weight.numpy() for weight in model.weights}


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Runs that end with the same, by how batch normalisation is trained and on what."""
    folder = tmp_path_factory.mktemp("runs")

    def run(kind, devices):
        path = folder / f"{kind}-{devices}"
        if path.exists():
            return path
        settings = (*TINY, "--dataset", data, "--batch-norm", kind)
        if devices != "machines":
            on = ("--devices", f"cpu:{devices}")
            assert start(path, (*settings, *on), SCRIPT).wait() == 0
            return path
        cluster = {"worker": [f"localhost:{free_port()}" for _ in range(2)]}
        processes = []
        for index in range(2):
            config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TF_CONFIG", json.dumps(config))
                processes.append(start(path, settings, SCRIPT))
        assert [process.wait(240) for process in processes] == [0, 0]
        return path

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "devices"), [("frozen", 4), ("synced", 4), ("synced", "machines")]
)
def test_replicas_and_machines_train_alike(kind, devices, runs):
    one, other = runs(kind, 1), runs(kind, devices)
    expected, found = weights(one), weights(other)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=0, atol=1e-6, err_msg=path)
    scores = [json.loads((run / "metrics.json").read_text()) for run in (one, other)]
    assert scores[0]["confusion"] == scores[1]["confusion"]
    rows = [[*csv.DictReader((run / "log.csv").read_text().splitlines())] for run in (one, other)]
    for key in ("loss", "val_loss", "mean_iu", "train_mean_iu"):
        a, b = ([float(row[key]) for row in run] for run in rows)
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.slow
def test_what_is_trained(runs):
    """Frozen layers keep every bit, and all others learn; of synced ones all of them do."""
    before = {w.path: w.numpy() for w in network(num_classes=2).weights}
    for kind in ("frozen", "synced"):
        for path, value in weights(runs(kind, 1)).items():
            if "norm" in path and kind == "frozen":
                np.testing.assert_array_equal(value, before[path])
            else:
                assert np.abs(value - before[path]).max() > 1e-4, path


@pytest.mark.slow
def test_what_is_saved_opens_without_this_package(runs):
    """It holds Keras' own layers."""
    program = (
        "import sys; sys.modules['fcn_keras'] = None\n"
        "import keras\n"
        "model = keras.models.load_model(sys.argv[1], compile=False)\n"
        "kinds = [type(layer) for layer in model.layers if 'norm' in layer.name]\n"
        "assert kinds == 4 * [keras.layers.BatchNormalization], kinds"
    )
    for kind in ("frozen", "synced"):
        file = runs(kind, 1) / "best.keras"
        subprocess.run([sys.executable, "-c", program, file], check=True)


@pytest.mark.slow
def test_devices_that_batches_do_not_divide_over(data, tmp_path):
    run, settings = tmp_path / "run", (*TINY, "--dataset", data, "--devices", "cpu:3")
    process = start(run, settings, SCRIPT, stderr=subprocess.PIPE, text=True)
    error = process.communicate()[1].splitlines()
    words = "`batch_size` must be a multiple of 3, the number of devices, where batch normalisation"
    assert process.returncode == 2 and words in error[-1] and not run.exists()


@pytest.mark.slow
def test_a_killed_training_ends_as_if_it_had_not_been(data, tmp_path):
    settings = (*TINY, "--epochs", "8", "--dataset", data, "--batch-norm", "synced")
    seconds = undisturbed(tmp_path / "whole", settings, program=SCRIPT)
    moments = kill_and_resume(
        tmp_path / "run", settings, 2, random.Random(2), seconds, program=SCRIPT
    )
    assert moments[0].startswith("killed")
    assert differences(tmp_path / "whole", tmp_path / "run") == []
