"""Large images of a folder, cut into windows. Small ones count as large here."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from fcn_keras.data.augmentation import Augmentation
from fcn_keras.data.batches import evaluation_batches, training_batches
from fcn_keras.data.converting import convert_folder
from fcn_keras.data.dataset import Remembered
from fcn_keras.data.files import large
from fcn_keras.data.files.readers import AsStored
from fcn_keras.data.folders import cutting
from fcn_keras.data.folders.description import Description
from fcn_keras.data.folders.folder import load_folder
from fcn_keras.data.folders.folder_split import FolderSplit
from fcn_keras.data.inspection import inspect
from fcn_keras.errors import UserError

tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(0)
BIG, SMALL = (101, 66), (30, 39)
IMAGES = {
    name: RNG.integers(0, 256, (*size, 4), dtype="uint8")
    for name, size in (("big", BIG), ("large", BIG[::-1]), ("small", SMALL))
}
MASKS = {name: np.uint8(image[..., 0] // 90) for name, image in IMAGES.items()}
TILES = dict(tile=(16, 32), compression="zlib")


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    monkeypatch.setattr(large, "LARGE", 40 * 40)
    monkeypatch.setattr(cutting, "SIDE", 40)


def write_folder(root, masks="tif"):
    for part in ("images", "masks"):
        (root / part / "train").mkdir(parents=True)
    for name, image in IMAGES.items():
        tifffile.imwrite(root / "images/train" / f"{name}.tif", image, photometric="rgb", **TILES)
        if masks == "tif":
            tifffile.imwrite(root / "masks/train" / f"{name}.tif", MASKS[name], **TILES)
        else:
            Image.fromarray(MASKS[name]).save(root / "masks/train" / f"{name}.png")
    return root


def whole(windows, name, what):
    """An image or a mask that is put together again."""
    picture = np.full_like(what[name], 77)
    for example in windows:
        stem, _, place = example.id.partition("@")
        if stem != name:
            continue
        top, left = map(int, place.split("_")) if place else (0, 0)
        pixels = example.image if what is IMAGES else example.label[..., 0]
        height, width = pixels.shape[:2]
        assert (picture[top : top + height, left : left + width] == 77).mean() > 0.9
        picture[top : top + height, left : left + width] = pixels
    return picture


@pytest.mark.parametrize("masks", ["tif", "png"])
def test_windows_make_the_whole(masks, tmp_path):
    split = load_folder(write_folder(tmp_path, masks), channels=4).splits["train"]
    assert len(split) == 6 + 6 + 1
    windows = [split[i] for i in range(len(split))]
    assert "small" in {example.id for example in windows}
    assert [split.size(i) for i in range(13)] == [example.image.shape[:2] for example in windows]
    sizes = {example.image.shape[:2] for example in windows}
    assert sizes == {(34, 33), (33, 33), (33, 34), SMALL}  # of 101 x 66: three rows, two columns
    for name in IMAGES:
        np.testing.assert_array_equal(whole(windows, name, IMAGES), IMAGES[name])
        np.testing.assert_array_equal(whole(windows, name, MASKS), MASKS[name])
    counted = np.bincount(np.concatenate([mask.ravel() for mask in MASKS.values()]), minlength=256)
    np.testing.assert_array_equal(split.scan(), counted)
    np.testing.assert_array_equal(Remembered(split, 1 << 20).scan(), counted)


def test_an_epoch_sees_all_of_it(tmp_path):
    split = load_folder(write_folder(tmp_path), channels=4).splits["train"]
    counted = split.scan()
    steps = np.zeros(256, "int64")
    for image, label in training_batches(split, Augmentation(None, flip=False), 1, 0).take(13):
        assert image.shape[-1] == 4
        steps += np.bincount(label.numpy().ravel(), minlength=256)
    np.testing.assert_array_equal(steps, counted)
    seen = np.zeros(256, "int64")
    for _, label in evaluation_batches(split, 2):
        seen += np.bincount(label.numpy().ravel(), minlength=256)
    np.testing.assert_array_equal(seen[:3], counted[:3])


def test_nothing_is_decoded_as_a_whole(tmp_path, monkeypatch):
    root = write_folder(tmp_path)
    (root / "dataset.json").write_text(json.dumps({"classes": ["a", "b", "c"], "channels": 4}))

    for owner, method in ((AsStored, "read"), (Description, "read")):
        real = getattr(owner, method)
        monkeypatch.setattr(owner, method, lambda *args, real=real: _small(real, *args))
    split = load_folder(root).splits["train"]
    assert sum(split[i].label.size for i in range(len(split))) == split.scan().sum()
    assert not inspect(root).faults


def _small(read, owner, path):
    assert path.stem == "small"
    return read(owner, path)


def test_masks_that_have_to_be_decoded_are_kept(tmp_path, monkeypatch):
    read = []
    real = Description.read
    monkeypatch.setattr(
        Description, "read", lambda self, path: read.append(path.stem) or real(self, path)
    )
    root = write_folder(tmp_path, "png")
    (root / "dataset.json").write_text(json.dumps({"classes": ["a", "b", "c"], "channels": 4}))
    split = load_folder(root).splits["train"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(split.__getitem__, range(len(split))))
    assert sorted(read) == ["big", "large", "small"]


def test_greys_that_are_colours_are_read_with_all_around_them(tmp_path):
    """Whether they are numbers or colours a window alone does not tell."""
    root = write_folder(tmp_path)
    colors = np.uint8([0, 1, 100])
    for name, mask in MASKS.items():
        tifffile.imwrite(root / "masks/train" / f"{name}.tif", colors[mask], **TILES)
    about = {"classes": ["a", "b", "c"], "colors": [[0, 0, 0], [1, 1, 1], [100, 100, 100]]}
    (root / "dataset.json").write_text(json.dumps(about | {"channels": 4}))
    split = load_folder(root).splits["train"]
    windows = [split[i] for i in range(len(split))]
    for name in IMAGES:
        np.testing.assert_array_equal(whole(windows, name, MASKS), MASKS[name])


# Masks that are no plain numbers of 8 bits, and are read as a whole.
OTHERS = {
    "white is zero": lambda mask: dict(data=255 - mask, photometric="miniswhite"),
    "16 bits": lambda mask: dict(data=mask.astype("uint16")),
    "colours": lambda mask: dict(data=np.repeat(mask[..., None], 3, axis=2), photometric="rgb"),
}


@pytest.mark.parametrize("form", OTHERS)
def test_other_masks(form, tmp_path):
    root = write_folder(tmp_path)
    for name, mask in MASKS.items():
        tifffile.imwrite(root / "masks/train" / f"{name}.tif", **OTHERS[form](mask), **TILES)
    split = load_folder(root, channels=4).splits["train"]
    windows = [split[i] for i in range(len(split))]
    for name in IMAGES:
        np.testing.assert_array_equal(whole(windows, name, MASKS), MASKS[name])


@pytest.mark.parametrize("masks", ["tif", "png"])
def test_a_large_set_is_judged_as_a_small_one(masks, tmp_path, monkeypatch):
    write_folder(tmp_path, masks)
    found = inspect(tmp_path, channels=4)
    monkeypatch.setattr(large, "LARGE", 1 << 30)
    again = inspect(tmp_path, channels=4)
    assert str(found.splits) == str(again.splits) and found.splits["train"].images == 3
    for about in ("classes", "faults", "warnings", "understood"):
        assert getattr(found, about) == getattr(again, about)


def test_what_is_wrong_is_named(tmp_path):
    root = write_folder(tmp_path)
    mask = root / "masks/train/big.tif"
    about = {"classes": ["a", "b", "c"], "channels": 4}
    (root / "dataset.json").write_text(json.dumps(about))
    for data, text in (
        (np.where(MASKS["big"] == 2, 9, MASKS["big"]), r"big\.tif: a mask may hold 0..2, 255.*9"),
        (MASKS["big"][:-1], r"must have one size.*66x101 and .*66x100"),
    ):
        tifffile.imwrite(mask, data, **TILES)
        split = load_folder(root).splits["train"]
        with pytest.raises(UserError, match=text):
            split.scan()
        with pytest.raises(UserError, match=text):
            [split[i] for i in range(len(split))]
        assert [fault.file for fault in inspect(root).faults] == [str(mask)]
    tifffile.imwrite(mask, MASKS["big"], **TILES)
    mask.write_bytes(mask.read_bytes()[:-900])
    with pytest.raises(UserError, match=r"big\.tif: cannot be read"):
        load_folder(root).splits["train"].scan()
    assert [fault.file for fault in inspect(root).faults] == [str(mask)]


def test_folders_are_converted_whole(tmp_path):
    assert convert_folder(_with_channels(write_folder(tmp_path / "in")), tmp_path / "out") == {
        "train": 3
    }
    for name, mask in MASKS.items():
        with Image.open(tmp_path / "out/annotations/train" / f"{name}.png") as picture:
            np.testing.assert_array_equal(picture, mask)


def _with_channels(root):
    (root / "dataset.json").write_text('{"channels": 4}')
    return root


def test_photographs_are_not_cut(tmp_path):
    root = write_folder(tmp_path)
    assert len(load_folder(root).splits["train"]) == 3
    assert isinstance(load_folder(root).splits["train"], FolderSplit)


def test_sides_of_windows(monkeypatch):
    monkeypatch.setattr(cutting, "SIDE", 2048)
    found = {length: cutting._even(length) for length in (2048, 2049, 5000, 12000, 20000)}
    assert [len(parts) for parts in found.values()] == [1, 2, 3, 6, 10]
    assert found[5000] == [slice(0, 1667), slice(1667, 3334), slice(3334, 5000)]
