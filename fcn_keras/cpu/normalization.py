"""Batch normalisation that follows no convolution, by TensorFlow's one operation for it."""

import tensorflow as tf
from keras import layers


class Normalization(layers.Layer):
    """Computes what batch normalisation of maps does that does not learn.

    Keras multiplies, and adds then, which goes over a map twice.

    Args:
        norm: the batch normalisation, over the channels, in float32.
    """

    def __init__(self, norm: layers.BatchNormalization):
        super().__init__(name=norm.name, dtype=norm.dtype_policy)
        self.norm = norm
        self.built = True

    def call(self, x, training=None):
        if training:
            return self.norm(x, training=training)
        norm = self.norm
        mean, variance = map(tf.convert_to_tensor, (norm.moving_mean, norm.moving_variance))
        return tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.convert_to_tensor(norm.gamma) if norm.scale else tf.ones_like(mean),
            offset=tf.convert_to_tensor(norm.beta) if norm.center else tf.zeros_like(mean),
            mean=mean,
            variance=variance,
            epsilon=norm.epsilon,
            is_training=False,
        ).y

    def compute_output_shape(self, input_shape):
        return input_shape
