import json
import re
import shutil

import h5py
import numpy as np
import pytest
import scipy.io
from helpers import voc_files
from PIL import Image, ImageOps

from fcn_keras.data.dataset import count_labels
from fcn_keras.data.folders.folder import load_folder
from fcn_keras.data.known_classes import VOC_CLASSES
from fcn_keras.data.palette import voc_palette
from fcn_keras.data.registry import load_dataset
from fcn_keras.errors import UserError

LAYOUTS = ("annot", "annotations")
ABC = {"classes": ["a", "b", "c"]}


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def write_mask(path, values):
    Image.fromarray(np.asarray(values, "uint8")).save(path)


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def folder_of_mask(root, values, about=None):
    """A data set of one image, whose mask holds the given values in one row."""
    values = np.atleast_2d(values)
    for folder in ("train", "trainannot"):
        (root / folder).mkdir(parents=True)
    Image.new("RGB", values.shape[::-1]).save(root / "train" / "x.png")
    write_mask(root / "trainannot" / "x.png", values)
    if about is not None:
        (root / "dataset.json").write_text(json.dumps(about))
    return root


# What a good folder gives


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, make_folder, layout):
    root = make_folder(tmp_path / "photos", train=3, val=2, layout=layout)
    dataset = load_folder(root)
    assert dataset.name == "photos"
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 3, "val": 2}
    for name, split in dataset.splits.items():
        for i in range(len(split)):
            image, label, id = split[i]
            assert id == f"{name}_{i}"
            image_path, mask_path = split.files[i]
            assert image_path.stem == mask_path.stem == id
            assert image.dtype == label.dtype == np.uint8
            np.testing.assert_array_equal(image, pixels(image_path))
            np.testing.assert_array_equal(label, pixels(mask_path)[:, :, None])
            assert split.size(i) == image.shape[:2] == (20, 28)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_single_split_will_do(tmp_path, make_folder, layout):
    assert [*load_folder(make_folder(tmp_path, val=0, layout=layout)).splits] == ["train"]


def test_test_split_and_other_folders(tmp_path, make_folder):
    root = make_folder(tmp_path)
    for old, new in (("val", "test"), ("valannot", "testannot")):
        shutil.copytree(root / old, root / new)
    (root / "notes").mkdir()
    assert {*load_folder(root).splits} == {"train", "val", "test"}


def test_files_of_other_kinds_are_passed_over(tmp_path, make_folder):
    root = make_folder(tmp_path)
    for folder in ("train", "trainannot"):
        (root / folder / "Thumbs.db").write_text("")
        (root / folder / "readme.txt").write_text("")
    assert len(load_folder(root).splits["train"]) == 2


def test_masks_without_an_image_are_passed_over(tmp_path, make_folder):
    root = make_folder(tmp_path)
    shutil.copy(root / "trainannot" / "train_0.png", root / "trainannot" / "more.png")
    assert len(load_folder(root).splits["train"]) == 2


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".PNG", ".bmp", ".gif", ".webp"])
def test_image_suffixes(tmp_path, make_folder, suffix):
    root = make_folder(tmp_path)
    for i in range(2):
        path = root / "train" / f"train_{i}.png"
        picture = Image.fromarray(pixels(path))
        path.unlink()
        picture.save(path.with_suffix(suffix))
    split = load_folder(root).splits["train"]
    assert split.files[0][0].name == f"train_0{suffix}"
    assert split.scan().sum() == 2 * 20 * 28


def test_load_dataset_takes_a_folder(tmp_path, make_folder):
    root = make_folder(tmp_path)
    assert len(load_dataset(root).splits["train"]) == 2
    assert len(load_dataset(str(root)).splits["train"]) == 2


@pytest.mark.parametrize("name", ["nowhere", "pascal"])
def test_load_dataset_of_no_such_name(name):
    with pytest.raises(UserError, match=f"`dataset` must be one of shapes.*{name!r}"):
        load_dataset(name)


def test_scan_counts_pixels(tmp_path, make_folder):
    root = make_folder(tmp_path, train=5, values=4, about={**ABC, "ignore_label": 1})
    split = load_folder(root).splits["train"]
    counts = split.scan()
    assert counts.dtype == np.int64 and counts.shape == (256,)
    np.testing.assert_array_equal(counts, count_labels(split))
    stored = sum(np.bincount(pixels(mask).ravel(), minlength=256) for _, mask in split.files)
    assert counts[[0, 1, 2, 255]].tolist() == stored[[0, 2, 3, 1]].tolist()
    assert counts.sum() == 5 * 20 * 28


# Without dataset.json


def test_classes_are_counted(tmp_path, make_folder):
    root = make_folder(tmp_path, values=5)
    write_mask(root / "valannot" / "val_0.png", np.full((20, 28), 6))  # in one split only
    dataset = load_folder(root)
    assert dataset.classes == tuple(f"class_{i}" for i in range(7))
    assert dataset.num_classes == 7
    assert dataset.colors == tuple(map(tuple, voc_palette(7).tolist()))


def test_void_is_no_class(tmp_path):
    root = folder_of_mask(tmp_path, [0, 2, 255, 1])
    dataset = load_folder(root)
    assert dataset.num_classes == 3
    assert dataset.splits["train"][0].label.ravel().tolist() == [0, 2, 255, 1]


def test_palette_indices_not_colors(tmp_path):
    root = folder_of_mask(tmp_path, [0])
    picture = Image.fromarray(np.array([[0, 2, 1, 255]], "uint8"))
    picture.putpalette(voc_palette(256).tobytes())
    picture.save(root / "trainannot" / "x.png")
    Image.new("RGB", (4, 1)).save(root / "train" / "x.png")
    dataset = load_folder(root)
    assert dataset.num_classes == 3
    assert dataset.splits["train"][0].label.ravel().tolist() == [0, 2, 1, 255]


# With dataset.json


def test_names_and_colors(tmp_path, make_folder):
    about = {
        "name": "street",
        "classes": ["road", "naïve", "猫"],
        "colors": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
    }
    dataset = load_folder(make_folder(tmp_path, about=about))
    assert dataset.name == "street"
    assert dataset.classes == ("road", "naïve", "猫")
    assert dataset.colors == ((1, 2, 3), (4, 5, 6), (7, 8, 9))


def test_more_classes_than_the_masks_hold(tmp_path, make_folder):
    dataset = load_folder(make_folder(tmp_path, about={"classes": [*"abcdef"]}))
    assert dataset.num_classes == 6
    assert dataset.colors == tuple(map(tuple, voc_palette(6).tolist()))


@pytest.mark.parametrize(
    ("ignore_label", "labels"),
    [
        (255, {0: 0, 1: 1, 2: 2, 255: 255}),
        (3, {0: 0, 1: 1, 2: 2, 3: 255, 255: 255}),  # at the end: no id moves
        (1, {0: 0, 1: 255, 2: 1, 3: 2, 255: 255}),  # in the middle: those above move down
        (0, {0: 255, 1: 0, 2: 1, 3: 2, 255: 255}),
        (200, {0: 0, 1: 1, 2: 2, 200: 255, 255: 255}),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_ignore_label(tmp_path, ignore_label, labels, named):
    about = {"ignore_label": ignore_label} | (ABC if named else {})
    root = folder_of_mask(tmp_path, [*labels], about)
    dataset = load_folder(root)
    assert dataset.num_classes == 3
    assert dataset.splits["train"][0].label.ravel().tolist() == [*labels.values()]
    counts = dataset.splits["train"].scan()
    assert counts.nonzero()[0].tolist() == [0, 1, 2, 255]


@pytest.mark.parametrize(("ignore_label", "value"), [(255, 3), (3, 4), (1, 4), (0, 4), (200, 3)])
def test_first_value_beyond_the_classes(tmp_path, ignore_label, value):
    about = ABC | {"ignore_label": ignore_label}
    split = load_folder(folder_of_mask(tmp_path, [[0, 1], [value, value]], about)).splits["train"]
    mask_path = split.files[0][1]
    for use in (split.scan, lambda: split[0]):
        with pytest.raises(UserError) as error:
            use()
        assert str(mask_path) in str(error.value)
        assert f"This one holds {value} (2 pixels" in str(error.value)


def test_as_many_classes_as_there_can_be(tmp_path):
    about = {"classes": [f"c{i}" for i in range(255)]}
    dataset = load_folder(folder_of_mask(tmp_path, np.arange(256), about))
    assert dataset.splits["train"][0].label.ravel().tolist() == [*range(256)]


def test_as_many_classes_as_there_can_be_beside_a_void_label(tmp_path):
    """254: there is no value left for another."""
    about = {"classes": [f"c{i}" for i in range(254)], "ignore_label": 7}
    dataset = load_folder(folder_of_mask(tmp_path, np.arange(256), about))
    labels = [*range(7), 255, *range(7, 254), 255]
    assert dataset.splits["train"][0].label.ravel().tolist() == labels


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("more", [{}, {"ignore_label": 255}, {"ignore_label": 0}])
def test_reduce_zero_label(tmp_path, named, more):
    """As ADE20K has it: 0 is void, and the classes count from 1."""
    about = {"reduce_zero_label": True} | more | (ABC if named else {})
    dataset = load_folder(folder_of_mask(tmp_path, [0, 1, 2, 3, 255], about))
    assert dataset.num_classes == 3
    assert dataset.splits["train"][0].label.ravel().tolist() == [255, 0, 1, 2, 255]


def test_zero_label_is_a_class_unless_said_otherwise(tmp_path):
    about = {"reduce_zero_label": False} | ABC
    dataset = load_folder(folder_of_mask(tmp_path, [0, 1, 2, 255], about))
    assert dataset.splits["train"][0].label.ravel().tolist() == [0, 1, 2, 255]


# Masks in colours and in MATLAB files

PAINTED = ABC | {"colors": [[10, 0, 0], [0, 20, 0], [0, 0, 30]]}


@pytest.mark.parametrize("about", [{}, {"ignore_label": 1}, {"reduce_zero_label": True}])
def test_colored_masks(tmp_path, about):
    """A colour says which class it is, whatever number that has in other masks."""
    root = folder_of_mask(tmp_path, [0, 0, 0, 0], PAINTED | {"ignore_color": [9, 9, 9]} | about)
    colors = [[0, 0, 30], [9, 9, 9], [10, 0, 0], [0, 20, 0]]
    write_mask(root / "trainannot" / "x.png", [colors])
    split = load_folder(root).splits["train"]
    assert split[0].label.ravel().tolist() == [2, 255, 0, 1]
    assert split.scan()[[0, 1, 2, 255]].tolist() == [1, 1, 1, 1]


def test_colored_and_grey_masks_in_one_folder(tmp_path, make_folder):
    root = make_folder(tmp_path, about=PAINTED)
    path = root / "trainannot" / "train_1.png"
    ids = pixels(path)
    write_mask(path, np.array(PAINTED["colors"])[ids])
    split = load_folder(root).splits["train"]
    np.testing.assert_array_equal(split[1].label[..., 0], ids)
    np.testing.assert_array_equal(split[0].label[..., 0], pixels(split.files[0][1]))


def test_color_that_no_class_has(tmp_path):
    root = folder_of_mask(tmp_path, [0], PAINTED)
    write_mask(root / "trainannot" / "x.png", [[[10, 0, 1]]])
    with pytest.raises(UserError, match=r"x\.png: has colours.*\(10, 0, 1\)"):
        load_folder(root).splits["train"].scan()


@pytest.mark.parametrize("key", [None, "S"])
@pytest.mark.parametrize("named", [True, False])
def test_matrices(tmp_path, make_folder, key, named):
    """Masks of both kinds of MATLAB files, with the rules of `dataset.json`."""
    about = {"ignore_label": 0} | (ABC if named else {}) | ({"mask_key": key} if key else {})
    root = make_folder(tmp_path, values=4, about=about)
    stored = []
    for i, path in enumerate(sorted((root / "trainannot").iterdir())):
        stored.append(pixels(path))
        more = {"T": stored[-1] + 1} if key else {}
        if i == 0:
            scipy.io.savemat(path.with_suffix(".mat"), {"S": stored[-1]} | more)
        else:
            with h5py.File(path.with_suffix(".mat"), "w") as file:
                for name, value in ({"S": stored[-1]} | more).items():
                    file[name] = value.T
        path.unlink()
    split = load_folder(root).splits["train"]
    assert len(split) == 2
    for i in range(2):
        np.testing.assert_array_equal(split[i].label[..., 0], stored[i] - np.uint8(1))
    split.scan()


def test_image_without_mask_beside_matrices(tmp_path, make_folder):
    root = make_folder(tmp_path, train=2)
    (root / "trainannot" / "train_0.png").rename(root / "trainannot" / "other.mat")
    with pytest.raises(UserError, match="train_0.png: has no mask"):
        load_folder(root)


# Other people's layouts


@pytest.mark.parametrize("folders", [("images", "annotations"), ("img_dir", "ann_dir")])
@pytest.mark.parametrize("splits", [("training", "validation"), ("train", "val")])
def test_ade20k(tmp_path, make_folder, folders, splits):
    root = make_folder(tmp_path, layout="annotations", about=ABC)
    for old, new in zip(("images", "annotations"), folders, strict=True):
        for split, name in zip(("train", "val"), splits, strict=True):
            (root / old / split).rename(root / old / "moved")
            (root / old / "moved").rename(root / old / name)
        (root / old).rename(root / new)
    dataset = load_folder(root)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 2, "val": 1}
    assert [*dataset.splits["val"].files] == [
        tuple(root / folder / splits[1] / "val_0.png" for folder in folders)
    ]


def test_two_folders_of_one_split(tmp_path, make_folder):
    root = make_folder(tmp_path, layout="annotations")
    for folder in ("images", "annotations"):
        shutil.copytree(root / folder / "val", root / folder / "validation")
    with pytest.raises(UserError, match="both are the split 'val'") as error:
        load_folder(root)
    assert str(root / "images" / "validation") in one_line(error)


# Folders that are no data set


def one_line(error):
    message = str(error.value)
    assert "\n" not in message, "more than one line"
    return message


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match="no such folder") as error:
        load_folder(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in one_line(error)


@pytest.mark.parametrize("folders", [[], ["train"], ["images/train"], ["trainannot"], ["cats"]])
def test_folder_without_masks(tmp_path, folders):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (3, 3)).save(tmp_path / folder / "a.png")
    with pytest.raises(UserError) as error:
        load_folder(tmp_path)
    message = one_line(error)
    assert str(tmp_path) in message
    assert "trainannot" in message and "annotations/train" in message  # what to do


@pytest.mark.parametrize("layout", LAYOUTS)
def test_image_without_mask(tmp_path, make_folder, layout):
    root = make_folder(tmp_path, train=3, layout=layout)
    split = load_folder(root).splits["train"]
    image_path, mask_path = split.files[1]
    mask_path.unlink()
    with pytest.raises(UserError, match="has no mask") as error:
        load_folder(root)
    assert str(image_path) in one_line(error) and str(mask_path) in one_line(error)


def test_many_images_without_masks(tmp_path, make_folder):
    root = make_folder(tmp_path, train=4)
    for i in range(3):
        (root / "trainannot" / f"train_{i}.png").unlink()
    with pytest.raises(UserError, match="train_0.png: has no mask.* 2 more"):
        load_folder(root)


def test_split_without_images(tmp_path, make_folder):
    root = make_folder(tmp_path)
    for path in (root / "train").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="holds no images") as error:
        load_folder(root)
    assert str(root / "train") in one_line(error)


def test_split_whose_masks_folder_is_missing(tmp_path, make_folder):
    root = make_folder(tmp_path, layout="annotations")
    shutil.rmtree(root / "annotations" / "val")
    with pytest.raises(UserError, match="val_0.png: has no mask"):
        load_folder(root)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_folder_of_masks_that_is_missing_beside_a_good_one(tmp_path, make_folder, layout, split):
    root = make_folder(tmp_path, layout=layout)
    masks = root / f"{split}annot" if layout == "annot" else root / "annotations" / split
    shutil.rmtree(masks)
    with pytest.raises(UserError, match=f"{split}_0.png: has no mask") as error:
        load_folder(root)
    assert str(masks / f"{split}_0.png") in one_line(error)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_alone_are_no_split(tmp_path, make_folder, layout):
    root = make_folder(tmp_path, layout=layout)
    shutil.rmtree(root / "val" if layout == "annot" else root / "images" / "val")
    assert [*load_folder(root).splits] == ["train"]


def test_two_images_of_one_name(tmp_path, make_folder):
    root = make_folder(tmp_path)
    shutil.copy(root / "train" / "train_0.png", root / "train" / "train_0.jpg")
    with pytest.raises(UserError, match="train_0.jpg.*two files of one name"):
        load_folder(root)


def test_nothing_but_void(tmp_path):
    with pytest.raises(UserError, match="no mask has a labelled pixel"):
        load_folder(folder_of_mask(tmp_path, [255, 255]))


# Files that are wrong; scan() finds them before work starts


def test_mask_of_another_size(tmp_path, make_folder):
    split = load_folder(make_folder(tmp_path, train=3)).splits["train"]
    image_path, mask_path = split.files[1]
    write_mask(mask_path, np.zeros((28, 20)))
    for use in (split.scan, lambda: split[1]):
        with pytest.raises(UserError, match="one size") as error:
            use()
        message = one_line(error)
        assert f"{image_path} of 28x20" in message
        assert f"{mask_path} of 20x28" in message
    assert split[0].image.shape == (20, 28, 3)  # the others can be read


def test_label_outside_the_classes(tmp_path, make_folder):
    root = make_folder(tmp_path, values=3, about=ABC)
    split = load_folder(root).splits["train"]
    mask = pixels(split.files[1][1]).copy()
    mask[4, 5] = 77
    write_mask(split.files[1][1], mask)
    with pytest.raises(UserError) as error:
        split.scan()
    message = one_line(error)
    assert str(split.files[1][1]) in message
    assert "0..2, 255" in message  # what is allowed
    assert "77 (1 pixels" in message  # what came


def test_colored_mask(tmp_path, make_folder):
    root = make_folder(tmp_path, about=ABC)
    shutil.copy(root / "train" / "train_1.png", root / "trainannot" / "train_1.png")
    with pytest.raises(UserError, match="colours") as error:
        load_folder(root).splits["train"].scan()
    assert str(root / "trainannot" / "train_1.png") in one_line(error)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".bmp", ".webp"])
def test_truncated_image(tmp_path, make_folder, suffix):
    root = make_folder(tmp_path, size=(80, 100), about=ABC)
    path = root / "train" / f"train_1{suffix}"
    picture = Image.fromarray(pixels(root / "train" / "train_1.png"))
    (root / "train" / "train_1.png").unlink()
    picture.save(path)
    split = load_folder(root).splits["train"]
    split.scan()
    truncate(path)
    for use in (split.scan, lambda: split[1]):
        with pytest.raises(UserError, match="cannot be read as an image") as error:
            use()
        assert str(path) in one_line(error)


def test_truncated_mask(tmp_path, make_folder):
    root = make_folder(tmp_path, size=(80, 100))
    path = root / "valannot" / "val_0.png"
    truncate(path)
    with pytest.raises(UserError) as error:  # without dataset.json the masks are read at once
        load_folder(root)
    assert str(path) in one_line(error)


def test_no_image_at_all(tmp_path, make_folder):
    root = make_folder(tmp_path)
    (root / "train" / "train_0.png").write_text("<html>404</html>")
    with pytest.raises(UserError, match="unknown or damaged format") as error:
        load_folder(root).splits["train"].scan()
    assert str(root / "train" / "train_0.png") in one_line(error)


# dataset.json that is wrong


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        (b'{"name": "\xff"}', "not valid JSON"),
        ("[]", "the keys"),
        ('{"clases": ["a", "b", "c"]}', "the keys classes, colors, ignore_label, name"),
        ('{"classes": []}', "`classes`"),
        ('{"classes": 3}', "`classes`"),
        ('{"classes": "abc"}', "`classes`"),
        ('{"classes": {"0": "a", "1": "b", "2": "c"}}', "`classes`"),
        ('{"classes": ["a", "b", 3]}', "`classes`"),
        ('{"classes": ["a", "b", "a"]}', "`classes`"),  # scores by name would lose one
        ('{"colors": [[0, 0, 0]]}', "`colors`"),
        ('{"classes": ["a", "b", "c"], "colors": [[0, 0, 0]]}', "`colors`"),
        ('{"classes": ["a"], "colors": [[0, 0]]}', "`colors`"),
        ('{"classes": ["a"], "colors": [[0, 0, 256]]}', "`colors`"),
        ('{"classes": ["a"], "colors": ["red"]}', "`colors`"),
        ('{"classes": ["a"], "colors": 0}', "`colors`"),
        ('{"ignore_label": 256}', "`ignore_label`"),
        ('{"ignore_label": -1}', "`ignore_label`"),
        ('{"ignore_label": 1.5}', "`ignore_label`"),
        ('{"ignore_label": "void"}', "`ignore_label`"),
        ('{"name": 5}', "`name`"),
        ('{"name": ""}', "`name`"),
        # True is a number to Python.
        ('{"ignore_label": true}', "`ignore_label`"),
        ('{"classes": ["a"], "colors": [[0, 0, true]]}', "`colors`"),
        ('{"ignore_color": [0, 0, 0]}', "`ignore_color`"),
        ('{"classes": ["a"], "colors": [[0, 0, 1]], "ignore_color": 0}', "`ignore_color`"),
        ('{"classes": ["a"], "colors": [[0, 0, 1]], "ignore_color": null}', "`ignore_color`"),
        ('{"classes": ["a"], "colors": [[0, 0, 1]], "ignore_color": [0, 0, 1]}', "another"),
        ('{"reduce_zero_label": 1}', "`reduce_zero_label`"),
        ('{"reduce_zero_label": true, "ignore_label": 3}', "give one"),
        ('{"mask_key": 5}', "`mask_key`"),
        ('{"mask_key": ""}', "`mask_key`"),
    ],
)
def test_wrong_dataset_json(tmp_path, make_folder, text, what):
    path = make_folder(tmp_path) / "dataset.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=re.escape(what)) as error:
        load_folder(tmp_path)
    assert str(path) in one_line(error)


def test_too_many_classes(tmp_path, make_folder):
    root = make_folder(tmp_path, about={"classes": [f"c{i}" for i in range(256)]})
    with pytest.raises(UserError, match="1 to 255 classes"):
        load_folder(root)


@pytest.mark.parametrize("void", [{"ignore_label": 0}, {"reduce_zero_label": True}])
def test_a_class_without_a_value(tmp_path, make_folder, void):
    """255 classes take the values 0..254, so that no other than 255 can be void."""
    root = make_folder(tmp_path, about={"classes": [f"c{i}" for i in range(255)]} | void)
    with pytest.raises(UserError, match="254 at most"):
        load_folder(root)


def test_dataset_json_of_a_windows_editor(tmp_path, make_folder):
    root = make_folder(tmp_path)
    (root / "dataset.json").write_text(json.dumps(ABC), encoding="utf-8-sig")
    assert load_folder(root).classes == ("a", "b", "c")


# A zoo of files: what can be read is right, and what cannot is named before work starts


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def zoo():
    """File name -> a picture and how to save it."""
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (20, 28, 3), dtype=np.uint8))
    grey = photo.convert("L")
    deep = Image.fromarray(rng.integers(0, 1 << 16, (20, 28), dtype=np.uint16))
    frames = {"save_all": True, "append_images": [Image.new("RGB", (28, 20), "red")]}
    yield "rgb.jpg", photo, {}
    yield "rgb.png", photo, {}
    yield "rgb.bmp", photo, {}
    yield "rgb.webp", photo, {}
    yield "bits.bmp", photo.convert("1"), {}
    yield "palette.png", photo.quantize(16), {}
    yield "deep.png", deep, {}
    yield "cmyk.jpg", photo.convert("CMYK"), {}
    yield "grey.jpg", grey, {}
    yield "grey.png", grey, {}
    yield "alpha.png", photo.convert("RGBA"), {}
    yield "alpha.webp", photo.convert("RGBA"), {}
    yield "grey_alpha.png", photo.convert("LA"), {}
    for orientation in range(1, 9):
        yield f"exif_{orientation}.jpg", photo, {"exif": exif(orientation)}
        yield f"exif_{orientation}.png", photo, {"exif": exif(orientation)}
    yield "animated.gif", photo, frames
    yield "animated.webp", photo, frames
    yield "pixel.png", photo.crop((0, 0, 1, 1)), {}


@pytest.mark.parametrize("name, picture, options", [pytest.param(*x, id=x[0]) for x in zoo()])
def test_zoo(tmp_path, name, picture, options):
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    picture.save(tmp_path / "train" / name, **options)
    with Image.open(tmp_path / "train" / name) as opened:
        upright = ImageOps.exif_transpose(opened)
        if upright.mode == "I;16":
            upright = Image.fromarray((np.asarray(upright) >> 8).astype("uint8"))
        expected = np.asarray(upright.convert("RGBA").convert("RGB"))
    mask = np.arange(expected[..., 0].size).reshape(expected.shape[:2]) % 3
    write_mask((tmp_path / "trainannot" / name).with_suffix(".png"), mask)
    split = load_folder(tmp_path).splits["train"]
    assert split.scan().sum() == mask.size
    image, label, id = split[0]
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(label[..., 0], mask)
    assert split.size(0) == image.shape[:2]


# Real data


def test_camvid(camvid):
    dataset = load_folder(camvid)
    about = json.loads((camvid / "dataset.json").read_text())
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 367,
        "val": 101,
    }
    assert dataset.name == "camvid"
    assert dataset.classes == tuple(about["classes"]) and dataset.num_classes == 11
    assert dataset.colors == tuple(map(tuple, about["colors"]))
    split = dataset.splits["val"]
    stored = np.zeros(256, "int64")
    for i in range(len(split)):
        mask = pixels(split.files[i][1])
        stored += np.bincount(mask.ravel(), minlength=256)
        if i % 10 == 0:
            image, label, id = split[i]
            assert id == split.files[i][0].stem
            np.testing.assert_array_equal(label[:, :, 0], np.where(mask == 11, 255, mask))
            np.testing.assert_array_equal(image, pixels(split.files[i][0]))
    counts = split.scan()
    assert counts[:11].tolist() == stored[:11].tolist()
    assert counts[255] == stored[11] > 0
    assert counts.sum() == 101 * 360 * 480


def test_voc_palette_masks(tmp_path, voc):
    names = (voc / "ImageSets" / "Segmentation" / "val.txt").read_text().split()[:12]
    images, masks = tmp_path / "images" / "val", tmp_path / "annotations" / "val"
    for folder in (images, masks):
        folder.mkdir(parents=True)
    for name in names:
        (images / f"{name}.jpg").symlink_to(voc / "JPEGImages" / f"{name}.jpg")
        (masks / f"{name}.png").symlink_to(voc / "SegmentationClass" / f"{name}.png")
    dataset = load_folder(tmp_path)
    split = dataset.splits["val"]
    assert [split[i].id for i in range(len(split))] == sorted(names)
    seen = set()
    for i, name in enumerate(sorted(names)):
        with Image.open(voc / "SegmentationClass" / f"{name}.png") as picture:
            assert picture.mode == "P"
            indices = np.asarray(picture)
        np.testing.assert_array_equal(split[i].label[:, :, 0], indices)
        assert split[i].image.shape == (*indices.shape, 3)
        seen |= {*np.unique(indices).tolist()}
    assert {0, 255} < seen <= {*range(21), 255}
    assert dataset.num_classes == max(seen - {255}) + 1


# PASCAL VOC's devkit

VOC_SPLITS = {"train": ["2008_000002", "2007_000001"], "val": ["2009_000003"]}


@pytest.fixture
def devkit(tmp_path):
    return voc_files.write_voc(tmp_path / "VOCdevkit" / "VOC2012", **VOC_SPLITS)


@pytest.mark.parametrize("inside", ["VOCdevkit", "VOCdevkit/VOC2012"])
def test_devkit(tmp_path, devkit, inside):
    dataset = load_dataset(tmp_path / inside)
    assert dataset.name == "VOC2012"
    assert dataset.classes == VOC_CLASSES
    assert dataset.colors == tuple(map(tuple, voc_palette(21).tolist()))
    assert {*dataset.splits} == {"train", "val"}
    for name, ids in VOC_SPLITS.items():
        split = dataset.splits[name]
        assert [split[i].id for i in range(len(split))] == ids
        for i, id in enumerate(ids):
            np.testing.assert_array_equal(split[i].label[:, :, 0], voc_files.voc_mask(id))
            np.testing.assert_array_equal(
                split[i].image, pixels(devkit / "JPEGImages" / f"{id}.jpg")
            )
    assert dataset.splits["val"].scan()[255] > 0


def test_devkit_here(devkit, monkeypatch):
    monkeypatch.chdir(devkit)
    assert load_folder(".").name == "VOC2012"


def test_devkit_of_several_years(tmp_path, devkit):
    shutil.copytree(devkit, devkit.with_name("VOC2007"))
    with pytest.raises(UserError, match="several years of VOC; name one of .*VOC2007, .*VOC2012"):
        load_folder(tmp_path / "VOCdevkit")
    assert load_folder(devkit).name == "VOC2012"


def test_devkit_with_a_test_split(devkit):
    lists = devkit / "ImageSets" / "Segmentation"
    # The label maps of VOC's own are not published.
    (lists / "test.txt").write_text("2012_000001\n2012_000002\n")
    assert {*load_folder(devkit).splits} == {"train", "val"}
    shutil.copy(lists / "val.txt", lists / "test.txt")
    assert len(load_folder(devkit).splits["test"]) == 1


def test_devkit_with_classes_of_its_own(devkit):
    classes = [f"c{i}" for i in range(21)]
    (devkit / "dataset.json").write_text(json.dumps({"classes": classes}))
    dataset = load_folder(devkit)
    assert dataset.classes == tuple(classes) and dataset.name == "VOC2012"
    (devkit / "dataset.json").write_text(json.dumps({"name": "mine"}))
    dataset = load_folder(devkit)
    assert dataset.classes == VOC_CLASSES and dataset.name == "mine"


@pytest.mark.parametrize(
    "place, message",
    [
        ("JPEGImages/2007_000001.jpg", "{}: is missing, but the list of the split names it"),
        ("SegmentationClass/2007_000001.png", "2007_000001.jpg: has no mask; {} is missing"),
    ],
)
def test_devkit_with_a_missing_file(devkit, place, message):
    (devkit / place).unlink()
    with pytest.raises(UserError, match=message.format(devkit / place)):
        load_folder(devkit)


def test_devkit_without_lists(devkit):
    for path in (devkit / "ImageSets" / "Segmentation").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="Segmentation: holds neither train.txt nor val.txt"):
        load_folder(devkit)


def test_devkit_with_a_strange_class(devkit):
    path = devkit / "SegmentationClass" / "2009_000003.png"
    voc_files.write_palette_png(path, np.full(voc_files.size_of("2009_000003"), 21, "uint8"))
    with pytest.raises(UserError, match=f"{path}: a mask may hold 0..20, 255. This one holds 21"):
        load_folder(devkit).splits["val"].scan()
