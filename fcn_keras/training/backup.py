"""What a training run needs to go on after it was stopped, at any step."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fcn_keras.errors import UserError
from fcn_keras.system.files import writing
from fcn_keras.training.task import SegmentationTask


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
        folder: where the backups lie; all machines of a training must see it.
        task: the `SegmentationTask` that is trained.
        writes: whether this process writes them.
    """

    def __init__(self, folder: str | Path, task: SegmentationTask, writes: bool = True):
        self.folder = Path(folder)
        self.task = task
        self.writes = writes
        kinds = {int: tf.int64, float: tf.float64}
        self.position = [tf.Variable(value, dtype=kinds[type(value)]) for value in Position()]
        # Those of replicas hold a part each, which a checkpoint would not give back exactly.
        self.metrics = [tf.Variable(part) for part in self.measured()]
        variables = [*task.network.variables, *task.optimizer.variables]
        self.checkpoint = tf.train.Checkpoint(
            position=self.position,
            metrics=self.metrics,
            variables=[variable.value for variable in variables],
        )
        self.manager = tf.train.CheckpointManager(self.checkpoint, str(folder), max_to_keep=2)
        self.saves = 0

    def restore(self) -> Position:
        """Restores the newest backup, all but the metrics; returns its position.

        Raises:
            UserError: if it cannot be restored.
        """
        if self.writes:
            self._remove_leftovers()
        if path := self.manager.latest_checkpoint:
            try:
                self.checkpoint.restore(path).assert_consumed()
            except (AssertionError, ValueError, tf.errors.OpError) as error:
                raise UserError(
                    f"{path}: cannot be restored: it is damaged, or another version's. Start anew "
                    "with --fresh."
                ) from error
            self.saves = int(path.rpartition("-")[2])
        return Position(*(variable.numpy().item() for variable in self.position))

    def measured(self) -> list[np.ndarray]:
        """Returns what the metrics hold, of all replicas together, as arrays."""
        return [variable.numpy() for metric in self.task.metrics for variable in metric.variables]

    def restore_metrics(self) -> None:
        """Puts what the restored backup knows of its epoch back into the metrics."""

        def assign():
            # What one replica holds counts for all.
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            share = tf.equal(replica, 0)
            variables = (v for metric in self.task.metrics for v in metric.variables)
            for variable, kept in zip(variables, self.metrics, strict=True):
                variable.assign(tf.where(share, kept, tf.zeros_like(kept)))

        self.task.distribute_strategy.run(tf.function(assign))

    def save(self, position: Position, measured: list[np.ndarray]) -> None:
        """Writes a backup.

        Args:
            position: how far the training has come.
            measured: what `measured` returned then.

        Raises:
            WriteError: if it cannot be written; the one before stays.
        """
        if not self.writes:
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
        """Deletes what is left of backups that were never complete."""
        whole = tuple(f"{Path(path).name}." for path in self.manager.checkpoints)
        for part in self.folder.glob("ckpt-*"):
            if not part.name.startswith(whole):
                shutil.rmtree(part) if part.is_dir() else part.unlink()
