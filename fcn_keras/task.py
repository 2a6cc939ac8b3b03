"""A network with its loss and scores, as Keras' `fit` and `evaluate` drive it on TensorFlow."""

import keras
import tensorflow as tf

from fcn_keras.losses import normalizer, pixel_cross_entropy
from fcn_keras.metrics import SegmentationScores


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
    """Trains and scores a network under any `tf.distribute` strategy.

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
    """

    def __init__(
        self,
        network,
        normalization="valid_pixels",
        class_weights=None,
        heads=(),
        clip_norm=0.0,
    ):
        super().__init__(name="segmentation")
        self.network = network
        self.normalization = normalization
        self.class_weights = class_weights
        self.heads = tuple(heads)
        self.clip_norm = clip_norm
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

    def get_metrics_result(self):
        return {"loss": self.loss_metric.result(), **self.score_metric.result()}

    def call(self, images, training=None):
        return self.network(images, training=training)

    def _loss_and_scores(self, images, labels, training):
        outputs = self(images, training=training)
        outputs = [outputs[name] for name in self.heads] if self.heads else [outputs]
        totals, counts = [], []
        for number, (logits, metric) in enumerate(zip(outputs, self.score_metrics, strict=True)):
            label = labels[..., number]
            losses, valid = pixel_cross_entropy(label, logits, class_weights=self.class_weights)
            # Images of nothing but void only fill a batch up: "sum" is reported per real image.
            per_image = self.normalization in ("sum", "image")
            count = normalizer(valid, "image" if per_image else self.normalization)
            counts.append(tf.where(tf.reduce_any(valid), count, 0.0))
            totals.append(tf.reduce_sum(losses))
            metric.update_state(label, logits)
        totals, counts = tf.stack(totals), tf.stack(counts)
        self.loss_metric.update_state(totals, counts)
        return totals, counts

    def train_step(self, data):
        images, labels = data
        replica = tf.distribute.get_replica_context()
        with tf.GradientTape() as tape:
            totals, counts = self._loss_and_scores(images, labels, training=True)
            if self.normalization != "sum":
                totals /= tf.maximum(replica.all_reduce("sum", counts), 1.0)
            loss = self.optimizer.scale_loss(tf.reduce_sum(totals))
        variables = self.network.trainable_variables
        gradients = tape.gradient(loss, variables)
        if self.clip_norm:
            gradients = self._clipped(gradients, replica)
        self.optimizer.apply(gradients, variables)
        return self.get_metrics_result()

    def _clipped(self, gradients, replica):
        """Cuts the gradients of the global batch, which Keras' optimizers would cut by replicas.

        The optimizer adds up what the replicas give it, so each gives its share of the result.
        """
        longest = self.optimizer.scale_loss(tf.constant(self.clip_norm))
        whole = replica.all_reduce("sum", gradients)
        share = 1 / replica.num_replicas_in_sync
        return [tf.clip_by_norm(gradient, longest) * share for gradient in whole]

    def test_step(self, data):
        images, labels = data
        self._loss_and_scores(images, labels, training=False)
        return self.get_metrics_result()
