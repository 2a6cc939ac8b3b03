"""Batch normalisation that follows no convolution, by TensorFlow's one operation for it."""

import keras
import tensorflow as tf
from keras import layers


def in_float32(variable: keras.Variable) -> tf.Tensor:
    """Returns the value of a variable, which layers that compute in 16 bits may have rounded."""
    return tf.cast(tf.convert_to_tensor(variable), tf.float32)


class Normalization(layers.Layer):
    """Computes what batch normalisation of maps does that does not learn.

    Keras multiplies, and adds then, which goes over a map twice.

    Args:
        norm: the batch normalisation, over the channels.
    """

    def __init__(self, norm: layers.BatchNormalization):
        super().__init__(name=norm.name, dtype=norm.dtype_policy)
        self.norm = norm
        self.built = True

    def call(self, x, training=None):
        if training:
            return self.norm(x, training=training)
        norm = self.norm
        mean, variance = map(in_float32, (norm.moving_mean, norm.moving_variance))
        return tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=in_float32(norm.gamma) if norm.scale else tf.ones_like(mean),
            offset=in_float32(norm.beta) if norm.center else tf.zeros_like(mean),
            mean=mean,
            variance=variance,
            epsilon=norm.epsilon,
            is_training=False,
        ).y

    def compute_output_shape(self, input_shape):
        return input_shape
