"""The search for a learning rate: what it suggests, and what it leaves behind."""

import csv

import numpy as np
import pytest
from helpers.folders import write_folder, write_squares

from fcn_keras.errors import UserError
from fcn_keras.figures.rates import rates_figure
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training import find_rate
from fcn_keras.training.find_rate import RateTrial, find_learning_rate

RATES = tuple(10.0 ** np.arange(-6, 2, 0.1))


def losses(lowest_at, height=2.0, depth=1.5):
    """Flat, then falling to a low place, then rising steeply."""
    x = np.log10(RATES) - np.log10(lowest_at)
    return tuple(height - depth * np.exp(-(x**2) / 2) + np.where(x > 0, 10 * x**2, 0))


@pytest.mark.parametrize("lowest_at", [1e-3, 1e-1])
def test_a_tenth_of_where_the_loss_is_lowest(lowest_at):
    trial = RateTrial(RATES, losses(lowest_at))
    assert trial.suggested == pytest.approx(lowest_at / 10, rel=0.6)  # smoothing comes late
    assert trial.diverged


def test_noise_is_smoothed():
    """Of ten thousand equal losses with noise none is far from the mean in the end."""
    noisy = 1 + np.random.default_rng(0).normal(size=300)
    smoothed = RateTrial(RATES, tuple(noisy)).smoothed
    assert smoothed[0] == noisy[0] and np.std(smoothed[50:]) < 0.3
    # Ninety hundredths of the one before, and ten of the new one, once there are many.
    assert smoothed[299] == pytest.approx(0.9 * smoothed[298] + 0.1 * noisy[299])


@pytest.mark.parametrize(
    ("found", "diverged"),
    [
        ((), False),
        ((2.0,), False),
        ((2.0, 2.0, 2.0), False),
        ((2.0, float("nan")), True),
        ((2.0, 60.0, 60.0), True),
    ],
)
def test_nothing_to_suggest(found, diverged):
    trial = RateTrial(RATES[: len(found)], found)
    assert trial.suggested is None and trial.diverged == diverged
    if found:
        rates_figure(trial.rates, found, trial.smoothed, None)


def test_a_number_before_losses_are_none():
    found = (*np.linspace(2, 1, 40), float("nan"))
    assert RateTrial(RATES[:41], found).suggested == pytest.approx(RATES[39] / 10, rel=0.05)


@pytest.mark.slow
def test_by_command(tmp_path, run_command):
    folder = write_squares(tmp_path / "data")
    run = tmp_path / "runs" / "mine"
    options = f"--recipe small --width 0.03125 --batch-size 2 --crop-size 32 --dataset {folder}"
    command = ["train", *options.split(), "--run-dir", str(run), "--find-learning-rate"]
    code, said, _ = run_command(*command)
    assert code == 0
    assert "learning rate: " in said and not run.exists()
    found = tmp_path / "runs" / "mine-learning-rates"
    with open(found / "learning_rates.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    rates = [float(row["learning_rate"]) for row in rows]
    np.testing.assert_allclose(np.diff(np.log10(rates)), 6 / 119, rtol=1e-4)
    middle = resolve("small").learning_rate
    assert rates[0] == pytest.approx(middle / 1000)
    assert middle / 100 < float(said.split()[2]) < middle * 100
    assert (found / "learning_rates.png").stat().st_size > 10_000


@pytest.mark.parametrize("option", ["--fresh", "--callbacks=mine:make", "--backup-steps=3"])
def test_what_keeps_a_run_is_refused(run_command, option):
    code, _, err = run_command("train", "--find-learning-rate", option)
    assert code == 2 and f"{option.partition('=')[0]}: is not for --find-learning-rate" in err


@pytest.mark.slow
def test_no_rate_will_do(tmp_path, monkeypatch):
    """Here in the directory that is worked in, which has another name than it is given by."""
    monkeypatch.setattr(find_rate, "STEPS", 4)
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    folder = str(write_folder(tmp_path / "data", train=4, val=2))
    options = dict(width=1 / 32, batch_size=2, crop_size=(16, 16), learning_rate=1e-20)
    with pytest.raises(UserError, match="falls at no learning rate from 1.0e-23 to 1.0e-17"):
        find_learning_rate(resolve("small", dataset=folder, **options), ".")
    assert (tmp_path / "run-learning-rates" / "learning_rates.png").is_file()
