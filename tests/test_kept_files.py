"""Files that were written by version 0.1.0: they open, and are gone on with.

`kept/files.tar.gz` holds, made of its folders `data` and `photos`: the runs `finished` and `half`,
which was killed within its second epoch; `finished.weights.h5`; `exported`; and what `predict` had
written for two of the four photos when it was stopped, by the run and by the export. Files have
their times still, by which `predict` knows its images.
"""

import csv
import json
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest

from fcn_keras import build, load_network
from fcn_keras.data.files.images import read_image
from fcn_keras.inference.c_library.saved_model import Exported

ARCHIVE = Path(__file__).parent / "kept" / "files.tar.gz"
SETTINGS = (
    *("--dataset", "data", "--recipe", "small", "--width", "0.00390625", "--epochs", "3"),
    *("--batch-size", "2", "--crop-size", "16x24", "--validate-every", "1"),
    *("--backup-steps", "2", "--learning-rate", "0.01"),
)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder with the files, which commands are called in."""
    with tarfile.open(ARCHIVE) as archive:
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def images(kept):
    return np.stack([read_image(path) for path in sorted((kept / "photos").iterdir())])


def test_a_finished_run_is_known(kept, run_command):
    code, out, err = run_command("train", *SETTINGS, "--run-dir", "finished")
    assert code == 0, err
    assert "finished has finished already (--fresh starts it anew)" in out
    mean_iu = json.loads((kept / "finished/metrics.json").read_text())["mean_iu"]
    assert f"{mean_iu:.5f}" in out


def test_a_finished_run_scores_as_it_did(kept, run_command):
    code, out, err = run_command("evaluate", "finished", "--json")
    assert code == 0, err
    expected = json.loads((kept / "finished/metrics.json").read_text())
    assert json.loads(out) == expected | {"confusion": json.loads(out)["confusion"]} or np.allclose(
        json.loads(out)["confusion"], expected["confusion"], atol=2
    )  # a pixel or two between two classes, by another processor's rounding


def test_a_run_that_was_killed_goes_on(kept, run_command):
    with open(kept / "half/log.csv", newline="") as file:
        before = list(csv.DictReader(file))
    assert len(before) == 1
    code, out, err = run_command("train", *SETTINGS, "--run-dir", "half")
    assert code == 0, err
    assert "going on after epoch 1 of 3, step 2 of 3" in out
    with open(kept / "half/log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {name: float(cell) for name, cell in before[0].items()} == {
        name: float(rows[0][name])
        for name in before[0]  # there may be more columns now
    }
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    # As far as one that was never stopped, but for rounding on another processor.
    with open(kept / "finished/log.csv", newline="") as file:
        undisturbed = list(csv.DictReader(file))
    assert float(rows[2]["loss"]) == pytest.approx(float(undisturbed[2]["loss"]), rel=1e-2)


def test_networks_and_weights_are_one(kept, images):
    network = load_network("finished")
    assert network.classes == ["a", "b", "c"]
    scores = np.asarray(network.model(images))
    plain = keras.models.load_model("finished/best.keras")
    np.testing.assert_array_equal(plain(images), scores)
    options = dict(width=0.00390625, geometry="same", dropout=0.0)
    filled = build("fcn8s", 3, weights="finished.weights.h5", **options)
    np.testing.assert_allclose(filled(images), scores, atol=1e-5)


def test_an_export_opens(kept, images):
    exported = Exported("exported")
    assert list(exported.classes) == ["a", "b", "c"]
    expected = np.asarray(load_network("finished").model(images)).argmax(axis=-1)
    labelled = np.stack(exported.label(images))
    assert np.mean(labelled == expected) > 0.999


@pytest.mark.parametrize("network", ["finished", "exported"])
def test_label_maps_that_were_written_are_left(kept, run_command, network):
    output = kept / f"predicted-{network}"
    written = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    assert len(written) == 6
    code, out, err = run_command("predict", network, "photos", "--output", output)
    assert code == 0, err
    assert "4 label maps" in out
    now = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    assert len(now) == 13  # with the table of all together
    assert {name: now[name] for name in written} == written
