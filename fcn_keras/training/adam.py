"""Adam in one go over a variable, where Keras' makes an array of its size at every operation.

Beside the 411 MB of a gradient of fc6 these arrays are what a training step on processors takes
most of its memory for. TensorFlow has 1 - 0.999 in float32, which is off by 5e-5: so are the second
moments. With `amsgrad` Keras' own steps are made.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from fcn_keras.training.rate_factors import RateFactors


@keras.saving.register_keras_serializable(package="fcn_keras")
class Adam(RateFactors, keras.optimizers.Adam):
    """`keras.optimizers.Adam`, in TensorFlow's own operation; some variables at rates of their own.

    Example:

    >>> model.compile(Adam(1e-4), PixelCrossEntropy())

    Reference:
        Kingma, Ba: Adam: A Method for Stochastic Optimization, arXiv 1412.6980, section 2: the
        form that needs no corrected moments.
    """

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if not self.built:
            super().build(variables)
            self.first_steps = [0] * len(variables)

    def begin(self, variables: Sequence[keras.Variable], step: int) -> None:
        """Lets variables begin to learn after so many steps of the others.

        Their moments are zero then, and are corrected for that by the steps since; by all steps
        their first ones would be several times too long.
        """
        for variable in variables:
            self.first_steps[self._get_variable_index(variable)] = step

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        learning_rate = learning_rate * self.each_factor[index]
        dtype = variable.dtype
        # A scaled loss skips steps.
        step = tf.cast(tf.maximum(self.iterations - self.first_steps[index], 0) + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


@keras.saving.register_keras_serializable(package="fcn_keras")
class AdamW(Adam, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, in TensorFlow's own operation.

    Example:

    >>> model.compile(AdamW(1e-4, weight_decay=1e-4), PixelCrossEntropy())

    Reference:
        Loshchilov, Hutter: Decoupled Weight Decay Regularization, arXiv 1711.05101.
    """
