"""Commands on files, folders and classes that are called anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import write_squares
from helpers.names import BYTES, NAMES
from helpers.networks import scatter_scores, small
from PIL import Image

from fcn_keras.data.registry import load_dataset
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.system.spelling import valid_text
from fcn_keras.training.run import Run

# As a spreadsheet, a page, a formula, a format or a terminal would take them for something.
CLASSES = [
    "a,b \"c\" 'd'; =1+1 <b> & 100% %s {x} $x_1$ \\frac{",
    "\U0001f600 \u05d0\u05d1 \u00fc" * 30,
]


@pytest.fixture(scope="module")
def network():
    return scatter_scores(small("fcn32s", num_classes=2, width=1 / 32))


@pytest.fixture
def session(tmp_path, monkeypatch, network):
    """A function that makes a data set `data<name>` and a run on it, `run<name>`."""
    monkeypatch.chdir(tmp_path)

    def make(name):
        data = write_squares(tmp_path / f"data{name}", train=1, val=1)
        (data / "dataset.json").write_text(json.dumps({"classes": CLASSES}))
        for folder in ("val", "valannot"):
            (data / folder / "0.png").rename(data / folder / f"0{name}.png")
        settings = resolve("small", dataset=f"data{name}")
        run = Run(f"run{name}")
        run.start(settings, load_dataset(settings.dataset))
        network.save(run.path / "best.keras")
        return settings.dataset, str(run.path)

    return make


# All at once, and each alone.
ALL = "".join(NAMES.values())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(ALL, id="all"),
        *(pytest.param(name, id=id, marks=pytest.mark.slow) for id, name in NAMES.items()),
    ],
)
def test_all_commands(session, run_command, name):
    data, run = session(name)

    def fcn(*words):
        code, out, err = run_command(*words)
        assert code == 0, err
        return out

    assert "100% %s {x} $x_1$" in fcn("data", "check", data, "--figure", f"classes{name}.svg")
    fcn("data", "show", data, "--output", f"photos{name}.png")
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
    scores = json.loads(fcn("evaluate", f"../{run}/", "--json"))
    os.chdir("..")
    assert [*scores["per_class_iu"]] == CLASSES
    fcn("predict", run, f"{data}/val", f"--output=by{name}")
    predicted = ("evaluate", "--predictions", f"by{name}", "--dataset", data)
    assert json.loads(fcn(*predicted, "--json")) == scores
    assert CLASSES[0] in fcn(*predicted)
    fcn("export", run, f"exported{name}", "--license", name)
    assets = Path(f"exported{name}", "1", "assets")
    assert json.loads((assets / "classes.json").read_text("utf-8"))["classes"] == CLASSES
    assert (assets / "license.txt").read_text("utf-8") == valid_text(name) + "\n"
    fcn("predict", f"exported{name}", f"{data}/val/0{name}.png", f"--output=-{name}")
    maps = [np.asarray(Image.open(f"{folder}{name}/0{name}.png")) for folder in ("by", "-")]
    assert (maps[0] == maps[1]).mean() > 0.999
    fcn("convert", f"{run}/best.keras", f"converted{name}.weights.h5")
    assert not [path for path in Path(".").rglob(".*")]


# Python's own ways to an output, or to names of files, of ASCII.
ASCII = {"output": {"PYTHONIOENCODING": "ascii"}, "locale": {"LC_ALL": "C", "PYTHONUTF8": "0"}}


@pytest.mark.parametrize("ascii", ASCII.values(), ids=ASCII)
def test_terminals_that_are_ascii(session, ascii):
    """A second process opens what a first one made in UTF-8."""
    data, run = session("\u00fc" + BYTES)

    def fcn(*words):
        return subprocess.run(
            [sys.executable, "-m", "fcn_keras", *words],
            env={**os.environ, **ascii},
            capture_output=True,
        )

    for words in (
        ("data", "check", data),
        ("predict", run, f"{data}/val", "--output", f"to{BYTES}"),
    ):
        process = fcn(*words)
        assert process.returncode == 0, process.stderr
    # What is wrong with a name is told, too.
    process = fcn("predict", run, f"\u00fc{BYTES}.png", "--output", "to")
    assert process.returncode == 2 and b"Stra\\xdfe" in process.stderr.replace(b"udc", b"x")


@pytest.mark.parametrize(
    "words, hint",
    [
        (("train", "--run-dir", "-x"), "write --run-dir=VALUE where it begins with a dash"),
        (("predict", "run", "-photo", "--output", "o"), "write ./-photo for the file"),
        (("evaluate", "-photo"), "write ./-photo for the file of that name"),
    ],
)
def test_names_that_begin_with_a_dash(run_command, tmp_path, monkeypatch, words, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-photo").touch()
    code, _, err = run_command(*words)
    assert code == 2 and hint in err and err.count("\n") == 1
