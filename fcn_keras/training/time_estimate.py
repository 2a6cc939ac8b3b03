"""How long a training takes, told before the time is spent: when it begins, and from its steps."""

import sys
import time
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from fcn_keras.data.dataset import Split
from fcn_keras.models.backbones import VGG16
from fcn_keras.models.cost import COUNTED, Cost, cost
from fcn_keras.models.variants import ALEXNET, COLOR_D, HHA
from fcn_keras.system.devices import on_cpus
from fcn_keras.training.backup import Position, TrainingJob
from fcn_keras.training.report import spread_over

# A step goes forward once, and back for the gradients of kernels and of maps.
FORWARD = 1 / 3

# What must have been timed before anything is told of a training, and what is too short to tell.
ENOUGH_STEPS, ENOUGH_SECONDS = 3, 10
SHORT = 60
# By which share of the time first told the later one must differ to be told too.
MUCH = 0.25

# What is measured of VGG16 on processors is in docs/performance.md and benchmarks/README.md.
# Operations of a training step in a second, over those of a product of matrices: Winograd's method
# leaves some of them out.
SHARE = 1.1
# Bytes that a step takes for an image over those of its activations, gaps between tensors counted
# in, without and with `remat`.
KEPT, KEPT_BY_REMAT = 1.9, 1.0
BESIDES = 1.2e9  # bytes: libraries, and images that are read ahead or kept
SLOW = 1800
# How many times as fast the recipe `light` is, for as many pixels: 1.52 s against 0.046 s an image,
# `bench train --size 384x480 --num-classes 11 --remat`, and the same with `--backbone mobilenet_v2
# --batch-size 4 --freeze Conv1..block_2_add`; Dice, and what varies images, come on top.
LIGHT = 30


class TimeEstimate:
    """Says how long a training takes, from the steps and the validations that it has timed.

    The first step and the first batch of a validation are left out, as TensorFlow traces their
    graphs. What a validation takes before one has been timed follows from its images.

    Args:
        epochs, steps: how many epochs the training has, and of how many steps each.
        position: how far the training had come when this process began.
        validate_every: epochs from one validation to the next; the last one is always validated.
        validation: how many steps a validation takes as long as, until one has been timed.
        say: takes a line.
        clock: returns the time in seconds.

    Example:

    >>> estimate = TimeEstimate(20, 46, Position(), validation=15)
    >>> estimate.epoch_begins(0)
    >>> for batch in batches:
    ...     train(batch)
    ...     estimate.step_ends()
    about 13 minutes in all: 20 epochs of 46 steps of 0.6 s, and 21 validations of 9 s
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        position: Position,
        validate_every: int = 1,
        validation: float = 0.0,
        say: Callable[[str], None] = print,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.epochs, self.steps, self.every = epochs, steps, validate_every
        self.guess = validation
        self.done = position.epoch * steps + position.step
        self.epoch = position.epoch
        self.say, self.clock = say, clock
        self.began = self.last = clock()
        self.made = 0  # steps, and how long all but the first took
        self.timed = 0.0
        self.batches: list[float] = []  # when those of a validation ended
        self.validation: float | None = None  # how long the last one took
        self.told: float | None = None  # how long this process would take, as worked out first
        self.corrected = False

    def epoch_begins(self, epoch: int) -> None:
        """Notes that the steps of an epoch begin.

        Once a validation has been timed it says, at most once, where all takes much longer or
        shorter than it said.
        """
        now = self.clock()
        if self.batches:
            self.validation = self._of_validation(now)
            self.batches = []
        self.epoch, self.last = epoch, now
        if self.told is None or self.validation is None or self.corrected:
            return
        total = self._total(now)
        if abs(total - self.told) > MUCH * self.told and max(total, self.told) >= SHORT:
            self.corrected = True
            self.say(f"now {self._line(now)}")

    def step_ends(self) -> None:
        """Notes that a step is done; says how long all takes when enough have been timed."""
        now = self.clock()
        if self.made:
            self.timed += now - self.last
        self.made, self.last = self.made + 1, now
        if self.told is None and self.made > ENOUGH_STEPS and self.timed >= ENOUGH_SECONDS:
            self.told = self._total(now)
            if self.told >= SHORT:
                self.say(self._line(now))

    def validation_batch_ends(self) -> None:
        """Notes that a batch of a validation is done."""
        self.batches.append(self.clock())

    def _of_validation(self, now):
        """How long one takes whose graph is there, with the files that are written after it."""
        first, *others = self.batches
        if not others:
            return now - self.last
        after = now - others[-1]
        return (others[-1] - first) / len(others) * len(self.batches) + after

    def _step(self):
        return self.timed / (self.made - 1)

    def _validation(self):
        return self.guess * self._step() if self.validation is None else self.validation

    def _validations(self, epoch):
        """How many there are from an epoch on; the last is the report's, of the best network."""
        return -(-(self.epochs - epoch) // self.every) + 1

    def _left(self):
        steps = self.epochs * self.steps - self.done - self.made
        return steps * self._step() + self._validations(self.epoch) * self._validation()

    def _total(self, now):
        return now - self.began + self._left()

    def _line(self, now):
        if self.done:
            steps = count(self.epochs * self.steps - self.done - self.made, "step")
            begin, validations = f"{in_words(self._left())} to go", self._validations(self.epoch)
        else:
            steps = f"{count(self.epochs, 'epoch')} of {count(self.steps, 'step')}"
            begin, validations = f"{in_words(self._total(now))} in all", self._validations(0)
        return (
            f"about {begin}: {steps} of {figure(self._step())} s, and "
            f"{count(validations, 'validation')} of {figure(self._validation())} s"
        )


def estimate_for(job: TrainingJob, position: Position) -> TimeEstimate:
    """Makes the estimate of a training that this process begins or goes on with; one says it."""
    settings = job.settings
    of_one = _pixels(_sizes(job.val_split)) / _pixels(_training_sizes(job))
    return TimeEstimate(
        job.epochs,
        job.steps,
        position,
        settings.validate_every,
        FORWARD * of_one * len(job.val_split) / settings.images_per_step,
        _say if job.chief else lambda line: None,
    )


def _say(line):
    tqdm.write(line, file=sys.stdout)  # above the bar
    sys.stdout.flush()


def warn_of_cost(job: TrainingJob, rate: Callable[[], float] | None = None) -> list[str]:
    """Says what a full VGG16 costs on a processor, and what the recipe `light` would.

    Args:
        job: what is trained.
        rate: returns operations in a second of a product of matrices; measured if not given.

    Returns:
        Lines: none on GPUs, for other networks, where all takes less than half an hour, or where a
        training goes on, which its `TimeEstimate` tells of.
    """
    settings, machine = job.settings, job.strategy.extended
    if (
        not on_cpus(job.strategy)
        or settings.backbone != VGG16
        or settings.variant not in COUNTED
        or settings.variant == ALEXNET
        or settings.width < 1
        or settings.precision != "float32"
        or (job.run.path / "backup" / "checkpoint").is_file()  # it goes on, and has been told
    ):
        return []
    costs = [_cost(job, size) for size in _training_sizes(job)]
    step = np.mean([cost.forward_flops + cost.backward_flops for cost in costs])
    forward = np.mean([_cost(job, size).forward_flops for size in _sizes(job.val_split)])
    # The last batch of an epoch may be filled up.
    images = job.epochs * min(job.steps * settings.images_per_step, len(job.train_split))
    validated = -(-job.epochs // settings.validate_every) * len(job.val_split)
    machines = job.strategy.num_replicas_in_sync / len(machine.worker_devices)
    speed = SHARE * (rate or product_rate)() * machines
    seconds = (images * step + validated * forward) / speed
    if seconds < SLOW:
        return []
    bytes_ = max(_memory(job, cost) for cost in costs)
    lines = [
        f"VGG16 without a GPU: about {figure(step / speed)} s an image, {in_words(seconds)} for "
        f"these {images} images and {validated} to validate on, and {bytes_ / 1e9:.0f} GB of memory"
    ]
    if settings.variant not in (HHA, COLOR_D):
        lines.append(
            f"--recipe light does as many in about {in_words(seconds / LIGHT)}: MobileNetV2, from "
            "ImageNet weights"
        )
    return lines


def product_rate(size: int = 2048, seconds: float = 0.1) -> float:
    """Measures how many operations a product of float32 matrices makes in a second, at best."""
    matrix = np.ones((size, size), "float32")
    matrix @ matrix  # threads start
    best, until = float("inf"), time.perf_counter() + seconds
    while (begin := time.perf_counter()) < until:
        matrix @ matrix
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def _memory(job: TrainingJob, cost: Cost) -> float:
    """Bytes: weights, gradients, moments, sums of gradients, what a batch's activations take."""
    settings = job.settings
    moments = 2 if settings.optimizer in ("adam", "adamw") else 1
    weights = (2 + moments + (settings.accumulate > 1)) * cost.parameter_bytes()
    kept = KEPT_BY_REMAT if settings.remat else KEPT
    return BESIDES + weights + kept * settings.batch_size * cost.activation_bytes()


def _cost(job: TrainingJob, size: tuple[int, int]) -> Cost:
    names = ("geometry", "output_stride", "width", "upsampling")
    options = {name: getattr(job.settings, name) for name in names}
    return cost(job.settings.variant, size, job.dataset.num_classes, **options)


def _training_sizes(job: TrainingJob) -> list[tuple[int, int]]:
    crops = job.settings.crop_size
    return [crops] if crops else _sizes(job.train_split)


def _sizes(split: Split) -> list[tuple[int, int]]:
    return [split.size(index) for index in spread_over(len(split), 20)]


def _pixels(sizes: list[tuple[int, int]]) -> float:
    return float(np.mean([height * width for height, width in sizes]))


def in_words(seconds: float) -> str:
    """Returns a duration in seconds, minutes, hours or days, whichever people say."""
    units = ((120, 1, "seconds"), (5400, 60, "minutes"), (259200, 3600, "hours"))
    size, unit = next(
        ((size, unit) for most, size, unit in units if seconds < most), (86400, "days")
    )
    number = seconds / size
    return f"{number:.0f} {unit}" if size < 3600 else f"{figure(number)} {unit}"


def count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def figure(number: float) -> str:
    """Returns a number with two digits, or all that it has before the point."""
    return f"{number:.0f}" if number >= 9.95 else f"{number:.2g}"
