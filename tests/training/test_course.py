"""The course of a training: its learning rate, and an end before its last epoch."""

import csv

import keras
import pytest
from helpers.folders import write_folder

from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training import train as training
from fcn_keras.training.optimizers import Poly, make_optimizer
from fcn_keras.training.patience import Patience


@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_poly(warmup):
    options = dict(schedule="poly", learning_rate=0.5, warmup=warmup, optimizer="sgd")
    schedule = make_optimizer(resolve("small", **options), 40)._learning_rate
    rise = round(40 * warmup)
    for step in range(42):
        left = max(0, 40 - step) / (40 - rise)
        expected = 0.5 * (step / rise if step < rise else left**0.9)
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5, abs=1e-7)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert type(again) is Poly and float(again(7)) == float(schedule(7))


@pytest.mark.parametrize(
    ("scores", "validations", "is_over"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),  # not better
        ([0.5, 0.4, 0.6], 2, False),
        ([0.5, 0.6, 0.4], 2, False),
        ([0.5, 0.6, 0.4, 0.59], 2, True),
        ([0.5, 0.4, 0.3, 0.2], 0, False),
    ],
)
def test_patience(scores, validations, is_over):
    rows = [{"mean_iu": each} for score in scores for each in (None, score)]
    known = Patience(validations, rows)
    assert known.is_over == is_over
    noted = Patience(validations)
    for score in scores:
        noted.note(score)
    assert noted.scores == known.scores == scores and noted.is_over == is_over


@pytest.mark.slow
def test_a_training_without_progress_ends(tmp_path, monkeypatch, capsys):
    """And does not go on where it is stopped between its end and its report."""
    folder = str(write_folder(tmp_path / "data", train=4, val=2))
    options = dict(width=1 / 32, epochs=9, batch_size=2, crop_size=(16, 24), validate_every=1)
    settings = resolve("small", dataset=folder, learning_rate=1e-12, patience=2, **options)
    run = tmp_path / "run"

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "write_report", stopped)
        with pytest.raises(KeyboardInterrupt):
            training.train(settings, run)
    said = "epoch 3: training ends early: 2 validations in a row have not been better"
    assert said in capsys.readouterr().out
    training.train(settings, run)
    with open(run / "log.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert (run / "metrics.json").is_file() and not (run / "backup").exists()
