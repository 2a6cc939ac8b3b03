"""Networks in 8 bits: what the files hold, and what is told of them."""

import json
import re
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from helpers.folders import write_squares
from PIL import Image

import fcn_keras
from fcn_keras import UserError, evaluate, load_dataset
from fcn_keras.evaluation.scores import scores_of
from fcn_keras.exporters import onnx as onnx_files
from fcn_keras.exporters.formats import FORMATS
from fcn_keras.exporters.int8 import export_int8
from fcn_keras.exporters.samples import Samples, samples_of
from fcn_keras.inference.network import load_network

FORMATS_WITH_INT8 = [name for name, kind in FORMATS.items() if kind.int8 is not None]
CLASSES, COLORS = ["dark", "red", "green"], [(0, 0, 0), (200, 0, 0), (0, 200, 0)]


def need(format):
    for package in (*FORMATS[format].packages, *FORMATS[format].int8):
        pytest.importorskip(package)


@pytest.fixture(scope="module")
def network():
    """Tells colours apart, by way of layers with normalisation and an upsampling."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(32, 3, padding="same", use_bias=False)(x)
    norm = keras.layers.BatchNormalization()
    x = keras.layers.ReLU(6.0)(norm(x))
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    scores = keras.layers.Conv2D(3, 1)(x)
    model = keras.Model(image, scores, name="colours")
    rng = np.random.default_rng(0)
    norm.set_weights([rng.uniform(0.5, 1.5, 32) for _ in range(4)])
    return model


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(1)
    images = [
        rng.integers(0, 256, (size // 8, size // 8 + 1, 3), "uint8").repeat(8, 0).repeat(8, 1)
        for size in (40, 48, 64, 72)
    ]
    labels = [image.argmax(-1).astype("uint8") for image in images]
    labels[0][:8] = 255
    return Samples("colours", images, images, labels)


def logits_of(format, path):
    """The runtime's own, without this package."""
    if format == "onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(path)
        return lambda images: session.run(["score"], {"image": images})[0]
    if format == "openvino":
        openvino = pytest.importorskip("openvino")
        compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda images: compiled(images)["score"]
    run = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path))
    run = run.get_signature_runner()
    return lambda images: run(image=images)["score"]


def numbers_of(format, path):
    """For each number that is kept in a file, its type: how many of each there are."""
    counts: dict[str, int] = {}
    if format == "onnx":
        onnx = pytest.importorskip("onnx")
        arrays = map(onnx.numpy_helper.to_array, onnx.load(path).graph.initializer)
    elif format == "openvino":
        nodes = pytest.importorskip("openvino").Core().read_model(path).get_ops()
        arrays = [node.get_data() for node in nodes if node.get_type_name() == "Constant"]
    else:
        schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
        model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        names = {value: name for name, value in vars(schema.TensorType).items()}
        arrays = []
        for tensor in model.subgraphs[0].tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None:
                arrays.append(np.frombuffer(bytes(data), names[tensor.type].lower()))
    for array in arrays:
        counts[array.dtype.name] = counts.get(array.dtype.name, 0) + array.size
    return counts


@pytest.mark.parametrize("format", FORMATS_WITH_INT8)
def test_what_is_written_and_told(network, samples, format, tmp_path):
    need(format)
    path = tmp_path / f"net{FORMATS[format].endings[0]}"
    found = export_int8(network, path, format, CLASSES, COLORS, samples, license="None.")
    endings = {*FORMATS[format].endings, ".json"}
    assert {file.name for file in tmp_path.iterdir()} == {f"net{ending}" for ending in endings}

    counts = numbers_of(format, path)
    kernels = sum(w.shape.num_elements() for w in network.weights if len(w.shape) == 4)
    assert counts["int8"] >= kernels > 200
    run, confusions, same = logits_of(format, path), np.zeros((2, 3, 3), int), []
    for image, label in zip(samples.scored, samples.labels, strict=True):
        right = keras.ops.convert_to_numpy(network(image[None]))[0]
        [rounded] = run(image[None])
        assert rounded.dtype == np.float32 and rounded.shape == right.shape
        assert 0 < np.abs(rounded - right).max() < 0.1 * np.abs(right).max()
        answers = right.argmax(-1), rounded.argmax(-1)
        same.append(answers[0] == answers[1])
        for confusion, answer in zip(confusions, answers, strict=True):
            np.add.at(confusion, (label[label < 3], answer[label < 3]), 1)
    assert found.labels == pytest.approx(np.concatenate([s.ravel() for s in same]).mean(), abs=1e-3)
    for told, confusion in zip(found.mean_iu, confusions, strict=True):
        union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
        assert told == pytest.approx((confusion.diagonal() / union).mean(), abs=2e-3)
    files = [path.with_suffix(ending) for ending in FORMATS[format].endings]
    assert found.bytes[1] == sum(file.stat().st_size for file in files)
    told = json.loads(path.with_suffix(".json").read_text())
    assert told["bytes"]["int8"] == found.bytes[1] and told["precision"] == "int8"
    assert told["mean_iu"] == {"float32": found.mean_iu[0], "int8": found.mean_iu[1]}
    assert told["calibrated"] == {"on": "colours", "images": 4}
    assert found.time > 0 and min(found.milliseconds) > 0
    if format == "litert":
        with zipfile.ZipFile(path) as archive:
            assert json.loads(archive.read("classes.json"))["classes"] == CLASSES
    elif format == "onnx":
        onnx = pytest.importorskip("onnx")
        about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        assert json.loads(about["classes"]) == CLASSES and about["license"] == "None."
    else:
        model = pytest.importorskip("openvino").Core().read_model(path)
        assert json.loads(model.get_rt_info("classes").astype(str)) == CLASSES


def test_litert_stores_equal_vectors_once(network, samples, monkeypatch, tmp_path):
    """The file is smaller by more than 8 bytes a channel, and computes the same."""
    need("litert")
    from fcn_keras.exporters import litert

    sizes, answers = [], []
    for name in ("shared", "apart"):
        path = tmp_path / f"{name}.tflite"
        found = export_int8(network, path, "litert", CLASSES, COLORS, samples)
        sizes.append(found.bytes[1])
        answers.append(logits_of("litert", path)(samples.scored[0][None]))
        monkeypatch.setattr(litert, "_shared", lambda content: content)
    channels = 32 + 32 + 3
    assert sizes[0] < sizes[1] - 8 * channels
    np.testing.assert_array_equal(*answers)


def test_the_values_are_those_of_the_samples(network, tmp_path):
    """Calibrated on the dark, a network does not see how bright a place is."""
    need("onnx")
    rng = np.random.default_rng(0)
    dark = [rng.integers(0, 20, (32, 32, 3), "uint8") for _ in range(3)]
    bright = [rng.integers(0, 256, (32, 32, 3), "uint8") for _ in range(3)]
    errors = []
    for name, shown in (("dark", dark), ("bright", bright)):
        path = tmp_path / f"{name}.onnx"
        export_int8(network, path, "onnx", CLASSES, COLORS, Samples(name, shown, bright))
        right = keras.ops.convert_to_numpy(network(bright[0][None]))
        errors.append(np.abs(logits_of("onnx", path)(bright[0][None]) - right).mean())
    assert errors[0] > 10 * errors[1]


def run_directory(folder, model):
    folder.mkdir()
    model.save(folder / "best.keras")
    about = {"dataset": {"classes": CLASSES, "colors": COLORS}, "settings": {}}
    (folder / "config.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def run(network, tmp_path):
    return run_directory(tmp_path / "run", network)


def test_the_command_with_a_data_set(network, run, make_folder, run_command, tmp_path):
    need("onnx")
    data = make_folder(tmp_path / "data", train=3, val=2)
    words = ["--precision", "int8", "--calibrate", data]
    code, out, err = run_command("export", run, tmp_path / "net.onnx", *words)
    assert code == 0, err
    assert [line.split(": ")[1] for line in out.splitlines()] == [
        *("images", "size", "time", "labels", "mean IU")
    ]
    told = json.loads((tmp_path / "net.json").read_text())
    confusion = evaluate(network, load_dataset(data).splits["val"], progress=False)
    assert told["mean_iu"]["float32"] == pytest.approx(scores_of(confusion)["mean_iu"], abs=1e-6)


@pytest.mark.parametrize("format", FORMATS_WITH_INT8)
def test_a_process_prints_the_comparison_alone(run, make_folder, format, tmp_path):
    """Nothing of what the tools say; and how far it is."""
    need(format)
    data = make_folder(tmp_path / "data", train=3, val=2)
    target = tmp_path / f"net{FORMATS[format].endings[0]}"
    command = [sys.executable, "-m", "fcn_keras", "export", run, target]
    command += ["--precision", "int8", "--calibrate", data]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.count("\n") == 5
    progress = [line for line in re.split("[\r\n]", done.stderr) if line]
    assert all(line.startswith(("calibrating: ", "comparing: ")) for line in progress), progress
    assert progress


def test_the_command_with_photographs(run, run_command, tmp_path):
    need("onnx")
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.new("RGB", (30, 20 + i), (80 * i, 9, 200)).save(tmp_path / f"photos/{i}.png")
    words = ["--precision", "int8", "--calibrate", tmp_path / "photos"]
    code, out, err = run_command("export", run, tmp_path / "net.onnx", *words)
    assert code == 0, err
    assert "mean IU" not in out and "labels: " in out
    assert json.loads((tmp_path / "net.json").read_text())["mean_iu"] is None


def test_at_most_a_hundred_images_evenly_apart(tmp_path):
    for i in range(250):
        Image.new("RGB", (2, 1), (i, 0, 0)).save(tmp_path / f"{i:03}.png")
    shown = [int(image[0, 0, 0]) for image in samples_of(str(tmp_path), None).shown]
    assert len(shown) == 100 and shown[0] == 0 and shown[-1] == 249
    assert {*np.diff(shown)} == {2, 3}


@pytest.mark.parametrize(
    ("target", "words", "said"),
    [
        ("net.onnx", ["--precision", "int8"], "need each other"),
        ("net.onnx", ["--calibrate", "photos"], "need each other"),
        ("net.onnx", ["--precision", "bfloat16", "--calibrate", "photos"], "need each other"),
        ("folder", ["--precision", "int8", "--calibrate", "photos"], "is for --format onnx, openv"),
        ("net.weights.h5", ["--precision", "int8", "--calibrate", "photos"], "is for --format onn"),
        (
            "net.onnx",
            ["--precision", "int8", "--calibrate", "photos", "--freeze"],
            "--freeze: cann",
        ),
        ("there.onnx", ["--precision", "int8", "--calibrate", "photos"], "there.json: exists alr"),
        (
            "net.onnx",
            ["--precision", "int8", "--calibrate", "nowhere"],
            "--calibrate must be one of",
        ),
        ("net.onnx", ["--precision", "int8", "--calibrate", "empty"], "empty"),
        ("net.onnx", ["--precision", "int8", "--calibrate", "broken"], "a.png"),
        (
            "net.onnx",
            ["--precision", "int8", "--calibrate", "others"],
            "3 classes apart, but others",
        ),
    ],
)
def test_mistakes(run, run_command, make_folder, tmp_path, monkeypatch, target, words, said):
    need("onnx")
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "broken", "photos"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no image")
    Image.new("RGB", (30, 20)).save(tmp_path / "photos" / "a.png")
    (tmp_path / "there.json").write_text("{}")
    write_squares(tmp_path / "others", train=1, val=1)
    before = {path.name for path in tmp_path.iterdir()}
    code, out, err = run_command("export", run, target, *words)
    assert (code, out) == (2, "") and err.count("\n") == 1 and said in err
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_data_set_with_a_picture_beside_it(run, make_folder, tmp_path):
    data = make_folder(tmp_path / "data", train=3, val=2)
    Image.new("RGB", (30, 20)).save(data / "preview.jpg")
    samples = samples_of(str(data), load_network(run))
    assert (len(samples.shown), len(samples.scored), len(samples.labels)) == (3, 2, 2)


def test_photographs_of_one_name(tmp_path):
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    assert len(samples_of(str(tmp_path), None).shown) == 2


def test_labels_that_are_all_void(run, make_folder, tmp_path):
    data = make_folder(tmp_path / "data", train=1, val=1)
    Image.fromarray(np.full((20, 28), 255, "uint8")).save(data / "valannot" / "val_0.png")
    with pytest.raises(UserError, match="data has no labelled pixel in its images for val"):
        samples_of(str(data), load_network(run))


def test_networks_for_one_size_are_refused(tmp_path, samples):
    need("onnx")
    model = fcn_keras.build("fcn32s", 3, weights=None, width=1 / 32, input_shape=(40, 56, 3))
    with pytest.raises(UserError, match=r"of any size. fcn32s takes \(None, 40, 56, 3\)"):
        export_int8(model, tmp_path / "net.onnx", "onnx", CLASSES, COLORS, samples)


def test_what_gives_no_numbers_is_not_written(monkeypatch, network, samples, tmp_path):
    need("onnx")
    run = onnx_files.run

    def spoilt(path, model):
        good = run(path, model)
        return lambda images: good(images) * (np.nan if path.parent == tmp_path else 1)

    monkeypatch.setattr(onnx_files, "run", spoilt)
    with pytest.raises(RuntimeError, match="colours: gave what is no number in int8"):
        export_int8(network, tmp_path / "net.onnx", "onnx", CLASSES, COLORS, samples)
    assert not [*tmp_path.iterdir()]
