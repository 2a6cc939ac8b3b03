"""A network with its loss and scores, as Keras' `fit` and `evaluate` drive it on TensorFlow."""

import time

import keras
import tensorflow as tf

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.losses import normalizer, pixel_cross_entropy
from fcn_keras.metrics import SegmentationScores
from fcn_keras.products import LastGradients, on_this_machine
from fcn_keras.recomputation import Recomputed


@keras.saving.register_keras_serializable(package="fcn_keras")
class MeanLoss(keras.metrics.Metric):
    """The loss of an epoch: all its pixels' losses over all that they are divided by.

    Unlike a mean of batch means it does not depend on how images fall into batches and
    replicas. Several heads have each their own, and these are added.
    """

    def __init__(self, heads=1, name="loss"):
        super().__init__(name=name)
        # float64: the sum over an epoch's pixels would lose digits in float32.
        self.total = self.add_variable((heads,), "zeros", dtype="float64", name="total")
        self.count = self.add_variable((heads,), "zeros", dtype="float64", name="count")

    def update_state(self, total, count):
        self.total.assign_add(tf.cast(total, "float64"))
        self.count.assign_add(tf.cast(count, "float64"))

    def result(self):
        means = tf.math.divide_no_nan(self.total.value, self.count.value)
        return tf.cast(tf.reduce_sum(means), "float32")


class SegmentationTask(keras.Model):
    """Trains and scores a network under any `tf.distribute` strategy, on one machine or several.

    The loss is divided by what the *global* batch holds (its pixels that are not void, say), so
    gradients do not depend on how images fall on replicas. Batches must be full; images that
    are all void fill them up and count for nothing.

    Args:
        network: maps images `(N, H, W, 3)` to logits `(N, H, W, num_classes)`, or to a
            dictionary of them.
        normalization: see `fcn_keras.losses.PixelCrossEntropy`.
        class_weights: see there.
        heads: names of the network's outputs if there are several, in the order of the label
            maps in the channels of a label. Their losses are added; the scores that are logged
            are the first one's.
        clip_norm: length to which the gradient of each variable is cut where it is longer; 0
            for none.
        micro_batch: how many images of a replica go through the network together; a larger
            batch is cut into parts of this size, whose gradients are added up for one step.
            None for the whole batch at once.
        remat: whether to compute the activations of the first blocks twice instead of keeping
            them for the gradient.

    Attributes:
        waited: seconds spent waiting for batches, over all steps so far.
    """

    def __init__(
        self,
        network,
        normalization="valid_pixels",
        class_weights=None,
        heads=(),
        clip_norm=0.0,
        micro_batch=None,
        remat=False,
    ):
        super().__init__(name="segmentation")
        self.network = network
        self.normalization = normalization
        self.class_weights = class_weights
        self.heads = tuple(heads)
        self.clip_norm = clip_norm
        self.micro_batch = micro_batch
        # Keras would list the weights of a model twice, but does not look into a method.
        faster = on_this_machine(network)
        self.forward = faster.__call__
        self.recomputed = Recomputed(faster) if remat else None
        self.waited = 0.0
        self.loss_metric = MeanLoss(max(1, len(heads)))
        classes = {head: network.get_layer(f"score_{head}").output.shape[-1] for head in heads}
        self.score_metrics = [
            SegmentationScores(number, name=f"scores_{head}" if head else "scores")
            for head, number in (classes or {"": network.output_shape[-1]}).items()
        ]

    @property
    def metrics(self):
        return [self.loss_metric, *self.score_metrics]

    @property
    def score_metric(self):
        """The scores of the first head, or of the only one."""
        return self.score_metrics[0]

    def first_head(self) -> keras.Model:
        """Returns the network with the first of its outputs, or its only one."""
        if not self.heads:
            return self.network
        score = self.network.get_layer(f"score_{self.heads[0]}").output
        return keras.Model(self.network.input, score, name=self.network.name)

    def get_metrics_result(self):
        return {"loss": self.loss_metric.result(), **self.score_metric.result()}

    def compile(self, optimizer=None, **options):
        """Compiles as `keras.Model.compile` does; within the strategy's scope."""
        super().compile(optimizer, **options)
        if self.optimizer is not None:
            self.optimizer.build(self.network.trainable_variables)

    def call(self, images, training=None):
        forward = self.recomputed if training and self.recomputed else self.forward
        return forward(images, training=training)

    def _counts(self, labels):
        """What the loss of each head is divided by, as far as these images go."""
        # Images of nothing but void only fill a batch up: "sum" is reported per real image.
        per_image = self.normalization in ("sum", "image")
        counts = []
        for number in range(len(self.score_metrics)):
            valid = tf.not_equal(labels[..., number], IGNORE_LABEL)
            count = normalizer(valid, "image" if per_image else self.normalization)
            counts.append(tf.where(tf.reduce_any(valid), count, 0.0))
        return tf.stack(counts)

    def _totals(self, outputs, labels):
        """Adds up the losses of all pixels, head by head, and counts them for the scores."""
        outputs = [outputs[name] for name in self.heads] if self.heads else [outputs]
        totals = []
        for number, (logits, metric) in enumerate(zip(outputs, self.score_metrics, strict=True)):
            label = labels[..., number]
            losses, _ = pixel_cross_entropy(label, logits, class_weights=self.class_weights)
            totals.append(tf.reduce_sum(losses))
            metric.update_state(label, logits)
        return tf.stack(totals)

    def train_step(self, data):
        images, labels = data
        replica = tf.distribute.get_replica_context()
        counts = self._counts(labels)
        whole = tf.ones_like(counts)
        if self.normalization != "sum":
            whole = tf.maximum(replica.all_reduce("sum", counts), 1.0)
        totals, gradients = self._gradients(images, labels, whole)
        self.loss_metric.update_state(totals, counts)
        scaled = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        if self.clip_norm or (scaled and replica.num_replicas_in_sync > 1):
            gradients = self._summed(gradients, replica)
        self.optimizer.apply(gradients, self.network.trainable_variables)

    def _gradients(self, images, labels, whole):
        """Returns the losses of the heads and the gradients of their sum, divided by `whole`."""
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

    def _summed(self, gradients, replica):
        """Adds up the gradients of all replicas, and cuts them.

        Keras' optimizers would cut those of each replica, and look for infinite ones, which show
        that a loss was scaled too far, on the first alone. As an optimizer adds up what the
        replicas give it, each gives its share of the result.
        """
        whole = replica.all_reduce("sum", gradients)
        if self.clip_norm:
            longest = self.optimizer.scale_loss(tf.constant(self.clip_norm))
            whole = [tf.clip_by_norm(gradient, longest) for gradient in whole]
        return [gradient * (1 / replica.num_replicas_in_sync) for gradient in whole]

    def test_step(self, data):
        images, labels = data
        totals = self._totals(self(images, training=False), labels)
        self.loss_metric.update_state(totals, self._counts(labels))

    # Keras' own functions return means of what the replicas measured, and fail on several
    # machines. These return what the metrics hold of all replicas together.

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            self.train_function = self._on_replicas(self.train_step)

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            self.test_function = self._on_replicas(self.test_step)

    def _on_replicas(self, step):
        @tf.autograph.experimental.do_not_convert
        def run(batch):
            self.distribute_strategy.run(step, args=(batch,))
            return self.get_metrics_result()

        compiled = tf.function(run, reduce_retracing=True)

        def function(iterator):
            started = time.perf_counter()
            batch = next(iterator)
            self.waited += time.perf_counter() - started
            return compiled(batch)

        return function

    def _maybe_symbolic_build(self, *args, **kwargs):
        """Nothing is left to build; Keras would read a batch for it, and fails on uneven ones."""
