"""The update rule of a run, with the course of its learning rate."""

import keras

from fcn_keras.models.variants import ALEXNET
from fcn_keras.training.caffe_sgd import CaffeSGD
from fcn_keras.training.settings import Settings


def make_optimizer(settings: Settings, total_steps: int) -> keras.optimizers.Optimizer:
    """Makes the update rule of a run, whose learning rate takes its course over all its steps."""
    rate = settings.learning_rate
    warmup = round(settings.warmup * total_steps)
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(1, total_steps - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if settings.optimizer == "sgd":
        return keras.optimizers.SGD(rate, settings.momentum)
    if settings.optimizer == "caffe_sgd":
        return CaffeSGD(
            rate,
            settings.momentum,
            settings.weight_decay,
            # The reference gives AlexNet's trunk Caffe's default factors, which are one.
            {r"score_fr[^/]*/bias$": (2.0, 0.0)} if settings.variant == ALEXNET else None,
            settings.accumulate,
        )
    # These alone need TensorFlow; Caffe's rule and SGD run on every backend of Keras.
    from fcn_keras.training.adam import Adam, AdamW

    if settings.optimizer == "adam":
        return Adam(rate)
    optimizer = AdamW(rate, weight_decay=settings.weight_decay)
    # Nor scales and offsets of normalisation. Names are paths here, as TensorFlow writes them.
    optimizer.exclude_from_weight_decay(
        var_names=["bias", r"/(gamma|beta)(/replica_\d+)?:"],
    )
    return optimizer
