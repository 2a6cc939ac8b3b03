"""A point of a curve in a process of its own, `python -m fcn_keras.bench.growth.work`.

It reads a job as JSON (see `fcn_keras.bench.growth.curves.job_of`), and prints how many seconds it
took, and the most memory that the process had. What it works on has been written before, by the
job "write".
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fcn_keras.bench.growth.curves import Asked, side_of
from fcn_keras.bench.growth.handling import HANDLING, NETWORK, write_folder
from fcn_keras.system.console import quiet
from fcn_keras.system.memory import process_memory

# Seconds after which nothing is run once more: what a first run takes beside is small then.
PATIENCE = 10.0

# Runs that are timed of what takes no longer than a few hundredths of a second.
RUNS = 9

# The folder of a few images whose handling comes before the one that counts.
_FIRST = "first"

# Pixels of the random picture that large images repeat.
_PICTURE = 512

Run = Callable[[], object]


def write(asked: Asked, folder: Path) -> None:
    """Writes all that the jobs of a kind work on."""
    if asked.kind == "images":
        for size in asked.sizes:
            write_folder(folder / f"{size:g}", int(size))
        write_folder(folder / _FIRST, 10)
        _write_network(folder / NETWORK, 3, variant="fcn32s", width=0.03125)
    elif asked.kind in ("tiled", "whole"):
        _write_network(folder / NETWORK, asked.num_classes, **asked.network)
        for size in asked.sizes:
            _write_image(folder / f"{size:g}.tif", side_of(size))


def _write_network(file: Path, num_classes: int, **options: Any) -> None:
    """Writes a network of random weights, and keeps its graph, as its first `predict` does."""
    import keras

    from fcn_keras.inference.opening import open_network
    from fcn_keras.models.fcn import build

    keras.utils.set_random_seed(0)
    build(num_classes=num_classes, weights=None, **options).save(file)
    open_network(file)


def _write_image(file, side):
    from PIL import Image

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (_PICTURE, _PICTURE, 3), "uint8")
    times = -(-side // _PICTURE)
    Image.fromarray(np.tile(picture, (times, times, 1))[:side, :side]).save(file)


def label(asked: Asked, at: float, folder: Path) -> Run:
    """Labels an image as `predict` does, and writes its label map."""
    from fcn_keras.inference.opening import open_network
    from fcn_keras.inference.outputs import Outputs
    from fcn_keras.inference.predict import predict

    tile = asked.tile if asked.kind == "tiled" else None
    segmenter = open_network(folder / NETWORK, tile=tile)

    def run():
        with tempfile.TemporaryDirectory(dir=folder) as output:
            names = segmenter.classes, segmenter.colors
            predict(segmenter, [folder / f"{at:g}.tif"], output, *names, outputs=Outputs(("mask",)))

    return run


def forward(asked: Asked, at: float, folder: Path) -> Run:
    """Labels an image by a network of so many classes."""
    import keras

    from fcn_keras.inference.opening import open_network
    from fcn_keras.models.fcn import build

    keras.utils.set_random_seed(0)
    segmenter = open_network(build(num_classes=int(at), weights=None, **asked.network))
    image = np.random.default_rng(0).integers(0, 256, (*asked.size, 3), "uint8")
    return lambda: segmenter.label([image])


def step(asked: Asked, at: float, folder: Path) -> Run:
    """Makes a training step with so many classes."""
    from fcn_keras.bench.peers.training import make_batch, make_task, make_trainer

    measured = _step(asked, at)
    train, batch = make_trainer(make_task(measured)), make_batch(measured)
    return lambda: train(batch)


def scores(asked: Asked, at: float, folder: Path) -> Run:
    """Counts the pixels of an image for the scores of so many classes, and computes these."""
    import tensorflow as tf

    from fcn_keras.bench.peers.training import make_batch, make_task

    measured = _step(asked, at)
    task, (_, labels) = make_task(measured), make_batch(measured)
    logits = tf.random.stateless_normal((*labels.shape[:3], int(at)), (0, 1))
    update, result = tf.function(task.count_pixels), tf.function(task.score_metric.result)

    def run():
        update(logits, labels)
        return result()["mean_iu"].numpy()

    return run


def _step(asked, at):
    from fcn_keras.bench.steps import Step

    return Step(
        asked.variant, asked.width, tuple(asked.size), num_classes=int(at), backbone=asked.backbone
    )


JOBS = {"label": label, "forward": forward, "step": step, "scores": scores}


def measure(job: dict, folder: Path) -> dict[str, float]:
    """Does a job, and takes its time: of a short one the median of several runs, but for the first.

    So what happens once, whatever there is to do, is not in its seconds. Where images grow, the
    first run is of a few, and one is timed.

    Returns:
        `seconds`, `peak_bytes` of the process; and what they should go by, `work` and `held`: the
        size; of tiles the megapixels that the network sees, in all and of the largest tile.
    """
    asked, name, at = Asked(**job["asked"]), job["job"], job["at"]
    if name in HANDLING:
        HANDLING[name](folder / _FIRST)
        seconds = _timed(partial(HANDLING[name], folder / f"{at:g}"))
    else:
        seconds = _median(JOBS[name](asked, at, folder))
    peak = process_memory().peak
    work, held = _seen(asked, at, folder) if asked.kind == "tiled" else (at, at)
    return {"seconds": seconds, "peak_bytes": peak, "work": work, "held": held}


def _median(run: Run) -> float:
    """The median seconds of a few runs but the first, which is enough if it is long."""
    first = _timed(run)
    if first > PATIENCE:
        return first
    runs = [_timed(run)]
    while len(runs) < RUNS and sum(runs) < PATIENCE / 4:
        runs.append(_timed(run))
    return statistics.median(runs)


def _timed(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _seen(asked, at, folder):
    """How many megapixels a network sees of an image in tiles, twice counted twice; and at once."""
    from fcn_keras.inference.network import load_network
    from fcn_keras.inference.tiling import Tiling

    tiling = Tiling(load_network(folder / NETWORK).model, asked.tile)
    sides = [seen.stop - seen.start for seen, _, _ in tiling.parts(side_of(at))]
    return sum(sides) ** 2 / 1e6, max(sides) ** 2 / 1e6


if __name__ == "__main__":
    told = json.load(sys.stdin)
    with quiet(debug=False, tensorflow=False):
        if told["job"] == "write":
            write(Asked(**told["asked"]), Path(sys.argv[1]))
        else:
            print(json.dumps(measure(told, Path(sys.argv[1]))))
