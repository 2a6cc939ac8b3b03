"""How fast the parts of a training run are on this machine."""

import itertools
import statistics
import time

import tensorflow as tf

from fcn_keras.data.augmentation import augment
from fcn_keras.data.batches import training_batches
from fcn_keras.data.dataset import Dataset, Remembered
from fcn_keras.training.crops import augmentation_of
from fcn_keras.training.settings import Settings

CACHE_BYTES = 1 << 30


def bench_input(dataset: Dataset, settings: Settings, seconds: float = 5.0) -> dict[str, float]:
    """Measures how many training images a second the input pipeline makes.

    Each part runs for a while, in turns, three times over; the middle one of the three counts.

    Args:
        dataset: what to read; its split "train".
        settings: crop size, augmentation and batch size.
        seconds: how long each part runs in all.

    Returns:
        Images per second: `decode`, reading files one after the other on one core; `augment`,
        cropping and colouring a decoded image, one after the other; `pipeline`, whole batches
        from files on all cores; `pipeline_cached`, whole batches of images decoded before, as
        from the second epoch on where a data set fits into memory.
    """
    split = dataset.splits["train"]
    remembered = Remembered(split, CACHE_BYTES)
    augmentation = augmentation_of(settings)
    for index in range(len(split)):
        remembered[index]
    parts = {
        "decode": _decoding(split),
        "augment": _augmenting(remembered, augmentation),
        "pipeline": _batches(split, augmentation, settings),
        "pipeline_cached": _batches(remembered, augmentation, settings),
    }
    rates: dict[str, list[float]] = {name: [] for name in parts}
    for part in parts.values():
        next(part)  # starts threads, traces functions
    for _ in range(3):
        for name, part in parts.items():
            rates[name].append(_rate(part, seconds / 3))
    return {name: statistics.median(measured) for name, measured in rates.items()}


def table(rates: dict[str, float]) -> str:
    """Returns what `bench_input` measured as lines for a reader."""
    return "\n".join(f"{name:16} {rate:9.1f} images/s" for name, rate in rates.items())


def _decoding(split):
    for index in itertools.cycle(range(len(split))):
        split[index]
        yield 1


def _augmenting(split, augmentation):
    function = tf.function(
        lambda image, label, seed: augment(image, label, augmentation, seed), reduce_retracing=True
    )
    for number in itertools.count():
        image, label, _ = split[number % len(split)]
        function(tf.constant(image), tf.constant(label), tf.constant([0, number]))
        yield 1


def _batches(split, augmentation, settings):
    for images, _ in training_batches(split, augmentation, settings.batch_size, seed=0):
        yield len(images)


def _rate(part, seconds):
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        done += next(part)
    return done / elapsed
