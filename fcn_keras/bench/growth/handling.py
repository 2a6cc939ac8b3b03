"""What commands do with a folder of very many tiny images: all but computing.

Networks are as small as may be.
"""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

# The file of a network, beside the folders.
NETWORK = "network.keras"

# Height and width of the images, how many classes they have, and of how many images one is to
# validate on.
_SIDE, _CLASSES, _VALIDATED = 16, 3, 5

# Names of one file: no file system allows any number of them.
_LINKS = 1000


def write_folder(root: Path, count: int) -> None:
    """Writes a data set of `count` images, most of which are further names of a few files."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, images in (("train", count - count // _VALIDATED), ("val", count // _VALIDATED)):
        for kind, suffix, shape, most in (
            ("images", ".png", (_SIDE, _SIDE, 3), 256),
            ("annotations", ".png", (_SIDE, _SIDE), _CLASSES),
        ):
            folder = root / kind / split
            folder.mkdir(parents=True)
            for number in range(images):
                path = folder / f"{split}_{number:07d}{suffix}"
                if number % _LINKS == 0:
                    first = path
                    Image.fromarray(rng.integers(0, most, shape, "uint8")).save(path)
                else:
                    os.link(first, path)


def _check(root: Path) -> None:
    from fcn_keras.data.inspection import inspect

    str(inspect(root, progress=False))


class _Begun(Exception):
    """The first step is done."""


def _train(root: Path) -> None:
    import keras

    from fcn_keras.recipes.common.resolving import resolve
    from fcn_keras.training.train import train

    def stop(batch, logs=None):
        raise _Begun

    settings = resolve(
        "small",
        dataset=str(root),
        width=0.0625,
        crop_size=(_SIDE, _SIDE),
        class_weights="none",
    )
    with tempfile.TemporaryDirectory(dir=root.parent) as run:
        try:
            train(
                settings, run, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=stop)]
            )
        except _Begun:
            return
    raise AssertionError("no step was made")


def _predict(root: Path, to_the_end: bool = True) -> None:
    from fcn_keras.inference.job import make_worklist
    from fcn_keras.inference.opening import open_network
    from fcn_keras.inference.outputs import Outputs
    from fcn_keras.inference.predict import label_images

    segmenter = open_network(root.parent / NETWORK)
    names = segmenter.classes, segmenter.colors
    job, outputs = segmenter.job, Outputs(("mask",))
    # What is not waited for may write once more, while the folder is deleted.
    with tempfile.TemporaryDirectory(dir=root.parent, ignore_cleanup_errors=True) as output:
        work = make_worklist([root / "images" / "train"], output, job, outputs=outputs)
        labelled = label_images(segmenter, work.pending, output, *names, job=job, outputs=outputs)
        if to_the_end:
            work.finish(labelled, names[0])
        else:
            next(labelled)
            del labelled  # which ends its threads


def _evaluate(root: Path) -> None:
    from fcn_keras.data.batches import evaluation_batches, evaluation_steps
    from fcn_keras.data.source import Source

    source = Source(root)
    split = source.dataset.splits["val"]
    source.check(("val",))
    assert evaluation_steps(split, 2)
    next(iter(evaluation_batches(split, 2)))


HANDLING: dict[str, Callable[[Path], None]] = {
    "check": _check,
    "train": _train,
    "predict_start": partial(_predict, to_the_end=False),
    "predict": _predict,
    "evaluate": _evaluate,
}
