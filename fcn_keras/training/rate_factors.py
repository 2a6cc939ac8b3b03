"""Variables of one network that learn at rates of their own."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras


class RateFactors(keras.optimizers.Optimizer):
    """What makes an optimizer of Keras learn some variables faster or slower than the others.

    A class takes it as its first base, before the optimizer's. The factor is on the step, not on
    the gradient, which Adam's step does not depend on the length of. Weight decay that is decoupled
    from the gradient goes by the rate without factors.

    Args:
        rate_factors: regular expression on a variable's path -> factor on the learning rate; the
            first that is found counts, 1 if none is.
        **options: the optimizer's own.
    """

    def __init__(self, *args: Any, rate_factors: Mapping[str, float] | None = None, **options: Any):
        super().__init__(*args, **options)
        self.rate_factors = {key: float(value) for key, value in (rate_factors or {}).items()}

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        # By number: on a replica a variable does not know its path.
        self.each_factor = [
            next((f for key, f in self.rate_factors.items() if re.search(key, variable.path)), 1.0)
            for variable in variables
        ]

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        factor = self.each_factor[self._get_variable_index(variable)]
        if factor != 1.0:
            learning_rate = learning_rate * factor
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict:
        return {**super().get_config(), "rate_factors": self.rate_factors}


@keras.saving.register_keras_serializable(package="fcn_keras")
class SGD(RateFactors, keras.optimizers.SGD):
    """`keras.optimizers.SGD`, with rates of their own for some variables.

    Example:

    >>> model.compile(SGD(1e-3, 0.9, rate_factors={"^score": 10.0}), PixelCrossEntropy())
    """
