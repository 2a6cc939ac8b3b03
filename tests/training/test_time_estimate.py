"""What is told of a training's time: sums by hand, from durations that are given."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from fcn_keras.data.dataset import Dataset
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.backup import Position, TrainingJob
from fcn_keras.training.callbacks import TrainingBar
from fcn_keras.training.run import Run
from fcn_keras.training.time_estimate import (
    TimeEstimate,
    estimate_for,
    in_words,
    product_rate,
    warn_of_cost,
)


class Training:
    """Goes through a training by a clock that it sets itself.

    Attributes:
        lines: what was said, each with how many epochs and steps were done then.
    """

    def __init__(self, epochs, steps, position=None, **options):
        self.epochs, self.steps, self.position = epochs, steps, position or Position()
        self.every = options.get("validate_every", 1)
        self.now, self.at, self.lines = 1000.0, None, []
        self.estimate = TimeEstimate(
            epochs,
            steps,
            self.position,
            say=lambda line: self.lines.append((self.at, line)),
            clock=lambda: self.now,
            **options,
        )

    def run(self, first, step, validation=(), after=0.0):
        """Makes all steps: the first of them, and each other one, in so many seconds.

        Args:
            validation: seconds of each batch; of a step by its epoch and number, if a function.
            after: what the files take that are written then.
        """
        trace = first
        for epoch in range(self.position.epoch, self.epochs):
            self.at = (epoch, 0)
            self.estimate.epoch_begins(epoch)
            done = self.position.step if epoch == self.position.epoch else 0
            for number in range(done, self.steps):
                self.now += trace or (step(epoch) if callable(step) else step)
                trace = 0
                self.at = (epoch, number + 1)
                self.estimate.step_ends()
            if (self.epochs - epoch - 1) % self.every == 0:
                for seconds in validation:
                    self.now += seconds
                    self.estimate.validation_batch_ends()
                self.now += after
        return self.lines


def test_a_training_from_its_start():
    """18 steps are done: 30.6 s + 17 * 0.6 s = 40.8 s. Left are 902 steps of 0.6 s and 21 times
    as long as 15 steps: 541.2 s + 189 s. All is 771 s.
    """
    lines = Training(20, 46, validation=15).run(30.6, 0.6, [10, *[0.5] * 16], after=0.5)
    told = "about 13 minutes in all: 20 epochs of 46 steps of 0.6 s, and 21 validations of 9 s"
    assert lines == [((0, 18), told)]


def test_a_training_that_goes_on():
    """920 - 236 - 18 = 666 steps of 0.6 s, and 15 validations and the report's, of 9 s: 543.6 s."""
    training = Training(20, 46, Position(5, 6, 40.0, 0.5), validation=15)
    told = "about 9 minutes to go: 666 steps of 0.6 s, and 16 validations of 9 s"
    assert training.run(30.6, 0.6, [9.0]) == [((5, 24), told)]


def test_a_training_that_goes_on_with_a_validation():
    """It was stopped behind the last step of the second epoch, so all of the third follows."""
    training = Training(4, 100, Position(1, 100), validation=10)
    training.estimate.validation_batch_ends()
    training.now += 5
    training.position = Position(2)
    # 4 of the 200 steps left are made; two validations and the report's are, of 5 s.
    told = "about 13 minutes to go: 196 steps of 4 s, and 3 validations of 5 s"
    assert training.run(10, 4, [5.0]) == [((2, 4), told)]


def test_slower_validations_are_told_once():
    """The first validation has a batch that traces, 20 of 1 s, and 5 s of files: 21 + 5 = 26 s.

    90.6 s have passed then; 874 steps of 0.6 s and 20 validations of 26 s are left: 1135 s. Later
    all steps are slower, which nothing is said of.
    """
    lines = Training(20, 46, validation=15).run(
        30.6, lambda epoch: 0.6 if epoch < 3 else 6.0, [8, *[1.0] * 20], after=5
    )
    assert lines[1:] == [
        (
            (1, 0),
            "now about 19 minutes in all: 20 epochs of 46 steps of 0.6 s, and 21 validations of "
            "26 s",
        )
    ]


def test_slower_steps_are_told():
    """From the third epoch on a step takes 4 s, the mean of 299 is 2 s; 700 are left."""
    lines = Training(10, 100).run(1, lambda epoch: 1.0 if epoch < 2 else 4.0, [0.0])
    assert lines == [
        (
            (0, 11),
            "about 17 minutes in all: 10 epochs of 100 steps of 1 s, and 11 validations of 0 s",
        ),
        (
            (3, 0),
            "now about 33 minutes in all: 10 epochs of 100 steps of 2 s, and 11 validations of 0 s",
        ),
    ]


def test_validations_that_are_few():
    """6 of 30 epochs have one, and the report: at 2 s, as 1 step of 2 s takes."""
    [(at, line)] = Training(30, 50, validate_every=5, validation=1).run(9, 2, [2.0])
    assert at == (0, 6)
    assert line == "about 50 minutes in all: 30 epochs of 50 steps of 2 s, and 7 validations of 2 s"


@pytest.mark.parametrize(("seconds", "told"), [(0.25, False), (0.3, True)])
def test_short_trainings_are_left_alone(seconds, told):
    lines = Training(2, 105).run(0.5, seconds, [0.1])
    assert [line for _, line in lines] == [
        "about 63 seconds in all: 2 epochs of 105 steps of 0.3 s, and 3 validations of 0 s"
    ] * told


def test_one_step_an_epoch():
    """Steps of several epochs are timed, without the validations between them."""
    [(at, line)] = Training(100, 1, validation=2).run(20, 4, [6.0], after=2)
    # 28 s of validations are timed, 8 s each, when 32 s of training are.
    assert at == (3, 1)
    assert (
        line == "about 20 minutes in all: 100 epochs of 1 step of 4 s, and 101 validations of 8 s"
    )


def test_words():
    seconds = (61, 119.4, 150, 5399, 5400, 9000, 50_400, 259_000, 345_600)
    assert [in_words(second) for second in seconds] == [
        *("61 seconds", "119 seconds", "2 minutes", "90 minutes", "1.5 hours", "2.5 hours"),
        *("14 hours", "72 hours", "4 days"),
    ]


class Images:
    def __init__(self, *sizes):
        self.sizes = sizes

    def __len__(self):
        return len(self.sizes)

    def size(self, index):
        return self.sizes[index]


def job_of(tmp_path, strategy=None, recipe="folder", images=367, **settings):
    """A training on CamVid's sizes whose network has not been built."""
    settings = resolve(recipe, dataset="shapes", **settings)
    train, val = (Images(*[(360, 480)] * count) for count in (images, 101))
    dataset = Dataset("camvid", [""] * 11, [(0, 0, 0)] * 11, {"train": train, "val": val})
    strategy = strategy or tf.distribute.MirroredStrategy(["CPU:0"])
    length = settings.length(images)
    return TrainingJob(
        Run(tmp_path), settings, dataset, train, val, strategy, None, *length, backup_steps=None
    )


def products(job, rate=131e9):
    """At the speed of docs/performance.md's processor."""
    return warn_of_cost(job, lambda: rate)


def test_a_full_vgg16_without_a_gpu(tmp_path):
    """benchmarks/README.md measures 3.07 s an image in batches of four, and 3.37 s for one.

    Four times 134 million weights in float32 are 2.15 GB, 8 images' activations 1.77 GB by `bench
    cost`, which 1.9 times are taken of; with all besides 6.7 GB. (`train.py --dataset CamVid
    --recipe folder --weights none --steps 3` showed 6.4 GB.) At 22 images of `light` a second 18350
    take 14 minutes, and the others a third of that for 1.69 times the pixels.
    """
    first, second = products(job_of(tmp_path, weights="none"))
    assert first == (
        "VGG16 without a GPU: about 3.1 s an image, 18 hours for these 18350 images and 5050 to "
        "validate on, and 7 GB of memory"
    )
    assert second == (
        "--recipe light does as many in about 36 minutes: MobileNetV2, from ImageNet weights"
    )


def test_memory_of_smaller_batches(tmp_path):
    """docs/performance.md measures 2.9 GB for one image of 500x500, by Adam, which has a moment of
    0.5 GB more, and without the libraries.
    """
    lines = products(job_of(tmp_path, recipe="voc-fcn8s", crop_size=(500, 500)))
    assert "and 4 GB of memory" in lines[0]


def test_whole_images_are_those_of_the_set(tmp_path):
    """360x480 pixels are 1.69 times 320x320, but the padding is in both: 1.5 times the work."""
    first, _ = products(job_of(tmp_path, recipe="voc-fcn8s"))
    assert "about 4.7 s an image" in first


def test_a_depth_image_has_no_light_network(tmp_path):
    [line] = products(job_of(tmp_path, variant="fcn32s-hha", weights="none"))
    assert line.startswith("VGG16 without a GPU: about 3")


@pytest.mark.parametrize(
    "settings",
    [
        dict(recipe="small"),
        dict(variant="fcn-alexnet"),
        dict(epochs=1),  # 22 minutes
        dict(precision="mixed_bfloat16"),
    ],
)
def test_what_is_not_slow_or_not_known(tmp_path, settings):
    assert products(job_of(tmp_path, **settings)) == []


def test_nothing_is_told_again_where_a_training_goes_on(tmp_path):
    job = job_of(tmp_path)
    (tmp_path / "backup").mkdir()  # as it is before the first backup
    assert products(job)
    (tmp_path / "backup" / "checkpoint").touch()
    assert products(job) == []


def strategy_of(device, replicas=1, machines=1):
    extended = SimpleNamespace(
        worker_devices=(f"/job:worker/device:{device}:0",) * replicas, should_checkpoint=True
    )
    return SimpleNamespace(extended=extended, num_replicas_in_sync=replicas * machines)


def test_machines_share_the_work_and_logical_cpus_do_not(tmp_path):
    one, two = (
        products(job_of(tmp_path, strategy_of("CPU", *shape)))[0] for shape in ((2, 1), (1, 2))
    )
    assert "3.1 s an image, 18 hours" in one and "1.6 s an image, 9" in two


def test_nothing_is_measured_for_a_gpu(tmp_path):
    def measured():
        raise AssertionError

    assert warn_of_cost(job_of(tmp_path, strategy_of("GPU")), measured) == []


def test_the_rate_of_a_product():
    assert 1e6 < product_rate(64, 0.001) < 1e14


def test_an_estimate_knows_its_images(tmp_path):
    """101 images of 1.69 times a crop, forward alone, at 8 a step: 7.1 steps."""
    estimate = estimate_for(job_of(tmp_path), Position(3, 5))
    assert (estimate.epochs, estimate.steps, estimate.done) == (50, 46, 3 * 46 + 5)
    assert estimate.guess == pytest.approx(101 * (360 * 480) / (320 * 320) / 3 / 8)


def test_the_bar_tells(tmp_path, capsys):
    """Of a training whose clock stands still but for what is set here."""
    bar = TrainingBar(job_of(tmp_path), Position())
    bar.set_model(SimpleNamespace(waited=0.0))
    now = [0.0]
    bar.estimate.clock = lambda: now[0]
    bar.estimate.began = bar.estimate.last = 0.0
    bar.on_epoch_begin(0)
    for batch in range(4):
        now[0] += 20
        bar.on_train_batch_end(batch, {"loss": 1.0})
    for batch in range(2):
        now[0] += 900
        bar.on_test_batch_end(batch)
    bar.on_epoch_begin(1)
    bar.bar.close()
    # 46 * 50 * 20 s and 51 * 7.1 * 20 s; then 50 validations of 1800 s are left, and so are 2296
    # steps when 80 + 1800 s have passed.
    assert capsys.readouterr().out.splitlines() == [
        "about 15 hours in all: 50 epochs of 46 steps of 20 s, and 51 validations of 142 s",
        "now about 38 hours in all: 50 epochs of 46 steps of 20 s, and 51 validations of 1800 s",
    ]
