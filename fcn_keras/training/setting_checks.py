"""Which values a setting may have, by itself and beside others."""

from collections.abc import Iterator
from typing import Any

from fcn_keras.models.variants import OWN_CHANNELS
from fcn_keras.training.losses.names import DICE, NORMALIZED, WEIGHED, parse_loss

# What numbers are allowed, in words -> whether one is, and the settings that it holds for.
BOUNDS = {
    "above 0": (
        lambda value: value > 0,
        (
            *("epochs", "batch_size", "validate_every", "learning_rate", "width"),
            *("scale_min", "scale_max", "accumulate", "head_learning_rate_factor"),
        ),
    ),
    "at least 0": (
        lambda value: value >= 0,
        (
            *("steps", "color", "class_crops", "rotation", "blur"),
            *("momentum", "weight_decay", "warmup", "patience", "freeze_epochs"),
            *("seed", "dropout", "clip_norm", "label_smoothing", "ema"),
        ),
    ),
    "below 1": (
        lambda value: value < 1,
        ("dropout", "momentum", "warmup", "label_smoothing", "ema"),
    ),
    "at most 1": (lambda value: value <= 1, ("class_crops",)),
    "at most 180": (lambda value: value <= 180, ("rotation",)),
    "below 2**32": (lambda value: value < 2**32, ("seed",)),
}


def requirements(settings: Any) -> Iterator[tuple[str, bool, str]]:
    """Yields what each setting must be beside the others: its name, whether it is that, in words.

    Args:
        settings: a `fcn_keras.training.settings.Settings`.

    Raises:
        UserError: if `loss` names no losses.
    """
    losses = parse_loss(settings.loss)
    crops, caffe = settings.crop_size, settings.optimizer == "caffe_sgd"
    unscaled = "1 where whole images are trained on (`crop_size` none)"
    uncropped = "0 where whole images are trained on (`crop_size` none)"
    yield from _of_images(settings)
    yield from (
        (
            "val_share",
            settings.val_share is None or 0 < settings.val_share < 1,
            "a number between 0 and 1",
        ),
        ("crop_size", not crops or min(crops) > 0, "at least 1 x 1"),
        ("batch_size", crops or settings.batch_size == 1, unscaled),
        ("scale_min", crops or settings.scale_min == 1, unscaled),
        ("scale_max", crops or settings.scale_max == 1, unscaled),
        ("class_crops", crops or settings.class_crops == 0, uncropped),
        ("rotation", crops or settings.rotation == 0, uncropped),
        (
            "class_weights",
            settings.class_weights in ("none", "sqrt_median_frequency")
            or "=" in settings.class_weights,
            "none, sqrt_median_frequency, or weights of classes by name, as in pole=3,sign=2",
        ),
        (
            "class_weights",
            settings.class_weights == "none" or not {*losses}.isdisjoint(WEIGHED),
            f"none where `loss` has none of {', '.join(WEIGHED)}",
        ),
        (
            "label_smoothing",
            "cross_entropy" in losses or settings.label_smoothing == 0,
            "0 where `loss` has no cross_entropy",
        ),
        (
            "accumulate",
            DICE not in losses or settings.accumulate == 1,
            "1 with the loss 'dice', which is of all pixels of a batch together "
            "(`loss` cross_entropy is not)",
        ),
        (
            "freeze_epochs",
            bool(settings.freeze) or settings.freeze_epochs == 0,
            "0 where nothing is frozen (`freeze`)",
        ),
        ("clip_norm", not caffe or settings.clip_norm == 0, "0 for caffe_sgd"),
        (
            "accumulate",
            caffe or crops or settings.accumulate == 1,
            "1 where whole images, which differ in size, are trained on but by caffe_sgd",
        ),
    )


def idle(settings: Any) -> dict[str, str]:
    """Returns the settings that do nothing beside the others, each with what it is for.

    Args:
        settings: a `fcn_keras.training.settings.Settings`.
    """
    losses = parse_loss(settings.loss)
    uses = {
        "momentum": (settings.optimizer in ("sgd", "caffe_sgd"), "the optimizers sgd, caffe_sgd"),
        "weight_decay": (
            settings.optimizer in ("adamw", "caffe_sgd"),
            "the optimizers adamw, caffe_sgd",
        ),
        "warmup": (settings.schedule != "constant", "the schedules cosine, poly"),
        "normalization": (
            not {*losses}.isdisjoint(NORMALIZED),
            f"the losses {', '.join(NORMALIZED)}",
        ),
    }
    return {name: what_for for name, (is_used, what_for) in uses.items() if not is_used}


def _of_images(settings):
    given = settings.channels is not None
    return (
        ("channels", not given or settings.channels >= 1, "at least 1, or none"),
        (
            "channels",
            not given or settings.variant not in OWN_CHANNELS,
            f"none for {settings.variant}, which has channels of its own",
        ),
        (
            "input_mean",
            not given or settings.input_mean is None,
            "none where `channels` is given: it is that of the training set",
        ),
    )
