"""Exported networks without TensorFlow's Python, beside the same ones in Keras."""

import _ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fcn_keras import UserError
from fcn_keras.exporters.saved_model import export
from fcn_keras.inference import predict as prediction
from fcn_keras.inference.c_library import library as c_api
from fcn_keras.inference.c_library.in_python import PythonModel
from fcn_keras.inference.c_library.saved_model import Exported
from fcn_keras.inference.predict import predict

CLASSES = ["ground", "cat", "dog", "bird"]
COLORS = [(1, 2, 3), (250, 0, 9), (0, 255, 70), (128, 64, 32)]

pytestmark = pytest.mark.skipif(
    not c_api.library_path().exists(), reason="no C library in this wheel"
)


def network_of(seed):
    """A network whose scores are exact, so that no rounding decides between two classes."""
    rng = np.random.default_rng(seed)
    image = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D(4, 3, padding="same")
    model = keras.Model(image, conv(image))
    kernel = rng.integers(-3, 4, (3, 3, 3, 4))
    conv.set_weights([kernel - np.roll(kernel, 1, axis=0), np.arange(4) / 8])
    return model


@pytest.fixture(scope="module")
def network():
    return network_of(0)


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    """Versions 2 and 10: the second is newer, though its name comes first."""
    folder = tmp_path_factory.mktemp("exported")
    export(network_of(1), folder, CLASSES, COLORS, version=2)
    export(network, folder, CLASSES, COLORS, version=10)
    return folder


@pytest.fixture(scope="module")
def exported(folder):
    return Exported(folder)


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(3)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("a.png", (20, 31)), ("b.png", (20, 31)), ("c.jpg", (9, 40))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), "uint8")).save(folder / name)
    return folder


@pytest.mark.parametrize("shape", [(1, 20, 31, 3), (3, 9, 40, 3), (1, 1, 1, 3)])
def test_class_ids_are_those_of_the_network(network, exported, shape):
    images = np.random.default_rng(4).integers(0, 256, shape, "uint8")
    found = exported.segment(images)
    assert found.dtype == np.uint8
    scores = network(images).numpy()
    np.testing.assert_array_equal(found, np.argmax(scores, axis=-1))
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    expected = exponents / exponents.sum(-1, keepdims=True)
    np.testing.assert_allclose(exported.probabilities(images), expected, atol=1e-4)


def assert_damage_is_told(folder, damaged):
    shutil.copytree(folder / "2", damaged)
    with open(damaged / "saved_model.pb", "r+b") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match="damaged: is damaged .*Export it again"):
        Exported(damaged)


def test_what_it_says_of_itself(exported, folder):
    assert exported.path == folder / "10"
    assert (exported.classes, exported.colors) == (CLASSES, COLORS)
    assert Exported(folder / "2").path == folder / "2"


def test_it_predicts_what_the_network_does(network, exported, photos, tmp_path):
    options = (CLASSES, COLORS)
    predict(network, [photos], tmp_path / "a", *options)
    written = predict(exported, [photos], tmp_path / "b", *options)
    assert [path.name for path in written] == ["a.png", "b.png", "c.png"]
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_images_that_memory_does_not_hold(exported, photos, tmp_path, monkeypatch):
    def limited(images):
        if images.size > 20 * 31 * 3:
            raise MemoryError("OOM when allocating")
        return Exported.segment(exported, images)

    monkeypatch.setattr(exported, "segment", limited)
    monkeypatch.setattr(prediction, "_BATCH_PIXELS", 20 * 31 * 2)
    written = predict(exported, [photos], tmp_path / "out", CLASSES, COLORS)
    assert len(written) == 3
    with Image.open(photos / "c.jpg") as image:
        image.resize((40, 30)).save(photos / "d.png")
    with pytest.raises(UserError, match="d.png: takes.*--tile, for a run or.*3 of 4 images"):
        predict(exported, [photos], tmp_path / "out", CLASSES, COLORS)


def test_runs_leave_nothing_behind(folder):
    """Pixels and class ids of one run are 4 MB."""
    program = """
import sys, numpy as np
from pathlib import Path
from fcn_keras.inference.c_library.saved_model import Exported

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

network = Exported(sys.argv[1])
images = np.zeros((1, 1000, 1000, 3), "uint8")
for number in range(40):
    network.segment(images)
    if number == 9:
        before = resident()
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
print(resident() - before)
"""
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 15  # 90 with what 30 runs were given, 30 with what they returned


def test_strings_of_the_graph_stay(tmp_path):
    """What a run returns may be a constant, which the next one needs."""
    text = b"longer than what TensorFlow keeps in the string itself"
    function = tf.function(lambda x: {"text": tf.constant([text]), "same": x})
    signature = function.get_concrete_function(tf.TensorSpec((None,), tf.string, name="x"))
    tf.saved_model.save(tf.Module(), tmp_path / "saved", signatures=signature)
    model = c_api.Model(tmp_path / "saved")
    for _ in range(3):
        found = model.run("serving_default", {"x": [text, b"", b"short"]})
        assert found == {"text": [text], "same": [text, b"", b"short"]}


def test_what_is_no_export(network, folder, tmp_path):
    with pytest.raises(UserError, match="absent: holds no SavedModel"):
        Exported(tmp_path / "absent")

    other = tmp_path / "other"
    network.export(other, verbose=False)
    with pytest.raises(UserError, match="other: must be a run, an exported SavedModel"):
        Exported(other)
    shutil.copytree(folder / "2" / "assets", other / "assets", dirs_exist_ok=True)
    with pytest.raises(UserError, match="other: is not what `export` writes"):
        Exported(other)

    assert_damage_is_told(folder, tmp_path / "damaged")


@pytest.mark.parametrize("library", ["absent", "another"])
def test_tensorflows_python_does_as_well(exported, folder, tmp_path, monkeypatch, library):
    path = tmp_path / "lib.so" if library == "absent" else Path(_ctypes.__file__)
    monkeypatch.setattr(c_api, "library_path", lambda: path)
    with pytest.raises(OSError, match="lib.so: cannot open" if library == "absent" else "TF_"):
        c_api.open_library()
    network = Exported(folder)
    assert isinstance(network.session, PythonModel)
    assert (network.path, network.classes) == (exported.path, exported.classes)
    images = np.random.default_rng(4).integers(0, 256, (2, 20, 31, 3), "uint8")
    np.testing.assert_array_equal(network.segment(images), exported.segment(images))
    np.testing.assert_array_equal(network.probabilities(images), exported.probabilities(images))

    assert_damage_is_told(folder, tmp_path / "damaged")


def test_memory_that_tensorflows_python_does_not_get(folder, monkeypatch):
    def exhausted(**_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    model = PythonModel(folder / "2")
    monkeypatch.setattr(model, "signatures", {"segment": exhausted})
    with pytest.raises(MemoryError, match="OOM"):
        model.run("segment", {})
