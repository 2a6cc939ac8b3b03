"""Whatever labels images is opened in one way, and is of one kind."""

import hashlib
import json
import os
import shutil
import threading

import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras import UserError
from fcn_keras.client.client import Client
from fcn_keras.exporters.saved_model import export
from fcn_keras.inference import opening, predict as prediction
from fcn_keras.inference.c_library.library import library_path
from fcn_keras.inference.job import mark_of, note_of
from fcn_keras.inference.opening import open_network
from fcn_keras.inference.outputs import DEFAULT
from fcn_keras.inference.predict import predict
from fcn_keras.inference.segmenter import Segmenter

CLASSES = ["ground", "cat", "dog"]
COLORS = [(1, 2, 3), (250, 0, 9), (0, 255, 70)]
URL = "http://server:8501/v1/models/roads"

needs_library = pytest.mark.skipif(not library_path().exists(), reason="no C library in this wheel")


@pytest.fixture(scope="module")
def model():
    """A network that takes a pixel for the primary colour it has most of."""
    image = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D(3, 1)
    model = keras.Model(image, conv(image))
    conv.set_weights([np.eye(3)[None, None], np.arange(3) / 8])
    return model


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "streets"
    folder.mkdir()
    model.save(folder / "best.keras")
    dataset = {"classes": CLASSES, "colors": COLORS}
    (folder / "config.json").write_text(json.dumps({"settings": {}, "dataset": dataset}))
    return folder


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "streets"
    export(model, folder, CLASSES, COLORS, version=3)
    return folder


class Answering(Client):
    """Answers as a server of the network does that sees red in everything."""

    num_classes, version = 3, "7"

    def label(self, files):
        return [np.zeros((20, 31), "uint8") for _ in files]


def photo(height=20, width=31, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")


def expected(image):
    return (image + np.arange(3) / 8).argmax(axis=-1)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_labels(segmenter):
    images = [photo(), photo(seed=1), photo(9, 40, 2)]
    found = segmenter.label(images)
    for class_ids, image in zip(found, images, strict=True):
        assert class_ids.dtype == np.uint8
        np.testing.assert_array_equal(class_ids, expected(image))
    np.testing.assert_array_equal(segmenter.label(np.stack(images[:2])), found[:2])
    assert segmenter.label([]) == []


def test_a_run_and_its_file(run, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))  # the first by Keras, the second by a graph
    for path, name in ((run, "streets"), (str(run / "best.keras"), "best.keras")):
        segmenter = open_network(path)
        assert isinstance(segmenter, Segmenter)
        assert segmenter.name == name
        assert (segmenter.classes, segmenter.colors) == (CLASSES, COLORS)
        assert segmenter.job == {
            "network": digest(run / "best.keras"),
            "scales": (1.0,),
            "flip": False,
        }
        assert_labels(segmenter)


def test_several_views(run):
    segmenter = open_network(run, scales=[1, 0.5], flip=True)
    assert segmenter.network.classes == CLASSES
    job = {"network": digest(run / "best.keras"), "scales": (1, 0.5), "flip": True}
    assert segmenter.job == job
    with pytest.raises(UserError, match="`scales` must be numbers above 0"):
        open_network(run, scales=[0])


@needs_library
def test_an_export(exported):
    for path in (exported, exported / "3"):
        segmenter = open_network(path)
        assert segmenter.name == "streets"
        assert (segmenter.classes, segmenter.colors) == (CLASSES, COLORS)
        files = [path for path in (exported / "3").rglob("*") if path.is_file()]
        names = {str(file.relative_to(exported / "3")): digest(file) for file in files}
        assert segmenter.job == {"exported": names}
        assert_labels(segmenter)
    with pytest.raises(UserError, match="--tile: is for a run or a .keras file. .*3 is exported"):
        open_network(exported, tile=9)


def test_a_server(monkeypatch, run):
    monkeypatch.setattr("fcn_keras.client.client.Client", Answering)
    for what in (URL, Answering(URL), Answering("http://server:8501", "roads")):
        segmenter = open_network(what)
        assert segmenter.name == URL
        assert segmenter.classes == ["class_0", "class_1", "class_2"]
        assert segmenter.job == {"server": URL, "version": "7"}
        np.testing.assert_array_equal(segmenter.label([photo()]), np.zeros((1, 20, 31)))
    assert open_network(URL, classes=run).colors == COLORS
    with pytest.raises(UserError, match="--flip: is not for a --server"):
        open_network(URL, flip=True)


def test_what_has_been_opened(model):
    segmenter = open_network(model)
    assert segmenter.classes == ["class_0", "class_1", "class_2"]
    assert_labels(segmenter)
    assert open_network(segmenter) is segmenter
    with pytest.raises(UserError, match="`tile`: is for what has not been opened yet"):
        open_network(segmenter, tile=8)
    # What one says of its label maps is not said of others.
    segmenter.job["note"] = 1
    assert open_network(model).job == {}


def test_a_run_that_was_exported_into(run, exported, tmp_path):
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    shutil.copytree(exported / "3", tmp_path / "3")
    assert "network" in open_network(tmp_path).job
    assert "exported" in open_network(tmp_path / "3").job


def test_names_of_other_classes(run, tmp_path):
    (tmp_path / "names.json").write_text(json.dumps({"classes": ["a", "b"]}))
    with pytest.raises(UserError, match="--classes: .* names 2 classes, and streets tells 3 apart"):
        open_network(run, classes=tmp_path / "names.json")


def test_what_is_no_network(tmp_path):
    for path in (tmp_path, tmp_path / "absent.keras"):
        with pytest.raises(UserError, match="a .keras file, an exported SavedModel, or the URL of"):
            open_network(path)


def test_what_memory_does_not_hold():
    class Small(Segmenter):
        def segment(self, images):
            if images.size > 100:
                raise MemoryError
            return images[..., 0]

    small = Small("small", ["a"], [(0, 0, 0)])
    fits, too_large = photo(5, 6), photo(6, 6)
    answers = small.label([fits, fits, too_large])
    np.testing.assert_array_equal(answers[:2], [fits[..., 0]] * 2)
    assert answers[2] == "takes more memory than there is: see --tile."


def test_notes_stay_the_same(tmp_path):
    """What has been labelled by earlier versions is not labelled again."""
    path = tmp_path / "x.png"
    path.write_bytes(b"abc")
    os.utime(path, ns=(1_700_000_000_123_456_789,) * 2)
    job = {"network": "0123abcd", "scales": (1.0,), "flip": False}
    job |= {"classes": ["a", "b"], "colors": [(0, 0, 0), (200, 0, 0)]}
    [(_, data, _)] = note_of(mark_of(path, job, DEFAULT)).chunks
    mark = b"46e0ba2e524a656e8a4ae0fbfe21afcfea2a148933b1c6bcabca68a0a8dea55a"
    assert data == b"fcn_keras\0" + mark


def test_a_path_is_predicted_with(run, tmp_path):
    Image.fromarray(photo()).save(tmp_path / "a.png")
    [written] = predict(run, [tmp_path / "a.png"], tmp_path / "out", CLASSES, COLORS)
    with Image.open(written) as label_map:
        np.testing.assert_array_equal(label_map, expected(photo()))


@needs_library
def test_light_networks_label_two_batches_at_once(run, exported, model, monkeypatch):
    """Others one, as does a network that Keras computes."""
    open_network(run)  # whose graph is kept from then on
    for what in (run, exported):
        assert open_network(what).at_once == 2
    assert open_network(model).at_once == open_network(run, flip=True).at_once == 1
    monkeypatch.setattr(opening, "LIGHT", 100)
    for what in (run, exported):
        assert open_network(what).at_once == 1


class Meeting(Segmenter):
    """Sees red in everything: after the first call, once two have come together."""

    def __init__(self, at_once, timeout):
        super().__init__("meeting", CLASSES, COLORS)
        self.at_once = at_once
        self.meeting, self.timeout, self.begun = threading.Barrier(2), timeout, False

    def label(self, images, paths=None):
        if self.begun:
            self.meeting.wait(self.timeout)
        self.begun = True
        return [np.zeros(image.shape[:2], "uint8") for image in images]


def test_two_batches_at_once(tmp_path, monkeypatch):
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path in paths:
        Image.fromarray(photo()).save(path)
    written = predict(Meeting(2, 60), paths, tmp_path / "out", CLASSES, COLORS, batch_size=1)
    assert [path.stem for path in written] == ["0", "1", "2", "3", "4"]
    with pytest.raises(threading.BrokenBarrierError):
        predict(Meeting(1, 0.2), paths, tmp_path / "alone", CLASSES, COLORS, batch_size=1)
    # Large images keep all cores busy, and take much memory.
    monkeypatch.setattr(prediction, "_BATCH_PIXELS", 600)
    with pytest.raises(threading.BrokenBarrierError):
        predict(Meeting(2, 0.2), paths, tmp_path / "large", CLASSES, COLORS, batch_size=1)
