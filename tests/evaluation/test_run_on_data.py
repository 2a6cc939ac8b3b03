"""A run that is scored: on its own data wherever they are, and not on others by mistake."""

import json

import numpy as np
import pytest
from helpers.networks import small
from PIL import Image

from fcn_keras.data.dataset import Dataset
from fcn_keras.data.source import Source
from fcn_keras.demo.examples import examples_of
from fcn_keras.errors import UserError
from fcn_keras.inference.network import load_network
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.run import Run

CLASSES = ("sky", "road", "car")


def write_images(root, count=20):
    """A folder without splits: each image has its own number of pixels of the first class."""
    for number in range(count):
        mask = np.full(64, 1, "uint8")
        mask[: number + 1] = 0
        mask[-1] = 2
        for folder, array in (("images", np.zeros((8, 8, 3), "uint8")), ("masks", mask)):
            path = root / folder / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.reshape(8, 8, *array.shape[2:])).save(path)
    return root


def write_classes(root, classes=CLASSES, **more):
    (root / "dataset.json").write_text(json.dumps({"classes": classes, **more}))


@pytest.fixture
def run(tmp_path):
    """A run whose folder was divided by a share of its own."""
    folder = write_images(tmp_path / "data")
    write_classes(folder)
    settings = resolve("small", dataset=str(folder), val_share=0.5)
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.start(settings, Source(str(folder), 0.5).dataset)
    small("fcn32s", 3, width=1 / 32).save(run.path / "best.keras")
    return run.path


def confusion(run_command, *args):
    code, out, err = run_command("evaluate", *args, "--json")
    assert code == 0, err
    return json.loads(out)["confusion"]


def test_a_folder_that_has_moved_is_divided_as_it_was(run, tmp_path, run_command):
    before = confusion(run_command, run)
    moved = (tmp_path / "data").rename(tmp_path / "moved")
    assert confusion(run_command, run, "--dataset", moved) == before
    write_classes(moved, val_share=0.3)
    assert confusion(run_command, run, "--dataset", moved) == before
    # Which is another one than that folder has by itself.
    assert len(Source(str(moved)).dataset.splits["val"]) * 64 < np.sum(before)
    assert not {*examples_of(run)}  # they are not where they were
    # So it is of a run that was published, which does not tell of the folder.
    config = json.loads((run / "config.json").read_text())
    config["settings"]["dataset"] = None
    (run / "config.json").write_text(json.dumps(config))
    assert confusion(run_command, run, "--dataset", moved) == before
    # And with more images: which of those that there were are for training stays.
    write_images(moved, 30)
    number = len(Source(str(moved), 0.5).dataset.splits["val"])
    assert np.sum(confusion(run_command, run, "--dataset", moved)) == number * 64


def test_examples_are_none_that_were_trained_on(run, tmp_path):
    val = Source(str(tmp_path / "data"), 0.5).dataset.splits["val"]
    assert {*examples_of(run)} < {val[index].id for index in range(len(val))}
    assert len(val) > len(Source(str(tmp_path / "data")).dataset.splits["val"])


def test_a_copy_is_divided_as_it_was(run, tmp_path, run_command):
    copy = write_images(tmp_path / "copy")
    write_classes(copy)
    assert confusion(run_command, run, "--dataset", copy) == confusion(run_command, run)


def test_another_folder_is_divided_as_it_says(run, tmp_path, run_command):
    other = write_images(tmp_path / "other", 30)
    write_classes(other, val_share=0.3)
    number = len(Source(str(other)).dataset.splits["val"])
    assert np.sum(confusion(run_command, run, "--dataset", other)) == number * 64


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("car", "road", "sky"), "'car' is 2 there and 0 here"),
        (("sky", "car", "person"), "'car' is 2 there and 1 here"),
        (("sky", "road"), "tells 3 classes apart, but .* has 2"),
        (("himmel", "strasse", "auto"), None),
        (CLASSES, None),
    ],
)
def test_classes_by_number(run, classes, message):
    network = load_network(run)
    dataset = Dataset(name="x", classes=classes, colors=(), splits={})
    if message is None:
        network.check_dataset(dataset, run, "x")
    else:
        with pytest.raises(UserError, match=message):
            network.check_dataset(dataset, run, "x")


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"geo": ("flat", "steep"), "sem": CLASSES}, None),
        ({"sem": CLASSES, "geo": ("flat", "steep", "round")}, "2 classes apart in geo.* has 3"),
        ({"sem": CLASSES}, "scores the label maps geo, sem, and x has the label maps sem"),
    ],
)
def test_classes_of_every_label_map(tmp_path, heads, message):
    small("fcn32s", {"sem": 3, "geo": 2}, width=1 / 32).save(tmp_path / "net.keras")
    network = load_network(tmp_path / "net.keras")
    first = next(iter(heads.values()))
    dataset = Dataset(name="x", classes=first, colors=(), splits={}, heads=heads)
    if message is None:
        network.check_dataset(dataset, "net", "x")
    else:
        with pytest.raises(UserError, match=message):
            network.check_dataset(dataset, "net", "x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["run", "--num-classes", "3"], "--num-classes: is for --labels alone"),
        (
            ["--predictions", "a", "--dataset", "b", "--num-classes", "3"],
            "--num-classes: is for --labels alone",
        ),
        (["--predictions", "a", "--labels", "b", "--devices", "cpu:2"], "--devices: is for a net"),
        (["--predictions", "a", "--labels", "b", "--batch-size", "2"], "--batch-size: is for a"),
    ],
)
def test_options_that_would_do_nothing(run_command, options, message):
    code, out, err = run_command("evaluate", *options)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
