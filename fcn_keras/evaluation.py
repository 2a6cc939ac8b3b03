"""Scores of a network on a data set."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fcn_keras.data.dataset import Split
from fcn_keras.data.pipeline import evaluation_batches, evaluation_steps, reading_errors
from fcn_keras.devices import sharded
from fcn_keras.errors import UserError
from fcn_keras.files import written_whole
from fcn_keras.metrics import scores_of
from fcn_keras.names import SCORES
from fcn_keras.progress import progress_bar
from fcn_keras.run import classes_of, config_of, network_file
from fcn_keras.task import SegmentationTask
from fcn_keras.weights import open_model


class Network(NamedTuple):
    """A trained network and what its classes are called.

    Attributes:
        model: `(N, H, W, 3)` RGB images to logits `(N, H, W, C)`.
        classes: C names.
        colors: C RGB triples.
        config: the `config.json` of its run; empty for a file on its own.
        heads: names of the network's outputs if there are several; `model` has the first alone,
            `full` has all.
        full: the network with all of its outputs.
    """

    model: keras.Model
    classes: list[str]
    colors: list[tuple[int, int, int]]
    config: dict
    heads: tuple[str, ...]
    full: keras.Model


def load_network(path: str | Path) -> Network:
    """Opens a run's best network, or a `.keras` file.

    Args:
        path: a run directory or a `.keras` file. Class names and colours come from the run; a
            file that does not lie in one gets numbers and the colours of PASCAL VOC.

    Raises:
        UserError: if there is no network; says what to do.
    """
    file = network_file(path)
    model = open_model(file)
    outputs = getattr(model, "outputs", ())
    names = getattr(model, "output_names", ())
    several = isinstance(getattr(model, "output", None), list | tuple | dict)
    if (
        not outputs
        or any(len(output.shape) != 4 for output in outputs)
        or (several and not all(name.startswith("score_") for name in names))
    ):
        raise UserError(f"{file}: holds no segmentation network ({model.name}).")
    config = config_of(path)
    about = config.get("dataset", {})
    full, heads = model, ()
    if several:
        heads = tuple(name.removeprefix("score_") for name in names)
        # In the order of the run's label maps, which a file on its own does not tell.
        known = tuple(about.get("heads", ()))
        heads = known if {*known} == {*heads} else heads
        model = keras.Model(full.input, full.get_layer(f"score_{heads[0]}").output, name=full.name)
    classes, colors = classes_of(config, model.output_shape[-1])
    return Network(model, classes, colors, config, heads, full)


def evaluate(
    model: keras.Model,
    split: Split,
    batch_size: int = 1,
    progress: bool = True,
    strategy: tf.distribute.Strategy | None = None,
    heads: Sequence[str] = (),
) -> np.ndarray | dict[str, np.ndarray]:
    """Counts what a network takes each pixel of a split for, images at their own size.

    Args:
        model: images `(N, H, W, 3)` to logits `(N, H, W, C)`; made within the strategy's scope.
        split: the examples to score on.
        batch_size: images in a batch, over all replicas.
        progress: whether to show a progress bar.
        strategy: how to spread the batches over devices.
        heads: names of the network's outputs if there are several, in the order of the split's
            label maps.

    Returns:
        The confusion matrix, int64 `(C, C)`, rows = truth; see `fcn_keras.metrics.scores_of`.
        With several heads a dictionary of them.
    """
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        task = SegmentationTask(model, heads=heads)
        task.compile(jit_compile=False)
    batches, steps = distributed_batches(split, batch_size, strategy)
    bar = _Bar(len(split), steps, progress)
    with reading_errors():
        task.evaluate(batches, steps=steps, verbose=0, callbacks=[bar])
    matrices = [metric.confusion.numpy() for metric in task.score_metrics]
    return dict(zip(heads, matrices, strict=True)) if heads else matrices[0]


def distributed_batches(split: Split, batch_size: int, strategy: tf.distribute.Strategy):
    """Gives every replica its part of the batches of `evaluation_batches`.

    Returns:
        A pair: the distributed data set, and how many batches it has.
    """
    batches = sharded(strategy, lambda shards: evaluation_batches(split, batch_size, shards))
    return batches, evaluation_steps(split, batch_size, strategy.num_replicas_in_sync)


class _Bar(keras.callbacks.Callback):
    """Shows how many images have been scored, and the time left."""

    def __init__(self, images, steps, shown):
        super().__init__()
        self.share = images / steps
        self.bar = progress_bar("evaluating", images, disable=not shown)

    def on_test_batch_end(self, batch, logs=None):
        self.bar.update(round((batch + 1) * self.share) - self.bar.n)

    def on_test_end(self, logs=None):
        self.bar.close()


def as_json(confusion, classes) -> dict:
    """Returns scores as they stand in `metrics.json`: fractions of 1, null where undefined.

    Args:
        confusion: what `evaluate` returns.
        classes: names of the classes; with several heads a dictionary of them. The scores of
            the first head come first, as those of a network that has no other would; those of
            all are under `heads`.
    """
    if isinstance(confusion, dict):
        heads = {name: as_json(confusion[name], classes[name]) for name in classes}
        return {**next(iter(heads.values())), "heads": heads}
    scores = scores_of(confusion)

    def number(value):
        return float(value) if math.isfinite(value) else None

    return {
        **{name: number(scores[name]) for name in SCORES},
        "per_class_iu": dict(zip(classes, map(number, scores["per_class_iu"]), strict=True)),
        "confusion": confusion.tolist(),
    }


def write_scores(scores: dict, path: str | Path):
    """Writes `metrics.json`."""
    with written_whole(path) as aside:
        aside.write_text(json.dumps(scores, indent=1) + "\n")


def score_table(scores: dict) -> str:
    """Returns the scores as lines for a reader."""
    width = max(len(name) for name in (*SCORES, *scores["per_class_iu"]))

    def line(name, value):
        return f"  {name:{width}}  " + ("   absent" if value is None else f"{value:9.5f}")

    lines = [line(name, scores[name]) for name in SCORES]
    lines += ["  IU of each class:"]
    lines += [line(name, value) for name, value in scores["per_class_iu"].items()]
    return "\n".join(lines)
