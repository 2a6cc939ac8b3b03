"""What happens between the steps and epochs of a training: scores, files, a progress bar."""

import math
import signal
import sys
import threading
import time
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from fcn_keras.data.batches import distributed_batches, images_of_batch
from fcn_keras.errors import UserError
from fcn_keras.evaluation.scores import SCORES, scores_of
from fcn_keras.system.memory import memory_in_use
from fcn_keras.system.progress import progress_bar
from fcn_keras.system.signals import ENDING
from fcn_keras.training.backup import Backup, Position, TrainingJob
from fcn_keras.training.epoch_log import EpochLog
from fcn_keras.training.patience import Patience
from fcn_keras.training.symptoms import Symptoms
from fcn_keras.training.time_estimate import estimate_for

# How long a training on one machine may go on without a backup.
BACKUP_SECONDS = 600


class Stop:
    """Notes Ctrl-C, and the signal that a batch system sends before it ends a job.

    The training stops when it can make a backup. The second signal takes effect at once.

    Attributes:
        requested: whether one has come.
    """

    def __init__(self) -> None:
        self.requested = False
        self.before: dict = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # others may not
            for number in (signal.SIGINT, *ENDING):
                self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.requested = True
        self.__exit__()
        tqdm.write("stopping after this step, with a backup", file=sys.stderr)


class TrainingBar(keras.callbacks.Callback):
    """One bar over the whole training: images seen, images per second, time left, and its cost."""

    def __init__(self, job: TrainingJob, position: Position):
        super().__init__()
        self.job = job
        self.epoch = position.epoch + 1
        done = position.epoch * job.steps + position.step
        images = job.settings.images_per_step
        self.bar = progress_bar(
            "training",
            job.epochs * job.steps * images,
            initial=done * images,
            smoothing=0.05,
            disable=not job.chief,
        )
        self.estimate = estimate_for(job, position)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch + 1
        self.estimate.epoch_begins(epoch)
        self.started, self.waited = time.perf_counter(), self.model.waited
        self.bar.set_description(f"epoch {self.epoch}/{self.job.epochs}", refresh=False)

    def on_test_begin(self, logs: dict | None = None) -> None:
        self.bar.set_description(f"epoch {self.epoch}/{self.job.epochs}, validating")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        seconds = time.perf_counter() - self.started
        self.bar.set_postfix_str(
            f"loss {logs['loss']:.3f}, step {seconds / (batch + 1):.3g} s, "
            f"{(self.model.waited - self.waited) / seconds:.0%} of it for data, "
            f"{memory_in_use().peak / 1e9:.1f} GB",
            refresh=False,
        )
        self.bar.update(self.job.settings.images_per_step)
        self.estimate.step_ends()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.estimate.validation_batch_ends()


class StoppedInValidation(KeyboardInterrupt):
    """Ends a validation, of an epoch whose steps are all done."""


class Recorder(keras.callbacks.Callback):
    """Scores the network after an epoch, and writes all that a run keeps of it.

    The backup comes last: if the run is killed before it is complete, the epoch is scored again,
    and gives the same files again. On several machines all take part, and one writes.

    Args:
        job: what is trained.
        backup: where the state of the training is kept.
        position: how far the training had come when this process began.
        progress: the bar to show the validation on.
        stop: tells whether the training is to stop.
    """

    def __init__(
        self,
        job: TrainingJob,
        backup: Backup,
        position: Position,
        progress: TrainingBar,
        stop: Stop,
    ):
        super().__init__()
        self.job = job
        self.backup = backup
        self.position = position
        self.progress = progress
        self.stop = stop
        self.validation = distributed_batches(job.val_split, job.settings.batch_size, job.strategy)
        # What a stopped run wrote of later epochs is dropped.
        rows = [row for row in job.run.rows() if row["epoch"] <= position.epoch]
        self.log = EpochLog(job, rows) if job.chief else None
        self.patience = Patience(job.settings.patience, rows)
        classes = next(iter(job.dataset.heads.values()), job.dataset.classes)
        self.symptoms = Symptoms(classes, job.steps, rows)
        self.row: dict = {}  # what the log says of the last epoch of this process
        self.measured: list = []  # by the epoch's training, while its validation measures
        self.saved = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self.position.step:
            self.backup.restore_metrics()
        # The clocks go on where they stood at the backup.
        self.started = time.perf_counter() - self.position.seconds
        self.waited = self.model.waited - self.position.waited

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        epoch, step = self.position.epoch, self.position.step + 1
        if not math.isfinite(logs["loss"]):
            self._refuse(logs["loss"], epoch, step)
        self.position = Position(
            epoch, step, time.perf_counter() - self.started, self.model.waited - self.waited
        )
        # What follows the last step ends with a backup of its own.
        if step < self.job.steps and (self.stop.requested or self._is_due(step)):
            self._check_weights()
            self._back_up(self.backup.measured())
            if self.stop.requested:
                raise KeyboardInterrupt

    def _refuse(self, loss, epoch, step):
        settings = self.job.settings
        names = images_of_batch(
            self.job.train_split,
            settings.images_per_step,
            settings.seed,
            epoch * self.job.steps + step - 1,
            settings.replacement,
            self.job.task.learns_statistics,
        )
        raise UserError(
            f"The loss or a weight became {float(loss)} in epoch {epoch + 1}, step {step}, on "
            f"{', '.join(names)}. Look at these, or train with a lower --learning-rate or a "
            "--clip-norm. The best network and the last backup are as they were before."
        )

    def _is_due(self, step):
        if self.job.backup_steps is None:
            return time.perf_counter() - self.saved > BACKUP_SECONDS
        return self.job.backup_steps > 0 and step % self.job.backup_steps == 0

    def _check_weights(self):
        """A step's update may spoil the weights where its loss was still a number."""
        weights = self.model.network.weights  # moving statistics are of those that do not learn
        if not all(tf.reduce_all(tf.math.is_finite(weight.value)) for weight in weights):
            self._refuse(math.nan, self.position.epoch, self.position.step)

    def _back_up(self, measured):
        self.backup.save(self.position, measured)
        self.saved = time.perf_counter()

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.stop.requested:
            raise StoppedInValidation

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Scores the network, and writes what is kept of an epoch.

        A callback may have ended it before its last step: then that is where a training goes on.

        Args:
            epoch: its number, from 0.
            logs: what the training of the epoch measured; becomes what the log says of it.
        """
        _, steps, seconds, waited = self.position
        row = {
            "epoch": epoch + 1,
            "loss": float(logs["loss"]),
            "train_mean_iu": float(logs["mean_iu"]),
            # A constant rate is a variable, on replicas one that `float` does not read.
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "images_per_second": steps * self.job.settings.images_per_step / seconds,
            "seconds": seconds,
            "step_seconds": seconds / steps,
            "data_wait": waited / seconds,
            "memory_mb": memory_in_use().peak / 1e6,
        }
        if keras.ops.convert_to_numpy(self.model.norm_metric.count):  # else it was not measured
            row["gradient_norm"] = float(logs["gradient_norm"])
        self.measured = self.backup.measured()
        self._check_weights()
        try:
            with self.job.task.averaged():
                self._score(row)
        except StoppedInValidation:
            self._back_up(self.measured)
            raise
        # For callbacks after this one. What training measured is called as the scores are.
        logs.clear()
        logs |= row
        if steps == self.job.steps:
            self.position = Position(epoch + 1)
        self._back_up(self.measured)
        if self.patience.is_over and epoch + 1 < self.job.epochs:
            self.model.stop_training = True
            if self.job.chief:
                tqdm.write(f"epoch {epoch + 1}: {self.patience}", file=sys.stdout)

    def _score(self, row):
        """Scores the network, if that is due, and writes what is kept of an epoch."""
        confusion = None
        if (self.job.epochs - row["epoch"]) % self.job.settings.validate_every == 0:
            confusion = self._validate(row)
            self.patience.note(row["mean_iu"])
        self.row = row
        if self.log:
            self.log.keep(row)
            for text in self.symptoms.of(row, confusion):
                tqdm.write(f"warning: {text}", file=sys.stderr)

    def finish(self) -> None:
        """Scores the network where a callback has ended training in an epoch without validation."""
        if self.row and "mean_iu" not in self.row:
            with self.job.task.averaged():
                self._validate(self.row)
                if self.log:
                    self.log.keep(self.row)

    def _validate(self, row):
        """Adds the scores of the validation to a row of the log; returns its confusion matrix."""
        batches, steps = self.validation
        logs = self.model.evaluate(
            batches, steps=steps, verbose=0, return_dict=True, callbacks=[self.progress, self]
        )
        confusion = self.model.score_metric.confusion.numpy()
        scores = scores_of(confusion)
        row |= {"val_loss": logs["loss"], **{name: scores[name] for name in SCORES}}
        return confusion
