"""Training: from settings to a run directory with a network, its scores and pictures."""

import contextlib
import json
import math
import shutil
import zlib
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from fcn_keras import report
from fcn_keras.adam import Adam, AdamW
from fcn_keras.backup import Backup
from fcn_keras.callbacks import Plan, Recorder, Stop, TrainingBar
from fcn_keras.data import load_dataset
from fcn_keras.data.dataset import Remembered
from fcn_keras.data.pipeline import (
    Augmentation,
    images_of_batch,
    reading_errors,
    steps_per_epoch,
    training_batches,
)
from fcn_keras.devices import (
    all_have,
    is_alone,
    is_chief,
    make_strategy,
    on_cpus,
    reaching,
    sharded,
    wait_for_all,
)
from fcn_keras.errors import UserError
from fcn_keras.evaluation import (
    as_json,
    distributed_batches,
    evaluate,
    load_network,
    score_table,
    write_scores,
)
from fcn_keras.fcn import build
from fcn_keras.files import remove_leftovers, written_whole
from fcn_keras.metrics import confusion_matrix, scores_of
from fcn_keras.names import ALEXNET, COLOR_HHA
from fcn_keras.palette import overlay, palette_for
from fcn_keras.processor import computes_in
from fcn_keras.run import Run, network_file
from fcn_keras.segmentation import make_segmenter
from fcn_keras.settings import Settings
from fcn_keras.solver import CaffeSGD
from fcn_keras.task import SegmentationTask
from fcn_keras.tracing import keep_graph
from fcn_keras.weights import preprocessing_of

# Decoded images of a split are kept in memory up to this, so that small sets are decoded once.
CACHE_BYTES = 1 << 30

SAMPLES = 6  # pictures in report/samples.png
EXTREMES = 4  # pictures in report/best.png and report/worst.png
RANKED = 200  # images among which these are looked for
WATCHED = 3  # pictures among TensorBoard's


def train(
    settings: Settings,
    run_dir: str | Path | None = None,
    devices: str | None = None,
    fresh: bool = False,
    cluster: str | None = None,
    backup_steps: int | None = None,
) -> Path:
    """Trains a network, or goes on where an earlier call with the same settings stopped.

    Where the first image of a batch falls on which device changes nothing: the gradient is that
    of the whole batch, on any number of devices and machines. (Dropout alone draws for each
    device.) On several machines every one makes the same call, and the first one writes; all must
    see the run directory.

    Args:
        settings: what to train, see `fcn_keras.recipes.resolve`.
        run_dir: where everything is written; `runs/<dataset>-<variant>` if not given.
        devices, cluster: see `fcn_keras.devices.make_strategy`.
        fresh: whether to delete an existing run first instead of going on with it.
        backup_steps: steps from one backup to the next within an epoch. If not given, one is made
            every ten minutes; on several machines at the end of epochs alone.

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
        return _train(settings, run_dir, strategy, fresh, backup_steps)


def _train(settings, run_dir, strategy, fresh, backup_steps):
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    dataset = load_dataset(settings.dataset)
    for name in ("train", "val"):
        if name not in dataset.splits:
            raise UserError(f"{settings.dataset}: has no split {name!r}, which training needs.")
    if dataset.heads and settings.class_weights != "none":
        raise UserError("`class_weights` must be none for a data set with several label maps.")
    run = Run(run_dir or _default_dir(settings, dataset))
    if fresh:
        run.check_deletable()
    elif _finished(run, settings, dataset):
        return run.path

    counts, _ = (dataset.splits[name].scan() for name in ("train", "val"))
    splits = [Remembered(dataset.splits[name], CACHE_BYTES) for name in ("train", "val")]
    epochs, steps = _length(settings, splits[0])
    if backup_steps is None and not is_alone(strategy):
        backup_steps = 0
    plan = Plan(epochs, steps, settings.images_per_step, settings.validate_every, backup_steps)
    micro_batch = -(-settings.batch_size // strategy.num_replicas_in_sync)
    keras.utils.set_random_seed(settings.seed)
    with strategy.scope():
        task = _make_task(settings, dataset, counts, epochs * steps, micro_batch)
    chief = is_chief(strategy)
    wait_for_all(strategy)  # until all have looked at the run as it was
    with run.held() if chief else contextlib.nullcontext():
        if chief:
            # Another process may have ended it meanwhile.
            if not fresh and _finished(run, settings, dataset):
                return run.path
            if fresh:  # only now that nothing can be wrong any more
                run.delete()
            remove_leftovers(run.path)
            run.start(settings, dataset)
            _announce(run, settings, strategy)
        wait_for_all(strategy)  # to find the run as it is now
        _fit(run, settings, dataset, splits, task, plan, micro_batch)
        if chief:
            with written_whole(run / "last.keras") as aside:
                task.network.save(aside)
            _report(run, dataset, splits[1], settings.batch_size)
            shutil.rmtree(run / "backup", ignore_errors=True)
    wait_for_all(strategy)  # so that all are there to start again until it has ended
    return run.path


def _finished(run, settings, dataset):
    """Checks what is in the run's directory, and shows its scores if it has ended."""
    run.check(settings, dataset)
    if run.finished:
        print(f"{run.path} has finished already (--fresh starts it anew):")
        print(score_table(run.scores()))
    return run.finished


def _announce(run, settings, strategy):
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


def _fit(run, settings, dataset, splits, task, plan, micro_batch):
    train_split, val_split = splits
    strategy = task.distribute_strategy
    chief = is_chief(strategy)
    backup = Backup(run / "backup", task, chief)
    position = backup.restore()
    epoch, step = position.epoch, position.step
    what = json.dumps(settings.as_json(), sort_keys=True).encode()
    if not all_have(strategy, (epoch, step, backup.saves, zlib.crc32(what))):
        raise UserError(
            f"{run.path}: all machines must see the same run directory there, and be given the "
            "same settings. They are not, or do not."
        )
    if chief and (epoch or step):
        print(f"going on after epoch {epoch} of {plan.epochs}, step {step} of {plan.steps}")
    augmentation = Augmentation(
        settings.crop_size,
        settings.flip,
        (settings.scale_min, settings.scale_max),
        settings.color,
    )
    order = dict(seed=settings.seed, replacement=settings.replacement)

    def batches(epoch, step=0):
        def make(shards):
            return training_batches(
                train_split,
                augmentation,
                plan.images,
                first_step=epoch * plan.steps + step,
                shards=shards,
                **order,
            )

        return sharded(strategy, make, micro_batch)

    def names(step):
        return images_of_batch(train_split, plan.images, step=step, **order)

    def pictures():
        for index in _spread(len(val_split), WATCHED):
            image, _, class_ids, name, _ = _sample(segment, val_split, index, dataset.num_classes)
            yield f"validation/{name}", overlay(image, class_ids, palette)

    segment, palette = make_segmenter(task.first_head()), palette_for(dataset.colors)
    validation = distributed_batches(val_split, settings.batch_size, strategy)
    progress = TrainingBar(plan, position, shown=chief)
    # A machine that stops on its own would leave the others waiting.
    stopping = Stop() if is_alone(strategy) else contextlib.nullcontext()
    with contextlib.closing(progress.bar), stopping as stop:
        recorder = Recorder(
            run if chief else None,
            plan,
            backup,
            position,
            validation,
            progress,
            stop,
            names,
            pictures,
        )

        def fit(epoch, epochs, steps, step=0):
            task.fit(
                batches(epoch, step),
                steps_per_epoch=steps,
                epochs=epochs,
                initial_epoch=epoch,
                callbacks=[progress, recorder],
                shuffle=False,
                verbose=0,
            )

        if step == plan.steps:  # stopped while it was validating
            backup.restore_metrics()
            recorder.set_model(task)
            recorder.finish_epoch(task.get_metrics_result())
            epoch += 1
        elif step:
            fit(epoch, epoch + 1, plan.steps - step, step)
            epoch += 1
        fit(epoch, plan.epochs, plan.steps)
        if stop and stop.requested:  # too late for anything but what follows
            raise KeyboardInterrupt


def _default_dir(settings, dataset):
    return Path("runs") / f"{dataset.name.replace('/', '-')}-{settings.variant}"


def _length(settings, split):
    """How many epochs, and how many steps each."""
    steps = steps_per_epoch(split, settings.images_per_step)
    if not settings.steps:
        return settings.epochs, steps
    epochs = math.ceil(settings.steps / steps)
    return epochs, math.ceil(settings.steps / epochs)


def _make_task(settings, dataset, counts, total_steps, micro_batch):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.precision)
    try:
        network = make_network(settings, dataset.outputs)
        weights = _class_weights(settings.class_weights, counts[: dataset.num_classes])
        task = SegmentationTask(
            network,
            settings.normalization,
            weights,
            tuple(dataset.heads),
            settings.clip_norm,
            micro_batch,
            settings.remat,
        )
        # XLA compiles neither the counting of pixels nor replicas on several CPUs.
        task.compile(_make_optimizer(settings, total_steps), jit_compile=False)
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
        return Adam(rate)
    optimizer = AdamW(rate, weight_decay=settings.weight_decay)
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
    segment = make_segmenter(network.model)
    ranked = _ranked(segment, val_split, len(network.classes))
    shown = {
        "samples": _spread(len(val_split), SAMPLES),
        "best": ranked[:EXTREMES],
        "worst": ranked[::-1][:EXTREMES],
    }
    for name, indices in shown.items():
        samples = [_sample(segment, val_split, index, len(network.classes)) for index in indices]
        report.plot_samples(samples, network.classes, network.colors, folder / f"{name}.png")
    write_scores(scores, run / "metrics.json")
    print(f"scores of best.keras on {dataset.name}'s validation split:")
    print(score_table(scores), flush=True)
    keep_graph(network.full, network_file(run.path))  # `predict` will start with it


def _spread(length, count):
    """Numbers of images all over a split."""
    return np.unique(np.linspace(0, length - 1, count).astype(int)).tolist()


def _ranked(segment, split, num_classes):
    """Numbers of images from the best predicted to the worst, of a large split some."""
    scores = {
        index: _sample(segment, split, index, num_classes)[-1]
        for index in _spread(len(split), RANKED)
    }
    known = [index for index, score in scores.items() if math.isfinite(score)]
    return sorted(known, key=scores.get, reverse=True)


def _sample(segment, split, index, num_classes):
    """An image with its label map, the predicted one, its name and its mean IU."""
    image, label, name = split[index]
    class_ids = segment(image[None])[0].numpy()
    counts, _ = confusion_matrix(label[:, :, 0], class_ids, num_classes)
    mean_iu = scores_of(keras.ops.convert_to_numpy(counts))["mean_iu"]
    return image[..., :3], label[:, :, 0], class_ids, name, mean_iu
