import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fcn_keras import UserError
from fcn_keras.client.client import Client
from fcn_keras.data.files import readers
from fcn_keras.data.files.images import read_image
from fcn_keras.data.files.readers import Photographs
from fcn_keras.data.palette import palette_for
from fcn_keras.figures.label_maps import overlay, side_by_side
from fcn_keras.inference import job, keras_segmenter, predict as prediction
from fcn_keras.inference.classes import numbered_classes
from fcn_keras.inference.job import find_images, make_worklist
from fcn_keras.inference.keras_segmenter import make_segmenter
from fcn_keras.inference.outputs import Outputs
from fcn_keras.inference.predict import label_images, predict
from fcn_keras.inference.segmenter import Segmenter

CLASSES = ["ground", "cat", "dog", "bird"]
COLORS = [(1, 2, 3), (250, 0, 9), (0, 255, 70), (128, 64, 32)]


@pytest.fixture(scope="module")
def network():
    """A network whose scores are exact, so that no rounding decides between two classes."""
    rng = np.random.default_rng(0)
    image = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D(4, 3, padding="same")
    model = keras.Model(image, conv(image))
    kernel = rng.integers(-3, 4, (3, 3, 3, 4))
    kernel -= np.roll(kernel, 1, axis=0)  # its sum is 0, so brightness favours no class
    # Products of whole numbers, and fractions that tell the classes apart: never a tie.
    conv.set_weights([kernel, np.arange(4) / 8])
    return model


def photo(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype="uint8")


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def classes_of(network, image):
    return np.asarray(network(image[None]))[0].argmax(axis=-1)


def softmax_of(network, path):
    scores = np.asarray(network(read_image(path)[None]))[0].astype(float)
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def names(folder):
    """The files of all images; the table of all together is told apart."""
    return sorted(path.name for path in folder.iterdir() if path.name != "summary.csv")


def test_predict_writes_a_label_map_and_two_pictures(network, tmp_path):
    paths = [
        save(tmp_path / "in" / "one.png", photo(23, 31)),
        save(tmp_path / "in" / "two.three.JPG", photo(40, 17, 1)),
    ]
    output = tmp_path / "not" / "yet"
    written = predict(network, paths, str(output), CLASSES, COLORS)
    assert written == [output / "one.png", output / "two.three.png"]
    assert names(output) == [
        f"{stem}{suffix}.png"
        for stem in ("one", "two.three")
        for suffix in ("", "_overlay", "_side_by_side")
    ]
    palette = palette_for(COLORS)
    for path in paths:
        image = read_image(path)
        expected = classes_of(network, image)
        assert len(np.unique(expected)) == 4
        with Image.open(output / f"{path.stem}.png") as labels:
            assert labels.mode == "P"
            np.testing.assert_array_equal(np.asarray(labels), expected)
            np.testing.assert_array_equal(
                np.asarray(labels.convert("RGB")), np.array(COLORS)[expected]
            )
        with Image.open(output / f"{path.stem}_overlay.png") as picture:
            np.testing.assert_array_equal(picture, overlay(image, expected, palette))
        with Image.open(output / f"{path.stem}_side_by_side.png") as picture:
            page = side_by_side(image, expected, palette, CLASSES)
            np.testing.assert_array_equal(picture, page)


def test_other_outputs(network, tmp_path, run_command):
    """Of the same label map; what is there already is not made again but for more or others."""
    network.save(tmp_path / "net.keras")
    for name in ("a.png", "b.png"):
        save(tmp_path / "in" / name, photo(23, 31, ord(name[0])))
    command = ("predict", tmp_path / "net.keras", tmp_path / "in", "--output", tmp_path / "out")

    def files_of(*options):
        code, out, err = run_command(*command, *options)
        assert code == 0, err
        return out.split(" in ")[0], names(tmp_path / "out")

    maps = ["a.png", "b.png"]
    assert files_of("--output-formats", "mask") == ("2 label maps", maps)
    before = stamps(tmp_path / "out")
    said, files = files_of("--output-formats", "polygons")
    polygons = ["a.geojson", "b.geojson", "coco.json"]
    assert (said, files) == ("2 label maps with polygons", sorted(maps + polygons))
    exact = stamps(tmp_path / "out")
    assert not set(before.items()) & set(exact.items())
    files_of("--output-formats", "polygons", "--simplify", "2")
    simplified = stamps(tmp_path / "out")
    assert not set(exact.items()) & set(simplified.items())
    files_of("--output-formats", "mask,polygons", "--simplify", "2")
    assert stamps(tmp_path / "out")["a.geojson"] == simplified["a.geojson"]
    with Image.open(tmp_path / "out" / "a.png") as labels:
        number = len(np.unique(labels))
    found = json.loads((tmp_path / "out" / "a.geojson").read_text())
    assert len({each["properties"]["class_id"] for each in found["features"]}) == number > 1
    rows = (tmp_path / "out" / "summary.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * len(CLASSES) and rows[1].startswith("a.png,0,")
    # By the graph that the first call has kept, too.
    assert files_of("--output-formats", "confidence")[0] == "2 label maps with confidence"
    with Image.open(tmp_path / "out" / "a_confidence.png") as picture:
        most = softmax_of(network, tmp_path / "in" / "a.png").max(-1)
        np.testing.assert_allclose(np.asarray(picture) / 255, most, atol=0.51 / 255 + 1e-4)
    code, _, err = run_command(*command, "--output-formats", "mask,pdf")
    assert code == 2 and "must be of confidence, mask, overlay, p" in err and "Received: pdf" in err


@pytest.mark.parametrize("how", [{}, {"scales": (0.75, 1.0), "flip": True}])
def test_confidence_and_probabilities(network, tmp_path, how):
    """Against softmax in NumPy; what is not certain enough is void."""
    tamed = keras.Model(network.input, keras.layers.Rescaling(1 / 300)(network.output))
    path = save(tmp_path / "in" / "a.png", photo(23, 31))
    formats = ("confidence", "probabilities", "polygons")
    for threshold in (0.0, 0.6):
        asked = Outputs(formats, min_confidence=threshold)
        out = tmp_path / str(threshold)
        [written] = predict(tamed, [path], out, CLASSES, COLORS, outputs=asked, **how)
        assert names(out) == ["a.geojson", "a.npz", "a.png", "a_confidence.png", "coco.json"]
        with np.load(out / "a.npz") as found:
            probabilities = found["probabilities"]
        assert probabilities.dtype == np.float16 and probabilities.shape == (23, 31, len(CLASSES))
        np.testing.assert_allclose(probabilities.astype(float).sum(-1), 1, atol=2e-3)
        if "scales" not in how:
            np.testing.assert_allclose(probabilities, softmax_of(tamed, path), atol=1e-3)
        with Image.open(out / "a_confidence.png") as picture:
            assert picture.mode == "L"
            most = np.asarray(picture) / 255
        np.testing.assert_allclose(most, probabilities.max(-1), atol=0.51 / 255 + 1e-3)
        with Image.open(written) as labels:
            labels = np.asarray(labels)
        sure = probabilities.max(-1) >= threshold + 1e-3
        unsure = probabilities.max(-1) < threshold - 1e-3
        np.testing.assert_array_equal(labels[sure], probabilities.argmax(-1)[sure])
        assert (labels[unsure] == 255).all() and unsure.any() == (threshold > 0)
        assert sure.any()


def test_label_maps_lie_upright(network, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    path = save(tmp_path / "turned.jpg", photo(20, 30), exif=exif)
    [written] = predict(network, [path], tmp_path / "out", CLASSES, COLORS)
    with Image.open(written) as labels:
        assert labels.size == (20, 30)  # width, height
        np.testing.assert_array_equal(labels, classes_of(network, read_image(path)))


def test_a_folder_goes_in(network, tmp_path):
    for name in ("b.png", "a.jpg", "c.bmp"):
        save(tmp_path / "in" / name, photo(9, 8))
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    written = predict(network, [tmp_path / "in"], tmp_path / "out", CLASSES, COLORS)
    assert [path.name for path in written] == ["a.png", "b.png", "c.png"]


def test_predictions_are_replaced(network, tmp_path):
    for size in ((9, 8), (12, 5)):
        path = save(tmp_path / "in" / "a.png", photo(*size))
        [written] = predict(network, [path], tmp_path / "out", CLASSES, COLORS)
        with Image.open(written) as labels:
            np.testing.assert_array_equal(labels, classes_of(network, read_image(path)))


def test_a_broken_image_does_not_stop_the_others(network, tmp_path):
    folder, output = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "c.jpg", "e.png"):
        save(folder / name, photo(9, 8))
    content = save(folder / "b.jpg", photo(90, 80)).read_bytes()
    (folder / "b.jpg").write_bytes(content[: len(content) // 2])
    (folder / "d.png").write_text("no image")
    with pytest.raises(UserError, match="3 of 5 images") as caught:
        predict(network, [folder], output, CLASSES, COLORS)
    message = str(caught.value)
    assert str(folder / "b.jpg") in message and str(folder / "d.png") in message
    assert not any(str(folder / name) in message for name in ("a.png", "c.jpg", "e.png"))
    assert [name for name in names(output) if "_" not in name] == ["a.png", "c.png", "e.png"]
    assert len(names(output)) == 9


def test_two_images_of_one_stem_are_refused(network, tmp_path):
    first = save(tmp_path / "in" / "cat.png", photo(9, 8))
    second = save(tmp_path / "also" / "cat.jpg", photo(9, 8))
    with pytest.raises(UserError) as caught:
        predict(network, [first.parent, second], tmp_path / "out", CLASSES, COLORS)
    assert str(first) in str(caught.value) and str(second) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_stem_that_would_meet_the_picture_of_another_is_refused(network, tmp_path):
    # cat.png's overlay would be written over the label map of cat_overlay.png, or under it.
    for name in ("cat.png", "cat_overlay.png"):
        save(tmp_path / "in" / name, photo(9, 8))
    with pytest.raises(UserError, match="cat_overlay"):
        predict(network, [tmp_path / "in"], tmp_path / "out", CLASSES, COLORS)
    assert not (tmp_path / "out").exists()


def test_an_image_is_never_overwritten_by_its_label_map(network, tmp_path):
    path = save(tmp_path / "cat.png", photo(9, 8))
    before = path.read_bytes()
    with pytest.raises(UserError, match="cat.png"):
        predict(network, [path], tmp_path, CLASSES, COLORS)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["cat.png"]


def test_an_image_that_a_link_leads_to_is_never_overwritten(network, tmp_path):
    """Neither by its own name nor through a folder by another name."""
    path = save(tmp_path / "out" / "cat.png", photo(9, 8))
    before = path.read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cat.jpg").symlink_to(path)
    (tmp_path / "other").symlink_to(tmp_path / "out")
    for image in (tmp_path / "in" / "cat.jpg", tmp_path / "other" / "cat.png"):
        with pytest.raises(UserError, match="would be overwritten"):
            predict(network, [image], tmp_path / "out", CLASSES, COLORS)
    assert path.read_bytes() == before


def test_a_link_is_never_overwritten(network, tmp_path):
    path = save(tmp_path / "store" / "cat.png", photo(9, 8))
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "cat.png"
    link.symlink_to(path)
    with pytest.raises(UserError, match="would be overwritten"):
        predict(network, [link], tmp_path / "links", CLASSES, COLORS)
    assert link.is_symlink()


def test_folders_are_resolved_once(tmp_path, monkeypatch):
    """However many images lie in them."""
    images = [save(tmp_path / "in" / f"{i:02}.png", photo(2, 2)) for i in range(30)]
    calls, resolve = [], Path.resolve

    def counted(path, *args):
        calls.append(path)
        return resolve(path, *args)

    monkeypatch.setattr(Path, "resolve", counted)
    assert make_worklist([tmp_path / "in"], tmp_path / "out", {}).pending == images
    assert len(calls) == 2


@pytest.mark.parametrize("at_once", [1, 2])
def test_labelling_begins_before_all_sizes_are_known(tmp_path, monkeypatch, at_once):
    """Each batch is read once it is full; images of one size go together all the same."""
    for i in range(200):
        save(tmp_path / "in" / f"{i:03}.png", photo(4 + i % 2, 3, i))
    known, size = [], Photographs.size
    monkeypatch.setattr(Photographs, "size", lambda *args: known.append(args) or size(*args))
    batches = []

    class Zeros(Segmenter):
        def label(self, images, paths=None):
            batches.append({image.shape for image in images})
            return [np.zeros(image.shape[:2], "uint8") for image in images]

    images = find_images([tmp_path / "in"])
    Zeros.at_once = at_once
    labelled = label_images(
        Zeros("zeros", CLASSES, COLORS), images, tmp_path / "out", CLASSES, COLORS
    )
    done = [*next(labelled)]
    assert done == images[:16:2] and len(known) < 120
    assert len(batches) == 1  # it has not waited for others
    for batch in labelled:
        done += batch
    assert len(batches) == 26 and all(len(shapes) == 1 for shapes in batches)
    assert sorted(done) == images


def test_the_table_is_left_alone_if_nothing_is_new(network, tmp_path):
    path = save(tmp_path / "in" / "cat.png", photo(9, 8))
    table = tmp_path / "out" / "summary.csv"
    predict(network, [path], tmp_path / "out", CLASSES, COLORS)
    os.utime(table, (0, 0))
    text = table.read_bytes()
    predict(network, [path], tmp_path / "out", CLASSES, COLORS)
    assert table.stat().st_mtime == 0
    table.write_bytes(text + b"more\xff")  # what was cut off, or is no text, is written anew
    predict(network, [path], tmp_path / "out", CLASSES, COLORS)
    assert table.read_bytes() == text


@pytest.mark.parametrize("name", ["summary.csv", "coco.json"])
def test_tables_of_others_are_never_overwritten(network, tmp_path, name):
    path = save(tmp_path / "in" / "cat.png", photo(9, 8))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name}: would be overwritten"):
        predict(network, [path], tmp_path / "out", CLASSES, COLORS)
    assert [file.name for file in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_names_of_files_that_are_not_asked_for(network, tmp_path):
    for name in ("cat.png", "cat_confidence.png"):
        save(tmp_path / "in" / name, photo(9, 8))
    assert len(predict(network, [tmp_path / "in"], tmp_path / "out", CLASSES, COLORS)) == 2
    asked = Outputs(("confidence",))
    with pytest.raises(UserError, match="cat_confidence.png"):
        predict(network, [tmp_path / "in"], tmp_path / "more", CLASSES, COLORS, outputs=asked)


def test_output_must_be_a_folder(network, tmp_path):
    path = save(tmp_path / "in" / "a.png", photo(9, 8))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is not a folder"):
        predict(network, [path], tmp_path / "file", CLASSES, COLORS)


def test_find_images(tmp_path):
    for name in ("in/b.png", "in/A.JPEG", "in/c.gif", "in/d.tif", "in/e.eps", "other/z.webp"):
        save(tmp_path / name, photo(3, 3))
    (tmp_path / "in" / "a.txt").touch()
    (tmp_path / "in" / "deeper").mkdir()
    single = save(tmp_path / "f.eps", photo(3, 3))
    found = find_images([str(tmp_path / "other"), single, tmp_path / "in"])
    assert [path.name for path in found] == ["z.webp", "f.eps", "A.JPEG", "b.png", "c.gif", "d.tif"]


def test_what_looks_like_images(tmp_path):
    path = save(tmp_path / "in" / "a.jpg", photo(3, 3))
    for name in ("._a.jpg", ".b.png", "Thumbs.db", "desktop.ini"):
        (tmp_path / "in" / name).write_text("of a system")
    (tmp_path / "in" / "b.jpg").mkdir()
    assert find_images([tmp_path / "in", path]) == [path]


def test_photographs_that_cannot_be_decoded_are_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(job, "IMAGE_SUFFIXES", (".jpg", ".png"))  # as without pillow_heif
    path = save(tmp_path / "in" / "a.jpg", photo(3, 3))
    for name in ("b.heic", "c.HEIC", "d.nef", "notes.txt"):
        (tmp_path / "in" / name).write_bytes(b"any")
    assert find_images([tmp_path / "in"]) == [path]
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        f'{tmp_path}/in: read are 1 .jpg; passed over are 2 .heic (pip install "fcn_keras[heif]"), '
        "1 .nef (raw: save as JPEG)"
    )
    path.unlink()
    with pytest.raises(UserError, match=r"holds no images .*, but 2 \.heic"):
        find_images([tmp_path / "in"])


def test_more_pixels_than_pillow_decodes(network, tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", photo(30, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(UserError, match="a.png: .* 40 x 30 pixels.*limit is 1000 .*--tile"):
        predict(network, [path], tmp_path / "out", CLASSES, COLORS)


@pytest.mark.parametrize("classes", [255, 256])
def test_no_class_is_void(tmp_path, classes):
    """Even the last one of so many."""
    image = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D(classes, 1)
    model = keras.Model(image, conv(image))
    conv.set_weights([np.zeros((1, 1, 3, classes)), np.arange(classes)])
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    names, colors = numbered_classes(classes)
    ask = partial(predict, model, [tmp_path / "a.png"], tmp_path / "out", names, colors)
    if classes > 255:
        with pytest.raises(UserError, match="256 classes apart; a label map holds 255, and void"):
            ask()
    else:
        [path] = ask()
        with Image.open(path) as mask:
            assert (np.asarray(mask) == 254).all()


def test_what_memory_does_not_hold(network, tmp_path, monkeypatch):
    for name, size in (("a.png", 9), ("b.png", 9), ("c.png", 12)):
        save(tmp_path / "in" / name, photo(size, 8, size + ord(name[0])))

    def make_segmenter_of_little_memory(*args, **options):
        segment = make_segmenter(*args, **options)

        def limited(images):
            if len(images) > 1 or images.shape[1] > 10:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM")
            return segment(images)

        return limited

    monkeypatch.setattr(keras_segmenter, "make_segmenter", make_segmenter_of_little_memory)
    with pytest.raises(UserError, match="c.png: takes more memory.*--tile. 2 of 3 images"):
        predict(network, [tmp_path / "in"], tmp_path / "out", CLASSES, COLORS)
    assert [name for name in names(tmp_path / "out") if "_" not in name] == ["a.png", "b.png"]


def test_find_images_says_what_is_wrong(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    with pytest.raises(UserError, match=r"empty: holds no images \(.*\.jpg"):
        find_images([tmp_path / "empty"])
    with pytest.raises(UserError, match="absent: no such file or folder"):
        find_images([tmp_path / "absent"])
    with pytest.raises(UserError, match="No images"):
        find_images([])


def test_images_of_one_size_go_together(network, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "_BATCH_PIXELS", 300)
    sizes = [(9, 8), (20, 9), (9, 8), (9, 8), (9, 8), (20, 9), (9, 8), (30, 20)]
    paths = [save(tmp_path / "in" / f"{i}.png", photo(*size, i)) for i, size in enumerate(sizes)]
    shapes = []

    def make_recorder(*args, **options):
        segment = make_segmenter(*args, **options)

        def recording(images):
            shapes.append(images.shape[:3])
            return segment(images)

        return recording

    monkeypatch.setattr(keras_segmenter, "make_segmenter", make_recorder)
    written = predict(network, paths, tmp_path / "out", CLASSES, COLORS)
    # At most so many pixels together, as far as an image has no more itself.
    assert sorted(shapes) == [(1, 9, 8), (1, 20, 9), (1, 20, 9), (1, 30, 20), (4, 9, 8)]
    assert [path.stem for path in written] == [path.stem for path in paths]
    for path, label_map in zip(paths, written, strict=True):
        with Image.open(label_map) as labels:
            np.testing.assert_array_equal(labels, classes_of(network, read_image(path)))

    shapes.clear()
    predict(network, paths, tmp_path / "out", CLASSES, COLORS, batch_size=2)
    assert sorted(shape[0] for shape in shapes) == [1, 1, 2, 2, 2]
    with pytest.raises(UserError, match="`batch_size` must be at least 1"):
        predict(network, paths, tmp_path / "out", CLASSES, COLORS, batch_size=0)


def test_only_a_few_images_are_in_memory(network, tmp_path, monkeypatch):
    paths = [save(tmp_path / "in" / f"{i:02}.png", photo(64, 64, i)) for i in range(60)]
    alive, most = set(), 0
    lock = threading.Lock()

    def read(path):
        nonlocal most
        image = read_image(path).copy()
        with lock:
            alive.add(id(image))
            most = max(most, len(alive))
        weakref.finalize(image, alive.discard, id(image))
        return image

    monkeypatch.setattr(readers, "read_image", read)
    written = predict(network, paths, tmp_path / "out", CLASSES, COLORS, batch_size=3)
    assert len(written) == 60
    assert 3 < most <= 3 * 8


def stamps(folder):
    """When the files of each image were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.[pg]*")}


def test_what_is_done_is_left_alone(network, tmp_path):
    paths = [save(tmp_path / "in" / f"{name}.png", photo(9, 8, i)) for i, name in enumerate("abcd")]
    output, job = tmp_path / "out", {"network": "one"}
    predict(network, paths[:2], output, CLASSES, COLORS, job=job)
    first = stamps(output)
    assert len(first) == 6
    (output / ".123.c.png").touch()  # a process was killed here
    os.utime(output / ".123.c.png", (0, 0))
    (output / ".124.c.png").touch()  # another one works here too
    (output / "b_overlay.png").unlink()
    written = predict(network, paths, output, CLASSES, COLORS, job=job)
    assert [path.name for path in written] == ["a.png", "b.png", "c.png", "d.png"]
    second = stamps(output)
    assert len(second) == 12
    assert {name for name in first if second[name] == first[name]} == {
        "a.png",
        "a_overlay.png",
        "a_side_by_side.png",
    }
    assert [path.name for path in output.glob(".*")] == [".124.c.png"]


def test_what_has_to_be_done_again(network, tmp_path):
    path = save(tmp_path / "in" / "a.png", photo(9, 8))
    output = tmp_path / "out"

    def is_new(**options):
        before = stamps(output) if output.exists() else {}
        predict(network, [path], output, CLASSES, COLORS, **options)
        return stamps(output) != before

    assert is_new(job={"network": "one"})
    assert not is_new(job={"network": "one"})
    assert is_new(job={"network": "two"})
    assert is_new(job={"network": "one"})
    assert is_new(job={"network": "one"}, fresh=True)
    assert not is_new(job={"network": "one"})
    save(path, photo(12, 5))  # the image has changed
    assert is_new(job={"network": "one"})
    assert not is_new(job={"network": "one"})
    (output / "a.png").write_bytes(b"damaged")
    assert is_new(job={"network": "one"})
    assert is_new()  # for no job that is told
    assert is_new(job={"network": "one"})


class Server(Client):
    """What `fcn_keras.client.client.Client` does, without a server."""

    num_classes, version = len(CLASSES), "1"

    def __init__(self, network):
        super().__init__("http://localhost:8501/v1/models/any")
        self.network = network
        self.calls = []

    def label(self, files):
        self.calls.append(len(files))
        images = [Image.open(BytesIO(file)) for file in files]
        assert {image.format for image in images} <= {"JPEG", "PNG", "BMP", "GIF"}
        return [self.answer(np.asarray(image.convert("RGB"))) for image in images]

    def answer(self, image):
        return classes_of(self.network, image).astype("uint8")


@pytest.fixture
def photos(tmp_path):
    names = ["a.png", "b.jpg", "c.bmp", "d.gif", "e.webp", "f.png", "g.png"]
    for i, name in enumerate(names):
        save(tmp_path / "in" / name, photo(9 + i, 8, i))
    return tmp_path / "in"


def test_a_server_is_asked(network, photos, tmp_path):
    server = Server(network)
    predict(network, [photos], tmp_path / "local", CLASSES, COLORS)
    predict(server, [photos], tmp_path / "out", CLASSES, COLORS)
    assert sorted(server.calls) == [3, 4]
    assert len(names(tmp_path / "out")) == 21
    assert names(tmp_path / "out") == names(tmp_path / "local")
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "local" / path.name).read_bytes()


def test_what_a_server_cannot_do(network, photos, tmp_path):
    class Refusing(Server):
        def answer(self, image):
            return None if len(image) == 10 else super().answer(image)

    with pytest.raises(UserError, match="b.jpg: is refused by the server. 6 of 7 images"):
        predict(Refusing(network), [photos], tmp_path / "out", CLASSES, COLORS)
    assert len(names(tmp_path / "out")) == 18

    class Choosy(Server):
        """One that decodes PNGs only, whatever they are called."""

        def label(self, files):
            good = [file for file in files if file.startswith(b"\x89PNG")]
            answers = iter(super().label(good))
            return [next(answers) if file in good else None for file in files]

    written = predict(Choosy(network), [photos], tmp_path / "third", CLASSES, COLORS)
    for path, label_map in zip(sorted(photos.iterdir()), written, strict=True):
        with Image.open(label_map) as labels:
            np.testing.assert_array_equal(labels, classes_of(network, read_image(path)))

    class Turning(Server):
        def answer(self, image):
            return super().answer(image).T

    with pytest.raises(UserError, match=r"has \(9, 8\) pixels.*answered with \(8, 9\)"):
        predict(Turning(network), [photos / "a.png"], tmp_path / "other", CLASSES, COLORS)
    assert not (tmp_path / "other").exists()


def test_many_faults_are_told_shortly(network, tmp_path):
    for i in range(30):
        save(tmp_path / "in" / f"{i}.png", photo(3, 3)).write_text("no image")
    with pytest.raises(UserError, match="And 20 more like these. 0 of 30 images") as caught:
        predict(network, [tmp_path / "in"], tmp_path / "out", CLASSES, COLORS)
    assert str(caught.value).count("cannot be read") == 10


@pytest.mark.slow
def test_a_killed_command_goes_on(network, tmp_path):
    """The command line, killed in the middle by a signal that nothing can catch."""
    for i in range(200):
        save(tmp_path / "in" / f"{i:03}.png", photo(20 + i % 3, 30, i))
    network.save(tmp_path / "network.keras")
    output = tmp_path / "out"
    command = [sys.executable, "-m", "fcn_keras", "predict", tmp_path / "network.keras"]
    command += [tmp_path / "in", "--output", output]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(stamps(output)) < 150:
            time.sleep(0.005)
        process.kill()
    before = stamps(output)
    label_maps = {name for name in before if "_" not in name}
    assert 0 < len(label_maps) < 200
    subprocess.run(command, check=True, capture_output=True)
    after = stamps(output)
    assert len(after) == 600
    assert all(after[name] == before[name] for name in label_maps)
    for path in (tmp_path / "in").iterdir():
        with Image.open(output / path.name) as labels:
            np.testing.assert_array_equal(labels, classes_of(network, read_image(path)))


class Stalling(BaseHTTPRequestHandler):
    """A server that describes a network, and never answers a request."""

    def do_GET(self):
        shapes = {"image_bytes": [-1], "mask_bytes": [-1], "class_pixels": [-1, 4]}
        tensors = {
            name: {
                "dtype": "DT_INT32" if name == "class_pixels" else "DT_STRING",
                "tensor_shape": {"dim": [{"size": str(size)} for size in shape]},
            }
            for name, shape in shapes.items()
        }
        inputs = {"image_bytes": tensors.pop("image_bytes")}
        signature = {"serving_default": {"inputs": inputs, "outputs": tensors}}
        spec = {"name": "roads", "version": "7"}
        metadata = {"signature_def": {"signature_def": signature}}
        body = json.dumps({"model_spec": spec, "metadata": metadata}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.server.asked.set()
        self.server.over.wait(60)

    def log_message(self, *args):
        pass


def test_ctrl_c_does_not_wait_for_a_server(tmp_path):
    save(tmp_path / "a.png", photo(9, 8))
    with ThreadingHTTPServer(("127.0.0.1", 0), Stalling) as server:
        server.asked, server.over = threading.Event(), threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1/models/roads"
        command = [sys.executable, "-m", "fcn_keras", "predict", tmp_path / "a.png"]
        command += ["--server", url, "--output", tmp_path / "out"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert server.asked.wait(60)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        server.over.set()
        server.shutdown()
    assert process.returncode == 130
    assert err.endswith("stopped; the same command goes on from here\n")


def test_the_table_needs_no_other_folder(network, tmp_path, monkeypatch):
    """It is written beside what it becomes: a folder for temporary files may be small, or none."""
    path = save(tmp_path / "in" / "cat.png", photo(9, 8))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    predict(network, [path], tmp_path / "out", CLASSES, COLORS)
    assert (tmp_path / "out" / "summary.csv").is_file()
