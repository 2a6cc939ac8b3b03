"""The reference's networks by name: what is fetched, checked, and refused."""

import hashlib
from functools import partial

import keras
import numpy as np
import pytest
from helpers.caffe_files import write_caffemodel
from helpers.caffe_nets import random_blobs
from helpers.networks import photo

from fcn_keras import UserError, build
from fcn_keras.inference.run_folder import places_of
from fcn_keras.models.weights import reference

NAME = "fcn8s-heavy-pascal"
WIDTH = 1 / 32


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A small network at the address, and its hash in place of the large one's."""
    (tmp_path / "server").mkdir()
    blobs = random_blobs("fcn8s", 21, WIDTH, 3)
    path = write_caffemodel(tmp_path / "server" / f"{NAME}.caffemodel", blobs)
    sha1 = hashlib.sha1(path.read_bytes()).hexdigest()
    monkeypatch.setattr(reference, "ADDRESS", (tmp_path / "server").as_uri() + "/{}.caffemodel")
    monkeypatch.setitem(reference.FETCHED, NAME, ("fcn8s", sha1))
    home = partial(keras.utils.get_file, cache_dir=str(tmp_path))
    monkeypatch.setattr(keras.utils, "get_file", home)
    return path


def test_fetched_once(file, tmp_path, run_command):
    model = build("fcn8s", weights=NAME, width=WIDTH)
    expected = build("fcn8s", weights=file, width=WIDTH)
    np.testing.assert_array_equal(model(photo(40, 50)), expected(photo(40, 50)))
    assert (tmp_path / "models" / file.name).read_bytes() == file.read_bytes()
    file.unlink()  # the second time nothing is asked for
    code, _, err = run_command("convert", NAME, tmp_path / "out.keras")
    assert code == 0, err
    converted = keras.models.load_model(tmp_path / "out.keras")
    np.testing.assert_array_equal(converted(photo(40, 50)), expected(photo(40, 50)))


def test_another_file_is_deleted(file, tmp_path):
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"^{NAME}: what file://.* is not what was published"):
        build("fcn8s", weights=NAME, width=WIDTH)
    assert not (tmp_path / "models" / file.name).exists()


def test_mistakes(file, tmp_path):
    with pytest.raises(UserError, match=f"^{NAME}: is a network fcn8s. Received: fcn32s"):
        build("fcn32s", weights=NAME)
    assert not (tmp_path / "models").exists()
    file.unlink()
    with pytest.raises(UserError, match=f"^{NAME}: could not be fetched .* put it at .*models"):
        build("fcn8s", weights=NAME)


@pytest.mark.parametrize("name", reference.OTHERS)
def test_networks_whose_hashes_are_not_known(name):
    address = f"http://dl.caffe.berkeleyvision.org/{name}.caffemodel"
    with pytest.raises(UserError, match=f"^{name}: is not fetched, .* Download {address} and"):
        build("fcn8s", weights=name)


def test_a_name_is_no_path():
    named = ("imagenet", "none", NAME, "hf://someone/roads", *reference.OTHERS)
    assert [places_of({"weights": name}) for name in named] == [{}] * len(named)
    assert places_of({"weights": f"{NAME}.caffemodel"})
    assert places_of({"init_from": "hf://someone/roads"}) == {}
