"""A new recipe is one new file, and so can be what it trains on: nothing is entered elsewhere."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers.folders import ROOT

RECIPE = '''"""Blobs, as small as can be.

    python train.py --recipe my-blobs
"""

SETTINGS = dict(
    dataset="blobs",
    weights="none",
    geometry="same",
    width=1 / 64,
    epochs=1,
    batch_size=3,
    crop_size=(32, 32),
)
'''


@pytest.fixture(scope="module")
def run_package(tmp_path_factory):
    """A function that runs a command of a copy of the package with a recipe and a set more."""
    root = tmp_path_factory.mktemp("copy")
    package = shutil.copytree(ROOT / "fcn_keras", root / "fcn_keras")
    (package / "recipes" / "my_blobs.py").write_text(RECIPE)
    builders = package / "data" / "tfds" / "builders"
    new = shutil.copytree(builders / "shapes", builders / "blobs")
    (new / "shapes_dataset_builder.py").rename(new / "blobs_dataset_builder.py")
    for path in new.glob("*.py"):
        text = path.read_text().replace("shapes", "blobs").replace("2000", "6").replace("300", "3")
        path.write_text(text)

    # Help is not broken within names where a line is long enough.
    environment = {
        "TFDS_DATA_DIR": str(root / "data"),
        "CUDA_VISIBLE_DEVICES": "",
        "COLUMNS": "999",
    }

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "fcn_keras", *words],
            cwd=root,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, root

    return run


def test_a_new_recipe_is_listed(run_package):
    text = " ".join(run_package("train", "--help")[0].split())
    assert "settings to start from: shapes, light, folder, small, my-blobs, nyud-" in text


@pytest.mark.slow
def test_a_new_recipe_trains(run_package):
    output, root = run_package("train", "--recipe", "my-blobs")
    assert "settings (recipe my-blobs):" in output
    run = root / "runs" / "blobs-fcn8s"
    settings = json.loads((run / "config.json").read_text())["settings"]
    assert (settings["dataset"], settings["width"]) == ("blobs", 1 / 64)
    scores = json.loads((run / "metrics.json").read_text())
    assert sum(map(sum, scores["confusion"])) > 0
