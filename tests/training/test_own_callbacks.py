"""Keras callbacks that a user brings along."""

import json

import keras
import pytest
from helpers.folders import write_folder

from fcn_keras.errors import UserError
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.own_callbacks import load_callbacks
from fcn_keras.training.train import train

MINE = """
import json
import keras

class Mine(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        assert logs["loss"] > 0

    def on_epoch_end(self, epoch, logs=None):
        with open("seen.json", "a") as file:
            print(json.dumps([epoch, logs]), file=file)

def mine():
    return [Mine()]

def alone():
    return Mine()

def wrong():
    return ["no callback"]

def fails():
    raise RuntimeError("no account\\nwhatever")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_callbacks.py").write_text(MINE)
    yield tmp_path
    import sys

    sys.modules.pop("my_callbacks", None)


def test_they_see_what_the_log_says(here):
    folder = str(write_folder(here / "data", train=4, val=2))
    options = dict(width=1 / 32, epochs=2, batch_size=2, crop_size=(16, 24), validate_every=2)
    settings = resolve("small", dataset=folder, **options)
    run = train(settings, here / "run", callbacks=load_callbacks("my_callbacks:mine"))
    seen = [json.loads(line) for line in (here / "seen.json").read_text().splitlines()]
    assert [epoch for epoch, _ in seen] == [0, 1]
    header, *rows = (line.split(",") for line in (run / "log.csv").read_text().splitlines())
    for (_, logs), row in zip(seen, rows, strict=True):
        written = {name: float(value) for name, value in zip(header, row, strict=True) if value}
        assert {name: logs[name] for name in written} == pytest.approx(written)
    assert "val_loss" not in seen[0][1] and "val_loss" in seen[1][1]


def test_one_without_a_list(here):
    assert isinstance(load_callbacks("my_callbacks:alone")[0], keras.callbacks.Callback)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my_callbacks", "must be MODULE:FUNCTION.*'my_callbacks'"),
        (":mine", "must be MODULE:FUNCTION"),
        ("no_such_module:mine", "could not be called: ModuleNotFoundError: No module named"),
        ("my_callbacks:none", "could not be called: AttributeError"),
        ("my_callbacks:fails", "could not be called: RuntimeError: no account$"),
        ("my_callbacks:wrong", r"must return Keras callbacks, in a list. Received: \['no"),
    ],
)
def test_no_callbacks(here, text, message):
    with pytest.raises(UserError, match=message):
        load_callbacks(text)
