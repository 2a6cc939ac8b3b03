"""One function on every backend: JAX and PyTorch give TensorFlow's numbers, each in a process of
its own (`backend_steps.py`) where TensorFlow cannot be imported."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from helpers import backend_steps, open_networks
from helpers.backend_steps import CLASSES, VARIANTS

from fcn_keras import PixelCrossEntropy, SegmentationScores, build
from fcn_keras.evaluation.scores import SCORES

ROOT = Path(__file__).parents[2]

# Differences are relative to the largest number of an array. Measured: 1e-6 of logits, 1e-7 of
# losses, 6e-7 of weights after three steps, whose largest moves by 0.002 to 0.8.
CLOSE = 1e-5


def run(backend, program, *args):
    """Runs a helper on a backend."""
    done = subprocess.run(
        [sys.executable, program.__file__, *args],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *(path for path in sys.path if path)]),
            "CUDA_VISIBLE_DEVICES": "",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def need(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}: pip install -e '.[{backend}]'")


def compute(backend, folder, saved=None):
    """Runs `backend_steps.py` on a backend; returns what it found."""
    run(backend, backend_steps, folder, *([saved] if saved else []))
    with np.load(folder / "numbers.npz") as numbers:
        return dict(numbers)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The folder of the run on TensorFlow, and what it found."""
    folder = tmp_path_factory.mktemp("tensorflow")
    return folder, compute("tensorflow", folder)


class Runs(NamedTuple):
    """What TensorFlow gives, what another backend gives, and the folder of the latter."""

    expected: dict
    found: dict
    folder: Path


@pytest.fixture(scope="module", params=["jax", "torch"])
def runs(request, tmp_path_factory):
    need(request.param)
    saved, expected = request.getfixturevalue("reference")
    folder = tmp_path_factory.mktemp(request.param)
    return Runs(expected, compute(request.param, folder, saved), folder)


def assert_close(found, expected, name):
    assert found.shape == expected.shape and found.dtype == expected.dtype, name
    error = np.abs(found - expected).max()
    assert error <= CLOSE * np.abs(expected).max(), (name, error)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits(runs, variant):
    """Of a network built on the backend, and of TensorFlow's file opened by plain Keras there."""
    expected = runs.expected[f"logits/{variant}"]
    assert expected.shape == (4, 40, 52, CLASSES) and expected.std() > 0.1
    for kind in ("logits", "opened"):
        assert_close(runs.found[f"{kind}/{variant}"], expected, kind)


@pytest.mark.parametrize("variant", VARIANTS)
def test_files_open_on_tensorflow(runs, variant):
    network = keras.models.load_model(runs.folder / f"{variant}.keras")
    images, _ = backend_steps.batch()
    images = backend_steps.images_for(variant, images)
    assert_close(network.predict_on_batch(images), runs.expected[f"logits/{variant}"], variant)


def slow(*names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


def scattered(backbone):
    """A network on a classifier whose statistics, scales and biases all differ: all count."""
    keras.utils.set_random_seed(1)
    width = 0.35 if backbone == "mobilenet_v2" else 1.0
    network = build("fcn8s", CLASSES, backbone=backbone, weights=None, width=width)
    rng = np.random.default_rng(1)
    for layer in network.layers:
        weights = layer.get_weights()
        weights = [rng.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else w for w in weights]
        if layer.name.startswith("score") and weights:
            weights = [rng.normal(0, 0.1, w.shape) for w in weights]
        layer.set_weights(weights)
        # Opening a file runs the initializers in it; JAX compiles random ones for seconds.
        if hasattr(layer, "kernel_initializer"):
            layer.kernel_initializer = keras.initializers.Zeros()
    return network


@pytest.mark.parametrize("backend", [*slow("tensorflow"), "jax", "torch"])
@pytest.mark.parametrize("backbone", ["mobilenet_v2", *slow("convnext_tiny")])
def test_networks_on_classifiers_open_by_plain_keras(tmp_path, backbone, backend):
    need(backend)
    images, _ = backend_steps.batch()
    np.save(tmp_path / "images.npy", images)
    network = scattered(backbone)
    network.save(tmp_path / "network.keras")
    run(backend, open_networks, tmp_path)
    expected = network.predict_on_batch(images)
    assert expected.std() > 0.1
    assert_close(np.load(tmp_path / "network.npy"), expected, backbone)


def test_losses(runs):
    names = [name for name in runs.expected if name.startswith("loss/")]
    assert len({float(runs.expected[name]) for name in names}) == 12 + 4
    for name in names:
        assert_close(runs.found[name], runs.expected[name], name)


def test_scores(runs):
    """Counts are equal to the last one, also of pixels whose best scores tie."""
    np.testing.assert_array_equal(runs.found["confusion"], runs.expected["confusion"])
    assert runs.expected["confusion"].sum() > 4000
    name = "weighted_confusion"
    np.testing.assert_array_equal(runs.found[name], runs.expected[name])
    for score in SCORES:
        name = f"scores/{score}"
        assert_close(runs.found[name], runs.expected[name], name)
    assert str(runs.found["refused"]) == str(runs.expected["refused"])


def test_no_scores_where_counts_overflow(runs):
    """JAX's integers have 32 bits, which 25 * 2^27 pixels are too many for."""
    assert runs.expected["after_billions"] == np.float32(1 / CLASSES)
    narrow = runs.found["confusion"].dtype == np.int32
    expected = np.nan if narrow else runs.expected["after_billions"]
    np.testing.assert_equal(runs.found["after_billions"], np.float32(expected))


@pytest.mark.parametrize("optimizer", ["sgd", "caffe", "every"])
def test_three_steps(runs, optimizer):
    """`fit` ends with the same weights, with Keras' optimizer, Caffe's, and all losses together."""
    names = [name for name in runs.expected if name.startswith(f"{optimizer}_after/")]
    assert len(names) == 2 * 18 + 3  # convolutions with their biases, and the upsampling
    for name in names:
        before, after = runs.expected[name.replace("after", "before")], runs.expected[name]
        assert np.abs(after - before).max() > 100 * CLOSE * np.abs(after).max(), name
        assert_close(runs.found[name], after, name)
    assert_close(runs.found[f"{optimizer}_loss"], runs.expected[f"{optimizer}_loss"], optimizer)
    # A pixel whose two best scores are closer than rounding may fall on either side.
    scores = [numbers[f"{optimizer}_scores"] for numbers in (runs.found, runs.expected)]
    np.testing.assert_allclose(*scores, atol=1e-3)


def test_updates_of_one_variable(runs):
    """Caffe's rule without accumulation, outside `fit`."""
    assert len(set(runs.expected["updated"])) == 3
    assert_close(runs.found["updated"], runs.expected["updated"], "updated")


@pytest.mark.parametrize("runs", ["jax"], indirect=True)
def test_two_devices(runs):
    """JAX trains on two devices, which see unequal shares of void, as it does on one."""
    assert runs.found["devices"] == 2
    names = [name for name in runs.found if name.startswith(("parallel_after/", "parallel_loss"))]
    assert len(names) == 2 * 18 + 3 + 1
    for name in names:
        assert_close(runs.found[name], runs.found[name.replace("parallel", "sgd")], name)


def test_scores_in_a_step_that_xla_compiles():
    """As Keras compiles the steps of a plain model where there is a GPU."""
    model = keras.Sequential([keras.layers.Conv2D(CLASSES, 1)])
    images, labels = backend_steps.batch()
    found = []
    for jit in (True, False):
        metrics = [SegmentationScores(CLASSES)]
        model.compile(loss=PixelCrossEntropy(), metrics=metrics, jit_compile=jit)
        found.append(model.evaluate(images / 255, labels, verbose=0, return_dict=True))
    assert found[0] == pytest.approx(found[1], rel=CLOSE)
