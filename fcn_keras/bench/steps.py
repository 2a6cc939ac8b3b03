"""What a training step takes on this machine, in seconds and in memory, setting by setting.

Each measurement has a process of its own, `python -m fcn_keras.bench.steps`, which reads what
to measure as JSON and prints what it found: memory that a process has had once it may keep.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from fcn_keras.bench.peers.plan import plan
from fcn_keras.bench.peers.training import STEPS, time_steps
from fcn_keras.errors import UserError
from fcn_keras.system import processor
from fcn_keras.system.progress import progress_bar
from fcn_keras.training.settings import Settings

PARTS = 4  # batches that the table's larger batch is made of

COMPARED = (
    "seconds_per_image",
    "cpu_seconds_per_image",
    "process_bytes",
    "step_bytes",
    "tensor_bytes",
)


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
        `fcn_keras.bench.peers.training.STEPS`.
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

    def __str__(self):
        words = [self.precision, f"batch {self.batch_size}"]
        if self.accumulate > 1:
            words[1] = f"{self.accumulate} batches of {self.batch_size}"
        if self.remat:
            words.append("remat")
        if not self.elide_padding:
            words.append("no elision")
        if self.peer:
            words.insert(0, STEPS[self.peer][0])
        return ", ".join(words)


@dataclass
class Row:
    """A step, and what its processes measured.

    Attributes:
        step: what was measured.
        seconds: of every step of every process but the first one of each.
        cpu_seconds: of all cores, the same steps. On a machine that does other work too they
            vary less.
        process: bytes at the most during the steps, beyond those before the network was built;
            one figure of each process.
        steps: the same beyond those before the first step.
        tensors: those of TensorFlow's tensors alone, beyond those before the first step; nothing
            where they are not counted. They vary less from one process to the next.
        error: why there is nothing, in one line.
    """

    step: Step
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    process: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    tensors: list[int] = field(default_factory=list)
    error: str = ""


def steps_to_compare(first: Step) -> list[Step]:
    """Returns the steps of the table: `first`, and it with one thing after the other changed."""
    batch = replace(first, batch_size=PARTS * first.batch_size)
    return [
        first,
        replace(first, elide_padding=False),
        replace(first, precision="mixed_bfloat16"),
        replace(first, precision="mixed_float16"),
        replace(first, remat=True),
        replace(first, accumulate=PARTS),
        batch,
        replace(batch, remat=True),
    ]


def peers_to_compare(first: Step) -> list[Step]:
    """Returns `first`, and the same work done by others.

    Raises:
        UserError: if the others do not have the network.
    """
    plan(first.variant)
    return [first, *(replace(first, peer=peer) for peer in STEPS)]


def bench_training(steps: list[Step], rounds: int = 2, times: int = 2) -> list[Row]:
    """Measures training steps in turns, each time in a new process.

    Args:
        steps: what to measure; ratios are to the first.
        rounds: how many processes each has.
        times: how many steps a process takes the time of, fewer if they are slow; it makes one
            more before, which compiles.

    Returns:
        A row for each step. One that fails, for want of memory, say, says why.

    Raises:
        UserError: if the first step fails, which all others are compared with.
    """
    rows = [Row(step) for step in steps]
    with progress_bar("bench train", rounds * len(rows), "process") as bar:
        for _ in range(rounds):
            for row in rows:
                bar.set_postfix_str(str(row.step))
                if not row.error:
                    _measure_aside(row, times)
                if rows[0].error:
                    raise UserError(f"{rows[0].step} cannot be measured: {rows[0].error}")
                bar.update()
    return rows


def _measure_aside(row, times):
    # Where the package is not installed, the process must find it as this one did.
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    if row.step.peer == "keras":  # with TensorFlow as it comes
        environment.pop(processor.ONEDNN, None)
    # PyTorch cannot be relied on to run where TensorFlow has been imported.
    torch = row.step.peer and row.step.peer.startswith("torch")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "fcn_keras.bench.peers.training" if torch else "fcn_keras.bench.steps",
        ],
        input=json.dumps({"step": asdict(row.step), "times": times}),
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode < 0:
        row.error = f"killed by signal {-done.returncode}"
        if done.returncode == -9:
            row.error += ", as the system does where memory has run out"
    elif done.returncode:
        row.error = (done.stderr.strip().splitlines() or ["no message"])[-1]
    else:
        found = json.loads(done.stdout.splitlines()[-1])
        row.seconds += found["seconds"]
        row.cpu_seconds += found["cpu_seconds"]
        row.process.append(found["process"])
        row.steps.append(found["steps"])
        if found.get("tensors") is not None:
            row.tensors.append(found["tensors"])


def measure(step: Step, times: int) -> dict:
    """Makes training steps in this process, on its first GPU or else its CPU.

    Args:
        step: what a step is.
        times: how many steps to take the time of, unless they take long.

    Returns:
        `seconds` and `cpu_seconds`, lists; `process`, `steps` and `tensors`, see `Row`.
    """
    from fcn_keras.system.memory import (
        forget_peak,
        memory_in_use,
        peak_memory,
        peak_of_tensors,
        tensors_in_use,
    )

    batch = make_batch(step)
    built = memory_in_use()
    train = STEPS[step.peer][1](step) if step.peer else make_trainer(make_task(step))
    started, tensors = memory_in_use(), tensors_in_use()
    forget_peak()
    found = time_steps(train, batch, times)
    peak = peak_memory()
    grown = None if tensors is None else peak_of_tensors() - tensors
    return found | {"process": peak - built, "steps": peak - started, "tensors": grown}


def make_batch(step):
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    channels = 6 if "color-hha" in step.variant else 3
    shape = (step.images, *step.size)
    images = tf.random.uniform((*shape, channels), 0, 256, "int32")
    labels = tf.random.uniform((*shape, 1), 0, step.num_classes, "int32")
    return tf.cast(images, "uint8"), tf.cast(labels, "uint8")


def make_task(step):
    """Builds what `fcn_keras.train` would train, with Adam and from random weights."""
    import keras

    from fcn_keras.models.fcn import build
    from fcn_keras.training.adam import Adam
    from fcn_keras.training.task import SegmentationTask

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(step.precision)
    try:
        network = build(
            step.variant,
            step.num_classes,
            weights=None,
            width=step.width,
            elide_padding=step.elide_padding,
        )
        task = SegmentationTask(network, micro_batch=step.batch_size, remat=step.remat)
        task.compile(Adam(1e-4), jit_compile=False)
    finally:
        keras.config.set_dtype_policy(policy)
    return task


def make_trainer(task) -> Callable:
    """Returns a function that makes a training step on a batch, and waits until it is done."""
    task.make_train_function(force=True)
    function = task.train_function

    def train(batch):
        return function(iter([batch]))["loss"].numpy()

    return train


def as_json(rows: list[Row]) -> list[dict]:
    """Returns the rows with their medians, and the ratios of these to the first row's.

    Times are compared by image, as a step may have more images than the first one's.
    """
    found = []
    for row in rows:
        entry = {"name": str(row.step), "step": asdict(row.step), "images": row.step.images}
        if row.error:
            found.append(entry | {"error": row.error})
            continue
        entry |= {
            "seconds": statistics.median(row.seconds),
            "seconds_per_image": statistics.median(row.seconds) / row.step.images,
            "cpu_seconds_per_image": statistics.median(row.cpu_seconds) / row.step.images,
            "process_bytes": statistics.median(row.process),
            "step_bytes": statistics.median(row.steps),
            "tensor_bytes": statistics.median(row.tensors) if row.tensors else None,
        }
        first = found[0] if found else entry
        entry["ratios"] = {
            name: entry[name] / first[name] if entry[name] and first[name] else None
            for name in COMPARED
        }
        entry["measured"] = {
            "seconds": row.seconds,
            "cpu_seconds": row.cpu_seconds,
            "process_bytes": row.process,
            "step_bytes": row.steps,
            "tensor_bytes": row.tensors,
        }
        found.append(entry)
    return found


def table(rows: list[dict]) -> str:
    """Returns what `as_json` gave as a table for people."""
    width = max(len(row["name"]) for row in rows)
    titles = ("s/step", "s/image", "CPU s", "MiB", "step MiB", "tensors")
    titles = [titles[0], *(word for title in titles[1:] for word in (title, "ratio"))]
    lines = [" ".join([" " * width, *(f"{title:>8}" for title in titles)])]
    for row in rows:
        if "error" in row:
            lines.append(f"{row['name']:{width}}  not measured: {row['error']}")
            continue
        cells = [f"{row['seconds']:8.3f}"]
        for name in COMPARED:
            found, ratio = row[name], row["ratios"][name]
            cell = (
                ""
                if found is None
                else f"{found / 2**20:.0f}"
                if "bytes" in name
                else f"{found:.3f}"
            )
            cells += [f"{cell:>8}", f"{'' if ratio is None else f'{ratio:.2f}x':>8}"]
        lines.append(" ".join([f"{row['name']:{width}}", *cells]))
    return "\n".join(
        [
            *lines,
            "CPU s: of all cores, by image. MiB: at the most during the steps, beyond those before",
            "the network was built; step MiB: beyond those before the first step; tensors: the MiB",
            "of TensorFlow's tensors alone, likewise. Ratios: of what stands before them, to the",
            "first row.",
        ]
    )


def _main():
    asked = json.load(sys.stdin)
    # The step has become lists by JSON.
    step = Step(**asked["step"] | {"size": tuple(asked["step"]["size"])})
    print(json.dumps(measure(step, asked["times"])))


if __name__ == "__main__":
    _main()
