"""Exported networks, as TensorFlow and its C library answer with them."""

import io
import json
import re
import struct
import subprocess
import sys
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import c_api
from helpers.classifiers import classifier_of, conv
from helpers.exported import (
    CLASSES,
    COLORS,
    encoded,
    network_on,
    network_to_export,
    photo,
    tiny_network,
    tree,
)
from helpers.networks import scatter_scores, small
from helpers.png import png_bytes
from PIL import Image
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

import fcn_keras
from fcn_keras import UserError
from fcn_keras.data.files.images import read_image
from fcn_keras.exporters.saved_model import export
from fcn_keras.inference.opening import open_network
from fcn_keras.inference.predict import predict

SLOW_BACKBONES = ("mobilenet_v2",)

# What clients rely on.
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


def decoded(mask_bytes):
    with Image.open(io.BytesIO(mask_bytes)) as mask:
        assert mask.format == "PNG" and mask.mode == "L"
        return np.asarray(mask)


@pytest.fixture(scope="module")
def network():
    return network_to_export()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """A version made by `version=None` in a folder that holds older ones, and other things."""
    output = tmp_path_factory.mktemp("served")
    for name in ("3", "11", "notes", ".20.5", "\N{SUPERSCRIPT TWO}"):
        (output / name).mkdir()
    return export(network, output, CLASSES, COLORS, version=None)


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(exported).signatures


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Image files of four formats and many sizes."""
    folder = tmp_path_factory.mktemp("files")
    frames = [Image.fromarray(photo(40, 33, seed)).quantize(50) for seed in (5, 6)]
    contents = {
        "a.jpg": encoded(photo(61, 47, 1), "JPEG"),
        "b.png": encoded(photo(35, 90, 2), "PNG"),
        "c.bmp": encoded(photo(1, 8, 3), "BMP"),
        "d.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "e.jpg": encoded(photo(400, 601, 4), "JPEG"),
        "f.jpg": encoded(photo(1, 1, 5), "JPEG"),
        "g.png": encoded(photo(1, 1, 6), "PNG"),
        "h.bmp": encoded(photo(1, 1, 7), "BMP"),
        "i.gif": encoded(Image.fromarray(photo(1, 1, 8)).quantize(2), "GIF"),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


@pytest.fixture(scope="module")
def predicted(network, files, tmp_path_factory):
    """The label maps that `predict` writes for them."""
    output = tmp_path_factory.mktemp("predicted")
    maps = []
    for path in predict(network, files, output, CLASSES, COLORS):
        with Image.open(path) as mask:
            maps.append(np.asarray(mask))
    return maps


def assert_answers(answer, label_maps):
    """Checks an answer of `serving_default` against label maps; None for what is no image."""
    masks, counts = np.asarray(answer["mask_bytes"]).tolist(), np.asarray(answer["class_pixels"])
    assert counts.dtype == np.int32 and counts.shape == (len(label_maps), 5)
    for mask, pixels, expected in zip(masks, counts, label_maps, strict=True):
        if expected is None:
            assert mask == b"" and pixels.tolist() == [-1] * 5
        else:
            np.testing.assert_array_equal(decoded(mask), expected)
            np.testing.assert_array_equal(pixels, np.bincount(expected.ravel(), minlength=5))


def session_run(model, requests):
    """Answers of a TensorFlow 1 session."""
    answers = []
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(model))
        for name, inputs in requests:
            signature = meta_graph.signature_def[name]
            feed = {signature.inputs[key].name: value for key, value in inputs.items()}
            fetch = {key: tensor.name for key, tensor in signature.outputs.items()}
            answers.append(session.run(fetch, feed))
    return answers


def test_version_none_is_one_above_the_highest(exported):
    assert exported.name == "12"
    found = {path.name for path in exported.parent.iterdir()}
    assert found == {".20.5", "11", "12", "3", "notes", "\N{SUPERSCRIPT TWO}"}


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


@pytest.mark.slow
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


def test_files_get_the_label_maps_that_predict_writes(served, files, predicted):
    contents = [path.read_bytes() for path in files]
    answer = served["serving_default"](image_bytes=tf.constant(contents))
    assert_answers(answer, predicted)
    sizes = [(61, 47), (35, 90), (1, 8), (40, 33), (400, 601), *[(1, 1)] * 4]
    assert [label_map.shape for label_map in predicted] == sizes
    assert len(np.unique(predicted[0])) > 2


@pytest.mark.slow
def test_files_through_saved_model_cli(exported, files, predicted, tmp_path):
    contents = [path.read_bytes() for path in files]
    # NumPy cuts off zeros at the end.
    chosen = [place for place, data in enumerate(contents) if not data.endswith(b"\0")]
    assert len(chosen) >= 8
    np.save(tmp_path / "files.npy", [contents[place] for place in chosen])
    tool = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run"]
    what = ["--dir", exported, "--tag_set", "serve", "--signature_def", "serving_default"]
    ways = ["--inputs", f"image_bytes={tmp_path / 'files.npy'}", "--outdir", tmp_path]
    subprocess.run([*tool, *what, *ways], check=True, capture_output=True, timeout=120)
    names = ("mask_bytes", "class_pixels")
    answer = {name: np.load(tmp_path / f"{name}.npy", allow_pickle=True) for name in names}
    assert_answers(answer, [predicted[place] for place in chosen])


@pytest.mark.parametrize("name", ["segment", "probabilities", "serving_default"])
def test_an_empty_batch_is_answered(served, name):
    if name == "serving_default":
        answer = served[name](image_bytes=tf.constant([], tf.string))
        assert answer["mask_bytes"].shape == (0,) and answer["mask_bytes"].dtype == tf.string
        assert answer["class_pixels"].shape == (0, 5) and answer["class_pixels"].dtype == tf.int32
        return
    [answer] = served[name](image=tf.zeros((0, 37, 53, 3), tf.uint8)).values()
    assert answer.shape == ((0, 37, 53) if name == "segment" else (0, 37, 53, 5))
    assert answer.dtype == (tf.uint8 if name == "segment" else tf.float32)


def bomb(side=20_000):
    """A PNG of 50 kB, whose 400 million pixels a decoder makes 1.2 GB of."""
    return png_bytes(side, side, 1, 0, bytes(side * (side // 8 + 1)), level=1)


def bad_files():
    halves = (encoded(photo(20, 20), format) for format in ("JPEG", "PNG", "BMP"))
    gif = encoded(Image.fromarray(photo(20, 20)).quantize(40), "GIF")
    jpeg = bytearray(encoded(photo(20, 20), "JPEG"))
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = b"\xff\x00\xff\x00"
    return [
        b"",
        b"no image",
        *(content[: len(content) // 2] for content in (*halves, gif)),
        bomb(),
        bytes(jpeg),
        gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        b"BM" + bytes(8) + struct.pack("<IIiihhI", 54, 40, 1 << 16, -(1 << 16), 1, 24, 0),
    ]


def test_bad_files_fail_alone(served, exported, files, predicted):
    contents, label_maps = [files[0].read_bytes()], [predicted[0]]
    for bad in bad_files():
        contents += [bad, files[1].read_bytes()]
        label_maps += [None, predicted[1]]
    assert_answers(served["serving_default"](image_bytes=tf.constant(contents)), label_maps)
    [answer] = session_run(exported, [("serving_default", {"image_bytes": contents})])
    assert_answers(answer, label_maps)


needs_c_library = pytest.mark.skipif(
    not c_api.library_path().exists(), reason="no C library in this wheel"
)


@needs_c_library
def test_c_api(exported, served, files, predicted):
    images = [np.stack([photo(31, 45), photo(31, 45, 1)]), photo(20, 70, 2)[None]]
    contents = [path.read_bytes() for path in files]
    bad = bad_files()
    requests = [
        ("segment", {"image": images[0]}),
        ("probabilities", {"image": images[1]}),
        ("segment", {"image": images[1]}),
        ("segment", {"image": np.zeros((0, 9, 5, 3), "uint8")}),
        ("probabilities", {"image": np.zeros((0, 9, 5, 3), "uint8")}),
        ("serving_default", {"image_bytes": contents}),
        ("serving_default", {"image_bytes": [*bad, contents[0]]}),
        ("serving_default", {"image_bytes": []}),
    ]
    answers, memory = c_api.call(exported, requests)
    for (name, _), answer in zip(requests, answers, strict=True):
        assert set(answer) == set(SIGNATURES[name]["outputs"])
    for (name, inputs), answer in zip(requests[:5], answers[:5], strict=True):
        [[key, expected]] = served[name](image=tf.constant(inputs["image"])).items()
        assert answer[key].dtype == expected.dtype and answer[key].shape == expected.shape
        np.testing.assert_allclose(answer[key], expected, atol=1e-4)
    assert_answers(answers[5], predicted)
    assert_answers(answers[6], [None] * len(bad) + predicted[:1])
    assert_answers(answers[7], [])
    assert memory < 1500  # it would take 1200 MB more to see the bomb's pixels


@needs_c_library
@pytest.mark.parametrize(
    "backbone", ["tiny", *(pytest.param(b, marks=pytest.mark.slow) for b in SLOW_BACKBONES)]
)
def test_networks_on_classifiers(tmp_path, backbone):
    model = network_on(backbone)
    exported = export(model, tmp_path / "served", CLASSES, COLORS)
    pictures = [photo(*size, seed) for seed, size in enumerate([(1, 1), (1, 40), (33, 63)])]
    images = np.stack([photo(64, 31), photo(64, 31, 1)])
    requests = [
        ("serving_default", {"image_bytes": [encoded(image, "PNG") for image in pictures]}),
        ("serving_default", {"image_bytes": []}),
        ("probabilities", {"image": images}),
        ("probabilities", {"image": images[:0]}),
    ]
    answers, _ = c_api.call(exported, requests)
    label_maps = [np.argmax(model(image[None]), axis=-1)[0] for image in pictures]
    assert len({*label_maps[-1].ravel().tolist()}) > 1
    assert_answers(answers[0], label_maps)
    assert_answers(answers[1], [])
    expected = np.asarray(keras.ops.softmax(model(images)))
    np.testing.assert_allclose(answers[2]["probabilities"], expected, atol=1e-4)
    assert answers[3]["probabilities"].shape == (0, 64, 31, 5)


def test_session(exported, files, predicted):
    image = photo(35, 45)[None]
    requests = [
        ("serving_default", {"image_bytes": [path.read_bytes() for path in files]}),
        ("serving_default", {"image_bytes": []}),
        ("segment", {"image": image[:0]}),
        ("probabilities", {"image": image}),
        ("segment", {"image": image}),
    ]
    answers = session_run(exported, requests)
    assert_answers(answers[0], predicted)
    assert_answers(answers[1], [])
    assert answers[2]["class_ids"].shape == (0, 35, 45)
    scores = answers[3]["probabilities"]
    np.testing.assert_array_equal(answers[4]["class_ids"], scores.argmax(axis=-1))


def operations(exported):
    graph = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    functions = graph.meta_graphs[0].graph_def.library.function
    return Counter(node.op for function in functions for node in function.node_def)


def test_processors(network, exported, predicted, files, tmp_path):
    """fc6 is a product of matrices on a CPU, and stays a convolution for a GPU."""
    for_gpu = export(network, tmp_path / "out", CLASSES, COLORS, processor="gpu")
    assert 0 < operations(exported)["Conv2D"] < operations(for_gpu)["Conv2D"]
    contents = [path.read_bytes() for path in files]
    [answer] = session_run(for_gpu, [("serving_default", {"image_bytes": contents})])
    for found, expected in zip(answer["mask_bytes"], predicted, strict=True):
        assert (decoded(found) == expected).mean() > 0.99
    with pytest.raises(UserError, match="cpu, amx, .*avx2, gpu. Received: 'tpu'"):
        export(network, tmp_path / "tpu", CLASSES, COLORS, processor="tpu")
    assert not (tmp_path / "tpu").exists()


@pytest.mark.slow
def test_a_wide_network(files, tmp_path):
    """With enough channels for Winograd's convolutions: `predict`'s labels, to the pixel."""
    keras.utils.set_random_seed(7)
    wide = fcn_keras.build("fcn8s", 5, weights=None, width=0.25)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = wide.get_layer(name)
        shape = layer.kernel.shape
        layer.kernel.assign(np.random.default_rng(0).normal(0, 1 / shape[2] ** 0.5, shape))
    exported = export(wide, tmp_path / "out", CLASSES, COLORS)
    images = [read_image(path) for path in files[:2]]
    requests = [("segment", {"image": image[None]}) for image in images]
    segmenter = open_network(wide)
    for image, answer in zip(images, session_run(exported, requests), strict=True):
        [expected] = segmenter.label([image])
        assert len(np.unique(expected)) > 1
        np.testing.assert_array_equal(answer["class_ids"], expected[None])


@pytest.fixture(scope="module")
def strict(network, tmp_path_factory):
    output = tmp_path_factory.mktemp("strict")
    options = dict(strict=True, freeze=True, max_pixels=35 * 90, license="For tests only.")
    return export(network, output, CLASSES, COLORS, **options)


@pytest.mark.slow
def test_strict_and_frozen(network, strict, files, predicted):
    """Both in one export: weights as constants, and a file that is no image fails the call."""
    contents = [path.read_bytes() for path in files]
    requests = [
        ("serving_default", {"image_bytes": contents[:4]}),
        ("serving_default", {"image_bytes": [*contents[:2], contents[0][:700], contents[3]]}),
        ("serving_default", {"image_bytes": [contents[4], contents[0]]}),
        ("probabilities", {"image": photo(35, 45)[None]}),
        ("segment", {"image": photo(35, 45)[None]}),
        ("segment", {"image": np.zeros((0, 9, 5, 3), "uint8")}),
    ]
    served = tf.saved_model.load(strict).signatures
    ways = [lambda name, inputs: served[name](**{k: tf.constant(v) for k, v in inputs.items()})]
    ways += [lambda *request: session_run(strict, [request])[0]]
    if c_api.library_path().exists():
        answers, _ = c_api.call(strict, requests)
    else:
        answers = []
    for way in ways:
        for place, request in ((2, requests[1]), (0, requests[2])):
            with pytest.raises(tf.errors.InvalidArgumentError, match=rf"image_bytes\[{place}\]"):
                way(*request)
    for answer in (*(way(*requests[0]) for way in ways), *answers[:1]):
        assert_answers(answer, predicted[:4])
    if answers:
        assert "image_bytes[2]: is no JPEG" in answers[1]
        assert "image_bytes[0]: is no JPEG" in answers[2] and "3150 px" in answers[2]
        probabilities = np.asarray(keras.ops.softmax(network(photo(35, 45)[None])))
        np.testing.assert_allclose(answers[3]["probabilities"], probabilities, atol=1e-4)
        ids = answers[3]["probabilities"].argmax(axis=-1)
        np.testing.assert_array_equal(answers[4]["class_ids"], ids)
        assert answers[5]["class_ids"].shape == (0, 9, 5)


def test_weights_are_stored_once(network, exported, strict):
    # Those of a bilinear kernel are not needed.
    upsampling = keras.layers.Conv2DTranspose
    layers = [layer for layer in network.layers if not isinstance(layer, upsampling)]
    size = 4 * sum(layer.count_params() for layer in layers)
    [variables] = (exported / "variables").glob("variables.data*")
    assert size <= variables.stat().st_size < 1.1 * size
    # Constants of one value, as biases from zero, take no space.
    graph = (exported / "saved_model.pb").stat().st_size
    assert 0.5 * size < (strict / "saved_model.pb").stat().st_size - graph < 1.5 * size
    assert (strict / "variables" / "variables.index").stat().st_size < 1000


@pytest.mark.slow
def test_bfloat16(network, files, predicted, tmp_path):
    exported = export(network, tmp_path, CLASSES, COLORS, precision="bfloat16")
    variables = tf.train.load_checkpoint(str(exported / "variables" / "variables"))
    dtypes = [
        dtype
        for name, dtype in variables.get_variable_to_dtype_map().items()
        if name.endswith("VARIABLE_VALUE")
    ]
    assert len(dtypes) >= len(network.trainable_weights) and {*dtypes} == {tf.bfloat16}
    served = tf.saved_model.load(exported).signatures
    contents = [path.read_bytes() for path in files[:5]]
    answer = served["serving_default"](image_bytes=tf.constant(contents))
    masks = [decoded(mask) for mask in answer["mask_bytes"].numpy()]
    same = [mask == expected for mask, expected in zip(masks, predicted[:5], strict=True)]
    assert np.mean(np.concatenate([equal.ravel() for equal in same])) >= 0.98
    [probabilities] = served["probabilities"](image=tf.constant(photo(35, 45)[None])).values()
    assert probabilities.dtype == tf.float32
    np.testing.assert_allclose(tf.reduce_sum(probabilities, axis=-1), 1, atol=1e-5)
    assert network.dtype_policy.name == "float32"  # the caller's own is not touched


def with_silu():
    """On layers whose gradient TensorFlow has written by hand."""
    steps = [conv(strides=2, activation="silu") for _ in range(5)]
    top = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    return fcn_keras.build("fcn8s", 5, backbone=classifier_of(64, *steps, *top), preprocessing="tf")


@pytest.mark.parametrize(
    ("make", "options", "tolerance"),
    [
        (with_silu, {"freeze": True}, 1e-5),
        (lambda: small("fcn32s", 5), {"precision": "bfloat16", "processor": "amx"}, 0.02),
        (lambda: small("fcn32s", 5), {"precision": "bfloat16", "processor": "avx512"}, 0.02),
    ],
    ids=["silu", "bfloat16", "stored in bfloat16"],
)
def test_probabilities_of_what_else_is_exported(make, options, tolerance, tmp_path):
    model = scatter_scores(make())
    segmenter = open_network(export(model, tmp_path, CLASSES, COLORS, **options))
    for size in ((1, 1), (1, 17), (45, 70)):
        image = photo(*size)[None]
        expected = tf.nn.softmax(model(image))
        found = segmenter.probabilities(image)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(segmenter.segment(image), found.argmax(axis=-1))
    assert np.ptp(expected[..., 0]) > 0.01


@pytest.fixture(scope="module")
def warmup(exported):
    """The requests that TensorFlow Serving finds in an export."""
    file = exported / "assets.extra" / "tf_serving_warmup_requests"
    requests = []
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        # PredictionLog.predict_log, PredictLog.request
        [[number, log]] = c_api.fields(record)
        assert number == 6
        [[number, request]] = c_api.fields(log)
        assert number == 1
        name = c_api.field(c_api.field(request, 1), 3).decode()  # model_spec, signature_name
        tensors = {
            key: tf.make_ndarray(tf.make_tensor_proto(0).FromString(tensor))
            for key, tensor in c_api.entries(request, 2)  # inputs
        }
        requests.append((name, tensors))
    return requests


def test_warmup_requests_are_answered(warmup, exported):
    assert [name for name, _ in warmup] == list(SIGNATURES)
    for (name, inputs), answer in zip(warmup, session_run(exported, warmup), strict=True):
        assert {*inputs} == {*SIGNATURES[name]["inputs"]}
        if name == "serving_default":
            assert_answers(answer, [decoded(answer["mask_bytes"][0])])
        else:
            assert [*answer.values()][0].shape[:3] == inputs["image"].shape[:3]


def test_license(exported, strict):
    assert (strict / "assets" / "license.txt").read_text() == "For tests only.\n"
    assert not (exported / "assets" / "license.txt").exists()


@pytest.mark.parametrize(
    "shape, classes, options, words",
    [
        ((64, 64, 6), 5, {}, r"\(64, 64, 6\).*any size"),
        ((64, 64, 3), 5, {}, r"\(64, 64, 3\).*any size"),
        ((None, None, 3), 257, {}, "257 classes"),
        ((None, None, 3), 4, {}, "must name the 4 classes.*5 names"),
        ((None, None, 3), 5, {"precision": "float16"}, "float32, bfloat16"),
        ((None, None, 3), 5, {"max_pixels": 0}, "at least 1"),
        ((None, None, 3), 5, {"version": 0}, "--version.*Received: 0"),
        ((None, None, 3), 5, {"version": 1 << 63}, "--version"),
    ],
)
def test_what_cannot_be_served(tmp_path, shape, classes, options, words):
    image = keras.Input(shape)
    model = keras.Model(image, keras.layers.Conv2D(classes, 1)(image))
    with pytest.raises(UserError, match=words):
        export(model, tmp_path / "out", CLASSES, COLORS, **options)
    assert tree(tmp_path) == {}


def test_a_version_that_exists_stays_as_it_is(exported):
    before = tree(exported.parent)
    with pytest.raises(UserError, match=r"12: exists already.*--version"):
        export(tiny_network(), exported.parent, CLASSES, COLORS, version=12)
    assert tree(exported.parent) == before
