import tempfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from helpers.voc_files import SBD, examples, pack, sbd_mask, size_of, write_mat, write_sbd

from fcn_keras.data.files.images import read_image
from fcn_keras.data.known_classes import VOC_CLASSES
from fcn_keras.data.registry import load_dataset
from fcn_keras.data.tfds.builders.sbd.sbd_dataset_builder import RELEASE, Builder
from fcn_keras.errors import UserError

SPLITS = {
    "train": ["2010_000009", "2008_000008", "2008_000002"],
    "val": ["2011_000003", "2008_000003"],
}


@pytest.fixture
def manual(tmp_path):
    write_sbd(tmp_path / "manual" / SBD, **SPLITS)
    return tmp_path / "manual"


def load(tmp_path, manual):
    return load_dataset("sbd", tmp_path / "data", manual)


def check(dataset, photos):
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 3, "val": 2}
    for name, ids in SPLITS.items():
        assert [example.id for example in examples(dataset.splits[name])] == ids
        for image, label, id in examples(dataset.splits[name]):
            assert image.dtype == label.dtype == np.uint8
            np.testing.assert_array_equal(image, read_image(photos / f"{id}.jpg"))
            np.testing.assert_array_equal(label, sbd_mask(id)[:, :, None])
            assert label.shape == (*size_of(id), 1)


def test_values_order_and_splits(tmp_path, manual):
    dataset = load(tmp_path, manual)
    check(dataset, manual / SBD / "img")
    assert dataset.classes == VOC_CLASSES and dataset.colors[20] == (0, 64, 128)
    assert dataset.splits["train"].scan()[255] == 0  # SBD knows no void


def test_the_files_are_read_as_the_reference_reads_them(manual):
    """The expression in the reference's layer for SBD, on what the tests write."""
    for id in SPLITS["train"]:
        mat = scipy.io.loadmat(manual / SBD / "cls" / f"{id}.mat")
        label = mat["GTcls"][0]["Segmentation"][0]
        assert label.dtype == np.uint8
        np.testing.assert_array_equal(label, sbd_mask(id))


@pytest.mark.parametrize("name", ["benchmark.tgz", "benchmark.tar"])
@pytest.mark.parametrize("kind", ["tar", "tgz"])
def test_archive_whatever_it_is_called(tmp_path, manual, name, kind):
    pack(manual, tmp_path / "other" / name, kind)
    check(load(tmp_path, tmp_path / "other"), manual / SBD / "img")


def break_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


ID = "2008_000008"
MAT, JPG = f"cls/{ID}.mat", f"img/{ID}.jpg"
FAULTS = {
    "half a mask": (MAT, break_off, "cannot be read as a MATLAB file"),
    "empty mask": (MAT, lambda path: path.write_bytes(b""), "cannot be read as a MATLAB file"),
    "no mask": (MAT, Path.unlink, "is missing"),
    "no photo": (JPG, Path.unlink, "cannot be read as an image.*No such file"),
    "no list": ("train.txt", Path.unlink, "is missing"),
    "objects": (
        MAT,
        lambda path: scipy.io.savemat(path, {"GTinst": {"Segmentation": sbd_mask(ID)}}),
        "GTcls.Segmentation",
    ),
    "other size": (MAT, lambda path: write_mat(path, sbd_mask(SPLITS["train"][0])), "one size"),
    "class 21": (
        MAT,
        lambda path: write_mat(path, sbd_mask(ID) + 21),
        r"may hold 0\.\.20, 255\. This one holds",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path, manual, fault):
    place, make, message = FAULTS[fault]
    path = manual / SBD / place
    whole = path.read_bytes()
    make(path)
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path, manual)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    path.write_bytes(whole)
    check(load(tmp_path, manual), manual / SBD / "img")


def test_both_published_files_are_known():
    assert RELEASE.digests[0].startswith("82b4d87c") and RELEASE.digests[1].startswith("2b2af8a6")
    assert all(url.endswith("/semantic_contours/benchmark.tgz") for url in RELEASE.urls)


class TestBuilder(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 3, "validation": 2}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.EXAMPLE_DIR = folder.name
        write_sbd(Path(folder.name, SBD), **SPLITS)
