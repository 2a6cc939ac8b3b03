"""What several test files use: real data that lies beside the repository, small data sets."""

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn_keras import cli
from fcn_keras.processor import use_onednn

use_onednn()  # as all commands do, whose numbers are compared with those of tests

# What a shell runs in the background ignores Ctrl-C, and so would the commands that tests stop.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def keras_home(tmp_path_factory):
    """A folder that commands keep graphs in, instead of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("keras")
        patch.setenv("KERAS_HOME", str(home))
        yield home


@pytest.fixture
def run_command(monkeypatch, capsys):
    """Calls a command in this process; returns its exit code and what it printed."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # `main` sets it; this takes it back

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["fcn-keras", *map(str, args)])
        try:
            code = cli.main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def _shared(folder):
    path = SHARED / folder
    if not path.is_dir():
        pytest.skip(f"needs the files of ../shared/{folder}")
    return path


@pytest.fixture(scope="session")
def camvid():
    """CamVid as a folder data set: 367 images to train on, 101 to validate."""
    return _shared("data/camvid")


@pytest.fixture(scope="session")
def voc():
    """A part of PASCAL VOC 2012 in its original layout."""
    return _shared("data/VOCdevkit/VOC2012")


@pytest.fixture(scope="session")
def make_folder():
    """A function that writes a small data set of random images and masks."""
    return write_folder


def write_folder(root, train=2, val=1, layout="annot", size=(20, 28), values=3, about=None):
    """Writes `<split>_<i>.png` images with masks of values from 0 to `values` - 1.

    Args:
        root: the folder to make.
        train, val: how many images each split has; a split without images is left out.
        layout: "annot" for train + trainannot, "annotations" for images + annotations.
        size: height and width.
        values: how many values a mask has; each occurs.
        about: what `dataset.json` holds; no such file if not given.
    """
    root = Path(root)
    rng = np.random.default_rng(0)
    for split, count in {"train": train, "val": val}.items():
        for i in range(count):
            image_path, mask_path = paths(root, layout, split, f"{split}_{i}")
            mask = rng.integers(0, values, size, dtype=np.uint8)
            mask.flat[:values] = np.arange(values)
            for path, array in (
                (image_path, rng.integers(0, 256, (*size, 3), dtype=np.uint8)),
                (mask_path, mask),
            ):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    if about is not None:
        (root / "dataset.json").write_text(json.dumps(about))
    return root


def write_squares(root, train=5, val=3):
    """Writes bright squares on a dark ground, with more and more void from image to image."""
    root = Path(root)
    rng = np.random.default_rng(0)
    for split, count in {"train": train, "val": val}.items():
        for i in range(count):
            image = rng.integers(0, 80, (40, 36, 3), "uint8")
            mask = np.zeros((40, 36), "uint8")
            top, left = rng.integers(0, 20, 2)
            mask[top : top + 16, left : left + 16] = 1
            image[mask == 1] += 150
            mask[: 5 * i % 30] = 255
            for path, array in zip(paths(root, "annot", split, str(i)), (image, mask), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (root / "dataset.json").write_text(json.dumps({"classes": ["ground", "square"]}))
    return root


def paths(root, layout, split, stem):
    """Where the image and the mask of an example lie."""
    if layout == "annot":
        return root / split / f"{stem}.png", root / f"{split}annot" / f"{stem}.png"
    return root / "images" / split / f"{stem}.png", root / "annotations" / split / f"{stem}.png"
