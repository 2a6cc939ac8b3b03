"""What happens beside training: scores, files, backups, the progress bar."""

import math
import sys
import time

import keras
import tensorflow as tf
from keras import ops
from tqdm import tqdm

from fcn_keras.errors import UserError
from fcn_keras.files import written_whole
from fcn_keras.metrics import SCORES, scores_of
from fcn_keras.progress import progress_bar


class Backup:
    """What is needed to go on after a stop: weights, optimizer, random state, epoch.

    TensorFlow's checkpoints are written aside and renamed, and the one before is kept until the
    next is complete.
    """

    def __init__(self, folder, task):
        self.epoch = tf.Variable(0, dtype=tf.int64)
        variables = [*task.network.variables, *task.optimizer.variables]
        self.checkpoint = tf.train.Checkpoint(
            epoch=self.epoch, variables=[variable.value for variable in variables]
        )
        self.manager = tf.train.CheckpointManager(self.checkpoint, str(folder), max_to_keep=2)

    def restore(self) -> int:
        """Restores the newest backup; returns how many epochs were complete, 0 if none was."""
        if self.manager.latest_checkpoint:
            self.checkpoint.restore(self.manager.latest_checkpoint).assert_consumed()
        return int(self.epoch)

    def save(self, epoch: int):
        self.epoch.assign(epoch)
        self.manager.save(checkpoint_number=epoch)


class Recorder(keras.callbacks.Callback):
    """Scores the network after an epoch, and writes all that a run keeps of it.

    The backup comes last: if the run is killed before it is complete, the epoch is trained
    again, and gives the same files again.
    """

    def __init__(self, run, settings, backup, validation, epochs, progress):
        super().__init__()
        self.progress = progress
        self.run = run
        self.settings = settings
        self.backup = backup
        self.validation = validation
        self.epochs = epochs
        self.rows = [row for row in run.rows() if row["epoch"] <= int(backup.epoch)]
        self.events = tf.summary.create_file_writer(str(run.path))

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.started
        epoch += 1
        row = {
            "epoch": epoch,
            "loss": logs["loss"],
            "train_mean_iu": logs["mean_iu"],
            # A constant rate is a variable, on replicas one that `float` does not read.
            "learning_rate": float(ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "images_per_second": self.params["steps"] * self.settings.batch_size / seconds,
            "seconds": seconds,
        }
        if not math.isfinite(row["loss"]):
            raise UserError(
                f"The loss became {row['loss']} in epoch {epoch}. What was kept before is intact "
                f"in {self.run.path}; start anew with a lower --learning-rate."
            )
        if (self.epochs - epoch) % self.settings.validate_every == 0:
            row |= self._validate()
        self.rows.append(row)
        self._keep(epoch, row)
        tqdm.write(_summary(row, self.epochs), file=sys.stdout)
        sys.stdout.flush()

    def _validate(self):
        logs = self.model.evaluate(
            self.validation, verbose=0, return_dict=True, callbacks=[self.progress]
        )
        scores = scores_of(self.model.score_metric.confusion.numpy())
        return {"val_loss": logs["loss"], **{name: scores[name] for name in SCORES}}

    def _keep(self, epoch, row):
        earlier = [r["mean_iu"] for r in self.rows[:-1] if r.get("mean_iu") is not None]
        if "mean_iu" in row and row["mean_iu"] > max(earlier, default=-1.0):
            with written_whole(self.run / "best.keras") as aside:
                self.model.network.save(aside)
        self.run.write_rows(self.rows)
        with self.events.as_default(epoch):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        self.events.flush()
        self.backup.save(epoch)


def _summary(row, epochs):
    text = f"epoch {row['epoch']:{len(str(epochs))}}/{epochs}  loss {row['loss']:.4f}"
    if "mean_iu" in row:
        text += f"  val loss {row['val_loss']:.4f}  val mean IU {row['mean_iu']:.4f}"
        text += f"  pixel accuracy {row['pixel_accuracy']:.4f}"
    return text + f"  {row['images_per_second']:.1f} images/s"


class TrainingBar(keras.callbacks.Callback):
    """One bar over the whole training: images seen, images per second, time left."""

    def __init__(self, epochs, steps, batch_size, first_epoch):
        super().__init__()
        self.epochs = epochs
        self.batch_size = batch_size
        images = steps * batch_size
        self.bar = progress_bar(
            "training", epochs * images, initial=first_epoch * images, smoothing=0.05
        )

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1
        self.bar.set_description(f"epoch {self.epoch}/{self.epochs}", refresh=False)

    def on_test_begin(self, logs=None):
        self.bar.set_description(f"epoch {self.epoch}/{self.epochs}, validating")

    def on_train_batch_end(self, batch, logs=None):
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)
        self.bar.update(self.batch_size)

    def on_train_end(self, logs=None):
        self.bar.close()
