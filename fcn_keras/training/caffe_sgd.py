"""The update rule of the paper's experiments: Caffe's SGD, with its factors for each variable."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from fcn_keras.errors import UserError
from fcn_keras.models.keras_defaults import keras_defaults
from fcn_keras.models.plain_numbers import whole_number

# Pattern of a variable's path -> factors on the learning rate and on the decay. In the reference
# biases learn twice as fast and do not decay. It has no batch normalisation, the scales and offsets
# of which are usually kept from decay too.
FACTORS = {r"bias$": (2.0, 0.0), r"(^|/)(gamma|beta)$": (1.0, 0.0)}


@keras.saving.register_keras_serializable(package="fcn_keras")
class CaffeSGD(keras.optimizers.Optimizer):
    """SGD with momentum and L2 decay, as Caffe computes it.

        v = momentum * v + rate * rate_factor * (gradient + decay * decay_factor * w)
        w = w - v

    Unlike Keras' `SGD(weight_decay=...)`, decay is a part of the gradient: it goes through the
    momentum.

    Args:
        learning_rate: a number or a schedule.
        momentum: share of the last step that the next one goes on with.
        decay: L2 penalty on the variables; half of it times their square is added to the loss.
        factors: regular expression on a variable's path -> (rate_factor, decay_factor); the
            first that is found counts, (1, 1) if none is. If not given, biases twice as fast and
            without decay, and scales and offsets of normalisation without.
        accumulate: Caffe's `iter_size`: how many gradients are averaged for one step.
        name: name of the optimizer.

    Raises:
        UserError: if `accumulate` is no whole number from 1 up.

    Example:

    >>> model.compile(CaffeSGD(1e-10, momentum=0.99, decay=5e-4), PixelCrossEntropy(
    ...     normalization="sum"))

    Reference:
        Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation,
        section 4.3; Caffe's `sgd_solver.cpp`.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-10,
        momentum: float = 0.99,
        decay: float = 5e-4,
        factors: Mapping[str, tuple[float, float]] | None = None,
        accumulate: int = 1,
        name: str = "caffe_sgd",
        **options: Any,
    ):
        accumulate = whole_number("accumulate", accumulate)
        if accumulate < 1:
            raise UserError(f"`accumulate` must be at least 1. Received: {accumulate}.")
        rate = learning_rate if callable(learning_rate) else float(learning_rate)
        with keras_defaults():  # a rate of 1e-10 is zero in float16
            super().__init__(rate, name=name, **options)
        # Plain numbers, whatever came: a saved network keeps them.
        self.momentum = float(momentum)
        self.decay = float(decay)
        factors = FACTORS if factors is None else factors
        self.factors = {key: tuple(map(float, pair)) for key, pair in factors.items()}
        self.accumulate = accumulate

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        # By number: on a replica a variable does not know its path.
        self.each_factors = [self._factors_of(variable) for variable in variables]
        self.velocities = self.add_optimizer_variables(variables, "velocity")
        self.sums = self.add_optimizer_variables(variables, "sum") if self.accumulate > 1 else None

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        rate_factor, decay_factor = self.each_factors[index]
        rate = ops.cast(learning_rate, variable.dtype) * rate_factor
        velocity = self.velocities[index]
        gradient = ops.cast(gradient, variable.dtype)
        if self.sums:
            total = self.sums[index]
            gradient = total + gradient / self.accumulate
            # Every call computes a step; only each `accumulate`-th one counts. Nothing branches,
            # so this runs on replicas, where a condition around an update does not.
            last = ops.equal((self.iterations + 1) % self.accumulate, 0)
            nothing = ops.cast(0, variable.dtype)  # TensorFlow would keep zeros of its shape
            self.assign(total, ops.where(last, nothing, gradient))
        step = self.momentum * velocity + rate * (
            gradient + self.decay * decay_factor * ops.convert_to_tensor(variable)
        )
        if self.sums:
            self.assign(velocity, ops.where(last, step, ops.convert_to_tensor(velocity)))
            step = ops.where(last, step, nothing)
        else:
            self.assign(velocity, step)
        self.assign_sub(variable, step)

    def _factors_of(self, variable):
        matching = (pair for key, pair in self.factors.items() if re.search(key, variable.path))
        return next(matching, (1.0, 1.0))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "decay": self.decay,
            "factors": self.factors,
            "accumulate": self.accumulate,
        }
