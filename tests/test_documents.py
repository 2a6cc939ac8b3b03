"""What the documents tell people to type: Python is run, commands are parsed."""

import importlib.util
import json
import re
import shlex
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import fcn_keras
from fcn_keras.cli.app import parse
from fcn_keras.exporters import runtimes
from fcn_keras.exporters.formats import FORMATS

ROOT = Path(fcn_keras.__file__).parents[1]
GUIDE = ROOT / "docs" / "using-a-model.md"
CLASSES = ["sky", "road", "car"]
COLORS = [[70, 130, 180], [128, 64, 128], [0, 0, 142]]


def blocks(document, language):
    """Blocks of code of a document in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


def is_runnable(block, folder):
    """Whether the runtime that a block imports is installed, and its file could be written."""
    modules = re.findall(r"^(?:import|from) (\w+)", block, re.MULTILINE)
    if re.search(r"\bplain\b", block):  # which takes long, and whose file LiteRT has to judge
        modules.append("ai_edge_litert")
    files = re.findall(r'"(roads\.\w+)"', block)
    return all(map(importlib.util.find_spec, modules)) and all(
        (folder / name).is_file() for name in files
    )


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    model = fcn_keras.build("fcn8s", 3, weights=None, width=0.25, geometry="same")
    rng = np.random.default_rng(1)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = model.get_layer(name)
        layer.set_weights([rng.normal(size=weight.shape) for weight in layer.weights])
    return model


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    """The files that the guide names."""
    folder = tmp_path_factory.mktemp("documents")
    run = folder / "runs" / "roads-fcn8s"
    run.mkdir(parents=True)
    network.save(run / "best.keras")
    about = {"dataset": {"classes": CLASSES, "colors": COLORS}, "settings": {}}
    (run / "config.json").write_text(json.dumps(about))
    patches = np.random.default_rng(0).integers(0, 256, (7, 9, 3), "uint8")
    photo = patches.repeat(8, axis=0).repeat(8, axis=1)[:53, :67]
    Image.fromarray(photo).save(folder / "photo.jpg")
    fcn_keras.export(network, folder / "exported" / "roads", CLASSES, COLORS)
    for format in ("onnx", "openvino", "litert"):
        if all(map(importlib.util.find_spec, FORMATS[format].packages)):
            path = folder / f"roads{FORMATS[format].endings[0]}"
            runtimes.export_to_runtime(network, path, format, CLASSES, COLORS)
    return folder


@pytest.fixture(scope="module")
def guide(folder):
    """What the guide's snippets have made, run one after the other in one namespace."""
    namespace = {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # Keras' own exporter asks NumPy for it.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        patch.chdir(folder)
        for number, block in enumerate(blocks(GUIDE, "python"), start=1):
            if is_runnable(block, folder):
                exec(compile(block, f"snippet {number} of {GUIDE.name}", "exec"), namespace)
    return namespace


def test_labels_and_pictures(guide, network, folder):
    images = np.asarray(Image.open(folder / "photo.jpg"))[None]
    scores = keras.ops.convert_to_numpy(network(images))
    np.testing.assert_array_equal(guide["class_ids"], scores.argmax(-1))
    np.testing.assert_allclose(np.sum(guide["probabilities"], -1), 1, rtol=1e-5)
    with Image.open(folder / "mask.png") as mask:
        np.testing.assert_array_equal(mask, scores[0].argmax(-1))
        expected = np.array(COLORS, "uint8")[scores[0].argmax(-1)]
        np.testing.assert_array_equal(mask.convert("RGB"), expected)
    assert {*guide["shares"]} == {*CLASSES} and sum(guide["shares"].values()) == pytest.approx(1)


def test_new_classes(guide, network):
    scores = keras.ops.convert_to_numpy(network(guide["images"]))
    # Products of other sizes may be rounded in another way.
    rounding = dict(rtol=0, atol=1e-6 * np.abs(scores).max())
    np.testing.assert_allclose(guide["more"](guide["images"])[..., :3], scores, **rounding)
    np.testing.assert_array_equal(guide["learning"](guide["images"]), scores)
    assert guide["learning"].get_layer("upscore8").trainable


def test_altogether_other_classes(guide, network):
    other = guide["other"]
    assert other.output_shape == (None, None, None, 7)
    # What was frozen is the old network's, and the features are.
    for name in ("conv1_1", "conv5_3"):
        for new, old in zip(
            other.get_layer(name).get_weights(),
            network.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(new, old)
    # Each class is enlarged as the package does it.
    [kernel] = other.get_layer("upscore8").get_weights()
    grown = fcn_keras.expand_classes(network, 7).get_layer("upscore8").get_weights()
    np.testing.assert_allclose(kernel, grown[0], atol=1e-7)
    # It has learned the only class there was.
    assert np.any(other.get_layer("score_fr").get_weights()[0])
    assert other.get_layer("fc6").trainable and not other.get_layer("conv1_1").trainable


def test_json_beside_weights(guide, network):
    scores = keras.ops.convert_to_numpy(network(guide["images"]))
    found = keras.ops.convert_to_numpy(guide["same"](guide["images"]))
    np.testing.assert_array_equal(found, scores)


def test_half_precision(guide, network):
    scores = keras.ops.convert_to_numpy(network(guide["images"]))
    half = keras.ops.convert_to_numpy(guide["half"])
    assert guide["model"].get_layer("fc6").compute_dtype == "bfloat16"
    assert half.dtype == np.float32
    difference = np.abs(half - scores).max() / np.abs(scores).max()
    assert 1e-4 < difference < 0.1


@pytest.mark.parametrize("format", ["onnx", "openvino", "litert"])
def test_other_runtimes(guide, network, format):
    for module in FORMATS[format].packages:
        pytest.importorskip(module)
    scores = keras.ops.convert_to_numpy(network(guide["images"]))
    found = guide[f"{format}_scores"]
    np.testing.assert_allclose(found, scores, rtol=0, atol=1e-4 * np.abs(scores).max())
    assert guide[f"{format}_classes"] == CLASSES


def test_other_converters(guide, network, folder):
    scores = keras.ops.convert_to_numpy(network(guide["images"]))
    floats = guide["images"].astype("float32")
    found = {}
    if interpreter := find_module("ai_edge_litert.interpreter"):
        runner = interpreter.Interpreter(str(folder / "plain.tflite")).get_signature_runner()
        [found["LiteRT"]] = runner(image=floats).values()
    if "tf2onnx" in guide and (onnxruntime := find_module("onnxruntime")):
        for name, images in (("plain", guide["images"]), ("by_keras", floats)):
            session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
            [found[name]] = session.run(None, {"image": images})
    if not found:
        pytest.skip("needs LiteRT, or it and ONNX Runtime, to look at what was written")
    for name, logits in found.items():
        far = np.abs(logits - scores).max() / np.abs(scores).max()
        assert far < 1e-4, name


def find_module(name):
    """A module of an extra, or None where that is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def test_saved_model(guide, folder):
    np.testing.assert_array_equal(guide["served_ids"], guide["ids"][None])
    with Image.open(folder / "served.png") as served:
        np.testing.assert_array_equal(served, guide["ids"])


def test_names_of_tensors(folder):
    """The table of the guide, and the other languages' snippets, against what is exported."""
    exported = SavedModel.FromString((folder / "exported/roads/1/saved_model.pb").read_bytes())
    signatures = exported.meta_graphs[0].signature_def
    text = GUIDE.read_text()
    for name in ("serving_default", "segment", "probabilities"):
        inputs, outputs = (
            ", ".join(f"`{key}`: `{fields[key].name}`" for key in sorted(fields))
            for fields in (signatures[name].inputs, signatures[name].outputs)
        )
        assert f"| `{name}` | {inputs} | {outputs} |" in text
    operation = signatures["segment"].outputs["class_ids"].name.partition(":")[0]
    assert text.count(f'"{operation}"') == 2  # in C and in Go
    assert text.count('"segment_image"') == 2


# Keras says so of a data set that it cannot shuffle, unless it is told not to.
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
def test_snippet_of_the_readme(monkeypatch, tmp_path):
    """The first one, with a narrow network in place of VGG16's ImageNet weights."""

    def narrow(**options):
        return fcn_keras.build("fcn8s", weights=None, width=0.03125, geometry="same", **options)

    monkeypatch.setattr(fcn_keras, "FCN8s", narrow, raising=False)
    monkeypatch.chdir(tmp_path)
    images = np.zeros((2, 33, 47, 3), "uint8")
    labels = np.zeros((2, 33, 47), "uint8")
    namespace = {"images": images, "dataset": tf.data.Dataset.from_tensors((images, labels))}
    exec(blocks(ROOT / "README.md", "python")[0], namespace)
    assert namespace["class_ids"].shape == (2, 33, 47)
    assert keras.models.load_model("model.keras").output_shape == (None, None, None, 21)


COMMANDS = {
    f"{document.name}: {command}": command
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for block in blocks(document, "bash")
    for command in re.findall(
        r"\bpython ((?:-m fcn_keras|train\.py|export\.py) .*)", block.replace("\\\n", " ")
    )
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_commands(command):
    """The options exist, and their values are of the right kind."""
    program, *words = shlex.split(re.sub(r"&& .*|[>&|;]$", "", command), comments=True)
    if program == "-m":
        words = words[1:]
    else:
        words = [program.removesuffix(".py"), *words]
    assert callable(parse(words).command.run)
