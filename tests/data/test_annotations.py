"""Folders of what annotation programs write: label maps as each format's own rasteriser has them.

What is right is drawn here by Pillow or pycocotools directly, from random numbers.
"""

import base64
import io
import json
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask
from pycocotools.coco import COCO

from fcn_keras import UserError, load_dataset
from fcn_keras.data.annotations.coco import unpacked_runs
from fcn_keras.data.annotations.label_studio import decode_runs
from fcn_keras.data.inspection import inspect

# Of pycocotools, which draws what is right.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LABELS = ["tree", "car", "road"]
SIZES = [(30 + 3 * i, 40 - 2 * i) for i in range(10)]


def write_image(path, size, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), "uint8")
    Image.fromarray(pixels).save(path)
    return pixels


def points(rng, size, count):
    """Some of which lie beyond the border."""
    return rng.uniform(-8, np.array(size[::-1]) + 8, (count, 2)).round(2).tolist()


def covered(size, method, xy, **options):
    image = Image.new("1", size[::-1])
    getattr(ImageDraw.Draw(image), method)(xy, fill=1, **options)
    return np.array(image)


def polygon(size, xy):
    return covered(size, "polygon", [tuple(point) for point in xy])


def ellipse(size, x, y, rx, ry):
    return covered(size, "ellipse", [x - rx, y - ry, x + rx, y + ry])


def box(size, a, b):
    (x0, y0), (x1, y1) = a, b
    return covered(size, "rectangle", [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)])


def shapes_of(rng):
    """How many shapes an image has: none, some, many that overlap."""
    return int(rng.integers(0, 7))


# LabelMe


def labelme_folder(root):
    right = {}
    for i, size in enumerate(SIZES):
        rng = np.random.default_rng(i)
        value = np.zeros(size, "uint8")
        shapes = []
        for _ in range(shapes_of(rng)):
            kind = rng.choice(
                ["polygon", "rectangle", "circle", "line", "linestrip", "point", "mask"]
            )
            label = int(rng.integers(3))
            shape = {"label": LABELS[label], "shape_type": str(kind), "group_id": None, "flags": {}}
            xy = points(rng, size, {"polygon": 5, "linestrip": 4, "point": 1}.get(kind, 2))
            if kind == "polygon":
                found = polygon(size, xy)
            elif kind == "rectangle":
                found = box(size, *xy)
            elif kind == "circle":
                found = ellipse(size, *xy[0], *[math.dist(*xy)] * 2)
            elif kind == "point":
                found = ellipse(size, *xy[0], 5, 5)
            elif kind == "mask":
                left, top = int(rng.integers(0, 9)), int(rng.integers(0, 9))
                pixels = rng.random((11, 7)) < 0.5
                xy = [[left, top], [left + 6, top + 10]]
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "PNG")
                shape["mask"] = base64.b64encode(file.getvalue()).decode()
                found = np.zeros(size, bool)
                found[top : top + 11, left : left + 7] = pixels
            else:
                found = covered(size, "line", [tuple(point) for point in xy], width=10)
            shapes.append(shape | {"points": xy})
            value[found] = 1 + sorted(LABELS).index(LABELS[label])
        folder = root / ("train" if i < 7 else "val")
        name = f"photo {i}"
        write_image(folder / f"{name}.png", size, i)
        content = {"version": "5.5.0", "shapes": shapes, "imagePath": f"{name}.png"}
        content |= {"imageData": None, "imageHeight": size[0], "imageWidth": size[1]}
        if i % 4 == 1:  # the image inside
            content["imageData"] = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
            (folder / f"{name}.png").unlink()
        (folder / f"{name}.json").write_text(json.dumps(content))
        right[name] = value
    return ["background", *sorted(LABELS)], right


# COCO


def coco_folder(root):
    right = {}
    categories = [{"id": 7 * i + 2, "name": label} for i, label in enumerate(LABELS)]
    for split, numbers in (("train", range(7)), ("val", range(7, 10))):
        images, annotations, sizes = [], [], {}
        for i in numbers:
            rng = np.random.default_rng(i)
            height, width = SIZES[i]
            write_image(root / f"{split}2017" / f"{i:012}.jpg", SIZES[i], i)
            images.append(
                {"id": 100 + i, "file_name": f"{i:012}.jpg", "height": height, "width": width}
            )
            sizes[100 + i] = SIZES[i]
            for _ in range(shapes_of(rng)):
                kind = rng.integers(4)
                crowd = int(kind == 3)
                if kind < 2:  # one or two polygons
                    area = [np.ravel(points(rng, SIZES[i], 5)).tolist() for _ in range(kind + 1)]
                else:  # a mask, as runs down the columns
                    pixels = np.repeat(rng.random(12) < 0.5, -(-height * width // 12))[
                        : height * width
                    ]
                    changes = np.flatnonzero(np.diff(np.r_[False, pixels, not pixels[-1]]))
                    area = {"size": [height, width], "counts": np.diff(np.r_[0, changes]).tolist()}
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": 100 + i,
                        "segmentation": area,
                        "iscrowd": crowd,
                    }
                    | {"category_id": categories[int(rng.integers(3))]["id"], "bbox": [], "area": 1}
                )
        content = {"images": images, "annotations": annotations, "categories": categories}
        path = root / "annotations" / f"instances_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        coco = COCO(path)
        for number, size in sizes.items():
            value = np.zeros(size, "uint8")
            for annotation in coco.imgToAnns[number]:
                label = 1 + [c["id"] for c in categories].index(annotation["category_id"])
                value[coco.annToMask(annotation) == 1] = 255 if annotation["iscrowd"] else label
            right[f"{number - 100:012}"] = value
    return ["background", *LABELS], right


# YOLO


def yolo_folder(root):
    right = {}
    for i, size in enumerate(SIZES):
        rng = np.random.default_rng(i)
        split = "train" if i < 7 else "val"
        write_image(root / "images" / split / f"{i}.png", size, i)
        layers, lines = [], []
        for _ in range(shapes_of(rng)):
            label, xy = int(rng.integers(3)), np.array(points(rng, size, 6)) / size[::-1]
            lines.append(" ".join([str(label), *(f"{n:.6f}" for n in xy.ravel())]))
            inside = np.clip(np.round(xy, 6), 0, 1) * size[::-1]
            layers.append((label, polygon(size, inside.tolist())))
        value = np.zeros(size, "uint8")
        for label, found in sorted(layers, key=lambda layer: -layer[1].sum()):
            value[found] = 1 + label
        if lines or i % 2:  # without shapes there may be a file, or none
            path = root / "labels" / split / f"{i}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
        right[str(i)] = value
    names = "\n".join(f"  {i}: {label}" for i, label in enumerate(LABELS))
    about = f"path: /data/somewhere\ntrain: images/train\nval: images/val\nnames:\n{names}\n"
    (root / "data.yaml").write_text(about)
    return ["background", *LABELS], right


# CVAT


def cvat_folder(root):
    right = {}
    tree = ElementTree.Element("annotations")
    listed = ElementTree.SubElement(ElementTree.SubElement(tree, "meta"), "task")
    listed = ElementTree.SubElement(listed, "labels")
    for i, label in enumerate(LABELS):
        entry = ElementTree.SubElement(listed, "label")
        ElementTree.SubElement(entry, "name").text = label
        ElementTree.SubElement(entry, "color").text = f"#10{i:02x}ff"
    for i, size in enumerate(SIZES):
        rng = np.random.default_rng(i)
        name = f"{i}.png"
        write_image(root / "images" / name, size, i)
        about = {"id": str(i), "name": name, "height": str(size[0]), "width": str(size[1])}
        image = ElementTree.SubElement(
            tree, "image", about, subset="Train" if i < 7 else "Validation"
        )
        layers = []
        for _ in range(shapes_of(rng)):
            kind, label = rng.choice(["polygon", "box", "ellipse", "mask"]), int(rng.integers(3))
            order = int(rng.integers(-1, 2))
            about = {"label": LABELS[label], "occluded": "0", "z_order": str(order)}
            if kind == "polygon":
                xy = points(rng, size, 5)
                about["points"] = ";".join(f"{x:.2f},{y:.2f}" for x, y in xy)
                found = polygon(size, xy)
            elif kind == "box":
                (a, b), (c, d) = np.sort(points(rng, size, 2), axis=0).tolist()
                about |= {"xtl": f"{a}", "ytl": f"{b}", "xbr": f"{c}", "ybr": f"{d}"}
                found = box(size, (a, b), (c, d))
            elif kind == "ellipse":
                [[x, y]], (rx, ry) = points(rng, size, 1), rng.integers(2, 15, 2).tolist()
                about |= {"cx": f"{x}", "cy": f"{y}", "rx": f"{rx}", "ry": f"{ry}"}
                found = ellipse(size, x, y, rx, ry)
            else:
                pixels = rng.random((9, 12)) < 0.5
                left, top = rng.integers(0, 8, 2).tolist()
                changes = np.flatnonzero(np.diff(np.r_[False, pixels.ravel()]))
                runs = np.diff(np.r_[0, changes, pixels.size]).tolist()
                about |= {"rle": ", ".join(map(str, runs)), "left": f"{left}", "top": f"{top}"}
                about |= {"width": "12", "height": "9"}
                found = np.zeros(size, bool)
                inside = found[top : top + 9, left : left + 12]
                inside[:] = pixels[: inside.shape[0], : inside.shape[1]]
            ElementTree.SubElement(image, str(kind), about)
            layers.append((order, label, found))
        ElementTree.SubElement(image, "points", {"label": LABELS[0], "points": "1,2"})
        value = np.zeros(size, "uint8")
        for _, label, found in sorted(layers, key=lambda layer: layer[0]):
            value[found] = 1 + label
        right[str(i)] = value
    ElementTree.ElementTree(tree).write(root / "annotations.xml")
    return ["background", *LABELS], right


# Label Studio


def encoded_runs(numbers):
    """What Label Studio's brush writes: some runs that repeat a number, some that do not."""
    bits = [f"{len(numbers):032b}", f"{7:05b}", *(f"{n:04b}" for n in (2, 3, 7, 15))]
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for start, end in zip(edges, edges[1:], strict=False):
        while start < end:
            length = min(end - start, 1 << 16)
            kind = next(k for k, n in enumerate((3, 4, 8, 16)) if length <= 1 << n)
            width = (3, 4, 8, 16)[kind]
            repeat = length > 1
            bits.append(f"{int(repeat)}{kind:02b}{length - 1:0{width}b}{numbers[start]:08b}")
            start += length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def label_studio_folder(root):
    right, tasks = {}, []
    for i, size in enumerate(SIZES):
        rng = np.random.default_rng(i)
        height, width = size
        name = f"photo_{i}.png"
        write_image(root / "images" / name, size, i)
        value, results = np.zeros(size, "uint8"), []
        for number in range(shapes_of(rng)):
            kind, label = (
                rng.choice(["polygonlabels", "rectanglelabels", "brushlabels"]),
                rng.integers(3),
            )
            shape: dict = {str(kind): [LABELS[label]]}
            if kind == "polygonlabels":
                shape["points"] = (np.array(points(rng, size, 5)) / [width, height] * 100).tolist()
                found = polygon(size, np.array(shape["points"]) * [width, height] / 100)
            elif kind == "rectanglelabels":
                x, y, w, h = rng.uniform(5, 60, 4).tolist()
                turn = float(rng.choice([0, 30]))
                shape |= {"x": x, "y": y, "width": w, "height": h, "rotation": turn}
                left, top, across, down = (
                    x * width / 100,
                    y * height / 100,
                    w * width / 100,
                    h * height / 100,
                )
                corners = np.array([[0, 0], [across, 0], [across, down], [0, down]])
                angle = math.radians(turn)
                matrix = np.array(
                    [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
                )
                found = polygon(size, (corners @ matrix + [left, top]).tolist())
            else:
                found = np.repeat(rng.random(height) < 0.4, width).reshape(size)
                rgba = np.zeros((*size, 4), "uint8")
                rgba[found] = [9, 200, 30, 255]
                shape |= {"format": "rle", "rle": encoded_runs(rgba.ravel())}
            results.append(
                {"id": f"r{number}", "type": str(kind), "value": shape}
                | {"original_height": height, "original_width": width, "to_name": "image"}
            )
            value[found] = 1 + sorted(LABELS).index(LABELS[label])
        annotations = [{"id": i, "was_cancelled": False, "result": results}]
        address = f"/data/upload/4/{i:08x}-{name}" if i % 2 else f"/data/local-files/?d=set/{name}"
        tasks.append({"id": i, "data": {"image": address}, "annotations": annotations})
        right[f"photo_{i}"] = value
    (root / "project-4.json").write_text(json.dumps(tasks))
    return ["background", *sorted(LABELS)], right


FORMATS = {
    "labelme": labelme_folder,
    "coco": coco_folder,
    "yolo": yolo_folder,
    "cvat": cvat_folder,
    "label_studio": label_studio_folder,
}


def written(format, root):
    root.mkdir()
    classes, right = FORMATS[format](root)
    return root, classes, right


def label_maps(dataset):
    return {
        Path(example.id).name: example.label[..., 0]
        for split in dataset.splits.values()
        for example in (split[i] for i in range(len(split)))
    }


@pytest.mark.parametrize("format", FORMATS)
def test_label_maps_are_those_of_the_reference(format, tmp_path):
    root, classes, right = written(format, tmp_path / "set")
    dataset = load_dataset(root)
    assert [*dataset.classes] == classes
    assert {*dataset.splits} == {"train", "val"}
    found = label_maps(dataset)
    assert found.keys() == right.keys()
    for name, label in right.items():
        np.testing.assert_array_equal(found[name], label, err_msg=name)
    assert any((label > 0).any() for label in right.values())
    inspection = inspect(root, progress=False)
    assert inspection.faults == []


@pytest.mark.parametrize("format", FORMATS)
def test_converted_to_the_plain_layout(format, tmp_path, run_command):
    root, classes, right = written(format, tmp_path / "set")
    code, out, err = run_command("data", "convert", root, "--output", tmp_path / "plain")
    assert code == 0, err
    one, other = load_dataset(root), load_dataset(tmp_path / "plain")
    counts = ", ".join(f"{len(split)} images to {name}" for name, split in one.splits.items())
    assert out.splitlines()[-1] == f"{tmp_path / 'plain'}: {counts}"
    assert (one.classes, [*map(tuple, one.colors)]) == (
        other.classes,
        [*map(tuple, other.colors)],
    )
    assert {name: len(split) for name, split in one.splits.items()} == {
        name: len(split) for name, split in other.splits.items()
    }
    found = label_maps(other)
    for name, label in right.items():
        np.testing.assert_array_equal(found[name], label)
    images = {
        example.id: example.image
        for example in map(one.splits["val"].__getitem__, range(len(one.splits["val"])))
    }
    for i in range(len(other.splits["val"])):
        example = other.splits["val"][i]
        np.testing.assert_array_equal(example.image, images[example.id])
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == [
        *("annotations", "dataset.json", "images")
    ]
    code, _, err = run_command("data", "convert", root, "--output", tmp_path / "plain")
    assert code == 2 and "plain: exists already" in err


@pytest.mark.slow
def test_an_epoch_of_training(tmp_path, run_command):
    root, *_ = written("labelme", tmp_path / "set")
    words = "--recipe small --width 0.03125 --epochs 1 --batch-size 2 --crop-size 16".split()
    code, _, err = run_command("train", "--dataset", root, "--run-dir", tmp_path / "run", *words)
    assert code == 0, err
    assert (tmp_path / "run" / "best.keras").exists()


def test_runs_as_a_text():
    rng = np.random.default_rng(0)
    for size in ((1, 1), (5, 9), (300, 400)):
        pixels = np.repeat(rng.random(size[0]) < 0.5, size[1]).reshape(size)
        encoded = mask.encode(np.asfortranarray(pixels.astype("uint8")))
        runs = unpacked_runs(encoded["counts"])
        found = np.repeat(np.arange(len(runs)) % 2, runs).reshape(size[::-1]).T
        np.testing.assert_array_equal(found, pixels)
        assert unpacked_runs(encoded["counts"].decode()) == runs


def test_numbers_of_the_brush():
    rng = np.random.default_rng(0)
    for size in (1, 7, 300, 70_000):
        numbers = np.repeat(rng.integers(0, 256, size), rng.integers(1, 9, size))[:size]
        np.testing.assert_array_equal(decode_runs(encoded_runs(numbers)), numbers)
    with pytest.raises(ValueError, match="cut off"):
        decode_runs(encoded_runs(np.arange(200) % 256)[:-9])


def test_labels_that_are_void_or_one_class(tmp_path):
    root, classes, right = written("cvat", tmp_path / "set")
    about = {"values": {"car": "void", "road": "background"}}
    (root / "dataset.json").write_text(json.dumps(about))
    dataset = load_dataset(root)
    assert [*dataset.classes] == ["background", "tree"]
    for name, label in label_maps(dataset).items():
        meant = np.array([0, 1, 255, 0])[right[name]]
        np.testing.assert_array_equal(label, meant)


def test_other_order_of_classes(tmp_path):
    root, _, right = written("coco", tmp_path / "set")
    names = ["road", "tree", "background", "car"]
    (root / "dataset.json").write_text(json.dumps({"classes": names}))
    dataset = load_dataset(root)
    assert [*dataset.classes] == names
    table = np.full(256, 255)
    table[:4] = [names.index(name) for name in ["background", *LABELS]]
    for name, label in label_maps(dataset).items():
        np.testing.assert_array_equal(label, table[right[name]])


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"values": {"bus": "void"}}, "label 'bus', which is none of background, tree, car, road"),
        ({"ignore_label": 3}, "`ignore_label` is for masks"),
        ({"classes": ["background", "tree"]}, "'car', which is none of the `classes`"),
    ],
)
def test_what_dataset_json_may_not_say(about, words, tmp_path):
    root, *_ = written("cvat", tmp_path / "set")
    (root / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=words):
        load_dataset(root)


def test_colours_of_cvat(tmp_path):
    root, *_ = written("cvat", tmp_path / "set")
    assert [*map(tuple, load_dataset(root).colors)] == [
        *((0, 0, 0), (16, 0, 255), (16, 1, 255), (16, 2, 255))
    ]


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def spoil_labelme(root, change):
    path = root / "train" / "photo 2.json"
    edit_json(path, lambda content: change(content))


def spoil_coco(root, change):
    edit_json(root / "annotations" / "instances_train2017.json", change)


SHAPE = {"label": "car", "shape_type": "polygon", "points": [[1, 1], [2, 2]]}


def spoil_yolo(root, line):
    (root / "labels" / "train" / "2.txt").write_text(f"0 0.1 0.1 0.2 0.2 0.3 0.1\n{line}\n")


@pytest.mark.parametrize(
    ("format", "spoil", "words"),
    [
        (
            "labelme",
            lambda r: spoil_labelme(r, lambda c: c.update(shapes=[SHAPE])),
            "photo 2.json: shape 1, 'car', is a polygon of 2 points",
        ),
        (
            "labelme",
            lambda r: spoil_labelme(r, lambda c: c.update(shapes=[SHAPE | {"shape_type": "star"}])),
            "photo 2.json: shape 1, 'car', is of the kind 'star'",
        ),
        (
            "labelme",
            lambda r: spoil_labelme(r, lambda c: c.update(imagePath="gone.png")),
            "gone.png: is missing",
        ),
        ("labelme", lambda r: spoil_labelme(r, lambda c: c.update(imageHeight=7)), "photo 2"),
        (
            "labelme",
            lambda r: (r / "labels.txt").write_text("__ignore__\n_background_\ncar\nroad\n"),
            "'tree', which labels.txt does not list",
        ),
        (
            "coco",
            lambda r: spoil_coco(r, lambda c: c["annotations"][0].update(category_id=1)),
            "annotation 0 is of category 1, which the file does not list",
        ),
        (
            "coco",
            lambda r: spoil_coco(r, lambda c: c["annotations"][0].update(segmentation=[])),
            "annotation 0 has no polygon or mask",
        ),
        (
            "coco",
            lambda r: spoil_coco(
                r, lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4]])
            ),
            "annotation 0 cannot be drawn .a polygon of 4",
        ),
        (
            "coco",
            lambda r: spoil_coco(r, lambda c: c["images"][3].update(file_name="gone.jpg")),
            "gone.jpg: is missing",
        ),
        (
            "yolo",
            lambda r: spoil_yolo(r, "3 0.1 0.1 0.2 0.2 0.3 0.1"),
            r"2.txt: line 2 is of class 3, which has no name",
        ),
        (
            "yolo",
            lambda r: spoil_yolo(r, "1 0.5 0.5 0.2 0.2"),
            r"2.txt: line 2 has a box instead of a polygon",
        ),
        (
            "yolo",
            lambda r: spoil_yolo(r, "1 0.5 0.5 x 0.2"),
            r"2.txt: line 2 holds what is no number",
        ),
        ("yolo", lambda r: spoil_yolo(r, "1 0.5 0.5 0.2 0.2 0.1"), r"2.txt: line 2 has 5 numbers"),
        ("cvat", lambda r: (r / "images" / "4.png").unlink(), "4.png: is missing"),
        (
            "label_studio",
            lambda r: (r / "images" / "photo_4.png").unlink(),
            "photo_4.png: is missing",
        ),
    ],
)
def test_what_is_wrong_is_named(format, spoil, words, tmp_path):
    """By training, and by `data check`."""
    root, *_ = written(format, tmp_path / "set")
    spoil(root)
    with pytest.raises(UserError, match=words) as told:
        label_maps(load_dataset(root))
    assert "\n" not in str(told.value)
    assert inspect(root, progress=False).faults


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("data.yaml", "names: [a, b]\n", "must say where `train` and `val` are"),
        ("data.yaml", "train: images\n", "must have the `names`"),
        ("data.yaml", "names: [a, a]\ntrain: images\n", "each by another string"),
        ("data.yaml", "names: [a\n", "is not valid YAML"),
        ("data.yaml", "names: [a]\ntrain: nowhere\n", "nowhere is neither"),
        ("a.json", "{", "a.json: is not valid JSON"),
        (
            "a.json",
            '{"images": [{}], "annotations": [], "categories": []}',
            "is not as its program",
        ),
        ("a.json", '{"images": [], "annotations": [], "categories": []}', "list no images"),
        (
            "a.json",
            '{"images": [{"id": 1}, {"id": 1}], "annotations": [], "categories": []}',
            "two images have the id 1",
        ),
        (
            "a.json",
            '{"images": [{"id": 1}], "categories": [], '
            '"annotations": [{"id": 7, "image_id": "1"}]}',
            "annotation 7 is of image '1', which the file does not list",
        ),
        (
            "a.json",
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, '
            '{"id": 1, "name": "b"}]}',
            "a and b have one id, 1",
        ),
        ("a.json", "[]", "no images with masks found"),
        (
            "a.json",
            '[{"data": {"left": "a.png", "right": "b.png"}, "annotations": [{"result": []}]}]',
            "names 2 images",
        ),
        (
            "a.json",
            '[{"data": {"image": "a.png"}, "annotations": [{"result": [{"type": "polygon"}]}]}]',
            "a result of the type 'polygon'",
        ),
        (
            "a.json",
            '[{"data": {"image": "a.png"}, "annotations": [{"result": null}]}]',
            "is not as its program",
        ),
        ("a.xml", "<annotations><track/></annotations>", "Export the task as CVAT for images"),
        ("data.yaml", "names: {0: a, 1: 3}\ntrain: images\n", "each by another string"),
        ("data.yaml", "names: {a: b}\ntrain: images\n", "each by another string"),
        ("data.yaml", "names: [a]\ntrain: 5\n", "5 is neither"),
        ("data.yaml", "names: [a]\ntrain: images\n", "no image of train has labels"),
        ("a.json", '{"imagePath": "a.png", "shapes": null}', "a.json: `shapes` must be a list"),
        ("a.json", '{"imagePath": "a.png", "shapes": [{}]}', "a.json: `shapes` must be a list"),
        ("a.xml", "<annotations><image/></annotations>", "is not as its program"),
        ("a.xml", "<annotations><version>1.1</version></annotations>", "lists no images"),
    ],
)
def test_files_that_are_wrong(name, content, words, tmp_path):
    write_image(tmp_path / "images" / "a.png", (5, 6))
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=words):
        load_dataset(tmp_path)


@pytest.mark.parametrize("number", ["NaN", "1e12", "Infinity"])
@pytest.mark.parametrize("format", ["labelme", "coco", "yolo"])
def test_corners_far_away_are_named(format, number, tmp_path):
    """They would take all memory, or draw what nobody sees."""
    root, *_ = written(format, tmp_path / "set")
    if format == "labelme":
        path = root / "train" / "photo 2.json"
        shape = f'[{{"label": "car", "points": [[1, 1], [9, 1], [5, {number}]]}}]'
        path.write_text(f'{{"imagePath": "photo 2.png", "imageData": null, "shapes": {shape}}}')
    elif format == "coco":
        path = root / "annotations" / "instances_train2017.json"
        shape = {
            "id": 0,
            "image_id": 100,
            "category_id": 2,
            "segmentation": [[1, 1, 9, 1, 5, 12345]],
        }
        edit_json(path, lambda content: content.update(annotations=[shape]))
        path.write_text(path.read_text().replace("12345", number))
    else:
        spoil_yolo(root, f"0 0.1 0.1 0.5 0.1 0.3 {number}".replace("Infinity", "inf"))
    with pytest.raises(UserError, match="a corner at|is no number"):
        label_maps(load_dataset(root))


def square(size):
    return [[1, 1, size, 1, size, size, 1, size]]


def coco_of(root, names, **about):
    """A COCO file of images of 20 x 30, on which there is a square."""
    content = {
        "categories": [{"id": 1, "name": "car"}],
        "images": [
            {"id": i, "file_name": name, "height": 20, "width": 30} for i, name in enumerate(names)
        ],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "segmentation": square(5 + i),
                "iscrowd": "0",
            }
            for i in range(len(names))
        ],
    }
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_text(json.dumps(content | about))


def test_images_of_one_name_in_two_splits(tmp_path):
    """As COCO's own, and Roboflow's, where one of them is missing."""
    for split in ("train", "val"):
        write_image(tmp_path / "coco" / f"{split}2017" / "1.jpg", (20, 30))
        coco_of(tmp_path / "coco" / "annotations" / f"instances_{split}2017.json", ["1.jpg"])
    dataset = load_dataset(tmp_path / "coco")
    assert [len(dataset.splits[split]) for split in ("train", "val")] == [1, 1]
    write_image(tmp_path / "robo" / "valid" / "1.jpg", (20, 30))
    for split in ("train", "valid"):
        coco_of(tmp_path / "robo" / split / "_annotations.coco.json", ["1.jpg"])
    with pytest.raises(UserError, match="train/1.jpg: is missing"):
        load_dataset(tmp_path / "robo")
    write_image(tmp_path / "robo" / "train" / "1.jpg", (20, 30))
    dataset = load_dataset(tmp_path / "robo")
    assert [split[0].id for split in dataset.splits.values()] == ["train/1", "valid/1"]


def test_images_of_one_name_in_two_folders(tmp_path):
    write_image(tmp_path / "images" / "1.png", (20, 30))
    write_image(tmp_path / "images" / "b" / "1.png", (20, 30))
    coco_of(tmp_path / "a.json", ["1.png", "b/1.png"])
    found = load_dataset(tmp_path).splits
    names = sorted(example.id for split in found.values() for example in [split[0]])
    assert names == ["images/1", "images/b/1"]
    coco_of(tmp_path / "a.json", ["a/1.png"])
    with pytest.raises(UserError, match="a/1.png: is missing"):
        load_dataset(tmp_path)


def test_the_name_of_the_folder_is_no_split(tmp_path):
    write_image(tmp_path / "field-test" / "1.png", (20, 30))
    write_image(tmp_path / "field-test" / "2.png", (20, 30))
    coco_of(tmp_path / "field-test" / "a.json", ["1.png", "2.png"])
    assert {*load_dataset(tmp_path / "field-test").splits} == {"train", "val"}


def test_an_image_is_annotated_once(tmp_path):
    write_image(tmp_path / "1.png", (20, 30))
    coco_of(tmp_path / "a.json", ["1.png"])
    coco_of(tmp_path / "b.json", ["1.png"])
    with pytest.raises(UserError, match="1.png: is annotated twice, in .*a.json.* and .*b.json"):
        load_dataset(tmp_path)


def test_splits_or_none(tmp_path):
    root, *_ = written("labelme", tmp_path / "set")
    (root / "extra").mkdir()
    for path in (root / "train").glob("photo 0.*"):
        path.rename(root / "extra" / path.name)
    with pytest.raises(UserError, match="photo 0.png: is of no split, where others are of"):
        load_dataset(root)


@pytest.mark.parametrize("count", [254, 255])
def test_many_labels(count, tmp_path):
    write_image(tmp_path / "1.png", (20, 30))
    write_image(tmp_path / "2.png", (20, 30))
    categories = [{"id": i, "name": f"c{i}"} for i in range(1, count + 1)]
    coco_of(tmp_path / "a.json", ["1.png", "2.png"], categories=categories)
    if count == 254:
        assert len(load_dataset(tmp_path).classes) == 255
    else:
        with pytest.raises(UserError, match="has 255 labels; 254 are the most"):
            load_dataset(tmp_path)


def test_numbers_of_yolos_names(tmp_path):
    root, *_ = written("yolo", tmp_path / "set")
    names = {"10": "ten", "2": "two", "0": "none", "1": "one"}
    about = "train: images/train\nval: images/val\nnames:\n"
    about += "".join(f"  '{key}': {name}\n" for key, name in names.items())
    (root / "data.yaml").write_text(about)
    spoil_yolo(root, "10 0.5 0.5 1 0.5 1 1 0.5 1")
    dataset = load_dataset(root)
    assert [*dataset.classes] == ["background", "none", "one", "two", "ten"]
    found = {
        Path(example.id).name: example.label
        for example in map(dataset.splits["train"].__getitem__, range(7))
    }
    assert found["2"].max() == 4


def test_images_outside_the_folder(tmp_path, run_command):
    """Are called by their paths in a folder that holds all; nothing is written there."""
    for name in ("1", "2"):
        write_image(tmp_path / "pics" / "images" / f"{name}.png", (20, 30))
        path = tmp_path / "pics" / "labels" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("0 0 0 1 0 1 1\n")
    (tmp_path / "set").mkdir()
    about = f"path: {tmp_path / 'pics'}\ntrain: images\nval: images\nnames: [a]\n"
    (tmp_path / "set" / "data.yaml").write_text(about)
    with pytest.raises(UserError, match="is annotated twice"):
        load_dataset(tmp_path / "set")
    (tmp_path / "set" / "data.yaml").write_text(about.replace("val: images\n", ""))
    before = {path: path.read_bytes() for path in (tmp_path / "pics").rglob("*.png")}
    code, _, err = run_command("data", "convert", tmp_path / "set", "--output", tmp_path / "out")
    assert code == 0, err
    assert {path: path.read_bytes() for path in (tmp_path / "pics").rglob("*.png")} == before
    found = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")
    )
    assert found == [
        f"{kind}/train/{name}.png" for kind in ("annotations", "images") for name in "12"
    ]


def test_tasks_that_nobody_has_annotated(tmp_path):
    root, *_ = written("label_studio", tmp_path / "set")
    edit_json(
        root / "project-4.json", lambda tasks: tasks[3]["annotations"][0].update(was_cancelled=True)
    )
    assert sum(len(split) for split in load_dataset(root).splits.values()) == 9
    [warning, *_] = [w for w in inspect(root, progress=False).warnings if w.kind == "passed_over"]
    assert warning.text == "1 tasks that nobody has annotated"


def test_two_formats_in_one_folder(tmp_path):
    root, *_ = written("cvat", tmp_path / "set")
    (root / "data.yaml").write_text("names: [a]\ntrain: images\n")
    with pytest.raises(UserError, match="annotations of several formats"):
        load_dataset(root)


def test_masks_are_preferred(tmp_path, make_folder):
    """A folder of masks that holds an annotation file too is what it was before."""
    root = make_folder(tmp_path / "set", layout="annotations")
    (root / "annotations.xml").write_text("<annotations><image/></annotations>")
    assert len(load_dataset(root).splits["train"]) == 2


def test_a_task_that_was_annotated_twice(tmp_path):
    root, *_ = written("label_studio", tmp_path / "set")
    edit_json(root / "project-4.json", lambda tasks: tasks[3]["annotations"].append({"result": []}))
    with pytest.raises(UserError, match="task 3 was annotated 2 times; leave one of them"):
        load_dataset(root)
