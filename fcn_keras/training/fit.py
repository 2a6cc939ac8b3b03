"""The epochs of a run: from its last backup to its end, or to a stop."""

import contextlib
import json
import zlib

import keras
import tensorflow as tf

from fcn_keras.data.batches import sharded, training_batches
from fcn_keras.errors import UserError
from fcn_keras.system.devices import all_have, is_alone
from fcn_keras.training.backup import Backup, Position, TrainingJob
from fcn_keras.training.callbacks import Recorder, Stop, TrainingBar
from fcn_keras.training.crops import augmentation_of
from fcn_keras.training.freezing import Thaw
from fcn_keras.training.own_callbacks import NoStop


def fit_epochs(job: TrainingJob) -> None:
    """Trains all epochs that are left; all machines do so together.

    Raises:
        UserError: if the backup cannot be restored, machines differ in what they see, or the loss
            is no number any more.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with a backup of the last step.
    """
    backup = Backup(job)
    position = backup.restore()
    _check_all_alike(job, position, backup.saves)
    epoch, step = position.epoch, position.step
    if job.chief and (epoch or step):
        print(f"going on after epoch {epoch} of {job.epochs}, step {step} of {job.steps}")
    progress, stop = TrainingBar(job, position), Stop()
    # A machine that stops on its own would leave the others waiting.
    stopping = stop if is_alone(job.strategy) else contextlib.nullcontext()
    with contextlib.closing(progress.bar), stopping:
        recorder = Recorder(job, backup, position, progress, stop)
        thaw = Thaw(job.settings.freeze_epochs, job.steps, quiet=not job.chief)
        thaw.set_model(job.task)
        thaw.on_epoch_begin(epoch)
        own = [*job.callbacks] if job.chief else []
        if own and not is_alone(job.strategy):
            own.append(NoStop(recorder.patience))
        callbacks = [progress, recorder, thaw, *own]
        if step == job.steps:  # stopped while it was validating
            backup.restore_metrics()
            ending = keras.callbacks.CallbackList(
                [recorder, *own], model=job.task, epochs=job.epochs, steps=job.steps, verbose=0
            )
            ending.on_train_begin()
            ending.on_epoch_end(epoch, job.task.get_metrics_result())
            ending.on_train_end()
        elif step:
            _fit(job, callbacks, epoch, epoch + 1, step)
        # The user's callbacks may have ended it, too.
        if not (recorder.patience.is_over or job.task.stop_training):
            _fit(job, callbacks, epoch + (step > 0), job.epochs)
        recorder.finish()
        if stop.requested:  # too late for anything but what follows
            raise KeyboardInterrupt


def _fit(job, callbacks, first, end, step=0):
    """Trains the epochs from `first` to before `end`, the first of them from a step on."""
    job.task.fit(
        batches_of(job, first * job.steps + step),
        steps_per_epoch=job.steps - step,
        epochs=end,
        initial_epoch=first,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )


def batches_of(job: TrainingJob, first_step: int = 0) -> tf.data.Dataset:
    """Returns the batches that a task is trained on, from a step on, spread over its replicas."""
    settings = job.settings
    augmentation = augmentation_of(settings, job.statistics)

    def batches(shards):
        return training_batches(
            job.train_split,
            augmentation,
            settings.images_per_step,
            seed=settings.seed,
            first_step=first_step,
            replacement=settings.replacement,
            shards=shards,
            images_alone=job.task.learns_statistics,
        )

    return sharded(job.strategy, batches, job.task.micro_batch or 1)


def _check_all_alike(job: TrainingJob, position: Position, saves: int):
    settings = json.dumps(job.settings.config(), sort_keys=True).encode()
    if not all_have(job.strategy, (position.epoch, position.step, saves, zlib.crc32(settings))):
        raise UserError(
            f"{job.run.path}: all machines must see the same run directory there, and be given the "
            "same settings. They are not, or do not."
        )
