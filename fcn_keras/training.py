"""Training: from settings to a run directory with a network, its scores and pictures."""

import math
import shutil
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from fcn_keras import report
from fcn_keras.callbacks import Backup, Recorder, TrainingBar
from fcn_keras.data import load_dataset
from fcn_keras.data.dataset import Remembered
from fcn_keras.data.pipeline import (
    Augmentation,
    evaluation_batches,
    reading_errors,
    steps_per_epoch,
    training_batches,
)
from fcn_keras.devices import make_strategy
from fcn_keras.errors import UserError
from fcn_keras.evaluation import (
    as_json,
    evaluate,
    load_network,
    score_table,
    write_scores,
)
from fcn_keras.fcn import build
from fcn_keras.files import written_whole
from fcn_keras.metrics import confusion_matrix, scores_of
from fcn_keras.names import ALEXNET, COLOR_HHA
from fcn_keras.prediction import make_segmenter
from fcn_keras.run import Run
from fcn_keras.settings import Settings
from fcn_keras.solver import CaffeSGD
from fcn_keras.task import SegmentationTask
from fcn_keras.weights import preprocessing_of

# Decoded images of a split are kept in memory up to this, so that small sets are decoded once.
CACHE_BYTES = 1 << 30

SAMPLES = 6  # pictures in report/samples.png


def train(
    settings: Settings,
    run_dir: str | Path | None = None,
    devices: str | None = None,
    fresh: bool = False,
) -> Path:
    """Trains a network, or goes on where an earlier call with the same settings stopped.

    Args:
        settings: what to train, see `fcn_keras.recipes.resolve`.
        run_dir: where everything is written; `runs/<dataset>-<variant>` if not given.
        devices: see `fcn_keras.devices.make_strategy`.
        fresh: whether to delete an existing run first instead of going on with it.

    Returns:
        The run directory: `config.json`, `log.csv`, `best.keras` (by validation mean IU),
        `last.keras`, `metrics.json` (scores of `best.keras` on the validation split),
        `report/`, TensorBoard events; `backup/` as long as the run has not finished.

    Raises:
        UserError: if the settings, the data or the directory do not allow it.

    Example:

    >>> run = train(resolve("small", dataset="my_photos"))
    >>> model = keras.models.load_model(run / "best.keras")
    """
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(devices)
    if settings.batch_size % strategy.num_replicas_in_sync:
        raise UserError(
            f"`batch_size` must be a multiple of the {strategy.num_replicas_in_sync} devices. "
            f"Received: {settings.batch_size}."
        )
    dataset = load_dataset(settings.dataset)
    for name in ("train", "val"):
        if name not in dataset.splits:
            raise UserError(f"{settings.dataset}: has no split {name!r}, which training needs.")
    if dataset.heads and settings.class_weights != "none":
        raise UserError("`class_weights` must be none for a data set with several label maps.")
    run = Run(run_dir or _default_dir(settings, dataset))
    if fresh:
        run.check_deletable()
    else:
        run.check(settings, dataset)
    if run.finished and not fresh:
        print(f"{run.path} has finished already (--fresh starts it anew):")
        print(score_table(run.scores()))
        return run.path

    counts, _ = (dataset.splits[name].scan() for name in ("train", "val"))
    train_split, val_split = (
        Remembered(dataset.splits[name], CACHE_BYTES) for name in ("train", "val")
    )
    epochs, steps = _length(settings, train_split)
    keras.utils.set_random_seed(settings.seed)
    with strategy.scope():
        task = _make_task(settings, dataset, counts, epochs * steps)
    with run.held():
        if fresh:  # only now that nothing can be wrong any more
            run.delete()
        _fit(run, settings, dataset, (train_split, val_split), task, epochs, steps)
    return run.path


def _fit(run, settings, dataset, splits, task, epochs, steps):
    train_split, val_split = splits
    run.start(settings, dataset)
    print(f"settings (recipe {settings.recipe}):\n{settings}", *settings.narrowed(), sep="\n")
    print(f"run directory: {run.path}", flush=True)
    backup = Backup(run / "backup", task)
    first_epoch = backup.restore()
    if first_epoch:
        print(f"going on after epoch {first_epoch} of {epochs}", flush=True)
    batches = training_batches(
        train_split,
        Augmentation(
            settings.crop_size,
            settings.flip,
            (settings.scale_min, settings.scale_max),
            settings.color,
        ),
        settings.batch_size,
        settings.seed,
        first_step=first_epoch * steps,
        replacement=settings.replacement,
    )
    validation = evaluation_batches(val_split, settings.batch_size)
    progress = TrainingBar(epochs, steps, settings.batch_size, first_epoch)
    recorder = Recorder(run, settings, backup, validation, epochs, progress)
    with reading_errors():
        task.fit(
            batches,
            steps_per_epoch=steps,
            epochs=epochs,
            initial_epoch=first_epoch,
            callbacks=[progress, recorder],
            shuffle=False,
            verbose=0,
        )
    with written_whole(run / "last.keras") as aside:
        task.network.save(aside)
    _report(run, dataset, val_split, settings.batch_size)
    shutil.rmtree(run / "backup", ignore_errors=True)


def _default_dir(settings, dataset):
    return Path("runs") / f"{dataset.name.replace('/', '-')}-{settings.variant}"


def _length(settings, split):
    """How many epochs, and how many steps each."""
    steps = steps_per_epoch(split, settings.batch_size)
    if not settings.steps:
        return settings.epochs, steps
    epochs = math.ceil(settings.steps / steps)
    return epochs, math.ceil(settings.steps / epochs)


def _make_task(settings, dataset, counts, total_steps):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.precision)
    try:
        network = make_network(settings, dataset.outputs)
        weights = _class_weights(settings.class_weights, counts[: dataset.num_classes])
        task = SegmentationTask(
            network, settings.normalization, weights, tuple(dataset.heads), settings.clip_norm
        )
        # XLA compiles neither the counting of pixels nor replicas on several CPUs.
        task.compile(_make_optimizer(settings, total_steps), jit_compile=False)
        task.optimizer.build(network.trainable_variables)
    finally:
        keras.config.set_dtype_policy(policy)
    return task


def make_network(settings: Settings, num_classes) -> keras.Model:
    """Builds the network that a run starts from."""
    options = {
        name: getattr(settings, name)
        for name in (
            *("geometry", "output_stride", "width", "dropout"),
            *("learn_upsampling", "input_mean"),
        )
    }
    if not settings.init_from:
        weights = None if settings.weights == "none" else settings.weights
        return build(settings.variant, num_classes, weights=weights, **options)
    # One network, or one for each trunk.
    suffixes = ("color", "hha") if settings.variant == COLOR_HHA else ("",)
    paths = settings.init_from.split(",")
    if len(paths) != len(suffixes):
        raise UserError(
            f"`init_from` of {settings.variant} must be {len(suffixes)} runs or .keras files, with "
            f"commas between. Received: {settings.init_from!r}."
        )
    sources = [load_network(path).full for path in paths]
    means, stds = zip(*map(preprocessing_of, sources), strict=True)
    if len(set(stds)) > 1:
        raise UserError(
            "`init_from` must be networks that divide their images by one number. "
            f"Received: {' and '.join(map(str, stds))} in {settings.init_from}."
        )
    options["input_mean"] = settings.input_mean or sum(means, ())
    network = build(settings.variant, num_classes, weights=None, input_std=stds[0], **options)
    have = {
        layer.name + suffix: layer
        for source, suffix in zip(sources, suffixes, strict=True)
        for layer in source.layers
    }
    print(f"from {settings.init_from}: {_copy_matching(have, network)}")
    return network


def _copy_matching(have, network):
    """Copies the layers that agree in name and shapes, and says which do not."""
    new = []
    for layer in network.layers:
        if not layer.weights:
            continue
        same = have.get(layer.name)
        if same and [w.shape for w in same.weights] == [w.shape for w in layer.weights]:
            layer.set_weights(same.get_weights())
        else:
            new.append(layer.name)
    return f"every layer but {', '.join(new)}" if new else "all layers"


def _class_weights(kind, counts):
    if kind == "none":
        return None
    occurs = counts > 0
    weights = np.ones(len(counts))
    weights[occurs] = np.sqrt(np.median(counts[occurs]) / counts[occurs])
    return weights.tolist()


def _make_optimizer(settings, total_steps):
    rate = settings.learning_rate
    warmup = round(settings.warmup * total_steps)
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(1, total_steps - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if settings.optimizer == "sgd":
        return keras.optimizers.SGD(rate, settings.momentum)
    if settings.optimizer == "caffe_sgd":
        return CaffeSGD(
            rate,
            settings.momentum,
            settings.weight_decay,
            # The reference gives AlexNet's trunk Caffe's default factors, which are one.
            {r"score_fr[^/]*/bias$": (2.0, 0.0)} if settings.variant == ALEXNET else None,
            settings.accumulate,
        )
    if settings.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def _report(run, dataset, val_split, batch_size):
    """Scores `best.keras` as anyone would who opens it, and draws the figures."""
    network = load_network(run.path)
    confusion = evaluate(network.full, val_split, batch_size, heads=network.heads)
    scores = as_json(confusion, dataset.heads or network.classes)
    confusion = np.asarray(scores["confusion"])
    folder = run / "report"
    report.plot_curves(run.rows(), folder / "curves.png")
    report.plot_per_class_iu(
        scores["per_class_iu"], network.colors, scores["mean_iu"], folder / "per_class_iu.png"
    )
    report.plot_confusion(confusion, network.classes, folder / "confusion.png")
    report.plot_samples(
        list(_samples(network.model, val_split)),
        network.classes,
        network.colors,
        folder / "samples.png",
    )
    write_scores(scores, run / "metrics.json")
    print(f"scores of best.keras on {dataset.name}'s validation split:")
    print(score_table(scores))


def _samples(model, split):
    segment = make_segmenter(model)
    for index in np.unique(np.linspace(0, len(split) - 1, SAMPLES).astype(int)):
        image, label, name = split[int(index)]
        class_ids = segment(image[None])[0].numpy()
        counts, _ = confusion_matrix(label[:, :, 0], class_ids, model.output_shape[-1])
        mean_iu = scores_of(keras.ops.convert_to_numpy(counts))["mean_iu"]
        yield image[..., :3], label[:, :, 0], class_ids, name, mean_iu
