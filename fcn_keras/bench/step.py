"""A training step: what it is, and how this package makes it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcn_keras.bench.peers.programs import STEPS
from fcn_keras.models.variants import COLOR_HHA
from fcn_keras.training.settings import Settings

if TYPE_CHECKING:
    from fcn_keras.training.task import SegmentationTask


@dataclass(frozen=True)
class Step:
    """A training step to measure.

    Attributes:
        variant, width, precision, remat: see `fcn_keras.training.settings.Settings`.
        size: height and width of the images.
        num_classes: number of classes.
        batch_size: images that go through the network together.
        accumulate: how many such batches make the step.
        elide_padding: see `fcn_keras.build`.
        peer: who makes the step in place of this package, one of
            `fcn_keras.bench.peers.programs.STEPS`.
    """

    variant: str = "fcn8s"
    width: float = 1.0
    size: tuple[int, int] = (320, 320)
    num_classes: int = 21
    batch_size: int = 1
    precision: str = "float32"
    accumulate: int = 1
    remat: bool = False
    elide_padding: bool = True
    peer: str | None = None

    def __post_init__(self):
        Settings(
            variant=self.variant,
            width=self.width,
            crop_size=tuple(self.size),
            batch_size=self.batch_size,
            precision=self.precision,
            accumulate=self.accumulate,
            remat=self.remat,
        )

    @property
    def images(self) -> int:
        return self.batch_size * self.accumulate

    @property
    def in_torch(self) -> bool:
        return (self.peer or "").startswith("torch")

    def __str__(self):
        words = [self.precision, f"batch {self.batch_size}"]
        if self.accumulate > 1:
            words[1] = f"{self.accumulate} batches of {self.batch_size}"
        if self.remat:
            words.append("remat")
        if not self.elide_padding:
            words.append("no elision")
        if self.peer:
            words.insert(0, STEPS[self.peer])
        return ", ".join(words)


def make_batch(step: Step) -> tuple:
    """Makes random images and labels: TensorFlow's tensors, or arrays for PyTorch."""
    shape, rng = (step.images, *step.size), np.random.default_rng(0)
    channels = 6 if step.variant == COLOR_HHA else 3
    images = rng.integers(0, 256, (*shape, channels), "uint8")
    labels = rng.integers(0, step.num_classes, (*shape, 1), "uint8")
    if step.in_torch:
        return images, labels
    import tensorflow as tf

    return tf.constant(images), tf.constant(labels)


def make_task(step: Step) -> "SegmentationTask":
    """Builds what `fcn_keras.train` would train, with Adam and from random weights."""
    import keras

    from fcn_keras.models.fcn import build
    from fcn_keras.training.adam import Adam
    from fcn_keras.training.task import SegmentationTask

    keras.utils.set_random_seed(0)
    network = build(
        step.variant,
        step.num_classes,
        weights=None,
        width=step.width,
        elide_padding=step.elide_padding,
    )
    task = SegmentationTask(network, micro_batch=step.batch_size, remat=step.remat)
    task.compile(Adam(1e-4), jit_compile=False)
    return task


def make_trainer(task: "SegmentationTask") -> Callable[[tuple], float]:
    """Returns a function that makes a training step on a batch, and waits until it is done."""
    task.make_train_function(force=True)
    function = task.train_function
    return lambda batch: function(iter([batch]))["loss"].numpy()
