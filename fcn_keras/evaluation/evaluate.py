"""Scores of a network on a data set."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fcn_keras.cpu.class_ids import MOST_CLASSES, class_ids, parts_of
from fcn_keras.cpu.counting import count_pairs
from fcn_keras.cpu.products import on_this_machine
from fcn_keras.data.batches import distributed_batches, reading_errors
from fcn_keras.data.dataset import IGNORE_LABEL, Split
from fcn_keras.errors import UserError
from fcn_keras.evaluation.metrics import SegmentationScores
from fcn_keras.system.progress import progress_bar


def evaluate(
    model: keras.Model,
    split: Split,
    batch_size: int = 1,
    progress: bool = True,
    strategy: tf.distribute.Strategy | None = None,
    heads: Sequence[str] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
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
        callbacks: what Keras is to call besides, batch by batch.

    Returns:
        The confusion matrix, int64 `(C, C)`, rows = truth; see
        `fcn_keras.evaluation.scores.scores_of`. With several heads a dictionary of them.

    Raises:
        UserError: if an image cannot be read, or a label is neither a class nor void, 255.

    Example:

    >>> from fcn_keras.evaluation.scores import scores_of
    >>> model = load_network("runs/shapes-fcn8s").model
    >>> matrix = evaluate(model, load_dataset("shapes").splits["val"])
    >>> scores_of(matrix)["mean_iu"]  # of 1
    """
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        scoring = SegmentationScoring(model, heads, fixed=True)
        scoring.compile(jit_compile=False)
    batches, steps = distributed_batches(split, batch_size, strategy)
    bar = progress_bar("evaluating", len(split), disable=not progress)
    images = len(split) / steps  # in a batch
    show = keras.callbacks.LambdaCallback(
        on_test_batch_end=lambda batch, logs=None: bar.update(round((batch + 1) * images) - bar.n),
        on_test_end=lambda logs=None: bar.close(),
    )
    with reading_errors():
        scoring.evaluate(batches, steps=steps, verbose=0, callbacks=[show, *callbacks])
    for metric in scoring.score_metrics:
        if unknown := int(metric.unknown_labels.numpy()):
            raise UserError(
                f"Labels must be 0..{metric.num_classes - 1}, or {IGNORE_LABEL} for void. "
                f"Received: {unknown} pixels with another label."
            )
    matrices = [metric.confusion.numpy() for metric in scoring.score_metrics]
    return dict(zip(heads, matrices, strict=True)) if heads else matrices[0]


class SegmentationScoring(keras.Model):
    """Scores a network under any `tf.distribute` strategy, on one machine or several.

    Args:
        network: maps images `(N, H, W, 3)` to logits `(N, H, W, num_classes)`, or to a
            dictionary of them.
        heads: names of the network's outputs if there are several, in the order of the label
            maps in the channels of a label. The scores that are logged are the first one's.
        fixed: whether its weights will stay as they are, see
            `fcn_keras.cpu.products.with_products`. Then classes are found as `predict` finds them,
            and where there is one head the scores of all pixels are never in memory at once.

    Attributes:
        score_metrics: the scores of each head, or of the only one.
        score_metric: those of the first head.
        waited: seconds spent waiting for batches, over all steps so far.
    """

    def __init__(self, network: keras.Model, heads: Sequence[str] = (), fixed: bool = False):
        super().__init__(name="segmentation")
        self.network = network
        self.heads = tuple(heads)
        # Keras would list the weights of a model twice, but does not look into a method.
        computed = on_this_machine(network, fixed=fixed, frozen=True)
        self.forward = computed.__call__
        self.waited = 0.0
        classes = {head: network.get_layer(f"score_{head}").output.shape[-1] for head in heads}
        self.score_metrics = [
            SegmentationScores(number, name=f"scores_{head}" if head else "scores")
            for head, number in (classes or {"": network.output_shape[-1]}).items()
        ]
        self.score_metric = self.score_metrics[0]
        one = fixed and not heads and self._as_on_cpus(self.score_metric)
        self.label = _labelling(computed) if one else None

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return self.score_metrics

    def get_metrics_result(self) -> dict:
        return self.score_metric.result()

    def call(self, images: tf.Tensor, training: bool | None = None) -> Any:
        return self.forward(images, training=training)

    def by_head(self, outputs: Any, labels: tf.Tensor) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Yields the logits and the label map of each head."""
        outputs = [outputs[name] for name in self.heads] if self.heads else [outputs]
        for number, logits in enumerate(outputs):
            yield logits, labels[..., number]

    def count_pixels(self, outputs: Any, labels: tf.Tensor) -> None:
        """Counts the pixels of a batch for the scores."""
        heads = self.by_head(outputs, labels)
        for metric, (logits, label) in zip(self.score_metrics, heads, strict=True):
            if self._as_on_cpus(metric):
                _count(metric, label, class_ids(logits))
            else:
                metric.update_state(label, logits)

    def _as_on_cpus(self, metric):
        on_gpu = bool(tf.config.list_logical_devices("GPU"))
        return not on_gpu and metric.num_classes <= MOST_CLASSES

    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> None:
        images, labels = data
        if self.label:
            _count(self.score_metric, labels[..., 0], self.label(images))
        else:
            self.count_pixels(self(images, training=False), labels)

    # Keras' own functions return means of what the replicas measured, and fail on several
    # machines. These return what the metrics hold of all replicas together.

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            self.test_function: Any = self.on_replicas(self.test_step)

    def on_replicas(self, step: Callable) -> Callable[[Iterator], dict]:
        """Returns a function that takes a step on all replicas with the next batch."""

        @tf.function(reduce_retracing=True)
        @tf.autograph.experimental.do_not_convert
        def run(batch):
            self.distribute_strategy.run(step, args=(batch,))
            return self.get_metrics_result()

        def run_next(batches):
            started = time.perf_counter()
            batch = next(batches)
            self.waited += time.perf_counter() - started
            return run(batch)

        return run_next

    def _maybe_symbolic_build(self, *args, **kwargs):
        """Nothing is left to build; Keras would read a batch for it, and fails on uneven ones."""


def _labelling(network):
    """Returns a function from images to class ids, without any layers that Keras would look at."""
    parts = parts_of(network)
    return lambda images: parts.label(*parts.before(images))


def _count(metric, labels, class_ids):
    metric.add(*count_pairs(labels, class_ids, metric.num_classes, metric.ignore_label))
