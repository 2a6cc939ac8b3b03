"""The moving average of a network's weights, which is often better than the weights themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf
from keras import ops


class WeightAverages:
    """Averages what a network learns over the last steps: weights, and statistics of batches.

    After `t` steps the average keeps `min(momentum, (1 + t) / (10 + t))` of itself at each, so that
    it forgets where it began, as `tf.train.ExponentialMovingAverage` has it. To be made within the
    strategy's scope. (The `use_ema` of Keras' optimizers will not do: `fit` puts that average into
    the weights whenever it ends, also where a run goes on in mid-epoch, `SwapEMAWeights` rounds
    them, and neither knows the statistics of batches.)

    Args:
        network: the network that is trained.
        momentum: from 0 to below 1: 0.999 averages over some thousand steps.

    Reference:
        Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging, SIAM J. Control
        Optim. 30 (1992).
    """

    def __init__(self, network: keras.Model, momentum: float):
        self.momentum = momentum
        statistics = [
            weight
            for weight in network.non_trainable_weights
            if weight.path.endswith(("moving_mean", "moving_variance"))
        ]
        self.weights = [*network.trainable_weights, *statistics]
        self.variables = [
            keras.Variable(
                weight.numpy(),
                trainable=False,
                dtype=weight.dtype,
                aggregation="only_first_replica",
                name=f"average_{number}",
            )
            for number, weight in enumerate(self.weights)
        ]

    def update(self, steps: tf.Tensor) -> None:
        """Takes the weights into the average, after so many steps; on every replica."""
        steps = tf.cast(steps, "float32")
        momentum = tf.minimum(self.momentum, (1.0 + steps) / (10.0 + steps))
        for weight, average in zip(self.weights, self.variables, strict=True):
            new = ops.convert_to_tensor(weight)
            old = ops.convert_to_tensor(average)
            average.assign(old + ops.cast(1.0 - momentum, old.dtype) * (new - old))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the averages into the network, and in the end its weights back, to the bit."""
        kept = [weight.numpy() for weight in self.weights]
        try:
            for weight, average in zip(self.weights, self.variables, strict=True):
                weight.assign(average.numpy())
            yield
        finally:
            for weight, value in zip(self.weights, kept, strict=True):
                weight.assign(value)
