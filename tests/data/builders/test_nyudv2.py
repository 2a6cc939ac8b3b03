"""NYUDv2 from small files in both of its layouts."""

import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image

from fcn_keras.data.registry import load_dataset
from fcn_keras.data.tfds.builders import downloads
from fcn_keras.data.tfds.builders.nyudv2 import names
from fcn_keras.data.tfds.builders.nyudv2.nyudv2_dataset_builder import (
    MAPPING,
    OFFICIAL,
    PACKED,
    Builder,
)
from fcn_keras.errors import UserError

# Of names.TRAINVAL and names.TEST.
SPLITS = {"train": (3, 10), "validation": (1, 1449)}
SIZES = {1: (4, 6), 3: (5, 7), 10: (4, 6), 1449: (6, 4)}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(Builder, "SPLITS", SPLITS)
    monkeypatch.setattr(downloads, "faults_of", lambda urls: dict.fromkeys(urls, "no connection"))


def picture(number, seed, size=None):
    """A uint8 array whose channels have means apart."""
    rng = np.random.default_rng([number, seed])
    pixels = rng.integers(0, 60, (*(size or SIZES[number]), 3), dtype=np.uint8)
    return pixels + np.array([0, 80, 160], np.uint8)


def original_label(number, size=None):
    """Labels as published: 0 to 40, both and 1 among them."""
    label = np.random.default_rng([number, 2]).integers(0, 41, size or SIZES[number], "uint8")
    label.flat[:3] = 0, 1, 40
    return label


def expected_label(number):
    label = original_label(number).astype(int)
    return np.where(label == 0, 255, label - 1)[..., None]


def write_packed(root, numbers=tuple(SIZES)):
    for number in numbers:
        stem = f"img_{5000 + number}"
        for seed, kind in enumerate(("images", "hha")):
            path = root / "data" / kind / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(number, seed)).save(path)
        depth = root / "data/depth" / f"{stem}.png"
        depth.parent.mkdir(exist_ok=True)
        Image.fromarray(depth_of(SIZES[number])).save(depth)
        mat = root / "segmentation" / f"{stem}.mat"
        mat.parent.mkdir(exist_ok=True)
        scipy.io.savemat(mat, {"segmentation": original_label(number)})
    for name, ids in (("train", "5003"), ("val", "5010"), ("test", "5001\n6449")):
        (root / f"{name}.txt").write_text(f"{ids}\n")
    return root


def depth_of(size):
    return (np.arange(size[0] * size[1]).reshape(size) * 150 + 701).astype("uint16")


@pytest.fixture
def manual(tmp_path):
    """A manual folder with FCN's packing as it is fetched."""
    (tmp_path / "manual").mkdir()
    with tarfile.open(tmp_path / "manual/nyud.tar.gz", "w:gz") as archive:
        archive.add(write_packed(tmp_path / "files"), "nyud")
    return tmp_path / "manual"


def write_official(folder, mapping=True):
    """The official file: HDF5, all axes turned round, 1449 images of one size; few are read."""
    folder.mkdir()
    with h5py.File(folder / OFFICIAL.name, "w") as file:
        images = file.create_dataset("images", (1449, 3, 6, 4), "uint8")
        labels = file.create_dataset("labels", (1449, 6, 4), "uint16")
        depths = file.create_dataset("depths", (1449, 6, 4), "float32")
        for number in SIZES:
            images[number - 1] = picture(number, 0, (4, 6)).transpose(2, 1, 0)
            labels[number - 1] = raw_label(number).T
            depths[number - 1] = depth_of((4, 6)).T / 1000
    if mapping:
        stored = np.array([names.CLASSES], object)
        scipy.io.savemat(folder / MAPPING.name, {"mapClass": [to_40()], "className": stored})
    return folder


def to_40():
    return np.random.default_rng(0).permutation(np.arange(894) % 40 + 1).astype("uint8")


def raw_label(number):
    label = np.random.default_rng([number, 3]).integers(0, 895, (4, 6))
    label.flat[:3] = 0, 1, 894
    return label


def load(name, manual, data_dir):
    return load_dataset(name, str(data_dir), str(manual))


def check_colour(dataset):
    assert list(dataset.splits) == ["train", "val"]
    for split, numbers in zip(dataset.splits.values(), SPLITS.values(), strict=True):
        assert [split[i].id for i in range(len(split))] == [f"img_{5000 + n}" for n in numbers]


def test_packing_in_colour(manual, tmp_path):
    dataset = load("nyudv2", manual, tmp_path / "data")
    check_colour(dataset)
    for split, numbers in zip(dataset.splits.values(), SPLITS.values(), strict=True):
        for i, number in enumerate(numbers):
            np.testing.assert_array_equal(split[i].image, picture(number, 0))
            np.testing.assert_array_equal(split[i].label, expected_label(number))
            assert split[i].label.dtype == split[i].image.dtype == np.uint8
            assert split.size(i) == SIZES[number]


def test_hha_keeps_the_order_of_its_channels(manual, tmp_path):
    split = load("nyudv2/hha", manual, tmp_path / "data").splits["val"]
    np.testing.assert_array_equal(split[1].image, picture(1449, 1))


def test_hha_follows_colour(manual, tmp_path):
    split = load("nyudv2/color_hha", manual, tmp_path / "data").splits["train"]
    assert split[0].image.shape == (5, 7, 6)
    np.testing.assert_array_equal(split[0].image[..., :3], picture(3, 0))
    np.testing.assert_array_equal(split[0].image[..., 3:], picture(3, 1))


def test_depth_follows_colour(manual, tmp_path):
    official = write_official(tmp_path / "official")
    for source, size in ((manual, SIZES[3]), (official, (4, 6))):
        split = load("nyudv2/color_d", source, tmp_path / f"data_{source.name}").splits["train"]
        image = split[0].image
        assert image.shape == (*size, 4) and image.dtype == np.uint16
        np.testing.assert_array_equal(image[..., :3], picture(3, 0, size))
        np.testing.assert_array_equal(image[..., 3], depth_of(size))
        assert image[..., 3].max() > 4000


def test_depth_in_millimetres(manual, tmp_path):
    official = write_official(tmp_path / "official")
    for source, size in ((manual, SIZES[3]), (official, (4, 6))):
        builder = Builder(
            config="color_depth", data_dir=tmp_path / source.name, file_format="array_record"
        )
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=source)
        )
        example = builder.as_data_source("train")[0]
        np.testing.assert_array_equal(example["depth"], depth_of(size)[..., None])
        np.testing.assert_array_equal(example["image"], picture(3, 0, size))


@pytest.mark.parametrize("folder", ["nyud", "."])
def test_unpacked_packing(tmp_path, folder):
    write_packed(tmp_path / "manual" / folder)
    check_colour(load("nyudv2", tmp_path / "manual", tmp_path / "data"))


def test_archive_without_a_folder_around_everything(tmp_path):
    (tmp_path / "manual").mkdir()
    with tarfile.open(tmp_path / "manual/nyud.tar.gz", "w:gz") as archive:
        archive.add(write_packed(tmp_path / "files"), ".")
    check_colour(load("nyudv2", tmp_path / "manual", tmp_path / "data"))


def test_official_file(tmp_path):
    dataset = load("nyudv2", write_official(tmp_path / "manual"), tmp_path / "data")
    check_colour(dataset)
    mapping = to_40()
    for split, numbers in zip(dataset.splits.values(), SPLITS.values(), strict=True):
        for i, number in enumerate(numbers):
            np.testing.assert_array_equal(split[i].image, picture(number, 0, (4, 6)))
            expected = [
                [mapping[v - 1] - 1 if v else 255 for v in row] for row in raw_label(number)
            ]
            np.testing.assert_array_equal(split[i].label[..., 0], expected)


def test_packing_comes_before_the_official_file(tmp_path):
    # Of which colour and HHA show the same.
    manual = write_official(tmp_path / "manual")
    write_packed(manual / "nyud")
    assert load("nyudv2", manual, tmp_path / "data").splits["train"].size(0) == SIZES[3]


def test_official_file_has_no_hha(tmp_path):
    manual = write_official(tmp_path / "manual")
    with pytest.raises(UserError, match=f"^HHA comes with {PACKED.name} only.*{PACKED.urls[0]}"):
        load("nyudv2/color_hha", manual, tmp_path / "data")


def test_nothing_there_names_both_ways(tmp_path):
    with pytest.raises(UserError) as error:
        load("nyudv2", tmp_path / "manual", tmp_path / "data")
    message = str(error.value)
    assert "\n" not in message
    for part in (PACKED.name, OFFICIAL.name, MAPPING.name, *PACKED.urls, str(tmp_path / "manual")):
        assert part in message


def test_mapping_alone_is_asked_for(tmp_path):
    manual = write_official(tmp_path / "manual", mapping=False)
    with pytest.raises(UserError, match=MAPPING.name) as error:
        load("nyudv2", manual, tmp_path / "data")
    assert PACKED.name not in str(error.value)


def test_mapping_to_other_classes_is_refused(tmp_path):
    manual = write_official(tmp_path / "manual")
    stored = np.array([names.CLASSES[::-1]], object)
    scipy.io.savemat(manual / MAPPING.name, {"mapClass": [to_40()], "className": stored})
    with pytest.raises(UserError, match="does not map to the 40 classes"):
        load("nyudv2", manual, tmp_path / "data")


def test_broken_official_file_is_named(tmp_path):
    manual = write_official(tmp_path / "manual")
    contents = (manual / OFFICIAL.name).read_bytes()
    (manual / OFFICIAL.name).write_bytes(contents[: len(contents) // 2])
    with pytest.raises(UserError, match=OFFICIAL.name):
        load("nyudv2", manual, tmp_path / "data")


@pytest.mark.parametrize("value", [41, 255])
def test_labels_out_of_range_are_refused(tmp_path, value):
    folder = write_packed(tmp_path / "manual/nyud")
    label = original_label(10)
    label[2, 2] = value
    scipy.io.savemat(folder / "segmentation/img_5010.mat", {"segmentation": label})
    with pytest.raises(UserError, match=rf"img_5010.mat.*from 0 to 40.*{value}"):
        load("nyudv2", tmp_path / "manual", tmp_path / "data")


@pytest.mark.parametrize("path", ["data/images/img_5010.png", "segmentation/img_6449.mat"])
def test_missing_files_are_named(tmp_path, path):
    (write_packed(tmp_path / "manual/nyud") / path).unlink()
    with pytest.raises(UserError, match=path):
        load("nyudv2", tmp_path / "manual", tmp_path / "data")


def test_published_splits(monkeypatch):
    monkeypatch.undo()
    assert {name: len(numbers) for name, numbers in Builder.SPLITS.items()} == {
        "train": 795,
        "validation": 654,
    }
    assert sorted(Builder.SPLITS["train"] + Builder.SPLITS["validation"]) == list(range(1, 1450))
    # From the reference's lists: both ends of test.txt, train.txt and val.txt.
    assert {133, 1002, 966, 618} < set(names.TEST)
    assert {449, 1140, 683, 1419, 10, 11, 1439, 1440} < set(names.TRAINVAL)


def test_classes_in_the_order_of_the_reference(manual, tmp_path):
    dataset = load("nyudv2", manual, tmp_path / "data")
    assert len(dataset.classes) == len(set(dataset.colors)) == 40
    assert (0, 0, 0) not in dataset.colors
    places = {"wall": 1, "bookshelf": 10, "floor mat": 20, "whiteboard": 30, "otherprop": 40}
    for name, place in places.items():
        assert dataset.classes[place - 1] == name


class Nyudv2Test(tfds.testing.DatasetBuilderTestCase):
    """What TFDS asks of every builder."""

    DATASET_CLASS = Builder
    SPLITS = {"train": 2, "validation": 2}

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = write_packed(Path(cls.enterClassContext(tfds.testing.tmp_dir())))
        super().setUpClass()
