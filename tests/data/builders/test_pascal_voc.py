import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers.voc_files import (
    VOC,
    pack,
    size_of,
    voc_mask,
    write_palette_png,
    write_photo,
    write_voc,
)
from PIL import Image

from fcn_keras.data.files.images import read_image
from fcn_keras.data.known_classes import VOC_CLASSES
from fcn_keras.data.registry import load_dataset
from fcn_keras.data.tfds.builders.pascal_voc.pascal_voc_dataset_builder import ARCHIVES, Builder
from fcn_keras.data.tfds.split import TfdsSplit
from fcn_keras.errors import UserError

# In an order that no sorting gives.
SPLITS = {
    "train": ["2007_000032", "2010_000009", "2008_000008", "2007_000039"],
    "val": ["2011_000003", "2007_000033", "2009_000001"],
}


@pytest.fixture
def manual(tmp_path):
    write_voc(tmp_path / "manual" / VOC, **SPLITS)
    return tmp_path / "manual"


def load(tmp_path, manual, name="voc2012"):
    return load_dataset(name, tmp_path / "data", manual)


def check(dataset, photos):
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 4, "val": 3}
    for name, ids in SPLITS.items():
        split = dataset.splits[name]
        assert [split[i].id for i in range(len(split))] == ids
        for i in reversed(range(len(split))):
            image, label, id = split[i]
            assert image.dtype == label.dtype == np.uint8
            np.testing.assert_array_equal(image, read_image(photos / f"{id}.jpg"))
            np.testing.assert_array_equal(label, voc_mask(id)[:, :, None])
            assert split.size(i) == image.shape[:2] == size_of(id)


def test_values_order_and_splits(tmp_path, manual):
    dataset = load(tmp_path, manual)
    check(dataset, manual / VOC / "JPEGImages")
    assert dataset.splits["val"].scan()[255] == sum(
        2 * sum(size_of(id)) - 4 for id in SPLITS["val"]
    )


def test_what_is_prepared_needs_its_files_no_more(tmp_path, manual):
    photos = shutil.copytree(manual / VOC / "JPEGImages", tmp_path / "photos")
    load(tmp_path, manual)
    shutil.rmtree(manual)
    check(load(tmp_path, None), photos)


def test_classes_and_colors(tmp_path, manual):
    dataset = load(tmp_path, manual)
    # The order of the reference's data/pascal/classes.txt; colours from VOC's own script.
    assert dataset.name == "voc2012"
    assert dataset.classes == VOC_CLASSES and len(VOC_CLASSES) == 21
    assert dataset.classes[:2] + dataset.classes[15:16] == ("background", "aeroplane", "person")
    assert dataset.classes[-1] == "tvmonitor"
    assert dataset.colors[:3] == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert dataset.colors[15] == (192, 128, 128) and dataset.colors[20] == (0, 64, 128)
    info = Builder(config="2012", data_dir=tmp_path / "data").info
    assert info.metadata["ignore_label"] == 255
    assert info.features["image"].shape == (None, None, 3)
    assert info.features["label"].shape == (None, None, 1)


@pytest.mark.parametrize("kind", ["tar", "tgz"])
def test_archive(tmp_path, manual, kind):
    photos = manual / VOC / "JPEGImages"
    pack(manual, tmp_path / "other" / "VOCtrainval_11-May-2012.tar", kind)
    check(load(tmp_path, tmp_path / "other"), photos)


def test_default_manual_folder(tmp_path, manual):
    place = tmp_path / "data" / "downloads" / "manual"
    shutil.copytree(manual, place)
    check(load(tmp_path, None), place / VOC / "JPEGImages")


@pytest.mark.parametrize("inside", ["VOCdevkit/VOC2011", "TrainVal/VOCdevkit/VOC2011"])
@pytest.mark.parametrize("packed", [False, True])
def test_2011(tmp_path, inside, packed):
    devkit = write_voc(tmp_path / "files" / inside, **SPLITS)
    manual = tmp_path / "files"
    if packed:
        pack(manual, tmp_path / "other" / "VOCtrainval_25-May-2011.tar", "tar")
        manual = tmp_path / "other"
    check(load(tmp_path, manual, "voc2011"), devkit / "JPEGImages")


@pytest.mark.parametrize("inside", ["VOCdevkit", VOC])
def test_a_part_of_the_devkit_as_manual_folder(tmp_path, manual, inside):
    check(load(tmp_path, manual / inside), manual / VOC / "JPEGImages")


def test_the_other_year_is_not_taken(tmp_path, manual):
    with pytest.raises(UserError, match="VOCtrainval_25-May-2011.tar"):
        load(tmp_path, manual, "voc2011")


def test_records_hold_the_files_of_the_photos(tmp_path, manual):
    load(tmp_path, manual)
    source = Builder(config="2012", data_dir=tmp_path / "data").as_data_source(
        "train", decoders={"image": tfds.decode.SkipDecoding()}
    )
    for id, example in zip(SPLITS["train"], source, strict=True):
        assert example["image"] == (manual / VOC / "JPEGImages" / f"{id}.jpg").read_bytes()


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_turned_photo(tmp_path, manual, orientation):
    path = manual / VOC / "JPEGImages" / "2010_000009.jpg"
    height, width = size_of("2010_000009")
    stored = (height, width) if orientation == 3 else (width, height)
    pixels = np.zeros((*stored, 3), "uint8")
    pixels[: stored[0] // 2] = 200
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    image = load(tmp_path, manual).splits["train"][1].image
    assert image.shape == (height, width, 3)
    bright = {3: image[-1], 6: image[:, -1], 8: image[:, 0]}[orientation]
    assert bright.min() > 150 and image.min() < 50


def test_grey_photo(tmp_path, manual):
    path = manual / VOC / "JPEGImages" / "2010_000009.jpg"
    Image.open(path).convert("L").save(path)
    image = load(tmp_path, manual).splits["train"][1].image
    np.testing.assert_array_equal(image, read_image(path))


def break_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FAULTS = {
    "no photo": ("JPEGImages/2010_000009.jpg", Path.unlink, "cannot be read"),
    "no mask": ("SegmentationClass/2010_000009.png", Path.unlink, "cannot be read"),
    "no list": ("ImageSets/Segmentation/val.txt", Path.unlink, "is missing"),
    "half a mask": ("SegmentationClass/2010_000009.png", break_off, "cannot be read"),
    "no image": ("JPEGImages/2010_000009.jpg", lambda path: path.write_text("?"), "cannot be read"),
    "other size": (
        "JPEGImages/2010_000009.jpg",
        lambda path: write_photo(path, (9, 8)),
        "one size",
    ),
    "class 21": (
        "SegmentationClass/2010_000009.png",
        lambda path: write_palette_png(path, np.full(size_of("2010_000009"), 21, "uint8")),
        r"may hold 0\.\.20, 255\. This one holds 21",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path, manual, fault):
    place, make, message = FAULTS[fault]
    path = manual / VOC / place
    whole = path.read_bytes()
    make(path)
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path, manual)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    # Nothing half done is left: once mended, it works.
    path.write_bytes(whole)
    check(load(tmp_path, manual), manual / VOC / "JPEGImages")


def test_a_photo_that_breaks_off_early_or_late(tmp_path, manual):
    path = manual / VOC / "JPEGImages" / "2010_000009.jpg"
    for length in (-30, -200):
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(UserError, match=f"{path}: cannot be read as an image"):
            load(tmp_path, manual)


def test_bytes_after_the_end_of_a_photo_do_no_harm(tmp_path, manual):
    path = manual / VOC / "JPEGImages" / "2010_000009.jpg"
    path.write_bytes(path.read_bytes() + b"made by a camera")
    check(load(tmp_path, manual), manual / VOC / "JPEGImages")


def test_a_damaged_record_is_named():
    split = TfdsSplit([{"image": b"\xff\xd8\xff", "label": None, "id": b"2010_000009"}])
    with pytest.raises(UserError, match="^2010_000009: cannot be read as an image"):
        split[0]


def test_checksums_of_all_addresses():
    for year, archive in ARCHIVES.items():
        for url in archive.urls:
            assert url.endswith(archive.name)
            if year == "2012":
                assert Builder.url_infos[url].size == 1999639040
                assert Builder.url_infos[url].checksum.startswith("e14f763270cf")
        assert archive.digests or year == "2012"


def test_real_devkit(tmp_path, voc):
    dataset, folder = load_dataset("voc2012", tmp_path, voc.parent), load_dataset(voc)
    for name in ("train", "val"):
        ids = (voc / "ImageSets" / "Segmentation" / f"{name}.txt").read_text().split()
        assert len(ids) == len(dataset.splits[name]) == len(folder.splits[name]) == 60
        for index, id in enumerate(ids):
            with Image.open(voc / "SegmentationClass" / f"{id}.png") as picture:
                assert picture.mode == "P"
                mask = np.asarray(picture)
            with Image.open(voc / "JPEGImages" / f"{id}.jpg") as picture:
                photo = np.asarray(picture.convert("RGB"))
            for split in (dataset.splits[name], folder.splits[name]):
                image, label, given = split[index]
                assert given == id
                np.testing.assert_array_equal(label[:, :, 0], mask)
                np.testing.assert_array_equal(image, photo)


class TestBuilder(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 4, "validation": 3}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.EXAMPLE_DIR = folder.name
        for year in ("VOC2011", "VOC2012"):
            write_voc(Path(folder.name, "VOCdevkit", year), **SPLITS)
