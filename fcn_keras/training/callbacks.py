"""What happens beside training: scores, files, backups, the progress bar."""

import math
import signal
import sys
import threading
import time
from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import ops
from tqdm import tqdm

from fcn_keras.errors import UserError
from fcn_keras.evaluation.scores import SCORES, scores_of
from fcn_keras.system.files import writing, written_whole
from fcn_keras.system.memory import peak_memory
from fcn_keras.system.progress import progress_bar
from fcn_keras.training.backup import Position

# How long a training on one machine may go on without a backup.
BACKUP_SECONDS = 600


class Stop:
    """Ctrl-C, and the signal that a batch system sends before it ends a job, until a good moment.

    The second one takes effect at once.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.requested = False
        self.before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # others may not
            self.before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def _note(self, number, frame):
        self.requested = True
        self.__exit__()
        tqdm.write("stopping after this step, with a backup", file=sys.stderr)


@dataclass(frozen=True)
class Plan:
    """How a training goes.

    Attributes:
        epochs: how many there are.
        steps: of how many steps each.
        images: how many images a step has.
        validate_every: epochs from one validation to the next; the last one is always validated.
        backup_steps: steps from one backup to the next within an epoch; 0 for none there, None
            to go by time.
    """

    epochs: int
    steps: int
    images: int
    validate_every: int
    backup_steps: int | None = None


class Recorder(keras.callbacks.Callback):
    """Scores the network after an epoch, and writes all that a run keeps of it.

    The backup comes last: if the run is killed before it is complete, the epoch is scored again,
    and gives the same files again. On several machines all take part, and one writes.

    Args:
        run: the run to write to; None on a machine that does not write.
        plan: how the training goes.
        backup: what the training went on from, and is kept in.
        position: where it went on.
        validation: batches to score on, with their number.
        progress: the bar to show that on.
        stop: tells whether to stop; None where only the others may say so.
        names: gives the names of the images in a batch, by the number of its step.
        pictures: gives pictures of what the network predicts, by name.
    """

    def __init__(self, run, plan, backup, position, validation, progress, stop, names, pictures):
        super().__init__()
        self.run = run
        self.plan = plan
        self.backup = backup
        self.position = position
        self.validation = validation
        self.progress = progress
        self.stop = stop
        self.names = names
        self.pictures = pictures
        self.rows = []
        if run:
            self.rows = [row for row in run.rows() if row["epoch"] <= position.epoch]
            self.events = tf.summary.create_file_writer(str(run.path))
        self.measured = None  # by the epoch's training, while its validation measures
        self.saved = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        if self.position.step:
            self.backup.restore_metrics()
        # The clocks go on where they stood at the backup.
        self.started = time.perf_counter() - self.position.seconds
        self.waited = self.model.waited - self.position.waited

    def on_train_batch_end(self, batch, logs=None):
        epoch, step = self.position.epoch, self.position.step + 1
        if not math.isfinite(logs["loss"]):
            self._refuse(logs["loss"], epoch, step)
        seconds = time.perf_counter() - self.started
        self.position = Position(epoch, step, seconds, self.model.waited - self.waited)
        # What follows the last step ends with a backup of its own.
        if step < self.plan.steps and (self._stopping() or self._due(step)):
            self._check_weights()
            self._back_up(self.backup.measured())
            if self._stopping():
                raise KeyboardInterrupt

    def _stopping(self):
        return self.stop is not None and self.stop.requested

    def _refuse(self, loss, epoch, step):
        names = ", ".join(self.names(epoch * self.plan.steps + step - 1))
        raise UserError(
            f"The loss or a weight became {float(loss)} in epoch {epoch + 1}, step {step}, on "
            f"{names}. Look at these, or train with a lower --learning-rate or a --clip-norm. The "
            "best network and the last backup are as they were before."
        )

    def _due(self, step):
        if self.plan.backup_steps is None:
            return time.perf_counter() - self.saved > BACKUP_SECONDS
        return self.plan.backup_steps > 0 and step % self.plan.backup_steps == 0

    def _check_weights(self):
        """A step's update may spoil the weights where its loss was still a number."""
        finite = [
            bool(tf.reduce_all(tf.math.is_finite(weight.value)))
            for weight in self.model.network.trainable_variables
        ]
        if not all(finite):
            self._refuse(math.nan, self.position.epoch, self.position.step)

    def _back_up(self, measured):
        self.backup.save(self.position, measured)
        self.saved = time.perf_counter()

    def on_test_batch_end(self, batch, logs=None):
        if self._stopping():
            self._back_up(self.measured)
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        self.finish_epoch(logs)

    def finish_epoch(self, logs):
        """Scores the network and writes what is kept of an epoch whose steps are all done.

        Args:
            logs: what the training of the epoch measured.
        """
        epoch, _, seconds, waited = self.position
        epoch += 1
        row = {
            "epoch": epoch,
            "loss": float(logs["loss"]),
            "train_mean_iu": float(logs["mean_iu"]),
            # A constant rate is a variable, on replicas one that `float` does not read.
            "learning_rate": float(ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "images_per_second": self.plan.steps * self.plan.images / seconds,
            "seconds": seconds,
            "step_seconds": seconds / self.plan.steps,
            "data_wait": waited / seconds,
            "memory_mb": peak_memory() / 1e6,
        }
        self.measured = self.backup.measured()
        scored = (self.plan.epochs - epoch) % self.plan.validate_every == 0
        if scored:
            row |= self._validate()
        self._check_weights()
        self.position = Position(epoch)
        self.rows.append(row)
        if self.run:
            self._keep(epoch, row, scored)
            tqdm.write(_summary(row, self.plan.epochs), file=sys.stdout)
            sys.stdout.flush()
        self._back_up(self.measured)

    def _validate(self):
        batches, steps = self.validation
        logs = self.model.evaluate(
            batches, steps=steps, verbose=0, return_dict=True, callbacks=[self.progress, self]
        )
        scores = scores_of(self.model.score_metric.confusion.numpy())
        return {"val_loss": logs["loss"], **{name: scores[name] for name in SCORES}}

    def _keep(self, epoch, row, scored):
        earlier = [r["mean_iu"] for r in self.rows[:-1] if r.get("mean_iu") is not None]
        if scored and row["mean_iu"] > max(earlier, default=-1.0):
            with written_whole(self.run / "best.keras") as aside:
                self.model.network.save(aside)
        self.run.write_rows(self.rows)
        pictures = list(self.pictures()) if scored else []
        with writing(self.run.path), self.events.as_default(epoch):
            for name, value in row.items():
                tf.summary.scalar(name, value)
            for name, picture in pictures:
                tf.summary.image(name, picture[None])
            self.events.flush()


def _summary(row, epochs):
    text = f"epoch {row['epoch']:{len(str(epochs))}}/{epochs}  loss {row['loss']:.4f}"
    if "mean_iu" in row:
        text += f"  val loss {row['val_loss']:.4f}  val mean IU {row['mean_iu']:.4f}"
        text += f"  pixel accuracy {row['pixel_accuracy']:.4f}"
    return text + f"  {row['images_per_second']:.1f} images/s"


class TrainingBar(keras.callbacks.Callback):
    """One bar over the whole training: images seen, images per second, time left, and its cost."""

    def __init__(self, plan, position, shown=True):
        super().__init__()
        self.plan = plan
        self.epoch = position.epoch + 1
        done = (position.epoch * plan.steps + position.step) * plan.images
        total = plan.epochs * plan.steps * plan.images
        self.bar = progress_bar("training", total, initial=done, smoothing=0.05, disable=not shown)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1
        self.started, self.waited = time.perf_counter(), self.model.waited
        self.steps = 0
        self.bar.set_description(f"epoch {self.epoch}/{self.plan.epochs}", refresh=False)

    def on_test_begin(self, logs=None):
        self.bar.set_description(f"epoch {self.epoch}/{self.plan.epochs}, validating")

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        seconds = time.perf_counter() - self.started
        waited = self.model.waited - self.waited
        self.bar.set_postfix_str(
            f"loss {logs['loss']:.3f}, step {seconds / self.steps:.3g} s, "
            f"{waited / seconds:.0%} of it for data, {peak_memory() / 1e9:.1f} GB",
            refresh=False,
        )
        self.bar.update(self.plan.images)
