"""Training: from settings to a run directory with a network, its scores and pictures."""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from fcn_keras.data.batches import reading_errors
from fcn_keras.data.dataset import Dataset, Remembered
from fcn_keras.data.files.readers import AsStored
from fcn_keras.data.source import Source
from fcn_keras.data.statistics import ChannelStatistics, channel_statistics
from fcn_keras.errors import UserError
from fcn_keras.evaluation.scores import score_table
from fcn_keras.system.devices import (
    is_alone,
    make_strategy,
    on_cpus,
    reaching,
    wait_for_all,
)
from fcn_keras.system.files import remove_leftovers, written_whole
from fcn_keras.system.processor import computes_in
from fcn_keras.training.backup import TrainingJob
from fcn_keras.training.fit import fit_epochs
from fcn_keras.training.initial_network import make_task
from fcn_keras.training.report import write_report
from fcn_keras.training.run import Run, default_path
from fcn_keras.training.settings import Settings
from fcn_keras.training.time_estimate import warn_of_cost

# Decoded images of a split are kept in memory up to this, so that small sets are decoded once.
CACHE_BYTES = 1 << 30


def train(
    settings: Settings,
    run_dir: str | Path | None = None,
    devices: str | None = None,
    fresh: bool = False,
    cluster: str | None = None,
    backup_steps: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Path:
    """Trains a network, or goes on where an earlier call with the same settings stopped.

    The gradient is that of the whole batch, on any number of devices and machines. (Dropout alone
    draws for each device.) On several machines every one makes the same call, and the first one
    writes; all must see the run directory.

    Args:
        settings: what to train, see `fcn_keras.recipes.common.resolving.resolve`.
        run_dir: where everything is written; `runs/<dataset>-<variant>` if not given.
        devices, cluster: see `fcn_keras.system.devices.make_strategy`.
        fresh: whether to delete an existing run first instead of going on with it.
        backup_steps: steps from one backup to the next within an epoch. If not given, one is made
            every ten minutes; on several machines at the end of epochs alone.
        callbacks: Keras callbacks to call too, on the machine that writes. At the end of an epoch
            they are given what `log.csv` says of it. What they do themselves is not made up for
            where a run goes on after a stop.

    Returns:
        The run directory: `config.json`, `log.csv`, `best.keras` (by validation mean IU),
        `last.keras`, `metrics.json` (scores of `best.keras` on the validation split),
        `report/`, TensorBoard events; `backup/` as long as the run has not finished.

    Raises:
        UserError: if the settings, the data or the directory do not allow it, or the loss is no
            number any more.
        WriteError: if a file cannot be written.
        MachineLost: if another machine cannot be reached any more.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with a backup of the last step.

    Example:

    >>> run = train(resolve("small", dataset="my_photos"))
    >>> model = keras.models.load_model(run / "best.keras")
    """
    strategy = make_strategy(devices, cluster)  # several machines need that to come first
    with reaching(strategy), reading_errors():
        if settings.deterministic:
            tf.config.experimental.enable_op_determinism()
        source = source_of(settings)
        dataset = dataset_of(settings, source)
        run = Run(run_dir or default_path(dataset.name, settings.variant))
        if fresh:
            run.config()  # anything but a run is not deleted
        elif _has_finished(run, settings, dataset):
            return run.path
        counts = source.check()["train"]
        kept = None if fresh else run.statistics()
        job = make_job(run, settings, dataset, counts, strategy, backup_steps, callbacks, kept)
        wait_for_all(strategy)  # until all have looked at the run as it was
        with run.held() if job.chief else nullcontext():
            if job.chief:
                # Another process may have ended it meanwhile.
                if not fresh and _has_finished(run, settings, dataset):
                    return run.path
                if fresh:  # only now that nothing can be wrong any more
                    run.delete()
                remove_leftovers(run.path)
                run.start(settings, dataset, job.statistics)
                announce(run, settings, strategy)
                for line in warn_of_cost(job):
                    print(line, flush=True)
            wait_for_all(strategy)  # to find the run as it is now
            fit_epochs(job)
            if job.chief:
                with written_whole(run.path / "last.keras") as aside, job.task.averaged():
                    job.task.network.save(aside)
                write_report(run, dataset, job.val_split, settings.batch_size)
                shutil.rmtree(run.path / "backup", ignore_errors=True)
        wait_for_all(strategy)  # so that all are there to start again until it has ended
        return run.path


def source_of(settings: Settings) -> Source:
    """Returns the data set of a training, still to be checked."""
    images = AsStored(settings.channels) if settings.channels else None
    return Source(settings.dataset, settings.val_share, images)


def dataset_of(settings: Settings, source: Source) -> Dataset:
    """Returns a data set that can be trained on with these settings.

    Raises:
        UserError: if it cannot.
    """
    dataset = source.dataset
    for name in ("train", "val"):
        if name not in dataset.splits:
            raise UserError(
                f"{settings.dataset}: has no split {name!r}, which training needs. Of DIR/images "
                "with DIR/masks, without splits, a part is set aside to validate on."
            )
    if dataset.heads and settings.class_weights != "none":
        raise UserError("`class_weights` must be none for a data set with several label maps.")
    return dataset


def make_job(
    run: Run,
    settings: Settings,
    dataset: Dataset,
    counts: np.ndarray,
    strategy: tf.distribute.Strategy,
    backup_steps: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    statistics: ChannelStatistics | None = None,
) -> TrainingJob:
    """Makes the network that a run starts from, and all that belongs to its training.

    Args:
        run, settings, dataset, strategy, backup_steps, callbacks: see `TrainingJob`.
        counts: how many pixels of the training split have each label.
        statistics: what the images are, where they are no photographs; measured if not given.

    Raises:
        UserError: if the network cannot be trained so.
    """
    train_split, val_split = (
        Remembered(dataset.splits[name], CACHE_BYTES) for name in ("train", "val")
    )
    epochs, steps = settings.length(len(train_split))
    if backup_steps is None and not is_alone(strategy):
        backup_steps = 0
    if dataset.stored and not statistics:
        statistics = channel_statistics(train_split)
    keras.utils.set_random_seed(settings.seed)
    with strategy.scope():
        task = make_task(
            settings,
            dataset,
            counts,
            total_steps=epochs * steps,
            micro_batch=-(-settings.batch_size // strategy.num_replicas_in_sync),
            statistics=statistics,
        )
    return TrainingJob(
        run,
        settings,
        dataset,
        train_split,
        val_split,
        strategy,
        task,
        epochs,
        steps,
        backup_steps,
        tuple(callbacks),
        statistics,
    )


def _has_finished(run, settings, dataset):
    """Checks what is in the run's directory; tidies it, and shows its scores, if it has ended."""
    run.check(settings, dataset)
    scores = run.scores()
    if scores:
        # What was killed behind its last file has left it.
        shutil.rmtree(run.path / "backup", ignore_errors=True)
        print(f"{run.path} has finished already (--fresh starts it anew):\n{score_table(scores)}")
    return bool(scores)


def announce(run: Run, settings: Settings, strategy: tf.distribute.Strategy) -> None:
    """Prints the settings, what they make less than the paper's network, and where all goes."""
    print(f"settings (recipe {settings.recipe}):\n{settings}", *settings.narrowed(), sep="\n")
    replicas = strategy.num_replicas_in_sync
    if settings.batch_size % replicas:
        print(
            f"{replicas} devices: batches of {settings.batch_size} are filled up with void to "
            f"{-(-settings.batch_size // replicas) * replicas}"
        )
    half = settings.precision.removeprefix("mixed_")
    if half != "float32" and on_cpus(strategy) and computes_in(half) is False:
        print(
            f"{settings.precision}: this processor has no instructions for {half}, and would be "
            "faster with --precision float32"
        )
    print(f"run directory: {run.path}", flush=True)
