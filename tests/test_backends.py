"""One function on every backend: JAX and PyTorch give TensorFlow's numbers, each in a process of
its own (`backend_steps.py`) where TensorFlow cannot be imported."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import backend_steps
import keras
import numpy as np
import pytest
from backend_steps import CLASSES, VARIANTS

from fcn_keras import SegmentationScores
from fcn_keras.metrics import SCORES

ROOT = Path(__file__).parents[1]

# Differences are relative to the largest number of an array. Measured: 1e-6 of logits, 1e-7 of
# losses, 6e-7 of weights after three steps, whose largest moves by 0.02 to 0.7.
CLOSE = 1e-5


def compute(backend, folder, saved=None):
    """Runs `backend_steps.py` on a backend; returns what it found."""
    done = subprocess.run(
        [sys.executable, backend_steps.__file__, folder, *([saved] if saved else [])],
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
    with np.load(folder / "numbers.npz") as numbers:
        return dict(numbers)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The folder of the run on TensorFlow, and what it found."""
    folder = tmp_path_factory.mktemp("tensorflow")
    return folder, compute("tensorflow", folder)


@pytest.fixture(scope="module", params=["jax", "torch"])
def other(request, tmp_path_factory):
    """The folder of the run on another backend, and what it found."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"needs {request.param}: pip install -e '.[{request.param}]'")
    saved, _ = request.getfixturevalue("reference")
    folder = tmp_path_factory.mktemp(request.param)
    return folder, compute(request.param, folder, saved)


def assert_close(found, expected, name):
    assert found.shape == expected.shape and found.dtype == expected.dtype, name
    error = np.abs(found - expected).max()
    assert error <= CLOSE * np.abs(expected).max(), (name, error)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits(reference, other, variant):
    """Of networks built on the backend, and of TensorFlow's files opened by plain Keras there."""
    expected = reference[1][f"logits/{variant}"]
    assert expected.shape == (4, 40, 52, CLASSES) and expected.std() > 0.1
    for kind in ("logits", "opened"):
        assert_close(other[1][f"{kind}/{variant}"], expected, kind)


@pytest.mark.parametrize("variant", VARIANTS)
def test_files_open_on_tensorflow(reference, other, variant):
    network = keras.models.load_model(other[0] / f"{variant}.keras")
    images, _ = backend_steps.batch()
    logits = network.predict_on_batch(images)
    assert_close(logits, reference[1][f"logits/{variant}"], variant)


def test_losses(reference, other):
    names = [name for name in reference[1] if name.startswith("loss/")]
    assert len({float(reference[1][name]) for name in names}) == 6
    for name in names:
        assert_close(other[1][name], reference[1][name], name)


def test_scores(reference, other):
    """Counts are equal to the last one, also of pixels whose best scores tie."""
    np.testing.assert_array_equal(other[1]["confusion"], reference[1]["confusion"])
    assert reference[1]["confusion"].sum() > 5000
    for score in SCORES:
        assert_close(other[1][f"scores/{score}"], reference[1][f"scores/{score}"], score)
    assert str(other[1]["refused"]) == str(reference[1]["refused"])


def test_no_scores_where_counts_overflow(reference, other):
    """JAX's integers have 32 bits, which 25 * 2^27 pixels are too many for."""
    assert reference[1]["after_billions"] == np.float32(1 / CLASSES)
    narrow = other[1]["confusion"].dtype == np.int32
    np.testing.assert_equal(other[1]["after_billions"], np.float32(np.nan if narrow else 0.2))


@pytest.mark.parametrize("optimizer", ["sgd", "caffe"])
def test_three_steps(reference, other, optimizer):
    """`fit` ends with the same weights, with Keras' optimizer and with Caffe's."""
    (_, expected), (_, found) = reference, other
    names = [name for name in expected if name.startswith(f"{optimizer}_after/")]
    assert len(names) == 2 * 18 + 3  # convolutions with their biases, and the upsampling
    for name in names:
        before = expected[name.replace("after", "before")]
        assert np.abs(expected[name] - before).max() > 100 * CLOSE * np.abs(before).max(), name
        assert_close(found[name], expected[name], name)
    assert_close(found[f"{optimizer}_loss"], expected[f"{optimizer}_loss"], optimizer)
    # A pixel whose two best scores are closer than rounding may fall on either side.
    scores = [numbers[f"{optimizer}_scores"] for numbers in (found, expected)]
    np.testing.assert_allclose(*scores, atol=1e-3)


@pytest.mark.parametrize("other", ["jax"], indirect=True)
def test_two_devices(other):
    """JAX trains on two devices, which see unequal shares of void, as it does on one."""
    found = other[1]
    assert found["devices"] == 2
    for name in [name for name in found if name.startswith("parallel")]:
        assert_close(found[name], found[name.replace("parallel", "sgd")], name)


def test_scores_in_a_step_that_xla_compiles():
    """As Keras compiles the steps of a plain model where there is a GPU."""
    model = keras.Sequential([keras.layers.Conv2D(CLASSES, 1)])
    images, labels = backend_steps.batch()
    for jit in (True, False):
        model.compile(metrics=[SegmentationScores(CLASSES)], jit_compile=jit, loss=None)
        model.evaluate(images / 255, labels, batch_size=2, verbose=0)
