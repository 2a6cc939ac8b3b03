"""Folders as people have them: where images and masks lie, and how they are called."""

import hashlib
import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn_keras.data.files.listing import files_below, is_foreign
from fcn_keras.data.folders.folder import find_folder, load_folder
from fcn_keras.data.folders.splitting import validated
from fcn_keras.data.inspection import inspect
from fcn_keras.errors import UserError

IDS = np.array([[0, 1, 2], [2, 1, 0]], "uint8")


def put(root, *places, array=IDS):
    """Writes images or masks."""
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if not re.search("mask|annot|label|gtfine|segmentation", place.lower()):
            # No two photographs are the same, which would be told.
            rng = np.random.default_rng([*place.encode(errors="replace")])
            Image.fromarray(rng.integers(0, 256, (2, 3, 3), "uint8")).save(path)
        else:
            Image.fromarray(array).save(path)
    return root


def loaded(root):
    """What is found: of each split the names, with the names of the masks' files."""
    return {
        split: {name: mask.name for name, (_, mask) in zip(files.names, files.files, strict=True)}
        for split, files in load_folder(root).splits.items()
    }


# The files, and what is found.
LAYOUTS = {
    "images and masks by split": (
        ["images/train/a.png", "masks/train/a.png", "images/val/b.png", "masks/val/b.png"],
        {"train": {"a": "a.png"}, "val": {"b": "b.png"}},
    ),
    "capitals, and other names": (
        ["Imgs/Train/a.png", "Labels/Train/a.png", "Imgs/Valid/b.png", "Labels/Valid/b.png"],
        {"train": {"a": "a.png"}, "val": {"b": "b.png"}},
    ),
    "splits around them": (
        ["train/images/a.png", "train/masks/a.png", "valid/images/b.png", "valid/masks/b.png"],
        {"train": {"a": "a.png"}, "val": {"b": "b.png"}},
    ),
    "folders within": (
        ["images/train/x/a.png", "masks/train/x/a.png", "images/train/y/a.png"]
        + ["masks/train/y/a.png", "images/val/y/b.png", "masks/val/y/b.png"],
        {"train": {"x/a": "a.png", "y/a": "a.png"}, "val": {"y/b": "b.png"}},
    ),
    "folders of the images alone": (
        ["images/train/x/a.png", "masks/train/a.png", "images/train/y/b.png", "masks/train/b.png"],
        {"train": {"x/a": "a.png", "y/b": "b.png"}},
    ),
    "a suffix": (
        ["train/a.png", "trainannot/a_L.png", "val/b.png", "valannot/b_L.png"],
        {"train": {"a": "a_L.png"}, "val": {"b": "b_L.png"}},
    ),
    "a suffix, names that begin alike": (
        ["train/a.png", "train/a_1.png", "trainannot/a_mask.png", "trainannot/a_1_mask.png"],
        {"train": {"a": "a_mask.png", "a_1": "a_1_mask.png"}},
    ),
    "names with dots": (
        ["train/a.b.png", "trainannot/a.b.png"],
        {"train": {"a.b": "a.b.png"}},
    ),
    "Cityscapes": (
        ["leftImg8bit/train/ulm/ulm_1_leftImg8bit.png"]
        + [f"gtFine/train/ulm/ulm_1_gtFine_{k}.png" for k in ("color", "instanceIds", "labelIds")],
        {"train": {"ulm/ulm_1_leftImg8bit": "ulm_1_gtFine_labelIds.png"}},
    ),
    "masks beside other annotations": (
        ["images/train/a.png", "masks/train/a.png", "annotations/instances.json"],
        {"train": {"a": "a.png"}},
    ),
    "foreign files": (
        ["train/a.png", "trainannot/a.png", "train/._a.png", "trainannot/._a.png", "train/.x/b.png"]
        + ["train/__MACOSX/a.png", "train/Thumbs.db", "trainannot/desktop.ini"],
        {"train": {"a": "a.png"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("files, expected", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tmp_path, files, expected):
    for file in files:
        if file.endswith((".db", ".ini", ".json")):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text("{}")
        else:
            put(tmp_path, file, array=IDS + np.uint8(7 if "gtFine" in file else 0))
    assert loaded(tmp_path) == expected
    assert inspect(tmp_path, progress=False).faults == []


@pytest.mark.parametrize(
    "files, about, message",
    [
        # Several masks each.
        (
            ["train/a.png", "trainannot/a_L.png", "trainannot/a_M.png"],
            {},
            r'several masks.*\{"mask_suffix": "_L"\} or \{"mask_suffix": "_M"\}',
        ),
        # One that has none.
        (
            [f"train/{name}.png" for name in "abc"] + [f"trainannot/{name}_L.png" for name in "ab"],
            {},
            r'2 of 3 images .*\{"mask_suffix": "_L"\}',
        ),
        (["images/a.png", "masks/a.png", "labels/a.png"], {}, "holds masks in labels and masks"),
        (["images/a.png", "imgs/a.png", "masks/a.png"], {}, "holds images in images and imgs"),
        (["images/a.png", "masks/a.png"], {"val_group": r"\d"}, "`val_group`.*nothing in 'a'"),
        (["images/train/a.png", "masks/train/a.png", "images/Train/b.png"], {}, "are the split"),
    ],
)  # fmt: skip
def test_layouts_that_are_not_clear(tmp_path, files, about, message):
    put(tmp_path, *files)
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=message) as error:
        find_folder(tmp_path)
    assert "\n" not in str(error.value)


def test_suffixes_that_are_given(tmp_path):
    files = ["train/a_sat.png", "train/b_sat.png", "trainannot/a_mask.png", "trainannot/b_mask.png"]
    put(tmp_path, *files, "trainannot/a_other.png", "train/notes.png")
    about = {"image_suffix": "_sat", "mask_suffix": "_mask"}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    assert loaded(tmp_path) == {"train": {"a_sat": "a_mask.png", "b_sat": "b_mask.png"}}
    about = {"mask_suffix": ""}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="has no mask"):
        load_folder(tmp_path)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_written_in_two_ways(tmp_path, forms):
    image, mask = (unicodedata.normalize(form, "Straße äöü é.png") for form in forms)
    put(tmp_path, f"train/{image}", f"trainannot/{mask}")
    assert [*loaded(tmp_path)["train"]] == ["Straße äöü é"]


def test_names_of_all_kinds(tmp_path):
    names = ["a b", "[1]", "x, y", "#1", "100%", "it's", '"q"', "*", "{}", "$HOME", "-f"]
    names.append(b"\xff".decode("utf-8", "surrogateescape"))
    put(tmp_path, *(f"train/{name}.png" for name in names))
    put(tmp_path, *(f"trainannot/{name}.png" for name in names))
    assert {*loaded(tmp_path)["train"]} == {*names}
    found = inspect(tmp_path, progress=False)
    assert found.faults == [] and json.dumps(found.to_dict())


def test_a_loop_of_links(tmp_path):
    put(tmp_path, "train/a.png", "trainannot/a.png")
    (tmp_path / "train" / "again").symlink_to(tmp_path / "train")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert loaded(tmp_path) == {"train": {"a": "a.png"}}


# Classes that a layout is known for


def test_cityscapes(tmp_path):
    """All 34 ids; 19 of them are classes, in the order of the train ids, the others are void."""
    ids = np.arange(36, dtype="uint8")[None]
    ids[0, 34:] = 255
    for split in ("train", "val"):
        photo = tmp_path / f"leftImg8bit/{split}/ulm/{split}_leftImg8bit.png"
        photo.parent.mkdir(parents=True)
        Image.new("RGB", (36, 1)).save(photo)
        put(tmp_path, f"gtFine/{split}/ulm/{split}_gtFine_labelIds.png", array=ids)
    dataset = load_folder(tmp_path)
    assert dataset.classes[0] == "road" and dataset.classes[18] == "bicycle"
    assert dataset.colors[13] == (0, 0, 142)
    label = dataset.splits["train"][0].label[0, :, 0]
    # As in the benchmark's own table of labels.
    evaluated = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    expected = np.full(36, 255)
    expected[evaluated] = np.arange(19)
    assert label.tolist() == expected.tolist()
    for path in tmp_path.rglob("*_labelIds.png"):
        path.rename(str(path).replace("labelIds", "labelTrainIds"))
    with pytest.raises(UserError, match="a mask may hold 0..18, 255. This one holds 19"):
        load_folder(tmp_path).splits["val"].scan()


def test_ade20k(tmp_path):
    for split in ("training", "validation"):
        put(tmp_path, f"images/{split}/{split}.png", f"annotations/{split}/{split}.png")
    rows = "".join(f"{i}\t0.1\t1\t1\tname {i}\n" for i in range(1, 151))
    (tmp_path / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n" + rows)
    dataset = load_folder(tmp_path)
    assert dataset.num_classes == 150 and dataset.classes[0] == "name 1"
    split = dataset.splits["val"]
    mask = split.files[0][1]
    np.testing.assert_array_equal(split.label_of(split.read(mask), mask), IDS - np.uint8(1))
    (tmp_path / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n")
    with pytest.raises(UserError, match="must list 150 classes"):
        load_folder(tmp_path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".JPEG"])
def test_cvat(tmp_path, suffix):
    """Segmentation mask 1.1: one list of all, colours by labelmap.txt, names with spaces."""
    lines = (
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad sign:0,128,64::\ncar:9,9,9::\n"
    )
    (tmp_path / "labelmap.txt").write_text(lines)
    names = [f"frame {i}" for i in range(6)] + ["clip/frame 1"]
    colors = np.array([[0, 0, 0], [0, 128, 64], [9, 9, 9]], "uint8")
    for name in names:
        put(tmp_path, f"JPEGImages/{name}{suffix}")
        put(tmp_path, f"SegmentationClass/{name}.png", array=colors[IDS])
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(names).encode() + b"\r\n")
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("background", "road sign", "car")
    assert dataset.colors == tuple(map(tuple, colors.tolist()))
    assert sorted(sum((list(s.names) for s in dataset.splits.values()), [])) == sorted(names)
    assert all(len(split) for split in dataset.splits.values())
    label = dataset.splits["train"][0].label[..., 0]
    np.testing.assert_array_equal(label, IDS)


@pytest.mark.parametrize(
    "data, names",
    [
        (b"a\r\nb\r\n\r\n", ["a", "b"]),
        (b"\xef\xbb\xbfa\nb", ["a", "b"]),
        ("a\nb\n".encode("utf-16"), ["a", "b"]),
        (b"\xfe\xff" + "a\nb\n".encode("utf-16-be"), ["a", "b"]),
        ("\ufeffa\nb\n".encode("utf-32-le"), ["a", "b"]),
        (b"a.jpg\n b \n", ["a", "b"]),
        ("straße\n".encode("latin-1"), "train.txt: is no text in UTF-8"),
        ("a\nb\n".encode("utf-16-le"), "train.txt: is no text in UTF-8"),
        (b"\xff\xfea", "train.txt: is no text in UTF-16"),
    ],
)
def test_lists(tmp_path, data, names):
    for name in "ab":
        put(tmp_path, f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_bytes(data)
    if isinstance(names, str):
        with pytest.raises(UserError, match=names):
            find_folder(tmp_path)
    else:
        assert [*loaded(tmp_path)["train"]] == names


# Splits where there are none


@pytest.fixture
def unsplit(tmp_path):
    names = [f"{video}_{i}" for video in "abcdefghij" for i in range(6)]
    for name in names:
        put(tmp_path, f"images/{name}.png", f"masks/{name}.png")
    return tmp_path


def names_of(root, **options):
    return {name: {*split.names} for name, split in load_folder(root, **options).splits.items()}


def test_a_part_is_validated_on(unsplit):
    split = names_of(unsplit)
    assert not split["train"] & split["val"] and len(split["train"] | split["val"]) == 60
    assert 5 <= len(split["val"]) <= 20
    assert "20% to validate on" in find_folder(unsplit).layout
    # The flag is before what dataset.json says, and that before the default.
    (unsplit / "dataset.json").write_text('{"val_share": 0.5}')
    half = names_of(unsplit)["val"]
    assert 20 <= len(half) <= 40 and split["val"] < half
    assert names_of(unsplit, val_share=0.2) == split


def test_images_stay_where_they_are(unsplit):
    before = names_of(unsplit)
    put(unsplit, *(f"images/new{i}.png" for i in range(20)))
    put(unsplit, *(f"masks/new{i}.png" for i in range(20)))
    (unsplit / "images" / "a_0.png").unlink()
    (unsplit / "masks" / "a_0.png").unlink()
    after = names_of(unsplit)
    for split in ("train", "val"):
        assert before[split] - {"a_0"} <= after[split]


def test_groups_stay_together(unsplit):
    (unsplit / "dataset.json").write_text(json.dumps({"val_group": "^(.)_"}))
    split = names_of(unsplit)
    assert {name[0] for name in split["val"]}.isdisjoint({name[0] for name in split["train"]})
    assert split["val"] and split["train"]


def test_val_share_is_for_folders_without_splits(tmp_path):
    put(tmp_path, "train/a.png", "trainannot/a.png")
    with pytest.raises(UserError, match="`val_share`.* has the splits train"):
        load_folder(tmp_path, val_share=0.3)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("share", [0.001, 0.2, 0.999])
def test_there_is_always_something_to_train_and_to_validate_on(count, share):
    names = [f"image {i}" for i in range(count)]
    chosen = validated(names, share)
    if count > 1:
        assert 0 < len(chosen) < count


def test_the_share_is_met():
    names = [f"IMG_{i:05d}" for i in range(20000)]
    for share in (0.05, 0.2, 0.5):
        assert abs(len(validated(names, share)) / 20000 - share) < 0.01


def test_the_choice_is_the_same_everywhere():
    """Worked out by hashlib alone, so that no later version moves an image."""
    names = [f"{i}" for i in range(30)]
    expected = {
        name
        for name in names
        if int(hashlib.blake2b(name.encode(), digest_size=8).hexdigest(), 16) < 0.2 * 2**64
    }
    assert validated(names, 0.2) == expected != set()


def test_files_below(tmp_path):
    foreign = [
        ".DS_Store",
        "._a.png",
        "Thumbs.db",
        "desktop.ini",
        "Desktop.ini",
        "__MACOSX",
        ".git",
    ]
    assert all(map(is_foreign, foreign)) and not is_foreign("a.png")
    for name in (*foreign, "a.png"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b.png").write_text("")
    assert [*files_below(tmp_path)] == [Path(tmp_path, "a.png", "b.png")]
