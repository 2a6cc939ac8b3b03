"""Batch normalisation in training: left as it was, or learned from the whole batch."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from fcn_keras.errors import UserError
from fcn_keras.training.settings import Settings


def settle(network: keras.Model, settings: Settings) -> None:
    """Freezes a network's batch normalisation, or makes sure that it can learn.

    To be called within the strategy's scope, before the network is compiled. A network without
    such layers is left alone, whatever the settings.

    Args:
        network: the network to be trained.
        settings: what `batch_norm` says, and all that has to fit it.

    Raises:
        UserError: if the layers are to learn, and a replica would not compute its part of the
            whole batch at once.

    Example:

    >>> settle(network, resolve("small", batch_norm="frozen"))
    batch normalisation: frozen, as it was (--batch-norm synced learns it)
    """
    found = list(_norms(network))
    if not found:
        return
    if not settings.learns_statistics:
        for layer in found:
            layer.trainable = False  # which, for these layers, means their moving statistics too
        print("batch normalisation: frozen, as it was (--batch-norm synced learns it)")
        return
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    for name, fits, words in (
        ("accumulate", settings.accumulate == 1, "1"),
        ("remat", not settings.remat, "false"),
        (
            "batch_size",
            settings.batch_size % replicas == 0,
            f"a multiple of {replicas}, the number of devices,",
        ),
    ):
        if not fits:
            raise UserError(
                f"`{name}` must be {words} where batch normalisation learns from whole batches "
                f"(--batch-norm frozen does not). Received: {getattr(settings, name)}."
            )
    text = "batch normalisation: learned, with the statistics of whole batches"
    if settings.batch_size == 1:
        text += (
            ". These are of one image each, and predicting, which goes by their mean, will differ: "
            "better a larger --batch-size"
        )
    print(text)


def learns_statistics(network: keras.Model) -> bool:
    """Whether a network has layers whose statistics are learned from the batches it sees.

    Such batches must hold images alone: void ones, to fill them up, would count too.

    Example:

    >>> learns_statistics(keras.applications.MobileNetV2(weights=None))
    True
    """
    return any(layer.trainable for layer in _norms(network))


def with_whole_statistics(network: keras.Model) -> keras.Model:
    """Returns a network whose batch normalisation goes by the batches of all replicas together.

    In training each `BatchNormalization` that learns takes mean and variance over what all
    replicas, on all machines, are given in a step, each as much as any other; and the moving
    statistics, on every replica the same ones, follow these. The numbers are those of one replica
    that computes the whole batch. Keras' own `synchronized=True` subtracts the square of the mean
    from the mean of squares, which leaves few digits of the variance where the mean is large.

    Args:
        network: a functional network, which may hold others.

    Returns:
        A `keras.Model` that shares all weights with `network`, to train with. What is saved is
        `network`. `network` itself if it has no such layer.

    Raises:
        UserError: if a layer cannot be replaced.

    Example:

    >>> with_whole_statistics(model)(images, training=True).shape == model(images).shape
    True

    Reference:
        Ioffe, Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing Internal
        Covariate Shift, arXiv 1502.03167.
    """
    if not learns_statistics(network):
        return network
    if not (isinstance(network, keras.Sequential) or hasattr(network, "operations")):
        raise UserError(
            f"`network` must be functional for its batch normalisation to learn. Received: "
            f"{network.name}, a {type(network).__name__}."
        )

    @cache  # a layer that is called twice is one layer
    def clone(layer):
        if isinstance(layer, keras.Model):
            return with_whole_statistics(layer)
        if isinstance(layer, layers.BatchNormalization) and layer.trainable:
            return WholeStatistics(layer)
        return layer

    return keras.models.clone_model(network, clone_function=clone)


class WholeStatistics(layers.Layer):
    """Computes what a `BatchNormalization` does, with the statistics of all replicas' batches.

    Args:
        norm: the layer, whose weights it shares.

    Raises:
        UserError: if the layer does more than a plain one.
    """

    def __init__(self, norm: layers.BatchNormalization):
        super().__init__(name=norm.name, dtype=norm.dtype_policy)
        if type(norm) is not layers.BatchNormalization or norm.renorm:
            raise UserError(
                f"{norm.name}: batch normalisation that learns must be a plain "
                f"`BatchNormalization`, without `renorm`. Received: a {type(norm).__name__}. "
                "Freeze it (--batch-norm frozen)."
            )
        self.norm = norm
        self.built = True

    # Networks call such layers with a mask, which images never have.
    def call(self, x: tf.Tensor, training: bool | None = None, mask: None = None) -> tf.Tensor:
        norm = self.norm
        if mask is not None:
            raise UserError(f"{norm.name}: `mask` must be None. Received: {mask}.")
        if not (training and norm.trainable):  # it may be frozen for some epochs
            return norm(x, training=False)
        x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
        axis = norm.axis % x.shape.rank
        mean, variance = _moments(x, [i for i in range(x.shape.rank) if i != axis])
        for moving, new in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
            old = ops.cast(moving, new.dtype)
            moving.assign(old * norm.momentum + new * (1.0 - norm.momentum))
        scale, offset = (
            ops.cast(weight, x.dtype) if weight is not None else None
            for weight in (norm.gamma, norm.beta)
        )
        y = ops.batch_normalization(x, mean, variance, norm.axis, offset, scale, norm.epsilon)
        return ops.cast(y, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return self.norm.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        raise UserError(
            f"{self.name}: only computes. Save the network that `with_whole_statistics` was called "
            "with, which has the same weights."
        )


def _moments(x, axes):
    """Returns mean and variance over all replicas, which must have as many values each."""
    mean, variance = tf.nn.moments(x, axes)
    replica = tf.distribute.get_replica_context()
    count = replica.num_replicas_in_sync if replica else 1
    if count == 1:
        return mean, variance
    # Each puts its own into its place among zeros: sums of these are exact, in any order, and
    # alike on all replicas.
    own = tf.one_hot(replica.replica_id_in_sync_group, count, dtype=x.dtype)
    all_own = replica.all_reduce("sum", own[:, None, None] * tf.stack([mean, variance]))
    means, variances = tf.unstack(all_own, axis=1)
    # All variance is that within the parts and that from part to part; none is a small difference
    # of large numbers.
    return (
        tf.reduce_mean(means, 0),
        tf.reduce_mean(variances, 0) + tf.math.reduce_variance(means, 0),
    )


def _norms(network: Any) -> Iterator[layers.BatchNormalization]:
    """All layers of batch normalisation in a network, and in those within it."""
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            yield layer
        elif hasattr(layer, "layers"):
            yield from _norms(layer)
