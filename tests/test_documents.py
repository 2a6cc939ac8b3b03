"""What documents tell people to type: Python is run, commands are parsed, links followed."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.folders import write_folder
from PIL import Image
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import fcn_keras
from fcn_keras.cli.app import parse
from fcn_keras.exporters import runtimes
from fcn_keras.exporters.formats import FORMATS

ROOT = Path(fcn_keras.__file__).parents[1]
DOCS = ROOT / "docs"
GUIDE = DOCS / "using-a-model.md"
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.rglob("*.md")),
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "serving")),
]
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


def run_snippets(document, namespace):
    """Runs the Python of a document, one block after the other in one namespace."""
    for number, block in enumerate(blocks(document, "python"), start=1):
        exec(compile(block, f"snippet {number} of {document.name}", "exec"), namespace)
    return namespace


def run_alone(block, folder):
    """Runs a block of Python in a process of its own."""
    (folder / "snippet.py").write_text(block)
    done = subprocess.run([sys.executable, "snippet.py"], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture
def narrow(monkeypatch):
    """Narrow networks of random weights in place of those with VGG16's from ImageNet."""
    options = dict(weights=None, width=0.03125, geometry="same")
    build = partial(fcn_keras.build, **options)
    monkeypatch.setattr(fcn_keras, "build", build, raising=False)
    monkeypatch.setattr(fcn_keras, "FCN8s", partial(build, "fcn8s"), raising=False)


# Keras says so of a data set that it cannot shuffle, unless it is told not to.
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
def test_snippet_of_the_readme(narrow, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    images = np.zeros((2, 33, 47, 3), "uint8")
    labels = np.zeros((2, 33, 47), "uint8")
    namespace = {"images": images, "dataset": tf.data.Dataset.from_tensors((images, labels))}
    run_snippets(ROOT / "README.md", namespace)
    assert namespace["class_ids"].shape == (2, 33, 47)
    assert keras.models.load_model("model.keras").output_shape == (None, None, None, 21)


def test_snippets_of_the_papers_networks(narrow, monkeypatch, folder, tmp_path):
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "photo.jpg", tmp_path)
    fcn_keras.FCN8s(num_classes=21).save("fcn8s.keras")
    small = partial(keras.applications.MobileNetV2, weights=None, alpha=0.35)
    monkeypatch.setattr(keras.applications, "VGG16", small)
    found = run_snippets(DOCS / "paper.md", {})
    assert found["class_ids"].shape == (1, 53, 67) and found["scores"].shape == (1, 53, 67, 21)
    assert found["dense"].output_shape == (None, None, None, 21)
    assert found["cells"].shape == (1, 3, 4, 1000)  # as the page says
    assert found["more"].output_shape == (None, None, None, 25)
    assert isinstance(found["again"].loss, fcn_keras.PixelCrossEntropy)


def test_snippets_of_other_classifiers(monkeypatch):
    classifier = partial(keras.applications.ResNet50V2, weights=None)
    monkeypatch.setattr(keras.applications, "ResNet50V2", classifier)
    build = partial(fcn_keras.build, "fcn8s", weights=None)
    monkeypatch.setattr(fcn_keras, "FCN8s", build, raising=False)
    run_snippets(DOCS / "classifiers.md", {})


def test_snippets_of_serving(monkeypatch, folder, guide):
    """The client, with the exported network itself in place of a server that runs it."""

    class Transport:
        def __init__(self, address, name, *options):
            assert (address, name) == ("http://localhost:8501/v1/models", "roads")

        def describe(self):
            outputs = {"mask_bytes": ("DT_STRING", [-1]), "class_pixels": ("DT_INT32", [-1, 3])}
            return "1", {"image_bytes": ("DT_STRING", [-1]), **outputs}

        def predict(self, files):
            loaded = tf.saved_model.load(str(folder / "exported/roads/1"))
            answer = loaded.signatures["serving_default"](image_bytes=tf.constant(files))
            return [*answer["mask_bytes"].numpy()]

    monkeypatch.setattr("fcn_keras.client.client.Rest", Transport)
    monkeypatch.chdir(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the file that it leaves open
        class_ids = run_snippets(DOCS / "serving.md", {})["class_ids"]
    np.testing.assert_array_equal(class_ids, guide["ids"])


def test_snippets_of_training(tmp_path):
    """The callbacks are defined; what follows needs JAX, in a process of its own."""
    callbacks, backend = blocks(DOCS / "training.md", "python")
    namespace = {}
    exec(callbacks, namespace)
    assert all(callable(namespace[name]) for name in ("wandb", "mlflow", "comet"))
    pytest.importorskip("jax")
    run_alone(backend, tmp_path)


def test_snippets_of_benchmarks(tmp_path):
    """In a process of its own, as the profiler runs what the main module has."""
    write_folder(tmp_path / "CamVid", train=100, val=1)
    run_alone(blocks(ROOT / "benchmarks/README.md", "python")[0], tmp_path)


SNIPPETS = {"README.md", "benchmarks/README.md"} | {
    f"docs/{name}.md" for name in ("classifiers", "paper", "serving", "training", "using-a-model")
}


def test_every_snippet_is_run():
    found = {
        document.relative_to(ROOT).as_posix()
        for document in DOCUMENTS
        if "```python" in document.read_text("utf-8")
    }
    assert found == SNIPPETS


@pytest.mark.parametrize("name", ["data", "own-photographs"])
def test_snippets_of_json(run_command, tmp_path, name):
    """`dataset.json` is taken as it stands there."""
    [about] = map(json.loads, blocks(DOCS / f"{name}.md", "json"))
    write_folder(tmp_path / "set", about=about, values=len(about["classes"]))
    code, out, err = run_command("data", "check", tmp_path / "set")
    assert code == 0, err
    assert out.startswith(f"{about['name']}:") and all(f"  {c} " in out for c in about["classes"])


@pytest.mark.slow
def test_the_tutorial_from_end_to_end(run_command, monkeypatch, tmp_path):
    """Its commands one after the other, with few steps and random weights."""
    page = DOCS / "own-photographs.md"
    [about] = map(json.loads, blocks(page, "json"))
    write_folder(tmp_path / "CamVid", about=about, values=11, size=(40, 56))
    shutil.copytree(tmp_path / "CamVid/val", tmp_path / "photos")
    shutil.copytree(tmp_path / "CamVid/valannot", tmp_path / "others")
    monkeypatch.chdir(tmp_path)
    quick = "--weights none --steps 2 --batch-size 2 --crop-size 32 --batch-norm synced"
    for command in re.findall(r"^python (.*)", "\n".join(blocks(page, "bash")), re.MULTILINE):
        if "--recipe" in command:  # which are other runs
            continue
        command = re.sub(r"^(-m fcn_keras|train\.py)", "", command)
        words = shlex.split(f"train {command} {quick}" if "--" in command[:4] else command)
        code, out, err = run_command(*words)
        assert code == 0, f"{words}: {err}"
    run = tmp_path / "runs" / "camvid-fcn8s"
    pictures = {"curves", "per_class_iu", "confusion", "samples", "best", "worst"}
    assert {path.stem for path in (run / "report").iterdir()} == pictures
    written = {path.name for path in (tmp_path / "labelled").iterdir()}
    assert {"val_0.png", "val_0_overlay.png", "val_0_side_by_side.png", "summary.csv"} <= written


PYTHON = r"python (?:-m fcn_keras|train\.py|export\.py)"


def commands(document):
    """The commands of a document, in blocks and within sentences."""
    text = document.read_text("utf-8")
    for block in blocks(document, "bash"):
        block = block.replace("\\\n", " ")
        yield from re.findall(rf"^(?:.*[\s/])?((?:{PYTHON}|fcn-keras) .*)", block, re.MULTILINE)
    for command in re.findall(rf"`({PYTHON}\s[^`]+)`", text):
        command = re.sub(r"\bN\b", "1", " ".join(command.split()))
        if "COMMAND" not in command:
            yield command


COMMANDS = {
    f"{document.relative_to(ROOT)}: {command}": command
    for document in DOCUMENTS
    for command in commands(document)
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_commands(command):
    """The options exist, and their values are of the right kind."""
    words = shlex.split(re.sub(r"&& .*|[>&|;]$", "", command), comments=True)
    if words.pop(0) == "python":
        program = words.pop(0)
        words = words[1:] if program == "-m" else [program.removesuffix(".py"), *words]
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            parse(words)
    else:
        assert callable(parse(words).command.run)


def anchors(path):
    """What GitHub and the site call the sections of a document."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for title in re.findall(r"^#+ (.*)", text, re.MULTILINE):
        yield re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    "path",
    [*DOCUMENTS, *sorted((ROOT / ".github").rglob("*.md"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for file, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", text):
        target = path.parent / file if file else path
        assert target.exists(), f"{file}: is not there"
        if anchor:
            assert anchor in anchors(target), f"{file}#{anchor}: has no such section"


def test_readme_is_short_and_says_what_the_pages_say():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 130
    rows = [line.split(" | ") for line in lines if re.match(r"\|.*`python train\.py", line)]
    pages = (DOCS / "results.md").read_text("utf-8").splitlines()
    assert rows
    for data, command, mean_iu, time in rows:
        [found] = [line for line in pages if line.startswith(f"{data} | {command} | ")]
        assert found.split(" | ")[2] == mean_iu and found.endswith(f" | {time}")


def test_reference_has_every_public_name():
    named = re.findall(r"^::: fcn_keras\.(\w+)$", (DOCS / "reference.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(fcn_keras.__all__)
