"""Opening networks from files, and what their classes are called."""

import json
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from fcn_keras import UserError
from fcn_keras.data.palette import voc_palette
from fcn_keras.inference.network import load_network

DATASET = {"classes": list("vwxyz"), "colors": [[10 * i, 0, 255] for i in range(5)]}


@pytest.fixture(scope="module")
def network():
    image = keras.Input((None, None, 3))
    return keras.Model(image, layers.Conv2D(5, 3, padding="same")(image))


@pytest.fixture
def run(network, tmp_path):
    """A run directory as far as `load_network` is concerned."""
    run = tmp_path / "run"
    run.mkdir()
    network.save(run / "best.keras")
    (run / "config.json").write_text(json.dumps({"settings": {"seed": 3}, "dataset": DATASET}))
    return run


def test_load_network_from_a_run(network, run):
    # A file that lies in a run is named as the run's own.
    for path in (run, str(run), run / "best.keras"):
        loaded = load_network(path)
        assert loaded.classes == DATASET["classes"]
        assert loaded.colors == [
            (0, 0, 255),
            (10, 0, 255),
            (20, 0, 255),
            (30, 0, 255),
            (40, 0, 255),
        ]
        assert loaded.config["settings"] == {"seed": 3}
        image = np.random.default_rng(1).integers(0, 256, (1, 13, 21, 3), "uint8")
        np.testing.assert_array_equal(loaded.model(image), network(image))


def test_load_network_from_a_file(network, tmp_path):
    network.save(tmp_path / "net.keras")
    loaded = load_network(tmp_path / "net.keras")
    assert loaded.classes == ["class_0", "class_1", "class_2", "class_3", "class_4"]
    np.testing.assert_array_equal(loaded.colors, voc_palette(5))
    assert loaded.config == {}


def test_load_network_beside_the_run_of_another(run):
    image = keras.Input((None, None, 3))
    keras.Model(image, layers.Conv2D(2, 1)(image)).save(run / "other.keras")
    assert load_network(run / "other.keras").classes == ["class_0", "class_1"]


def test_load_network_says_what_is_missing(network, tmp_path):
    (tmp_path / "empty").mkdir()
    network.save_weights(tmp_path / "net.weights.h5")
    for name in ("absent", "absent.keras", "empty", "net.weights.h5"):
        with pytest.raises(UserError, match=f"{name}: must be a run directory") as caught:
            load_network(tmp_path / name)
        assert ("nothing of that name" in str(caught.value)) == ("absent" in name)


def classifier():
    image = keras.Input((8, 8, 3))
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(image)))


def two_headed():
    image = keras.Input((None, None, 3))
    return keras.Model(image, [layers.Conv2D(3, 1)(image), layers.Conv2D(2, 1)(image)])


@pytest.mark.parametrize("make", [classifier, two_headed])
def test_load_network_refuses_other_networks(tmp_path, make):
    make().save(tmp_path / "other.keras")
    with pytest.raises(UserError, match="other.keras: holds no segmentation network"):
        load_network(tmp_path / "other.keras")


def text(path):
    path.write_text("not a network")


def truncated(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def damaged(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def other_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello", "world")


def unknown_layer(path):
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    ours, theirs = b'"keras.layers", "class_name": "Conv2D"', b'"theirs", "class_name": "TheirConv"'
    assert ours in content["config.json"]
    content["config.json"] = content["config.json"].replace(ours, theirs)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("spoil", [text, truncated, damaged, other_archive, unknown_layer])
def test_load_network_names_a_file_that_cannot_be_opened(run, spoil):
    spoil(run / "best.keras")
    with pytest.raises(UserError, match="best.keras: cannot be opened"):
        load_network(run)


@pytest.mark.parametrize("content", ["{half of", "[]"])
def test_load_network_names_a_broken_config(run, content):
    (run / "config.json").write_text(content)
    with pytest.raises(UserError, match="config.json"):
        load_network(run)
