import io
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import c_api
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.framework import types_pb2

import fcn_keras
from fcn_keras import UserError
from fcn_keras.data.images import read_image
from fcn_keras.prediction import predict
from fcn_keras.serving import check_target, decode_image, export

CLASSES = ["sky", "road", "car", "tree", "none of these"]
COLORS = [(i, 50 * i, 255 - i) for i in range(5)]

# What clients rely on: DESIGN 3.7.
SIGNATURES = {
    "serving_default": {
        "inputs": {"image_bytes": "DT_STRING (-1)"},
        "outputs": {"mask_bytes": "DT_STRING (-1)", "class_pixels": "DT_INT32 (-1, 5)"},
    },
    "segment": {
        "inputs": {"image": "DT_UINT8 (-1, -1, -1, 3)"},
        "outputs": {"class_ids": "DT_UINT8 (-1, -1, -1)"},
    },
    "probabilities": {
        "inputs": {"image": "DT_UINT8 (-1, -1, -1, 3)"},
        "outputs": {"probabilities": "DT_FLOAT (-1, -1, -1, 5)"},
    },
}


def photo(height, width, seed=0):
    """Patches of random colours under noise: all sorts of things to see, none of them smooth."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    image = patches.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    return (image + rng.integers(-20, 21, image.shape)).clip(0, 255).astype("uint8")


def encoded(image, format, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def decoded(mask_bytes):
    with Image.open(io.BytesIO(mask_bytes)) as mask:
        assert mask.format == "PNG" and mask.mode == "L"
        return np.asarray(mask)


def tiny_network():
    image = keras.Input((None, None, 3))
    return keras.Model(image, keras.layers.Conv2D(5, 1)(image))


def tree(folder):
    """All that is in a folder, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    model = fcn_keras.build("fcn8s", 5, weights=None, width=0.03125, geometry="same")
    rng = np.random.default_rng(1)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = model.get_layer(name)
        layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    # No class above the others all over the picture.
    layer = model.get_layer("score_fr")
    kernel, bias = layer.get_weights()
    typical = np.median(model(photo(96, 96)[None]), axis=(0, 1, 2))
    layer.set_weights([kernel, bias - typical])
    return model


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """A version made by `version=None` in a folder that holds older ones, and other things."""
    output = tmp_path_factory.mktemp("served")
    for name in ("3", "11", "notes", ".20.5"):
        (output / name).mkdir()
    return export(network, output, CLASSES, COLORS, version=None)


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(exported).signatures


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Image files of four formats and sizes."""
    folder = tmp_path_factory.mktemp("files")
    frames = [Image.fromarray(photo(40, 33, seed)).quantize(50) for seed in (5, 6)]
    contents = {
        "a.jpg": encoded(photo(61, 47, 1), "JPEG"),
        "b.png": encoded(photo(35, 90, 2), "PNG"),
        "c.bmp": encoded(photo(1, 7, 3), "BMP"),
        "d.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def test_version_none_is_one_above_the_highest(exported):
    assert exported.name == "12"
    assert sorted(path.name for path in exported.parent.iterdir()) == [
        ".20.5",
        "11",
        "12",
        "3",
        "notes",
    ]


def test_classes_travel_along(exported):
    about = json.loads((exported / "assets" / "classes.json").read_text())
    assert about == {"classes": CLASSES, "colors": [list(color) for color in COLORS]}


def test_signatures(served):
    def in_words(spec):
        dtype = types_pb2.DataType.Name(spec.dtype.as_datatype_enum)
        sides = ", ".join("-1" if side is None else str(side) for side in spec.shape)
        return f"{dtype} ({sides})"

    found = {}
    for name, function in served.items():
        positional, inputs = function.structured_input_signature
        assert positional == ()
        found[name] = {
            "inputs": {key: in_words(spec) for key, spec in inputs.items()},
            "outputs": {key: in_words(s) for key, s in function.structured_outputs.items()},
        }
    assert found == SIGNATURES


def test_saved_model_cli_shows_the_signatures(exported):
    tool = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
    command = [*tool, "show", "--dir", str(exported), "--all"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    found = {}
    for block in re.split(r"signature_def\['", shown.partition("Concrete Functions")[0])[1:]:
        tensors = re.findall(
            r"(inputs|outputs)\['(\w+)'\] tensor_info:\s+dtype: (\w+)\s+shape: (\(.*\))", block
        )
        signature = found[block.partition("'")[0]] = {"inputs": {}, "outputs": {}}
        for side, name, dtype, shape in tensors:
            signature[side][name] = f"{dtype} {shape}"
    found.pop("__saved_model_init_op", None)  # TensorFlow's own
    assert found == SIGNATURES


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 37, 53), (3, 64, 33), (1, 97, 101)])
def test_segment_and_probabilities(network, served, size):
    count, height, width = size
    images = np.stack([photo(height, width, seed) for seed in range(count)])
    logits = np.asarray(network(images))
    [class_ids] = served["segment"](image=tf.constant(images)).values()
    assert class_ids.dtype == tf.uint8 and class_ids.shape == size
    chosen = np.take_along_axis(logits, np.asarray(class_ids, int)[..., None], axis=-1)[..., 0]
    # Between two classes whose scores differ by rounding either is right.
    np.testing.assert_allclose(chosen, logits.max(axis=-1), rtol=1e-5, atol=1e-5)
    if height * width > 1:
        assert len(np.unique(class_ids)) == 5

    [probabilities] = served["probabilities"](image=tf.constant(images)).values()
    assert probabilities.dtype == tf.float32 and probabilities.shape == (*size, 5)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    expected = powers / powers.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)


def test_files_get_the_label_maps_that_predict_writes(network, served, files, tmp_path):
    contents = [path.read_bytes() for path in files]
    answer = served["serving_default"](image_bytes=tf.constant(contents))
    masks = [decoded(mask) for mask in answer["mask_bytes"].numpy()]
    written = predict(network, files, tmp_path, CLASSES, COLORS)
    assert [path.stem for path in written] == [path.stem for path in files]
    for mask, pixels, path in zip(masks, answer["class_pixels"].numpy(), written, strict=True):
        with Image.open(path) as expected:
            np.testing.assert_array_equal(mask, np.asarray(expected))
        np.testing.assert_array_equal(pixels, np.bincount(mask.ravel(), minlength=5))
    assert [mask.shape for mask in masks] == [(61, 47), (35, 90), (1, 7), (40, 33)]
    assert len(np.unique(masks[0])) > 2


def test_an_empty_batch_is_answered(served):
    answer = served["serving_default"](image_bytes=tf.constant([], tf.string))
    assert answer["mask_bytes"].shape == (0,)
    assert answer["class_pixels"].shape == (0, 5)


def test_a_broken_image_is_refused(served):
    good = encoded(photo(20, 20), "JPEG")
    for bad in (b"", b"no image", good[: len(good) // 2]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            served["serving_default"](image_bytes=tf.constant([good, bad]))


@pytest.mark.skipif(not c_api.library_path().exists(), reason="no C library in this wheel")
def test_c_api(network, exported, served, files):
    images = [np.stack([photo(31, 45), photo(31, 45, 1)]), photo(20, 70, 2)[None]]
    contents = [path.read_bytes() for path in files]
    requests = [
        ("segment", {"image": images[0]}),
        ("serving_default", {"image_bytes": contents}),
        ("probabilities", {"image": images[1]}),
        ("segment", {"image": images[1]}),
        ("serving_default", {"image_bytes": []}),
    ]
    command = [sys.executable, c_api.__file__, str(exported)]
    done = subprocess.run(command, input=pickle.dumps(requests), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    for (name, inputs), answer in zip(requests, pickle.loads(done.stdout), strict=True):
        [[key, value]] = inputs.items()
        dtype = tf.string if isinstance(value, list) else tf.uint8
        expected = served[name](**{key: tf.constant(value, dtype)})
        assert set(answer) == set(SIGNATURES[name]["outputs"])
        for key, value in answer.items():
            if name == "probabilities":
                np.testing.assert_allclose(value, expected[key], atol=1e-4)
            elif key == "mask_bytes":
                assert value == expected[key].numpy().tolist()
            else:
                assert value.dtype == expected[key].numpy().dtype
                np.testing.assert_array_equal(value, expected[key])


def test_a_version_that_exists_stays_as_it_is(exported):
    before = tree(exported.parent)
    with pytest.raises(UserError, match=r"12: exists already.*--version"):
        export(tiny_network(), exported.parent, CLASSES, COLORS, version=12)
    assert tree(exported.parent) == before


def test_check_target(tmp_path):
    output = tmp_path / "not" / "yet"
    assert check_target(output) == check_target(output, None) == output / "1"
    assert check_target(output, 7) == output / "7"
    assert not output.parent.exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is not a folder"):
        check_target(tmp_path / "file")


@pytest.mark.parametrize("output", ["new", "."])
@pytest.mark.parametrize("at", ["model", "classes"])
def test_a_failed_export_leaves_nothing(monkeypatch, tmp_path, at, output):
    def write_out(self, path, **_):
        # The server must not take up what is not complete.
        assert not Path(path).name.isdigit()
        (Path(path) / "variables").mkdir(parents=True)
        (Path(path) / "saved_model.pb").write_bytes(b"half a mo")
        if at == "model":
            raise OSError("the disk is full")

    backend_archive = type(keras.export.ExportArchive())
    monkeypatch.setattr(backend_archive, "write_out", write_out)
    classes = [object()] * 5 if at == "classes" else CLASSES  # JSON cannot hold an object
    with pytest.raises((OSError, TypeError)):
        export(tiny_network(), tmp_path / output, classes, COLORS)
    assert set(tree(tmp_path)) <= {"new"}


def with_orientation(orientation, byte_order):
    exif = Image.Exif()
    exif.endian = byte_order
    exif[0x010E] = "a description, which is a tag before the one that matters"
    exif[0x0112] = orientation
    return exif


PHOTO = Image.fromarray(photo(37, 53))
ALPHA = Image.fromarray(np.dstack([photo(37, 53), photo(37, 53, 1)[:, :, 0]]))
PALETTE = PHOTO.quantize(40)
DEEP = photo(37, 53)[:, :, 0] * np.uint16(256) + photo(37, 53)[:, :, 1]

ENCODINGS = {
    f"JPEG-{quality}-{subsampling}-{progressive}": encoded(
        PHOTO, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive == "prog"
    )
    for quality in (20, 75, 100)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0")
    for progressive in ("base", "prog")
} | {
    "JPEG-grey": encoded(PHOTO.convert("L"), "JPEG"),
    "JPEG-CMYK": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "JPEG-1x1": encoded(photo(1, 1), "JPEG"),
    "JPEG-and-more-behind": encoded(PHOTO, "JPEG") + b"more",
    "PNG-RGB": encoded(PHOTO, "PNG"),
    "PNG-grey": encoded(PHOTO.convert("L"), "PNG"),
    "PNG-one-bit": encoded(PHOTO.convert("1"), "PNG"),
    "PNG-palette": encoded(PALETTE, "PNG"),
    "PNG-palette-4-bits": encoded(PHOTO.quantize(9), "PNG"),
    "PNG-palette-alpha": encoded(PALETTE, "PNG", transparency=3),
    "PNG-alpha": encoded(ALPHA, "PNG"),
    "PNG-grey-alpha": encoded(ALPHA.convert("LA"), "PNG"),
    "PNG-16-bit-grey": encoded(DEEP, "PNG"),
    "GIF": encoded(PALETTE, "GIF"),
    "GIF-animated": encoded(PALETTE, "GIF", save_all=True, append_images=[PALETTE.rotate(180)]),
    "BMP": encoded(PHOTO, "BMP"),
    "BMP-grey": encoded(PHOTO.convert("L"), "BMP"),
    "BMP-alpha": encoded(ALPHA, "BMP"),
}


@pytest.fixture(scope="module")
def decode():
    """`decode_image` in a graph, as it is served."""
    graph = tf.function(decode_image, input_signature=[tf.TensorSpec((), tf.string)])
    return lambda data: graph(tf.constant(data)).numpy()


def as_read(data, tmp_path):
    (tmp_path / "image").write_bytes(data)
    return read_image(tmp_path / "image")


@pytest.mark.parametrize("name", ENCODINGS)
def test_decode_image_sees_what_read_image_sees(decode, tmp_path, name):
    image = decode(ENCODINGS[name])
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, as_read(ENCODINGS[name], tmp_path))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_decode_image_sees_the_upper_half_of_16_bits(decode, tmp_path, channels):
    deep = np.random.default_rng(0).integers(0, 1 << 16, (11, 13, channels), dtype="uint16")
    data = tf.io.encode_png(deep).numpy()  # Pillow cannot write these
    np.testing.assert_array_equal(decode(data), as_read(data, tmp_path))


@pytest.mark.parametrize("colors", [2, 9, 40])
def test_decode_image_shows_a_bmp_with_a_palette_in_its_colors_or_refuses(decode, tmp_path, colors):
    data = encoded(PHOTO.convert("1") if colors == 2 else PHOTO.quantize(colors), "BMP")
    try:
        image = decode(data)
    except tf.errors.InvalidArgumentError:
        return
    np.testing.assert_array_equal(image, as_read(data, tmp_path))


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_image_turns_photos_upright(decode, tmp_path, orientation, byte_order):
    data = encoded(PHOTO, "JPEG", exif=with_orientation(orientation, byte_order))
    np.testing.assert_array_equal(decode(data), as_read(data, tmp_path))
