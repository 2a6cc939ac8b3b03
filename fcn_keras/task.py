"""A network with its loss and scores, as Keras' `fit` and `evaluate` drive it on TensorFlow."""

import keras
import tensorflow as tf

from fcn_keras.losses import normalizer, pixel_cross_entropy
from fcn_keras.metrics import SegmentationScores


@keras.saving.register_keras_serializable(package="fcn_keras")
class MeanLoss(keras.metrics.Metric):
    """The loss of an epoch: all its pixels' losses over all that they are divided by.

    Unlike a mean of batch means it does not depend on how images fall into batches and
    replicas.
    """

    def __init__(self, name="loss"):
        super().__init__(name=name)
        # float64: the sum over an epoch's pixels would lose digits in float32.
        self.total = self.add_variable((), "zeros", dtype="float64", name="total")
        self.count = self.add_variable((), "zeros", dtype="float64", name="count")

    def update_state(self, total, count):
        self.total.assign_add(tf.cast(total, "float64"))
        self.count.assign_add(tf.cast(count, "float64"))

    def result(self):
        return tf.cast(tf.math.divide_no_nan(self.total, self.count), "float32")


class SegmentationTask(keras.Model):
    """Trains and scores a network under any `tf.distribute` strategy.

    The loss is divided by what the *global* batch holds (its pixels that are not void, say), so
    gradients do not depend on how images fall on replicas. Batches must be full; images that
    are all void fill them up and count for nothing.

    Args:
        network: maps images `(N, H, W, 3)` to logits `(N, H, W, num_classes)`.
        normalization: see `fcn_keras.losses.PixelCrossEntropy`.
        class_weights: see there.
    """

    def __init__(self, network, normalization="valid_pixels", class_weights=None):
        super().__init__(name="segmentation")
        self.network = network
        self.normalization = normalization
        self.class_weights = class_weights
        self.loss_metric = MeanLoss()
        self.score_metric = SegmentationScores(network.output_shape[-1], name="scores")

    @property
    def metrics(self):
        return [self.loss_metric, self.score_metric]

    def call(self, images, training=None):
        return self.network(images, training=training)

    def _loss_and_scores(self, images, labels, training):
        logits = self(images, training=training)
        losses, valid = pixel_cross_entropy(labels, logits, class_weights=self.class_weights)
        total = tf.reduce_sum(losses)
        # Images of nothing but void only fill a batch up: "sum" is reported per real image.
        per_image = self.normalization in ("sum", "image")
        count = normalizer(valid, "image" if per_image else self.normalization)
        count = tf.where(tf.reduce_any(valid), count, 0.0)
        self.loss_metric.update_state(total, count)
        self.score_metric.update_state(labels, logits)
        return total, count

    def train_step(self, data):
        images, labels = data
        replica = tf.distribute.get_replica_context()
        with tf.GradientTape() as tape:
            total, count = self._loss_and_scores(images, labels, training=True)
            if self.normalization != "sum":
                total /= tf.maximum(replica.all_reduce("sum", count), 1.0)
            loss = self.optimizer.scale_loss(total)
        variables = self.network.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return self.get_metrics_result()

    def test_step(self, data):
        images, labels = data
        self._loss_and_scores(images, labels, training=False)
        return self.get_metrics_result()
