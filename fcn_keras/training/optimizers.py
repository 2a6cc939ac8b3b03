"""The update rule of a run, with the course of its learning rate."""

import re
from collections.abc import Sequence

import keras
from keras import ops

from fcn_keras.models.variants import ALEXNET
from fcn_keras.training.caffe_sgd import FACTORS, CaffeSGD
from fcn_keras.training.rate_factors import SGD
from fcn_keras.training.settings import Settings


@keras.saving.register_keras_serializable(package="fcn_keras")
class Poly(keras.optimizers.schedules.LearningRateSchedule):
    """Brings a learning rate down to zero along `(1 - t)^power`, after a rise along a line.

    Args:
        learning_rate: the highest rate.
        steps: how many steps there are, with those of the rise.
        warmup_steps: over how many the rate rises from zero.
        power: of the course; DeepLab's is 0.9 (section 4.1 of arXiv 1606.00915).
    """

    def __init__(self, learning_rate: float, steps: int, warmup_steps: int = 0, power: float = 0.9):
        self.learning_rate, self.steps = learning_rate, steps
        self.warmup_steps, self.power = warmup_steps, power
        # Which has no rise of its own, as Keras' cosine has.
        self._decay = keras.optimizers.schedules.PolynomialDecay(
            learning_rate, max(1, steps - warmup_steps), 0.0, power
        )

    def __call__(self, step):
        step = ops.cast(step, "float32")
        up = self.learning_rate * step / max(1, self.warmup_steps)
        down = self._decay(ops.maximum(step - self.warmup_steps, 0))
        return ops.where(step < self.warmup_steps, up, down)

    def get_config(self) -> dict:
        return {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "power": self.power,
        }


def learning_rate_of(
    settings: Settings, total_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate of a run, or its course by the step.

    Args:
        settings: the highest rate, and what course it takes.
        total_steps: over how many steps.
    """
    rate = settings.learning_rate
    warmup = round(settings.warmup * total_steps)
    if settings.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(1, total_steps - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    return Poly(rate, total_steps, warmup) if settings.schedule == "poly" else rate


def make_optimizer(
    settings: Settings, total_steps: int, heads: Sequence[str] = ()
) -> keras.optimizers.Optimizer:
    """Makes the update rule of a run.

    Args:
        settings: the rule, its learning rate and the course of that.
        total_steps: over how many steps the learning rate takes its course.
        heads: names of the layers that learn `settings.head_learning_rate_factor` times as fast.
    """
    rate = learning_rate_of(settings, total_steps)
    factor = settings.head_learning_rate_factor
    head = f"^({'|'.join(map(re.escape, heads))})/" if heads and factor != 1 else ""
    if settings.optimizer == "caffe_sgd":
        # The reference gives AlexNet's trunk Caffe's default factors, which are one.
        of_biases = {r"score_fr[^/]*/bias$": (2.0, 0.0)} if settings.variant == ALEXNET else FACTORS
        of_heads = {f"{head}.*{key}": (a * factor, b) for key, (a, b) in of_biases.items()}
        return CaffeSGD(
            rate,
            settings.momentum,
            settings.weight_decay,
            {**of_heads, head: (factor, 1.0), **of_biases} if head else of_biases,
            settings.accumulate,
        )
    rate_factors = {head: factor} if head else None
    if settings.optimizer == "sgd":
        return SGD(rate, settings.momentum, rate_factors=rate_factors)
    # These alone need TensorFlow; Caffe's rule and SGD run on every backend of Keras.
    from fcn_keras.training.adam import Adam, AdamW

    if settings.optimizer == "adam":
        return Adam(rate, rate_factors=rate_factors)
    optimizer = AdamW(rate, weight_decay=settings.weight_decay, rate_factors=rate_factors)
    # Nor scales and offsets of normalisation. Names are paths here, as TensorFlow writes them.
    optimizer.exclude_from_weight_decay(
        var_names=["bias", r"/(gamma|beta)(/replica_\d+)?:"],
    )
    return optimizer
