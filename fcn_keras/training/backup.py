"""What a training works on, how far it has come, and what it needs to go on after a stop."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fcn_keras.data.dataset import Dataset, Split
from fcn_keras.data.statistics import ChannelStatistics
from fcn_keras.errors import UserError, first_line
from fcn_keras.system.devices import is_chief
from fcn_keras.system.files import writing
from fcn_keras.system.plain_path import plain_path
from fcn_keras.training.run import Run
from fcn_keras.training.settings import Settings
from fcn_keras.training.task import SegmentationTask

# What TensorFlow raises of damaged files, and of those of other networks.
_UNREADABLE = (AssertionError, ValueError, LookupError, RuntimeError, OSError)


@dataclass(frozen=True)
class TrainingJob:
    """What a training works on.

    Attributes:
        run: the directory that it is written to.
        settings: what is trained, and how.
        dataset: what it is trained for.
        train_split, val_split: the images to train on, and those to score on.
        strategy: how the training is spread over devices and machines.
        task: the network with its loss and its update rule.
        epochs, steps: how many epochs there are, and of how many steps each.
        backup_steps: steps from one backup to the next within an epoch; 0 for none there, None
            to go by time.
        callbacks: the user's own, to be called on the machine that writes.
        statistics: what the training images are, channel by channel; None for photographs.
    """

    run: Run
    settings: Settings
    dataset: Dataset
    train_split: Split
    val_split: Split
    strategy: tf.distribute.Strategy
    task: SegmentationTask
    epochs: int
    steps: int
    backup_steps: int | None
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    statistics: ChannelStatistics | None = None

    @property
    def chief(self) -> bool:
        """Whether this machine is the one that writes."""
        return is_chief(self.strategy)


class Position(NamedTuple):
    """How far a training has come.

    Attributes:
        epoch: how many epochs are complete: trained, scored and written.
        step: how many steps of the next one are done.
        seconds: how long these took.
        waited: how long of that was spent waiting for batches.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    waited: float = 0.0


class Backup:
    """Weights, optimizer, random state, position, and what the metrics hold of the epoch so far.

    TensorFlow's checkpoints are written aside and renamed, and the one before is kept until the
    next is complete.

    Args:
        job: what is trained; all machines must see its run directory.
    """

    def __init__(self, job: TrainingJob):
        self.job = job
        self.folder = job.run.path / "backup"
        self.position = [
            tf.Variable(value, dtype=tf.int64 if isinstance(value, int) else tf.float64)
            for value in Position()
        ]
        # Those of replicas hold a part each, which a checkpoint would not give back exactly.
        self.metrics = [tf.Variable(part) for part in self.measured()]
        norm = len(job.task.norm_metric.variables)  # the last ones
        self.parts = dict(
            position=self.position,
            metrics=self.metrics[:-norm],
            variables=[
                variable.value
                for part in (job.task.network, job.task.optimizer, job.task.averages)
                if part is not None
                for variable in part.variables
            ],
        )
        self.checkpoint = tf.train.Checkpoint(**self.parts, gradient_norm=self.metrics[-norm:])
        self.manager = tf.train.CheckpointManager(
            self.checkpoint, plain_path(self.folder), max_to_keep=2
        )
        self.saves = 0

    def restore(self) -> Position:
        """Restores the newest backup, all but the metrics; returns its position.

        Raises:
            UserError: if it cannot be restored.
        """
        if self.job.chief:
            self._remove_leftovers()
        if path := self.manager.latest_checkpoint:
            try:
                names = [name for name, _ in tf.train.list_variables(path)]
                # Older backups have no such part.
                is_whole = any(name.startswith("gradient_norm/") for name in names)
                checkpoint = self.checkpoint if is_whole else tf.train.Checkpoint(**self.parts)
                checkpoint.restore(path).assert_consumed()
            except (*_UNREADABLE, tf.errors.OpError) as error:
                raise UserError(
                    f"{self.folder / Path(path).name}: cannot be restored "
                    f"({first_line(error).rstrip('.')}). It is left as it is: go on with the "
                    "versions that the run's config.json names, or train anew in another "
                    "--run-dir; --fresh would delete the run."
                ) from error
            self.saves = int(path.rpartition("-")[2])
        return Position(*(variable.numpy().item() for variable in self.position))

    def measured(self) -> list[np.ndarray]:
        """Returns what the metrics hold, of all replicas together, as arrays."""
        return [
            variable.numpy() for metric in self.job.task.metrics for variable in metric.variables
        ]

    def restore_metrics(self) -> None:
        """Puts what the restored backup knows of its epoch back into the metrics."""

        def assign():
            # What one replica holds counts for all.
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            variables = (v for metric in self.job.task.metrics for v in metric.variables)
            for variable, kept in zip(variables, self.metrics, strict=True):
                variable.assign(tf.where(tf.equal(replica, 0), kept, tf.zeros_like(kept)))

        self.job.strategy.run(tf.function(assign))

    def save(self, position: Position, measured: list[np.ndarray]) -> None:
        """Writes a backup.

        Args:
            position: how far the training has come.
            measured: what `measured` returned then.

        Raises:
            WriteError: if it cannot be written; the one before stays.
        """
        if not self.job.chief:
            return
        for variable, value in zip(
            [*self.position, *self.metrics], [*position, *measured], strict=True
        ):
            variable.assign(value)
        self.saves += 1
        with writing(self.folder):
            try:
                self.manager.save(checkpoint_number=self.saves)
            finally:
                self._remove_leftovers()

    def _remove_leftovers(self):
        whole = tuple(f"{Path(path).name}." for path in self.manager.checkpoints)
        for part in self.folder.glob("ckpt-*"):
            if not part.name.startswith(whole):
                shutil.rmtree(part) if part.is_dir() else part.unlink()
