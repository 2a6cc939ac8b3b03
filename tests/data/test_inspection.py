"""What `inspect` finds in data sets, with one fault of each kind, with none, and in real ones."""

import json
import re
import shutil

import numpy as np
import pytest
from helpers.folders import write_folder
from PIL import Image

from fcn_keras.data.dataset import Dataset, Example
from fcn_keras.data.findings import KINDS
from fcn_keras.data.folders.folder import load_folder
from fcn_keras.data.inspection import inspect
from fcn_keras.errors import UserError

# Kinds of what masks say together, see test_judging.py.
OF_THE_SET = {"void", "classes", "reading", "nodata", "passed_over"}

ABC = {"classes": ["a", "b", "c"], "colors": [[200, 0, 0], [0, 200, 0], [0, 0, 200]]}


def picture(path):
    with Image.open(path) as opened:
        return np.asarray(opened)


def write(path, array):
    Image.fromarray(np.asarray(array, "uint8")).save(path)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def root(tmp_path):
    """A folder without a fault."""
    return write_folder(tmp_path / "photos", train=12, val=3, size=(40, 56), about=ABC)


# Each makes one fault, and says which: kind, split, file, words of the text


def truncated_png(root):
    truncate(root / "train" / "train_0.png")
    return "unreadable", "train", "train/train_0.png", "truncated"


def truncated_jpeg(root):
    path = root / "train" / "train_1.jpg"
    write(path, picture(path.with_suffix(".png")))
    path.with_suffix(".png").unlink()
    truncate(path)
    return "unreadable", "train", "train/train_1.jpg", "truncated"


def empty_file(root):
    (root / "val" / "val_0.png").write_bytes(b"")
    return "unreadable", "val", "val/val_0.png", "unknown or damaged format"


def text_file(root):
    (root / "train" / "train_2.png").unlink()
    (root / "train" / "train_2.jpg").write_text("<html>404</html>")
    return "unreadable", "train", "train/train_2.jpg", "unknown or damaged format"


def damaged_within(root):
    """The end is right, so that only who decodes the whole file sees it."""
    path = root / "train" / "train_3.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)
    return "unreadable", "train", "train/train_3.png", "cannot be read as an image"


def truncated_mask(root):
    truncate(root / "trainannot" / "train_4.png")
    return "unreadable", "train", "trainannot/train_4.png", "truncated"


def label_out_of_range(root):
    path = root / "trainannot" / "train_5.png"
    mask = picture(path).copy()
    mask[3, :4], mask[5, 5] = 77, 3
    write(path, mask)
    return "label", "train", "trainannot/train_5.png", r"3 \(1 pixels\), 77 \(4 .* 0\.\.2, 255"


def coloured_mask(root):
    """One pixel is of a colour that no class has."""
    path = root / "valannot" / "val_1.png"
    mask = np.array(ABC["colors"])[picture(path)]
    mask[7, 9] = 1, 2, 3
    write(path, mask)
    return "label", "val", "valannot/val_1.png", r"\(1, 2, 3\) at row 7, column 9"


def mask_of_another_size(root):
    write(root / "trainannot" / "train_6.png", np.zeros((56, 40)))
    text = r"40x56 pixels, and .*train/train_6\.png has 56x40"
    return "size", "train", "trainannot/train_6.png", text


def same_bytes(root):
    shutil.copy(root / "train" / "train_7.png", root / "val" / "copy.png")
    shutil.copy(root / "trainannot" / "train_7.png", root / "valannot" / "copy.png")
    return "two_splits", "val", "val/copy.png", r"train too: .*train/train_7\.png.*same bytes"


def same_id_and_bytes(root):
    shutil.copy(root / "train" / "train_8.png", root / "val")
    shutil.copy(root / "trainannot" / "train_8.png", root / "valannot")
    return "two_splits", "val", "val/train_8.png", r"same id and bytes$"


def image_without_mask(root):
    (root / "trainannot" / "train_9.png").unlink()
    return "no_mask", "train", "train/train_9.png", r"trainannot/train_9\.png is missing"


def mask_without_image(root):
    shutil.copy(root / "trainannot" / "train_10.png", root / "trainannot" / "stray.png")
    return "no_image", "train", "trainannot/stray.png", "no image in .*train"


def two_files_of_one_name(root):
    write(root / "train" / "train_11.jpg", picture(root / "train" / "train_11.png"))
    return "same_name", "train", "train/train_11.png", r"train_11\.jpg"


def split_without_images(root):
    (root / "test").mkdir()
    (root / "testannot").mkdir()
    return "empty", "test", "test", "holds no images"


FAULTS = [
    *(truncated_png, truncated_jpeg, empty_file, text_file, damaged_within, truncated_mask),
    *(label_out_of_range, coloured_mask, mask_of_another_size, same_bytes),
    *(image_without_mask, mask_without_image, two_files_of_one_name, split_without_images),
]


def assert_found(root, found, expected):
    """That the faults are these, whatever their order, and no others."""
    keys = [(fault.kind, fault.split, fault.file) for fault in found]
    assert sorted(keys) == sorted((*fault[:2], str(root / fault[2])) for fault in expected)
    texts = dict(zip(keys, (fault.text for fault in found), strict=True))
    for kind, split, file, words in expected:
        text = texts[kind, split, str(root / file)]
        assert re.search(words, text), text
        assert "\n" not in text


@pytest.mark.parametrize("make", [*FAULTS, same_id_and_bytes])
def test_one_fault(root, make):
    expected = make(root)
    assert expected[0] in KINDS
    found = inspect(root, progress=False)
    assert_found(root, found.faults, [expected])
    assert expected[2] in str(found) and "\n1 fault in" in str(found)
    # What training is afraid of is told here; what it is not, it does without.
    harmless = {"damaged_within", "same_bytes", "same_id_and_bytes"}
    if make.__name__ not in harmless | {"mask_without_image"}:
        with pytest.raises(UserError):
            for split in load_folder(root).splits.values():
                split.scan()


def test_one_fault_of_each_kind(root):
    expected = [make(root) for make in FAULTS]
    assert {kind for kind, *_ in expected} == {*KINDS} - OF_THE_SET
    found = inspect(root, progress=False)
    assert_found(root, found.faults, expected)
    # By split, and by file in each.
    order = [(["train", "val", "test"].index(fault.split), fault.file) for fault in found.faults]
    assert order == sorted(order)


def test_no_fault(root):
    found = inspect(root, progress=False)
    assert found.faults == []
    assert "no faults in 15 images" in str(found)


def test_every_label_out_of_range_is_named(root):
    write(root / "trainannot" / "train_0.png", np.arange(40 * 56).reshape(40, 56) % 10)
    (fault,) = inspect(root, progress=False).faults
    assert re.search(r"holds 3 \(224 pixels\), 4 .* 7 \(224 pixels\) and 2 more;", fault.text)


def test_a_fault_does_not_hide_another(root):
    """A mask of another size whose labels are out of range, and whose image is in two splits."""
    write(root / "trainannot" / "train_0.png", np.full((4, 5), 9))
    shutil.copy(root / "train" / "train_0.png", root / "val")
    shutil.copy(root / "valannot" / "val_0.png", root / "valannot" / "train_0.png")
    kinds = [fault.kind for fault in inspect(root, progress=False).faults]
    assert sorted(kinds) == ["label", "size", "two_splits"]


def test_unreadable_files_are_not_taken_for_one_image(root):
    for path in (root / "train" / "train_0.png", root / "val" / "val_0.png"):
        path.write_bytes(b"")
    assert [fault.kind for fault in inspect(root, progress=False).faults] == ["unreadable"] * 2


@pytest.mark.parametrize("name", ["train_9_mask.png", "TRAIN_9.png", "train_9.PNG.png"])
def test_a_mask_of_nearly_the_name(root, name):
    """One fault, not an image without a mask and a mask without an image."""
    masks = root / "trainannot"
    (masks / "train_9.png").rename(masks / name)
    (fault,) = inspect(root, progress=False).faults
    assert fault.file == str(root / "train" / "train_9.png")
    assert f"Is {name} meant?" in fault.text


def test_a_mask_that_is_a_jpeg(root):
    masks = root / "trainannot"
    write(masks / "train_9.jpg", picture(masks / "train_9.png"))
    (masks / "train_9.png").unlink()
    (fault,) = inspect(root, progress=False).faults
    assert fault.kind == "no_mask" and "train_9.jpg is there, but JPEG" in fault.text


def test_another_image_of_the_same_name(root):
    """As where numbers begin anew in each split."""
    write(root / "val" / "train_8.png", 255 - picture(root / "train" / "train_8.png"))
    shutil.copy(root / "trainannot" / "train_8.png", root / "valannot")
    found = inspect(root, progress=False)
    assert found.faults == []
    (warning,) = found.warnings
    assert warning.file == str(root / "val" / "train_8.png")
    assert re.search(r"another image in train: .*train/train_8\.png$", warning.text)


def test_copies_within_a_split_are_no_fault(root):
    for folder in ("train", "trainannot"):
        shutil.copy(root / folder / "train_0.png", root / folder / "copy.png")
    assert inspect(root, progress=False).faults == []


def test_splits_that_contain_each_other_by_design(tmp_path):
    root = write_folder(tmp_path / "photos", layout="annotations", about=ABC)
    for folder in ("images", "annotations"):
        shutil.copytree(root / folder / "train", root / folder / "trainaug")
        shutil.copytree(root / folder / "train", root / folder / "trainval")
        shutil.copytree(root / folder / "val", root / folder / "trainval", dirs_exist_ok=True)
    assert inspect(root, progress=False).faults == []
    shutil.copy(root / "images" / "val" / "val_0.png", root / "images" / "trainaug")
    shutil.copy(root / "annotations" / "val" / "val_0.png", root / "annotations" / "trainaug")
    (fault,) = inspect(root, progress=False).faults
    assert fault.kind == "two_splits" and "trainaug" in fault.split + fault.text


def test_masks_whose_images_folder_is_missing(root):
    shutil.rmtree(root / "val")
    expected = [("no_image", "val", f"valannot/val_{i}.png", "no image in") for i in range(3)]
    assert_found(root, inspect(root, progress=False).faults, expected)


def test_images_whose_masks_folder_is_missing(root):
    shutil.rmtree(root / "valannot")
    expected = [("no_mask", "val", f"val/val_{i}.png", "has no mask") for i in range(3)]
    assert_found(root, inspect(root, progress=False).faults, expected)


@pytest.mark.parametrize("layout", ["annot", "annotations"])
def test_test_images_without_masks_are_no_fault(tmp_path, layout):
    """Those of a benchmark are kept back."""
    root = write_folder(tmp_path / "photos", layout=layout, about=ABC)
    images = root / "images" if layout == "annotations" else root
    shutil.copytree(images / "val", images / "test")
    found = inspect(root, progress=False)
    assert found.faults == [] and {*found.splits} == {"train", "val"}
    assert {*load_folder(root).splits} == {"train", "val"}


def test_lists_of_voc(tmp_path):
    """A list may name what is not there."""
    root = tmp_path / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for i, name in enumerate(("a", "b", "c")):
        write(root / "JPEGImages" / f"{name}.jpg", np.full((8, 9, 3), 50 * i))
        write(root / "SegmentationClass" / f"{name}.png", np.full((8, 9), i))
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("a\nb\ngone\n")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("c\na\n")
    (root / "SegmentationClass" / "b.png").unlink()
    expected = [
        ("no_image", "train", "JPEGImages/gone.jpg", "is missing, but the list"),
        ("no_mask", "train", "JPEGImages/b.jpg", r"SegmentationClass/b\.png is missing"),
        ("two_splits", "val", "JPEGImages/a.jpg", "same id and bytes"),
    ]
    found = inspect(root, progress=False)
    assert_found(root, found.faults, expected)
    assert found.classes[2] == "bicycle" and found.splits["val"].pixels[0][2] == 72
    with pytest.raises(UserError, match="gone.jpg: is missing"):
        load_folder(root)


# What a data set holds


def test_counts(root):
    write(root / "train" / "train_0.png", np.zeros((9, 13, 3)))
    write(root / "trainannot" / "train_0.png", np.full((9, 13), 255))
    found = inspect(root, progress=False)
    train = found.splits["train"]
    masks = [picture(root / "trainannot" / f"train_{i}.png") for i in range(12)]
    stored = sum(np.bincount(mask.ravel(), minlength=256) for mask in masks)
    assert train.images == 12
    assert train.sizes == {(40, 56): 11, (9, 13): 1}
    np.testing.assert_array_equal(train.pixels[0], stored)
    assert train.occurrences[0][[0, 1, 2, 3, 255]].tolist() == [11, 11, 11, 0, 1]
    np.testing.assert_allclose(found.frequencies("train"), stored[:3] / stored[:3].sum())
    assert found.void("train") == pytest.approx(9 * 13 / (11 * 40 * 56 + 9 * 13))
    assert "12 images, 2 sizes from 13x9 to 56x40, 11 of 56x40" in str(found)
    assert re.search(r"^  void +0\.4726 +1 +0\.0000 +0$", str(found), re.MULTILINE)


def test_counts_agree_with_those_of_training(root):
    found = inspect(root, progress=False)
    for name, split in load_folder(root).splits.items():
        np.testing.assert_array_equal(found.splits[name].pixels[0], split.scan())


@pytest.mark.parametrize("ignore_label", [0, 1, 3])
def test_counts_are_of_classes_not_of_values(tmp_path, ignore_label):
    about = {"classes": ["a", "b"], "ignore_label": ignore_label}
    values = 3 if ignore_label < 3 else 2
    root = write_folder(tmp_path / "photos", values=values, about=about)
    found = inspect(root, progress=False)
    assert found.faults == []
    pixels = load_folder(root).splits["train"].scan()
    np.testing.assert_array_equal(found.splits["train"].pixels[0], pixels)
    # Each value occurs in each of the two masks.
    np.testing.assert_array_equal(found.splits["train"].occurrences[0], 2 * (pixels > 0))


def test_without_dataset_json(root):
    """The classes are counted in those masks that can be read."""
    (root / "dataset.json").unlink()
    write(root / "valannot" / "val_0.png", np.full((40, 56), 4))
    expected = truncated_mask(root)
    found = inspect(root, progress=False)
    assert [*found.classes] == [f"class_{i}" for i in range(5)]
    assert_found(root, found.faults, [expected])


def test_nothing_but_void(tmp_path):
    root = write_folder(tmp_path / "photos", train=1, val=0)
    write(root / "trainannot" / "train_0.png", np.full((20, 28), 255))
    (fault,) = inspect(root, progress=False).faults
    assert (fault.kind, fault.file) == ("void", str(root))
    assert "no mask has a labelled pixel" in fault.text


def test_no_mask_can_be_read(tmp_path):
    root = write_folder(tmp_path / "photos", train=1, val=0)
    (root / "trainannot" / "train_0.png").write_bytes(b"")
    (fault,) = inspect(root, progress=False).faults
    assert fault.kind == "unreadable"


def test_json(root):
    expected = label_out_of_range(root)
    found = inspect(root, progress=False)
    about = json.loads(json.dumps(found.to_dict()))
    assert about["dataset"] == "photos" and about["classes"] == ["a", "b", "c"]
    assert {*about["splits"]} == {"train", "val"}
    train = about["splits"]["train"]
    assert train["images"] == 12 and train["sizes"] == {"56x40": 12}
    assert sum(train["pixels"].values()) == 12 * 40 * 56 - 5  # those out of range
    assert train["images_with"] == {"a": 12, "b": 12, "c": 12, "void": 0}
    (fault,) = about["faults"]
    assert fault["kind"] == "label" and fault["file"] == str(root / expected[2])


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_no_data_set(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=name):
        inspect(tmp_path / name, progress=False)


def test_wrong_dataset_json(root):
    (root / "dataset.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        inspect(root, progress=False)


# Data sets that are no folder


class Arrays:
    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        if isinstance(self.examples[index], Exception):
            raise self.examples[index]
        return self.examples[index]


def example(id, seed, size=(6, 7), label=None, maps=1):
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Example(image, np.zeros((*size, maps), "uint8") if label is None else label, id)


def test_registered_data_set():
    """The same faults, by the images' ids."""
    strange = np.zeros((6, 7, 1), "uint8")
    strange[0, :2], strange[5] = 9, 255
    splits = {
        "train": Arrays([example("a", 0), example("b", 1, label=strange), example("c", 2)]),
        "val": Arrays(
            [
                example("d", 0),
                example("c", 3),
                example("e", 4, label=np.zeros((7, 6, 1), "uint8")),
                UserError("record 7: damaged"),
            ]
        ),
    }
    found = inspect(Dataset("pets", ("cat", "dog"), ((0, 0, 0), (9, 9, 9)), splits), False)
    assert [fault[:3] for fault in found.faults] == [
        ("label", "train", "b"),
        ("two_splits", "val", "d"),
        ("size", "val", "e"),
        ("unreadable", "val", "number 3"),
        ("classes", "", "pets"),  # all that can be read is cat
    ]
    assert "9 (2 pixels)" in found.faults[0].text and "0..1, 255" in found.faults[0].text
    assert found.splits["train"].pixels[0][[0, 255]].tolist() == [3 * 42 - 9, 7]


def test_several_label_maps():
    label = np.stack([np.full((6, 7), 2), np.full((6, 7), 1)], axis=-1).astype("uint8")
    label[0, 0], label[1, 0] = (255, 2), (1, 0)
    dataset = Dataset(
        "sift",
        ("sky", "sea", "sun"),
        ((0, 0, 0),) * 3,
        {"train": Arrays([example("a", 0, label=label)])},
        {"sem": ("sky", "sea", "sun"), "geo": ("up", "down")},
    )
    found = inspect(dataset, False)
    (fault,) = found.faults
    assert fault.kind == "label" and "2 (1 pixels); a mask may hold 0..1, 255" in fault.text
    about = found.to_dict()
    assert about["classes"] == {"sem": ("sky", "sea", "sun"), "geo": ("up", "down")}
    assert about["splits"]["train"]["pixels"] == {
        "sem": {"sky": 0, "sea": 1, "sun": 40, "void": 1},
        "geo": {"up": 1, "down": 40, "void": 0},
    }
    assert "sem" in str(found) and "geo" in str(found)


# Real data


def test_camvid(camvid):
    found = inspect(camvid, progress=False)
    print(found)
    assert found.faults == []
    assert {name: split.images for name, split in found.splits.items()} == {
        "train": 367,
        "val": 101,
    }
    assert all(split.sizes == {(360, 480): split.images} for split in found.splits.values())
    stored = np.zeros(256, "int64")
    for path in (camvid / "valannot").glob("*.png"):
        stored += np.bincount(picture(path).ravel(), minlength=256)
    np.testing.assert_allclose(found.frequencies("val"), stored[:11] / stored[:11].sum())
    assert found.void("val") == stored[11] / stored.sum()
    table = str(found)
    for name, share in zip(found.classes, 100 * found.frequencies("val"), strict=True):
        assert re.search(rf"^  {name} .* {share:.4f} ", table, re.MULTILINE)


def test_voc(voc):
    found = inspect(voc, progress=False)
    assert found.faults == []
    assert {name: split.images for name, split in found.splits.items()} == {"train": 60, "val": 60}
    assert found.classes[0] == "background"
