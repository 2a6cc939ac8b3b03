import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers.voc_files import (
    SBD,
    examples,
    pack,
    sbd_mask,
    voc_mask,
    write_list,
    write_sbd,
    write_voc,
)

from fcn_keras.data.files.images import read_image
from fcn_keras.data.known_classes import VOC_CLASSES
from fcn_keras.data.registry import load_dataset
from fcn_keras.data.tfds.builders.pascal_voc_sbd.pascal_voc_sbd_dataset_builder import Builder
from fcn_keras.errors import UserError

# Every way in which an image can be in the lists of the two; not sorted. What the name of each
# says: VOC's list, SBD's list.
VOC_SPLITS = {
    "train": ["2008_train_none", "2007_train_train", "2009_train_val"],
    "val": ["2010_val_none", "2007_val_train", "2011_val_val", "2007_val_none"],
}
SBD_SPLITS = {
    "train": ["2011_none_train", "2007_val_train", "2007_train_train", "2008_none_train"],
    "val": ["2009_train_val", "2010_none_val", "2011_val_val"],
}

# VOC's val without SBD's train, sorted.
SEG11VALID = ["2007_val_none", "2010_val_none", "2011_val_val"]
# VOC's train, then SBD without all of VOC's.
TRAINAUG = VOC_SPLITS["train"] + ["2011_none_train", "2008_none_train", "2010_none_val"]


def digest(ids):
    return hashlib.sha256("".join(f"{id}\n" for id in ids).encode()).hexdigest()


@pytest.fixture
def manual(tmp_path, monkeypatch):
    monkeypatch.setattr(Builder, "SEG11VALID_SHA256", digest(SEG11VALID))
    write_voc(tmp_path / "manual" / "VOCdevkit" / "VOC2011", **VOC_SPLITS)
    write_voc(tmp_path / "manual" / "VOCdevkit" / "VOC2012", **VOC_SPLITS)
    write_sbd(tmp_path / "manual" / SBD, **SBD_SPLITS)
    return tmp_path / "manual"


def ids_of(split):
    return [example.id for example in examples(split)]


def load(tmp_path, manual, year):
    return load_dataset(f"voc{year}_sbd", tmp_path / "data", manual)


def check(split, ids, from_sbd, manual, year):
    """Checks ids in their order, photos, and from whom each label map is."""
    assert ids_of(split) == ids
    for image, label, id in examples(split):
        mask, photos = voc_mask(id), manual / "VOCdevkit" / f"VOC{year}" / "JPEGImages"
        if id in from_sbd:
            mask, photos = sbd_mask(id), manual / SBD / "img"
        np.testing.assert_array_equal(label, mask[:, :, None])
        np.testing.assert_array_equal(image, read_image(photos / f"{id}.jpg"))


def test_2011_is_what_the_reference_does(tmp_path, manual):
    dataset = load(tmp_path, manual, 2011)
    assert dataset.name == "voc2011_sbd" and {*dataset.splits} == {"train", "val"}
    check(dataset.splits["train"], SBD_SPLITS["train"], SBD_SPLITS["train"], manual, 2011)
    check(dataset.splits["val"], SEG11VALID, [], manual, 2011)
    assert dataset.classes == VOC_CLASSES and dataset.colors[15] == (192, 128, 128)


def test_2012_is_trainaug(tmp_path, manual):
    dataset = load(tmp_path, manual, 2012)
    assert dataset.name == "voc2012_sbd" and {*dataset.splits} == {"train", "val"}
    check(dataset.splits["train"], TRAINAUG, TRAINAUG[3:], manual, 2012)
    check(dataset.splits["val"], VOC_SPLITS["val"], [], manual, 2012)


@pytest.mark.parametrize("year", [2011, 2012])
def test_nothing_is_trained_on_that_is_scored(tmp_path, manual, year):
    splits = load(tmp_path, manual, year).splits
    train, val = ({*ids_of(splits[name])} for name in ("train", "val"))
    assert not train & val


def test_archives(tmp_path, manual):
    other = tmp_path / "other"
    (manual / "TrainVal").mkdir()
    shutil.move(manual / "VOCdevkit", manual / "TrainVal")
    shutil.move(manual / "benchmark_RELEASE", tmp_path / "sbd" / "benchmark_RELEASE")
    pack(manual, other / "VOCtrainval_25-May-2011.tar", "tar")
    pack(tmp_path / "sbd", other / "benchmark.tgz", "tgz")
    dataset = load(tmp_path, other, 2011)
    assert ids_of(dataset.splits["val"]) == SEG11VALID
    assert ids_of(dataset.splits["train"]) == SBD_SPLITS["train"]


@pytest.mark.parametrize("change", ["voc", "sbd"])
def test_other_lists_than_the_published_ones(tmp_path, manual, change):
    voc = manual / "VOCdevkit" / "VOC2011"
    if change == "voc":
        write_list(voc / "ImageSets/Segmentation/val.txt", VOC_SPLITS["val"][1:])
    else:
        write_list(manual / SBD / "train.txt", SBD_SPLITS["train"] + ["2011_val_val"])
    with pytest.raises(UserError, match="must be the published seg11valid") as error:
        load(tmp_path, manual, 2011)
    message = str(error.value)
    assert message.startswith("The 2 ids of ") and "\n" not in message
    assert f"{voc}/ImageSets/Segmentation/val.txt" in message
    assert f"{manual / SBD}/train.txt" in message


def test_the_order_of_vocs_list_does_not_matter(tmp_path, manual):
    lists = manual / "VOCdevkit" / "VOC2011" / "ImageSets" / "Segmentation"
    write_list(lists / "val.txt", sorted(VOC_SPLITS["val"]))
    dataset = load(tmp_path, manual, 2011)
    assert ids_of(dataset.splits["val"]) == SEG11VALID


def test_the_published_digest():
    assert Builder.SEG11VALID_SHA256 == (
        "4ca991bd72c251fd2485eaa9e29536502ea3800d1b1c17c151fd6a04bcfbc2cc"
    )


@pytest.mark.parametrize("year", [2011, 2012])
def test_one_of_two_is_missing(tmp_path, manual, year):
    shutil.rmtree(manual / "benchmark_RELEASE")
    with pytest.raises(UserError, match="^1 of 2 files.*benchmark.tgz") as error:
        load(tmp_path, manual, year)
    assert "VOCtrainval" not in str(error.value)


def test_checksums_of_all_addresses():
    assert {url.rpartition("/")[2] for url in Builder.url_infos} == {"VOCtrainval_11-May-2012.tar"}
    assert len(Builder.url_infos) == 3


class TestBuilder(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["2012"]
    SPLITS = {"train": 6, "validation": 4}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.EXAMPLE_DIR = folder.name
        write_voc(Path(folder.name, "VOCdevkit", "VOC2012"), **VOC_SPLITS)
        write_sbd(Path(folder.name, SBD), **SBD_SPLITS)
