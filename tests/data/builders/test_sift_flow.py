"""SIFT Flow from small files in its original layout."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image

from fcn_keras.data.registry import load_dataset
from fcn_keras.data.tfds.builders import downloads
from fcn_keras.data.tfds.builders.sift_flow import names
from fcn_keras.data.tfds.builders.sift_flow.sift_flow_dataset_builder import ARCHIVE, Builder
from fcn_keras.errors import UserError

SCENES = "spatial_envelope_256x256_static_8outdoorcategories"
TEST = ("street_par29", "coast_natu975")
TRAIN = ("coast_bea1", "forest_bost100", "tallbuilding_urban98")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(Builder, "TEST", TEST)
    monkeypatch.setattr(Builder, "TRAIN_SIZE", len(TRAIN))
    monkeypatch.setattr(downloads, "faults_of", lambda urls: dict.fromkeys(urls, "no connection"))


def maps(stem):
    """Semantic and geometric labels as published, void and all ends among them."""
    rng = np.random.default_rng([*stem.encode()])
    semantic = rng.integers(0, 34, (8, 10), "uint8")
    geometric = rng.integers(-1, 4, (8, 10), "int16")
    semantic.flat[:3] = 0, 1, 33
    geometric.flat[:5] = -1, 0, 1, 2, 3
    return semantic, geometric


def write(root):
    """Images, SemanticLabels and GeoLabels; two images without labels, as there are."""
    for stem in (*TRAIN, *TEST, *names.WITHOUT_LABELS):
        rng = np.random.default_rng([*stem.encode(), 1])
        path = root / "Images" / SCENES / f"{stem}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 10, 3), "uint8")).save(path)
        if stem in names.WITHOUT_LABELS:
            continue
        for folder, label in zip(("SemanticLabels", "GeoLabels"), maps(stem), strict=True):
            path = root / folder / SCENES / f"{stem}.mat"
            path.parent.mkdir(parents=True, exist_ok=True)
            # Other variables besides, as there are names in the semantic ones.
            scipy.io.savemat(path, {"S": label, "names": np.array(["void", "a"], object)})
    return root


def zip_into(manual, files, around=""):
    manual.mkdir()
    with zipfile.ZipFile(manual / ARCHIVE.name, "w") as archive:
        for path in sorted(files.rglob("*.*")):
            archive.write(path, Path(around) / path.relative_to(files))
    return manual


def load(manual, data_dir):
    return load_dataset("siftflow", str(data_dir), str(manual))


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / "files")


@pytest.fixture
def dataset(files, tmp_path):
    return load(zip_into(tmp_path / "manual", files), tmp_path / "data")


def test_splits(dataset):
    ids = {name: [split[i].id for i in range(len(split))] for name, split in dataset.splits.items()}
    assert ids == {"train": list(TRAIN), "val": list(TEST)}


def test_two_label_maps(dataset):
    for split in dataset.splits.values():
        for i in range(len(split)):
            label = split[i].label
            assert label.shape == (8, 10, 2) and label.dtype == np.uint8
            for channel, original in enumerate(maps(split[i].id)):
                for value, class_id in zip(original.flat, label[..., channel].flat, strict=True):
                    assert class_id == (value - 1 if value > 0 else 255)


def test_images_as_pillow_decodes_them(dataset, files):
    example = dataset.splits["train"][1]
    with Image.open(files / "Images" / SCENES / f"{example.id}.jpg") as image:
        np.testing.assert_array_equal(example.image, np.asarray(image))


def test_heads(dataset):
    assert dataset.outputs == {"sem": 33, "geo": 3}
    assert tuple(dataset.heads["geo"]) == ("sky", "horizontal", "vertical")
    assert tuple(dataset.heads["sem"]) == dataset.classes
    for name, place in {"awning": 1, "crosswalk": 10, "pole": 20, "rock": 23, "window": 33}.items():
        assert dataset.classes[place - 1] == name
    assert len(set(dataset.colors)) == 33 and (0, 0, 0) not in dataset.colors


def test_scan_counts_semantic_labels(dataset):
    expected = np.bincount(
        np.concatenate([maps(stem)[0].ravel() for stem in TRAIN]).astype("uint8") - np.uint8(1),
        minlength=256,
    )
    np.testing.assert_array_equal(dataset.splits["train"].scan(), expected)


def test_published_split(monkeypatch):
    monkeypatch.undo()
    # Of the reference's test.txt, which has no newline at its end.
    digest = "d9d024d06b1ed2139b0e1bdbc78ede9897c3389cd588cd5c37268a931c1d36ae"
    assert hashlib.sha256("\n".join(Builder.TEST).encode()).hexdigest() == digest
    assert len(set(Builder.TEST)) == 200
    assert Builder.TRAIN_SIZE == 2688 - 200 - len(names.WITHOUT_LABELS)
    assert not {*names.WITHOUT_LABELS} & {*Builder.TEST}


@pytest.mark.parametrize("around", [".", "SiftFlowDataset"])
def test_unpacked(files, tmp_path, around):
    target = tmp_path / "manual" / around
    shutil.copytree(files, target)
    assert len(load(tmp_path / "manual", tmp_path / "data").splits["train"]) == 3


def test_folder_around_everything_in_the_archive(files, tmp_path):
    manual = zip_into(tmp_path / "manual", files, "SiftFlowDataset")
    assert len(load(manual, tmp_path / "data").splits["val"]) == 2


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match=f"{ARCHIVE.name}.*{ARCHIVE.urls[0]}"):
        load(tmp_path / "manual", tmp_path / "data")


@pytest.mark.parametrize("stem, found", [(TRAIN[0], "2 and 2"), (TEST[0], "3 and 1")])
def test_missing_images_are_noticed(files, tmp_path, stem, found):
    (files / "Images" / SCENES / f"{stem}.jpg").unlink()
    with pytest.raises(UserError, match=f"must hold 3 .* and 2 .* holds {found}"):
        load(files, tmp_path / "data")


@pytest.mark.parametrize("folder", ["SemanticLabels", "GeoLabels"])
def test_missing_label_is_named(files, tmp_path, folder):
    path = files / folder / SCENES / f"{TRAIN[1]}.mat"
    path.unlink()
    with pytest.raises(UserError, match=str(path)):
        load(files, tmp_path / "data")


@pytest.mark.parametrize(
    "folder, value, ends",
    [("SemanticLabels", 34, "33"), ("GeoLabels", 4, "3"), ("GeoLabels", -2, "3")],
)
def test_labels_out_of_range_are_refused(files, tmp_path, folder, value, ends):
    path = files / folder / SCENES / f"{TEST[0]}.mat"
    scipy.io.savemat(path, {"S": np.full((8, 10), value, "int16")})
    with pytest.raises(UserError, match=f"{path}.*from -1 to {ends}"):
        load(files, tmp_path / "data")


@pytest.mark.parametrize("folder", ["SemanticLabels", "GeoLabels"])
def test_label_of_another_size_is_refused(files, tmp_path, folder):
    path = files / folder / SCENES / f"{TEST[0]}.mat"
    scipy.io.savemat(path, {"S": np.ones((10, 8), "uint8")})
    with pytest.raises(UserError, match=f"one size.*{path}"):
        load(files, tmp_path / "data")


@pytest.mark.parametrize("contents", [b"", b"MATLAB 5.0 MAT-file, so it says", None])
def test_broken_label_is_named(files, tmp_path, contents):
    path = files / "SemanticLabels" / SCENES / f"{TRAIN[0]}.mat"
    if contents is None:
        scipy.io.savemat(path, {"T": np.ones((8, 10), "uint8")})
    else:
        path.write_bytes(contents)
    with pytest.raises(UserError, match=str(path)) as error:
        load(files, tmp_path / "data")
    assert "\n" not in str(error.value)


class SiftFlowTest(tfds.testing.DatasetBuilderTestCase):
    """What TFDS asks of every builder."""

    DATASET_CLASS = Builder
    SPLITS = {"train": 3, "validation": 2}

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = write(Path(cls.enterClassContext(tfds.testing.tmp_dir())))
        super().setUpClass()
