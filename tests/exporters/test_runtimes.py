"""Networks in other runtimes, as files that `export` writes for them."""

import functools
import json
import re
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import UserError
from fcn_keras.errors import WriteError
from fcn_keras.exporters import runtimes, weights
from fcn_keras.exporters.formats import FORMATS, Format
from fcn_keras.exporters.runtimes import export_to_runtime

CLASSES = ["sky", "road", "car", "tree", "none of these"]
COLORS = [(i, 50 * i, 255 - i) for i in range(5)]

# The kinds of networks beside the default.
NETWORKS = {
    "fcn-alexnet": {},
    "fcn32s, dilated": {"output_stride": 8},
    "fcn8s, plain": {"elide_padding": False},
    "fcn8s, same": {"geometry": "same"},
    "fcn8s-atonce": {},
    "fcn16s": {},
    "fcn32s": {},
    "fcn32s, dilated, same": {"output_stride": 16, "geometry": "same"},
    "fcn-alexnet, plain": {"elide_padding": False},
    "fcn8s, mobilenet_v2": {"backbone": "mobilenet_v2", "width": 0.35},
    "fcn8s, mobilenet_v3_small": {"backbone": "mobilenet_v3_small", "width": 1.0},
    "fcn8s, mobilenet": {"backbone": "mobilenet", "width": 0.25},
}
USUAL = ("fcn-alexnet", "fcn32s, dilated")

# Batches that the check does not see: images, height, width.
SIZES = [(1, 1, 1), (2, 37, 53), (1, 130, 101), (3, 64, 48)]


def make_network(name="fcn8s", num_classes=5, **options):
    keras.utils.set_random_seed(1)
    variant, *_ = name.split(",")
    options = {"weights": None, "width": 0.03125} | NETWORKS.get(name, {}) | options
    model = fcn_keras.build(variant, num_classes, **options)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.name.startswith("score") and layer.weights:  # they start from zero
            layer.set_weights([rng.normal(size=weight.shape) for weight in layer.weights])
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return model


def photos(count, height, width, channels=3):
    rng = np.random.default_rng(height)
    return rng.integers(0, 256, (count, height, width, channels), "uint8")


def scores_of(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def run_onnx(path):
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    [image], [score] = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["N", "H", "W", 3])
    assert (score.name, score.type, score.shape) == ("score", "tensor(float)", ["N", "H", "W", 5])
    return lambda images: session.run(None, {"image": images})[0]


def run_openvino(path):
    openvino = pytest.importorskip("openvino")
    network = openvino.Core().read_model(path)
    for port, name, kind, channels in (
        (network.input(), "image", "uint8_t", 3),
        (network.output(), "score", "float", 5),
    ):
        assert port.names == {name}
        assert (port.element_type.to_string(), str(port.partial_shape)) == (
            {"uint8_t": "u8", "float": "f32"}[kind],
            f"[?,?,?,{channels}]",
        )
    compiled = openvino.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled(images)["score"]


def run_litert(path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path))
    [image], [score] = interpreter.get_input_details(), interpreter.get_output_details()
    assert (image["dtype"], [*image["shape_signature"]]) == (np.uint8, [-1, -1, -1, 3])
    assert (score["dtype"], [*score["shape_signature"]]) == (np.float32, [-1, -1, -1, 5])
    run = interpreter.get_signature_runner()
    return lambda images: run(image=images)["score"]


RUN = {"onnx": run_onnx, "openvino": run_openvino, "litert": run_litert}
RUNTIMES = [*RUN]


def need(format):
    for package in FORMATS[format].packages:
        pytest.importorskip(package)


def file_name(format, stem="net"):
    return stem + FORMATS[format].endings[0]


def written(model, folder, format, **options):
    """A network as a file, whose name the runtime does not depend on."""
    need(format)
    path = folder / file_name(format, "a net")
    agreement = export_to_runtime(model, path, format, CLASSES, COLORS, **options)
    assert agreement.difference <= 1e-5 and agreement.labels >= 0.9999
    names = {path.name, "a net.bin"} if format == "openvino" else {path.name}
    assert {file.name for file in folder.iterdir()} == names
    return path


def assert_same(run, model, sizes=SIZES):
    for size in sizes:
        images = photos(*size)
        expected, scores = scores_of(model, images), run(images)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        assert np.mean(scores.argmax(-1) == expected.argmax(-1)) >= 0.9999


@pytest.fixture(scope="module")
def network():
    return make_network()


@pytest.fixture(scope="module")
def file_of(network, tmp_path_factory):
    """A function that gives the network's file in a format, written once."""

    @functools.cache
    def write(format):
        folder = tmp_path_factory.mktemp(format)
        return written(network, folder, format, license="For tests only.")

    return write


@pytest.mark.parametrize("format", RUNTIMES)
def test_runtimes_give_the_logits_of_keras(network, file_of, format):
    assert_same(RUN[format](file_of(format)), network)


@pytest.mark.parametrize("format", RUNTIMES)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in USUAL else pytest.mark.slow, id=name)
        for name in NETWORKS
    ],
)
def test_runtimes_know_every_network(tmp_path, name, format):
    model = make_network(name)
    assert_same(RUN[format](written(model, tmp_path, format)), model)


@pytest.mark.parametrize("format", RUNTIMES)
@pytest.mark.parametrize(
    "precision", ["mixed_bfloat16", pytest.param("bfloat16", marks=pytest.mark.slow)]
)
def test_a_network_in_half_precision_computes_in_float32(tmp_path, precision, format):
    keras.config.set_dtype_policy(precision)
    try:
        model = make_network("fcn32s", geometry="same")
    finally:
        keras.config.set_dtype_policy("float32")
    full = make_network("fcn32s", geometry="same")
    full.set_weights(model.get_weights())
    assert_same(RUN[format](written(model, tmp_path, format)), full, SIZES[:2])


@pytest.mark.parametrize("format", RUNTIMES)
def test_a_network_for_one_size(tmp_path, format):
    model = make_network("fcn32s", input_shape=(40, 56, 3))
    path = written(model, tmp_path, format)  # which runs it
    if format == "onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(path)
        assert session.get_inputs()[0].shape == ["N", 40, 56, 3]


def test_onnx_tells_the_classes(file_of):
    path = file_of("onnx")
    onnx = pytest.importorskip("onnx")
    about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(about.pop("classes")) == CLASSES
    assert json.loads(about.pop("colors")) == [list(color) for color in COLORS]
    assert about == {"license": "For tests only."}
    onnx.checker.check_model(path, full_check=True)


def test_onnx_has_the_weights_by_their_names(network, file_of):
    path = file_of("onnx")
    onnx = pytest.importorskip("onnx")
    stored = {
        array.name: onnx.numpy_helper.to_array(array) for array in onnx.load(path).graph.initializer
    }
    for weight in network.weights:
        array = keras.ops.convert_to_numpy(weight)
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        np.testing.assert_array_equal(stored[weight.path], array)


def test_openvino_tells_the_classes(file_of):
    path = file_of("openvino")
    network = pytest.importorskip("openvino").Core().read_model(path)
    assert json.loads(network.get_rt_info("classes").astype(str)) == CLASSES
    assert json.loads(network.get_rt_info("colors").astype(str)) == [list(c) for c in COLORS]
    assert network.get_rt_info("license").astype(str) == "For tests only."


def test_litert_tells_the_classes(file_of):
    with zipfile.ZipFile(file_of("litert")) as archive:
        about = json.loads(archive.read("classes.json"))
        assert about == {"classes": CLASSES, "colors": [list(color) for color in COLORS]}
        assert archive.read("license.txt") == b"For tests only.\n"


def test_weights(tmp_path):
    model = make_network(input_mean=(1.0, 2.0, 3.0), input_std=20.0)
    path = written(model, tmp_path, "weights")
    other = fcn_keras.build("fcn8s", 5, weights=path, width=0.03125)
    assert_same(lambda images: scores_of(other, images), model)
    with h5py.File(path) as file:
        assert [*file.attrs["fcn_keras_input_mean"]] == [1, 2, 3]
        assert file.attrs["fcn_keras_input_std"] == pytest.approx(20)


def run_directory(folder, model, **about):
    """A run with this network in it."""
    folder.mkdir()
    model.save(folder / "best.keras")
    about = {"classes": CLASSES, "colors": COLORS} | about
    (folder / "config.json").write_text(json.dumps({"dataset": about, "settings": {}}))
    return folder


def test_command_writes_by_the_ending(run_command, tmp_path):
    run = run_directory(tmp_path / "run", make_network())
    pytest.importorskip("ai_edge_litert")
    code, out, err = run_command("export", run, tmp_path / "net.tflite")
    assert (code, err) == (0, "")
    assert "net.tflite: logits differ from Keras' by" in out and "100.000%" in out
    with zipfile.ZipFile(tmp_path / "net.tflite") as archive:
        assert json.loads(archive.read("classes.json"))["classes"] == CLASSES
    assert_same(run_litert(tmp_path / "net.tflite"), make_network(), SIZES[:1])


@pytest.mark.parametrize("format", RUNTIMES)
def test_command_prints_one_line(network, tmp_path, format):
    need(format)
    run = run_directory(tmp_path / "run", network)
    command = [sys.executable, "-m", "fcn_keras", "export", run, tmp_path / file_name(format)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r".*: logits differ from Keras' by .*100.000% of the labels.*\n", done.stdout
    )


def test_several_heads(run_command, tmp_path):
    model = make_network(num_classes={"sem": 5, "geo": 3})
    run = run_directory(tmp_path / "run", model, heads={"sem": CLASSES, "geo": CLASSES[:3]})
    assert run_command("export", run, tmp_path / "net.weights.h5")[0] == 0
    other = fcn_keras.build(
        "fcn8s", {"sem": 5, "geo": 3}, weights=tmp_path / "net.weights.h5", width=0.03125
    )
    images = photos(1, 37, 53)
    for name, scores in model(images).items():
        np.testing.assert_array_equal(other(images)[name], scores)
    need("onnx")
    assert run_command("export", run, tmp_path / "net.onnx")[0] == 0
    first = keras.Model(model.input, model.get_layer("score_sem").output)
    assert_same(run_onnx(tmp_path / "net.onnx"), first)


@pytest.mark.parametrize(
    "format, limit, value",
    [
        ("onnx", "MAX_DIFFERENCE", -1),
        ("openvino", "MIN_LABELS", 1.1),
        ("litert", "MAX_DIFFERENCE", -1),
        ("weights", "MIN_LABELS", 1.1),
    ],
)
def test_what_differs_from_keras_is_not_written(
    monkeypatch, network, tmp_path, format, limit, value
):
    need(format)
    monkeypatch.setattr(runtimes, limit, value)
    with pytest.raises(RuntimeError, match=f"not written: in {format} the logits of fcn8s are off"):
        path = tmp_path / file_name(format)
        export_to_runtime(network, path, format, CLASSES, COLORS)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "spoil",
    [lambda scores: scores * np.nan, lambda scores: scores[:1], lambda scores: -scores],
    ids=["not a number", "one of a batch", "another sign"],
)
def test_the_check_sees_what_is_wrong(monkeypatch, tmp_path, spoil):
    run = weights.run

    def spoilt(path, model):
        good = run(path, model)
        return lambda images: spoil(good(images))

    monkeypatch.setattr(weights, "run", spoilt)
    with pytest.raises(RuntimeError):
        export_to_runtime(make_network(), tmp_path / "net.weights.h5", "weights", CLASSES, COLORS)
    assert not [*tmp_path.iterdir()]


def test_every_class_has_a_name(monkeypatch, network, tmp_path):
    monkeypatch.setitem(FORMATS, "onnx", Format(FORMATS["onnx"].endings))
    with pytest.raises(UserError, match="must name the 5 classes of fcn8s. Received: 4 names"):
        export_to_runtime(network, tmp_path / "net.onnx", "onnx", CLASSES[1:], COLORS[1:])


def test_openvino_tells_nobody():
    """Its telemetry forks at each call, and with TensorFlow's threads the fork may hang."""
    pytest.importorskip("openvino")
    program = "import sys\nfrom fcn_keras.exporters.runtimes import check_output\n"
    program += "check_output('net.xml', 'openvino')\n"
    program += "from openvino.tools.ovc import telemetry_utils\n"
    program += "print(telemetry_utils.tm.__name__, sys.modules.get('openvino_telemetry'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "None"], done.stderr


def test_what_openvino_cannot_write(monkeypatch, network, tmp_path):
    openvino = pytest.importorskip("openvino")

    def save_model(network, path, **_):
        path.with_suffix(".bin").write_bytes(b"half a mo")
        raise RuntimeError("basic_ios::clear: iostream error")  # what a full disk gives

    monkeypatch.setattr(openvino, "save_model", save_model)
    with pytest.raises(WriteError, match=f"{tmp_path}: OpenVINO could not write"):
        export_to_runtime(network, tmp_path / "net.xml", "openvino", CLASSES, COLORS)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("format", [*RUNTIMES, "weights"])
def test_what_exists_stays(tmp_path, format):
    path = tmp_path / file_name(format)
    if format == "openvino":
        path = path.with_suffix(".bin")
    path.write_text("older")
    with pytest.raises(UserError, match=f"{path.name}: exists already"):
        export_to_runtime(None, tmp_path / file_name(format), format, CLASSES, COLORS)
    assert path.read_text() == "older"


@pytest.mark.parametrize("format", RUNTIMES)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, run_command, tmp_path, format):
    missing = FORMATS[format].packages[-1]

    def without(name):
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(runtimes, "import_module", without)
    code, out, err = run_command("export", tmp_path, tmp_path / file_name(format))
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert f"needs {missing}" in err and f'pip install "fcn_keras[{format}]"' in err


@pytest.mark.parametrize(
    "target, options, words",
    [
        ("net.onnx", ["--freeze"], "--freeze: cannot be given with --format onnx"),
        ("net.xml", ["--strict"], "--strict: cannot be given with --format openvino"),
        ("net.tflite", ["--max-pixels", 9], "--max-pixels: cannot be given with --format litert"),
        ("net.onnx", ["--processor", "gpu"], "--processor: cannot be given with --format onnx"),
        ("net.onnx", ["--version", 2], "--version: cannot be given with --format onnx"),
        ("net.onnx", ["--precision", "bfloat16"], "--precision: cannot be given"),
        (
            "net.weights.h5",
            ["--license", "MIT"],
            "--license: cannot be given with --format weights",
        ),
        ("folder", ["--format", "onnx"], "folder: must end in .onnx for --format onnx"),
        ("net.XML", [], "net.XML: must end in .xml for --format openvino"),
        ("net.onnx", ["--format", "litert"], "net.onnx: must end in .tflite for --format litert"),
    ],
)
def test_options_that_make_no_sense(run_command, tmp_path, target, options, words):
    code, out, err = run_command("export", tmp_path / "run", tmp_path / target, *options)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert words in err
    assert not [*tmp_path.iterdir()]


def test_a_folder_with_such_an_ending_can_be_named(run_command, tmp_path):
    run = run_directory(tmp_path / "run", make_network(geometry="same"))
    options = ["--format", "savedmodel"]
    assert run_command("export", run, tmp_path / "net.onnx", *options)[0] == 0
    assert (tmp_path / "net.onnx" / "1" / "saved_model.pb").is_file()


def test_an_agreement_of_scores_that_are_all_zero_says_nothing(tmp_path):
    network = fcn_keras.build("fcn32s", 3, weights=None, width=1 / 32)
    options = ("weights", ["a", "b", "c"], [(0, 0, 0), (9, 9, 9), (20, 20, 20)])
    assert not export_to_runtime(network, tmp_path / "a.weights.h5", *options).tells
    kernel, bias = network.get_layer("score_fr").get_weights()
    network.get_layer("score_fr").set_weights([kernel, bias + [1, 2, 3]])
    assert export_to_runtime(network, tmp_path / "b.weights.h5", *options).tells
