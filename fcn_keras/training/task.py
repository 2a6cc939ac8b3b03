"""A network with its loss and scores, as Keras' `fit` and `evaluate` drive it on TensorFlow."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from fcn_keras.cpu.last_gradients import LastGradients
from fcn_keras.cpu.products import on_this_machine
from fcn_keras.evaluation.evaluate import SegmentationScoring
from fcn_keras.training.adam import Adam
from fcn_keras.training.averages import WeightAverages
from fcn_keras.training.batch_norm import learns_statistics, with_whole_statistics
from fcn_keras.training.freezing import freeze
from fcn_keras.training.losses.cross_entropy import PixelCrossEntropy
from fcn_keras.training.losses.pixel_loss import PixelLoss
from fcn_keras.training.losses.sums import SumOfLosses, terms_of
from fcn_keras.training.recomputation import Recomputed


@keras.saving.register_keras_serializable(package="fcn_keras")
class MeanLoss(keras.metrics.Metric):
    """The loss of an epoch: all its pixels' losses over all that they are divided by.

    Unlike a mean of batch means it does not depend on how images fall into batches and
    replicas. Several parts, of heads and of losses, have each their own, and these are added.
    """

    def __init__(self, parts: int = 1, name: str = "loss"):
        super().__init__(name=name)
        # float64: the sum over an epoch's pixels would lose digits in float32.
        self.total = self.add_variable((parts,), "zeros", dtype="float64", name="total")
        self.count = self.add_variable((parts,), "zeros", dtype="float64", name="count")

    def update_state(self, total: Any, count: Any) -> None:
        self.total.assign_add(tf.cast(total, "float64"))
        self.count.assign_add(tf.cast(count, "float64"))

    def result(self) -> tf.Tensor:
        means = tf.math.divide_no_nan(self.total.value, self.count.value)
        return tf.cast(tf.reduce_sum(means), "float32")


class SegmentationTask(SegmentationScoring):
    """Trains and scores a network under any `tf.distribute` strategy, on one machine or several.

    The loss is divided by what the *global* batch holds (its pixels that are not void, say), so
    gradients do not depend on how images fall on replicas; nor do the statistics of batch
    normalisation. Batches must be full; images that are all void fill them up and count for
    nothing, but where there are such statistics, which they would be a part of.

    Args:
        network: maps images `(N, H, W, 3)` to logits `(N, H, W, num_classes)`, or to a
            dictionary of them.
        loss: a loss of `fcn_keras.training.losses`; void is 255.
        heads: names of the network's outputs if there are several, in the order of the label
            maps in the channels of a label. Their losses are added; the scores that are logged
            are the first one's.
        clip_norm: length to which the gradient of each variable is cut where it is longer; 0
            for none.
        micro_batch: how many images of a replica go through the network together; a larger
            batch is cut into parts of this size, whose gradients are added up for one step.
            None for the whole batch at once, which statistics must be those of.
        remat: whether to compute the activations of the first blocks twice instead of keeping
            them for the gradient; not where statistics are learned.
        ema: momentum of the moving average of the weights; 0 for none.

    Attributes:
        learns_statistics: whether the network learns statistics of its batches, now or when it is
            thawed, see `fcn_keras.training.batch_norm`.
        frozen: the layers that do not learn until `thaw`.
    """

    def __init__(
        self,
        network: keras.Model,
        loss: PixelLoss | SumOfLosses | None = None,
        heads: Sequence[str] = (),
        clip_norm: float = 0.0,
        micro_batch: int | None = None,
        remat: bool = False,
        ema: float = 0.0,
    ):
        super().__init__(network, heads)
        self.terms = terms_of(loss or PixelCrossEntropy())
        self.clip_norm = clip_norm
        self.micro_batch = micro_batch
        self.learns_statistics = learns_statistics(network)
        self.averages = WeightAverages(network, ema) if ema else None
        self.frozen: list[keras.Layer] = []
        self.recomputed = Recomputed(on_this_machine(network, frozen=True)) if remat else None
        self.forward_to_train = (
            on_this_machine(with_whole_statistics(network), frozen=True).__call__
            if self.learns_statistics
            else self.forward
        )
        self.loss_metric = MeanLoss(len(self.score_metrics) * len(self.terms))
        self.norm_metric = keras.metrics.Mean(name="gradient_norm")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.loss_metric, *self.score_metrics, self.norm_metric]

    def get_metrics_result(self) -> dict:
        found = {"loss": self.loss_metric.result(), **super().get_metrics_result()}
        return found | {"gradient_norm": self.norm_metric.result()}

    def compile(self, optimizer: Any = None, **options: Any) -> None:
        """Compiles as `keras.Model.compile` does; within the strategy's scope."""
        super().compile(optimizer, **options)
        if self.optimizer is not None:
            self.optimizer.build(self.network.trainable_variables)

    def freeze(self, which: str) -> None:
        """Freezes layers until `thaw`; see `fcn_keras.training.freezing.freeze`.

        To be called when the task is compiled: averages and moments are of all that will learn.
        """
        self.frozen = freeze(self.network, which)

    def thaw(self, step: int) -> None:
        """Lets the layers that `freeze` froze learn, after so many steps of the others."""
        for layer in self.frozen:
            layer.trainable = True
        variables = [variable for layer in self.frozen for variable in layer.trainable_variables]
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if isinstance(optimizer, Adam):
            optimizer.begin(variables, step)
        self.frozen = []
        self.make_train_function(force=True)

    def averaged(self) -> AbstractContextManager:
        """Returns a context in which the network has the moving average of its weights, if any."""
        return self.averages.in_place() if self.averages else nullcontext()

    def call(self, images: tf.Tensor, training: bool | None = None):
        if training and self.recomputed:
            return self.recomputed(images, training=training)
        if training:
            return self.forward_to_train(images, training=training)
        return super().call(images, training)

    def _counts(self, labels):
        """What each part of the loss is divided by, as far as these images go."""
        counts = []
        for number in range(len(self.score_metrics)):
            for _, loss in self.terms:
                counts.append(loss.count(labels[..., number]))
        return tf.stack(counts)

    def _whole(self, counts, replica):
        """What each part of the loss is divided by; nothing where pixels are only added up."""
        if not any(loss.is_divided for _, loss in self.terms):
            return tf.ones_like(counts)
        whole = tf.maximum(replica.all_reduce("sum", counts), 1.0)
        divided = [loss.is_divided for _, loss in self.terms] * len(self.score_metrics)
        return tf.where(divided, whole, 1.0)

    def _totals(self, outputs, labels):
        """Adds up the losses of all pixels, part by part, and counts them for the scores."""
        self.count_pixels(outputs, labels)
        add_up = partial(tf.distribute.get_replica_context().all_reduce, "sum")
        totals = []
        for logits, label in self.by_head(outputs, labels):
            for factor, loss in self.terms:
                totals.append(factor * loss.total(label, logits, add_up))
        return tf.stack(totals)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> None:
        images, labels = data
        replica = tf.distribute.get_replica_context()
        counts = self._counts(labels)
        totals, gradients = self._gradients(images, labels, self._whole(counts, replica))
        self.loss_metric.update_state(totals, counts)
        self.optimizer.apply(
            self._measured_and_cut(gradients, replica), self.network.trainable_variables
        )
        if self.averages:
            self.averages.update(self.optimizer.iterations)

    def _gradients(self, images, labels, whole):
        """Returns the parts of the loss and the gradients of their sum, divided by `whole`."""
        variables = self.network.trainable_variables

        def of(images, labels):
            with LastGradients() as last:
                with tf.GradientTape() as tape:
                    totals = self._totals(self(images, training=True), labels)
                    loss = self.optimizer.scale_loss(tf.reduce_sum(totals / whole))
                gradients = tape.gradient(loss, variables)
            return totals, last.add_to(gradients, variables)

        size = self.micro_batch or images.shape[0]
        if size == images.shape[0]:
            return of(images, labels)

        def add(start, totals, gradients):
            part = [
                tf.ensure_shape(array[start : start + size], (size, *array.shape[1:]))
                for array in (images, labels)
            ]
            more, steps = of(*part)
            added = [gradient + step for gradient, step in zip(gradients, steps, strict=True)]
            return start + size, totals + more, added

        # What TensorFlow knows to be zero it makes constants of, which stay, and cannot be added to
        # in place: two more copies of all weights. This it does not look behind.
        zero = tf.raw_ops.PlaceholderWithDefault(input=0.0, shape=())
        zeros = [tf.fill(v.shape, tf.cast(zero, v.dtype)) for v in variables]
        # One part after the other: unrolled, TensorFlow would keep the activations of several.
        _, totals, gradients = tf.while_loop(
            lambda start, *_: start < images.shape[0],
            add,
            (0, tf.zeros_like(whole), zeros),
            parallel_iterations=1,
        )
        return totals, gradients

    def _measured_and_cut(self, gradients, replica):
        """Measures the length of the whole gradient, and cuts it, where it has to be.

        Keras' optimizers would cut the gradients of each replica, and look for infinite ones,
        which show that a loss was scaled too far, on the first alone. These are added up here; as
        an optimizer adds up what the replicas give it, each gives its share of the result. Others
        are left to the optimizer, and not measured: to add them up twice would take time.
        """
        replicas = replica.num_replicas_in_sync
        scaled = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        if replicas > 1:
            if not (self.clip_norm or scaled):
                return gradients
            gradients = replica.all_reduce("sum", gradients)
        norm = tf.linalg.global_norm(gradients) / self.optimizer.scale_loss(tf.constant(1.0))
        finite = tf.math.is_finite(norm)  # of a loss scaled too far it is not; such steps are none
        self.norm_metric.update_state(
            tf.where(finite, norm, 0.0), tf.cast(finite, "float32") / replicas
        )
        if self.clip_norm:
            longest = self.optimizer.scale_loss(tf.constant(self.clip_norm))
            gradients = [tf.clip_by_norm(gradient, longest) for gradient in gradients]
        return [g * (1 / replicas) for g in gradients] if replicas > 1 else gradients

    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> None:
        images, labels = data
        totals = self._totals(self(images, training=False), labels)
        self.loss_metric.update_state(totals, self._counts(labels))

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is None or force:
            self.train_function: Any = self.on_replicas(self.train_step)
