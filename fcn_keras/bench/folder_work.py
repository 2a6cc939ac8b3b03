"""A process that labels a folder of photographs, `python -m fcn_keras.bench.folder_work`.

It reads a line of JSON, `Work`, and answers by a line when it is ready: how many classes the
network has. Then it answers each line that it reads, the name of a way to label the photographs, by
how many were labelled in how many seconds.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fcn_keras.errors import UserError
from fcn_keras.inference.opening import open_network
from fcn_keras.inference.outputs import DEFAULT, Outputs
from fcn_keras.inference.predict import batches_of, predict
from fcn_keras.inference.segmenter import Segmenter

# Way of `predict` -> what it writes.
FORMATS = {
    "masks": ("mask",),
    "overlays": ("mask", "overlay"),
    "all": DEFAULT.formats,
}

ONE_BATCH = "one batch holds all photographs: give more, or a smaller --batch-size."

KEPT = 1 << 30  # bytes of decoded photographs


@dataclass(frozen=True)
class Work:
    """What a process is to label.

    Attributes:
        model: a run directory, a `.keras` file or an export.
        photographs: files; none for a process that only opens the network.
        output: a folder to write to.
        batch_size: images in a batch; if not given what the command takes.
        dataset: the folder data set to evaluate on; if not given, there is the bare forward pass
            and `predict`.
    """

    model: str
    photographs: tuple[str, ...] = ()
    output: str = ""
    batch_size: int | None = None
    dataset: str = ""


class Clock:
    """Takes the seconds from when the first batch is done to the end."""

    def __init__(self):
        self._started = None

    def batch_done(self, images: int) -> None:
        """Starts, at the first call.

        Args:
            images: how many were in the batch, which do not count.
        """
        if self._started is None:
            self._started = images, time.perf_counter(), time.process_time()

    def read(self, images: int) -> dict[str, float]:
        """Returns how many images there were of `images` in all, and the seconds, by the clock and
        of all cores.

        Raises:
            UserError: if there was but one batch.
        """
        ended, cpu_ended = time.perf_counter(), time.process_time()
        first, started, cpu_started = self._started or (images, ended, cpu_ended)
        if first >= images:
            raise UserError(ONE_BATCH)
        return {
            "images": images - first,
            "seconds": ended - started,
            "cpu_seconds": cpu_ended - cpu_started,
        }


class _Clocked(Segmenter):
    """A segmenter that starts a clock when it has labelled its first batch."""

    def __init__(self, segmenter, clock):
        super().__init__(segmenter.name, segmenter.classes, segmenter.colors)
        self.batch_size, self.at_once = segmenter.batch_size, segmenter.at_once
        self.segmenter, self.clock = segmenter, clock

    def label(self, images, paths=None):
        labels = self.segmenter.label(images, paths)
        self.clock.batch_done(len(images))
        return labels


def ways_to_predict(segmenter: Segmenter, work: Work) -> dict[str, Callable[[], dict]]:
    """Returns the bare forward pass and `predict` by name, warmed up.

    The forward pass has what `predict` gives its network: batches of decoded photographs, which
    are in memory.

    Raises:
        UserError: if there is but one batch.
    """
    paths = [Path(path) for path in work.photographs]
    groups = [*batches_of(paths, work.batch_size, segmenter)]
    if len(groups) < 2:
        raise UserError(ONE_BATCH)
    batches: list[np.ndarray] = []
    for group in groups:
        if sum(batch.nbytes for batch in batches) < KEPT:
            batches.append(np.stack([segmenter.images.read(path) for path in group]))

    def forward():
        clock = Clock()
        clock.batch_done(0)
        for batch in batches:
            segmenter.segment(batch)
        return clock.read(sum(map(len, batches)))

    def write(formats, paths=paths):
        clock = Clock()
        job = segmenter.job | {"classes": segmenter.classes, "colors": segmenter.colors}
        predict(
            _Clocked(segmenter, clock),
            paths,
            work.output,
            segmenter.classes,
            segmenter.colors,
            job=job,
            fresh=True,
            batch_size=work.batch_size,
            outputs=Outputs(formats),
        )
        return clock, len(paths)

    for batch in {batch.shape: batch for batch in batches}.values():
        segmenter.segment(batch)
    write(DEFAULT.formats, groups[0])

    def read(formats):
        clock, images = write(formats)
        return clock.read(images)

    return {"forward": forward} | {name: partial(read, made) for name, made in FORMATS.items()}


def way_to_evaluate(work: Work) -> tuple[int, dict[str, Callable[[], dict]]]:
    """Returns the number of classes, and `evaluate` by its name, as the command does it."""
    import keras

    from fcn_keras.data.registry import load_dataset
    from fcn_keras.evaluation.evaluate import evaluate
    from fcn_keras.inference.network import load_network

    network = load_network(work.model)
    dataset = load_dataset(work.dataset)
    network.check_dataset(dataset, work.model, "the data set of photographs")
    batch_size = work.batch_size or network.config.get("settings", {}).get("batch_size", 1)
    split = dataset.splits["val"]

    def score():
        clock = Clock()
        done = keras.callbacks.LambdaCallback(
            on_test_batch_end=lambda batch, logs=None: clock.batch_done(batch_size)
        )
        evaluate(network.full, split, batch_size, progress=False, callbacks=[done])
        return clock.read(len(split))

    return len(network.classes), {"evaluate": score}


def _main():
    # What libraries print goes to standard error; the channel is kept for answers.
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    work = Work(**json.loads(sys.stdin.readline()))
    ways: dict[str, Callable[[], dict]] = {}
    if work.dataset:
        from fcn_keras.system.memory import keep_freed_memory

        keep_freed_memory()  # as the command does
        num_classes, ways = way_to_evaluate(work)
    else:
        segmenter = open_network(work.model)
        segmenter.check_photographs("a folder of photographs")
        num_classes = len(segmenter.classes)
        ways = ways_to_predict(segmenter, work) if work.photographs else {}
    print(json.dumps({"num_classes": num_classes}), file=channel)
    for line in sys.stdin:
        print(json.dumps(ways[json.loads(line)]()), file=channel)


if __name__ == "__main__":
    _main()
