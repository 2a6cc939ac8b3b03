"""The learning rate to train with, found in one short training in which it rises."""

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from fcn_keras.data.batches import reading_errors
from fcn_keras.errors import UserError
from fcn_keras.figures.rates import rates_figure
from fcn_keras.figures.style import save_figure
from fcn_keras.system.devices import make_strategy
from fcn_keras.system.files import written_whole
from fcn_keras.system.progress import progress_bar
from fcn_keras.training.fit import batches_of
from fcn_keras.training.run import Run, default_path
from fcn_keras.training.settings import Settings
from fcn_keras.training.train import dataset_of, make_job, source_of

STEPS = 120
DECADES = 3  # to either side of the rate that the settings have
SMOOTHING = 0.9
DIVERGED = 2.0  # times the lowest loss
FALLEN = 0.98  # of the first loss, which one that falls is below


@dataclass(frozen=True)
class RateTrial:
    """The losses of one short training in which the learning rate rose.

    Attributes:
        rates: the learning rate of each step.
        losses: the loss of each step's batch, before that step.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def smoothed(self) -> tuple[float, ...]:
        """The losses, each averaged with those before it, which count less and less."""
        total = weight = 0.0
        found = []
        for loss in self.losses:
            total = SMOOTHING * total + (1 - SMOOTHING) * loss
            weight = SMOOTHING * weight + (1 - SMOOTHING)
            found.append(total / weight)
        return tuple(found)

    @property
    def diverged(self) -> bool:
        """Whether the loss has risen so far that higher rates need no trial."""
        last = self.smoothed[-1:]
        return bool(last) and not last[0] <= DIVERGED * min(self.smoothed)

    @property
    def suggested(self) -> float | None:
        """A tenth of the rate at which the smoothed loss is lowest; None if it never falls."""
        losses = [loss if math.isfinite(loss) else math.inf for loss in self.smoothed]
        if not losses or not min(losses) < FALLEN * losses[0]:
            return None
        return float(f"{self.rates[int(np.argmin(losses))] / 10:.1e}")


def find_learning_rate(
    settings: Settings, run_dir: str | Path | None = None, devices: str | None = None
) -> RateTrial:
    """Trains some steps with a rate that rises from too low to too high, and suggests one.

    Every step counts for the ones after it, as in training, but nothing of the network is kept, and
    a run is left alone. The loss is lowest shortly before the rate is too high; a tenth of that
    rate is suggested.

    Args:
        settings: what is to be trained; their learning rate is the middle of those tried.
        run_dir: directory of that training. `learning_rates.csv` and `learning_rates.png` are
            written to a folder beside it, which is called as it is, with "-learning-rates" added.
        devices: see `fcn_keras.system.devices.make_strategy`.

    Returns:
        The losses, and what they suggest.

    Raises:
        UserError: if the data or the settings do not allow it, or the loss falls at no rate.

    Example:

    >>> find_learning_rate(resolve("small", dataset="my_photos")).suggested
    0.0013

    Reference:
        Smith: Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186, section 3.3.
    """
    strategy = make_strategy(devices, "none")  # one machine will do
    with reading_errors():
        source = source_of(settings)
        dataset = dataset_of(settings, source)
        run = Run(run_dir or default_path(dataset.name, settings.variant))
        counts = source.check()["train"]
        constant = replace(settings, schedule="constant", warmup=0.0, patience=0)
        job = make_job(run, constant, dataset, counts, strategy)
        trial = _tried(job)
    path = run.path if run.path.name else run.path.absolute()  # "." has no name
    folder = path.with_name(f"{path.name}-learning-rates")
    _write(trial, folder)
    if trial.suggested is None:
        raise UserError(
            f"The loss falls at no learning rate from {trial.rates[0]:.1e} to "
            f"{trial.rates[-1]:.1e}: see {folder}. Look at the data (`data check`, `data show`), "
            "or try with another --learning-rate, which is the middle of these."
        )
    return trial


def _tried(job):
    """Trains with a rate that rises, step by step, until the loss does too."""
    middle = job.settings.learning_rate
    rates = middle * np.logspace(-DECADES, DECADES, STEPS)
    losses = []
    bar = progress_bar("learning rates", STEPS, unit="step")

    def begin(step, logs=None):
        job.task.optimizer.learning_rate = rates[step]

    def end(step, logs):
        losses.append(float(logs["loss"]))
        bar.set_postfix_str(f"rate {rates[step]:.1e}, loss {losses[-1]:.3f}", refresh=False)
        bar.update()
        job.task.stop_training = RateTrial((), tuple(losses)).diverged

    with bar:
        # Of one step each, so that a loss is that of its own step alone.
        job.task.fit(
            batches_of(job),
            steps_per_epoch=1,
            epochs=STEPS,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)],
            shuffle=False,
            verbose=0,
        )
    return RateTrial(tuple(map(float, rates[: len(losses)])), tuple(losses))


def _write(trial, folder):
    table = folder / "learning_rates.csv"
    with written_whole(table) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("learning_rate", "loss", "smoothed_loss"))
        writer.writerows(zip(trial.rates, trial.losses, trial.smoothed, strict=True))
    figure = rates_figure(trial.rates, trial.losses, trial.smoothed, trial.suggested)
    save_figure(figure, folder / "learning_rates.png")
    if trial.suggested is not None:
        lowest = min(trial.smoothed)
        print(
            f"learning rate: {trial.suggested:g} (--learning-rate {trial.suggested:g}), a tenth of "
            f"that at which the loss is lowest, {lowest:.3g}; {folder / 'learning_rates.png'}"
        )
