"""Keras callbacks that a user brings along."""

import csv
import json
from dataclasses import replace

import keras
import pytest
from helpers.folders import write_folder

from fcn_keras.errors import UserError
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training import fit
from fcn_keras.training.callbacks import Recorder, StoppedInValidation
from fcn_keras.training.own_callbacks import load_callbacks, told_as_own
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
        assert logs == pytest.approx(written)  # nothing else: not training's scores for others
    assert "mean_iu" not in seen[0][1] and "mean_iu" in seen[1][1]


class Watching(keras.callbacks.Callback):
    """Notes the epochs that it is told of, and ends training behind a step or an epoch."""

    def __init__(self, step=None, epoch=None, kill=None, fail=None):
        super().__init__()
        self.step, self.epoch, self.kill, self.fail = step, epoch, kill, fail
        self.steps, self.epochs = 0, []

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps == self.kill:
            raise KeyboardInterrupt
        if self.fail:
            self.fail()
        if self.steps == self.step:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)
        if epoch == self.epoch:
            self.model.stop_training = True


@pytest.fixture
def settings(tmp_path):
    folder = str(write_folder(tmp_path / "data", train=6, val=2))
    options = dict(width=1 / 32, epochs=4, batch_size=2, crop_size=(16, 24), validate_every=1)
    return resolve("small", dataset=folder, **options)


def rows_of(run):
    with open(run / "log.csv", newline="") as file:
        return [*csv.DictReader(file)]


@pytest.mark.parametrize(
    ("stop", "validate_every", "epochs", "share"),
    [
        (dict(epoch=1), 4, ["1", "2"], 1),  # no validation was due yet
        (dict(step=4), 1, ["1", "2"], 1 / 3),  # within an epoch
    ],
)
def test_one_that_ends_training(settings, tmp_path, stop, validate_every, epochs, share):
    """The network is scored as it is then, and the log tells of the steps that there were."""
    settings = replace(settings, validate_every=validate_every)
    run = train(settings, tmp_path / "run", callbacks=[Watching(**stop)])
    rows = rows_of(run)
    assert [row["epoch"] for row in rows] == epochs
    scores = json.loads((run / "metrics.json").read_text())
    assert float(rows[-1]["mean_iu"]) <= scores["mean_iu"] + 1e-6
    of_last = float(rows[-1]["images_per_second"]) * float(rows[-1]["seconds"])
    assert of_last == pytest.approx(6 * share)


@pytest.mark.parametrize("killed", ["in an epoch", "in a validation"])
def test_one_that_ends_training_where_it_goes_on(settings, tmp_path, monkeypatch, killed):
    """It is told of the epoch that a stop has cut, and what it says then counts."""
    if killed == "in an epoch":
        first, options = Watching(kill=2), dict(backup_steps=1)
    else:
        first, options = Watching(), {}

        def stopped(*_):
            raise StoppedInValidation

        monkeypatch.setattr(Recorder, "_validate", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "run", callbacks=[first], **options)
    monkeypatch.undo()
    again = Watching(epoch=0)
    run = train(settings, tmp_path / "run", callbacks=[again])
    assert first.epochs == [] and again.epochs == [0]
    assert [row["epoch"] for row in rows_of(run)] == ["1"] and (run / "metrics.json").is_file()


def fails(*_, **__):
    return {}["no such account"]


class Failing(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        fails()


@pytest.mark.parametrize(
    ("callback", "where"),
    [
        (Failing(), "Failing.on_train_begin failed"),
        (Watching(fail=fails), "Watching.on_train_batch_end failed"),
        (keras.callbacks.LambdaCallback(on_epoch_end=fails), "LambdaCallback.on_epoch_end failed"),
    ],
    ids=["at the start", "in a step", "a function"],
)
def test_one_that_fails(settings, tmp_path, callback, where):
    """It is told whose fault that is, and training goes on behind the last backup."""
    message = f"^callbacks: {where}: KeyError: 'no such account'.*the same command goes on"
    with pytest.raises(UserError, match=message), told_as_own([callback]):
        train(settings, tmp_path / "run", callbacks=[callback], backup_steps=1)
    rows = rows_of(train(settings, tmp_path / "run"))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]


def test_what_else_fails(settings, tmp_path, monkeypatch):
    """It is not put down to a callback that is there, too."""
    monkeypatch.setattr(Recorder, "_validate", fails)
    watching = Watching()
    with pytest.raises(KeyError, match="no such account"), told_as_own([watching]):
        train(settings, tmp_path / "run", callbacks=[watching])


def test_one_that_fails_in_python(settings, tmp_path):
    """Who calls `train` gets the error as it is: so studies of many runs end one (Optuna)."""
    with pytest.raises(KeyError, match="no such account"):
        train(settings, tmp_path / "run", callbacks=[Failing()])


@pytest.mark.parametrize("stop", [dict(epoch=1), dict(step=4)], ids=str)
def test_one_that_ends_training_on_one_of_several_machines(settings, tmp_path, monkeypatch, stop):
    """The others would wait for ever."""
    monkeypatch.setattr(fit, "is_alone", lambda strategy: False)
    with pytest.raises(UserError, match="^callbacks: one of yours has ended training.*--patience"):
        train(settings, tmp_path / "run", callbacks=[Watching(**stop)])
    assert (tmp_path / "run" / "best.keras").is_file()
    # All machines have the same patience.
    patient = replace(settings, patience=1, learning_rate=1e-12)
    run = train(patient, tmp_path / "patient", callbacks=[Watching()])
    assert len(rows_of(run)) < 4


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
