"""Which data sets there are: those whose folders lie beside each other, and no others."""

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from helpers.folders import ROOT

from fcn_keras.data.catalog import DATASETS, list_datasets


@pytest.mark.parametrize("name", DATASETS)
def test_the_catalog_agrees_with_the_builder(tmp_path, name):
    folder, config, *_ = DATASETS[name]
    module = import_module(f"fcn_keras.data.tfds.builders.{folder}.{folder}_dataset_builder")
    builder = module.Builder(data_dir=tmp_path, config=config)
    metadata = builder.info.metadata
    maps = metadata.get("heads", {"": metadata["classes"]}).values()
    rows = {row[0]: row for row in list_datasets(tmp_path)}
    assert rows[name][1] == "+".join(str(len(classes)) for classes in maps)
    assert rows[name][3] == "not prepared"
    folder = Path(builder.data_path)
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    prepared = [row[0] for row in list_datasets(tmp_path) if row[3] != "not prepared"]
    assert prepared == [name]


def test_list_looks_where_tfds_does(tmp_path, monkeypatch):
    (tmp_path / "shapes" / "1.0.0").mkdir(parents=True)
    (tmp_path / "shapes" / "1.0.0" / "dataset_info.json").write_text("{}")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    origin = DATASETS["shapes"].origin
    assert ("shapes", "5", origin, "prepared, version 1.0.0") in list_datasets()


def test_every_name_is_there_and_shapes_come_first():
    assert [*DATASETS] == ["shapes", *sorted({*DATASETS} - {"shapes"})]
    assert {*DATASETS} == {
        *("shapes", "voc2011", "voc2012", "sbd", "voc2011_sbd", "voc2012_sbd"),
        *("nyudv2", "nyudv2/hha", "nyudv2/color_hha", "nyudv2/color_d"),
        *("siftflow", "pascal_context"),
    }


# Runs in a process of its own, in which `fcn_keras` is the copy.
USE = """
import sys
from fcn_keras import cli, load_dataset
from fcn_keras.data.catalog import DATASETS
assert "blobs" in DATASETS
for words in (["list"], ["check", "blobs"], ["show", "blobs", "--output", "sheet.png"]):
    sys.argv = ["fcn-keras", "data", *words]
    assert cli.main() == 0
blobs = load_dataset("blobs")
assert [(name, len(split)) for name, split in blobs.splits.items()] == [("train", 6), ("val", 3)]
assert blobs.splits["train"][0].image.shape == (96, 96, 3)
assert blobs.num_classes == int(DATASETS["blobs"].classes)
"""


@pytest.mark.slow
def test_a_new_data_set_is_one_new_folder(tmp_path):
    """Nothing else is edited: the folder is a copy of that of the shapes under another name."""
    shutil.copytree(ROOT / "fcn_keras", tmp_path / "fcn_keras")
    builders = tmp_path / "fcn_keras" / "data" / "tfds" / "builders"
    new = shutil.copytree(builders / "shapes", builders / "blobs")
    (new / "shapes_dataset_builder.py").rename(new / "blobs_dataset_builder.py")
    for path in new.glob("*.py"):
        text = path.read_text().replace("shapes", "blobs")
        path.write_text(
            text.replace('"train": 2000, "validation": 300', "'train': 6, 'validation': 3")
        )
    environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", USE], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    listed = [line.split() for line in done.stdout.splitlines()]
    assert ["blobs", "5", "classes", "drawn", "by", "this", "package", "not", "prepared"] in listed
    assert "no faults in 9 images" in done.stdout
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert (tmp_path / "data" / "blobs").is_dir()
