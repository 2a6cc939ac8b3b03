"""The command `data bounds`."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.folders import paths
from PIL import Image

from fcn_keras import load_dataset

WITHOUT_TENSORFLOW = (
    "import sys; from fcn_keras import cli; code = cli.main(); "
    "assert not {'tensorflow', 'keras'} & {*sys.modules}; exit(code)"
)


def write_objects(root):
    """Sixteen by sixteen pixels: an object of two pixels in train, of the upper half in val."""
    for split in ("train", "val"):
        mask = np.zeros((16, 16), "uint8")
        mask[3, 2:4] = 1
        if split == "val":
            mask[:8] = 1
        for path in paths(root, "annot", split, "a"):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)
    about = {"name": "specks", "classes": ["ground", "object"]}
    (root / "dataset.json").write_text(json.dumps(about))
    return root


@pytest.fixture
def root(tmp_path):
    return write_objects(tmp_path / "photos")


def test_table(root, tmp_path):
    """A process of its own: TensorFlow is not imported, and nothing but the table printed."""
    figure = tmp_path / "figures" / "bounds.png"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, "data", "bounds", root, "--output", figure],
        env={name: value for name, value in os.environ.items() if not name.startswith("TF_")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    title, _, *lines = done.stdout.splitlines()
    assert title.startswith("specks, val, 1 image:")
    # At 16 and 32 both are halves of the only cell. Of cells of 8 and 4 each is of one class.
    assert [line.split() for line in lines] == [
        "class stride 32 stride 16 stride 8 stride 4 stride 1".split(),
        ["ground", "0.50000", "0.50000", "1.00000", "1.00000", "1.00000"],
        ["object", "0.00000", "0.00000", "1.00000", "1.00000", "1.00000"],
        ["mean", "IU", "0.25000", "0.25000", "1.00000", "1.00000", "1.00000"],
    ]
    with Image.open(figure) as picture:
        assert picture.format == "PNG"


def test_json(run_command, root):
    code, out, err = run_command("data", "bounds", root, "--split", "train", "--json")
    assert (code, err) == (0, "")
    about = json.loads(out)
    bounds = about.pop("bounds")
    assert about == {"dataset": "specks", "split": "train", "images": 1}
    assert [*bounds] == ["32", "16", "8", "4", "1"]
    assert bounds["8"]["per_class_iu"] == {"ground": 254 / 256, "object": 0}
    assert bounds["8"]["confusion"] == [[254, 0], [2, 0]]
    assert bounds["1"]["mean_iu"] == 1


def test_broken_mask(run_command, root, tmp_path):
    broken = root / "valannot" / "a.png"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    code, out, err = run_command("data", "bounds", root, "--output", tmp_path / "bounds.png")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {broken}: ") and err.count("\n") == 1
    assert not (tmp_path / "bounds.png").exists()
    # It is in no way of the other split.
    assert run_command("data", "bounds", root, "--split", "train")[0] == 0


def test_several_faults(run_command, root):
    """All are told at once, as by `data check`."""
    Image.new("RGB", (16, 16)).save(root / "val" / "b.png")
    for name, size in (("a", (16, 16)), ("b", (16, 9))):
        Image.new("L", size, 9).save(root / "valannot" / f"{name}.png")
    code, out, err = run_command("data", "bounds", root)
    assert (code, out) == (2, "")
    assert "3 faults" in err
    for fault in ("a.png: holds 9", "b.png: holds 9", "b.png: has 16x9 pixels"):
        assert fault in err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "NAME_OR_DIR"),
        (["nowhere"], "NAME_OR_DIR: must be one of"),
        (["photos", "--split", "test"], "--split: must be one of train, val. Received: 'test'"),
        (["photos", "--output", "bounds.jpeg"], "must end in .png, .pdf or .svg"),
    ],
)
def test_mistakes(run_command, root, monkeypatch, words, expected):
    monkeypatch.chdir(root.parent)
    code, out, err = run_command("data", "bounds", *words)
    assert (code, out) == (2, "")
    assert expected in err and err.count("\n") == 1


def test_registered_data_sets(run_command, root, monkeypatch):
    """They are opened where it is said, and what preparing prints is no part of the JSON."""
    calls = []

    def load(*args):
        calls.append(args)
        print("preparing the data set")
        return load_dataset(root)

    monkeypatch.setattr("fcn_keras.data.source.load_dataset", load)
    where = ("--data-dir", "sets", "--manual-dir", "fetched")
    code, out, _ = run_command("data", "bounds", "voc2012", *where, "--json")
    assert code == 0 and json.loads(out)["bounds"]["4"]["mean_iu"] == 1
    assert calls == [("voc2012", "sets", "fetched")]
