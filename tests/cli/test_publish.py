"""Networks that are published: in a folder, and on a stand-in for the hub."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest
import yaml
from helpers.fake_hub import fake_hub
from helpers.folders import write_squares
from helpers.networks import photo, scatter_scores, small
from PIL import Image

from fcn_keras import UserError, build
from fcn_keras.data.registry import load_dataset
from fcn_keras.evaluation.scores import named_scores, write_scores
from fcn_keras.exporters.publish import publish
from fcn_keras.inference.c_library.graph_reader import KeptGraph
from fcn_keras.inference.c_library.library import library_path
from fcn_keras.inference.network import load_network
from fcn_keras.inference.opening import is_address, open_network
from fcn_keras.inference.run_folder import config_of
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.run import Run

needs_hub = pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="needs the extra hub")

ADDRESS = "hf://someone/squares"
CLASSES = ["ground", "square | *1*"]
COLORS = [[10, 20, 30], [200, 100, 0]]
CONFUSION = np.array([[90, 10], [5, 45]])

# A process in which nothing of this one is, but where its files lie.
PREDICT = [sys.executable, "-m", "fcn_keras", "predict"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on a folder whose path is nobody's business."""
    root = tmp_path_factory.mktemp("private")
    data = write_squares(root / "squares", train=1, val=1)
    (data / "dataset.json").write_text(json.dumps({"classes": CLASSES, "colors": COLORS}))
    run = Run(root / "runs" / "squares-fcn8s")
    run.start(resolve("small", dataset=str(data)), load_dataset(str(data)))
    keras.utils.set_random_seed(1)  # with which it finds both classes
    scatter_scores(small(num_classes=2, geometry="same")).save(run.path / "best.keras")
    write_scores(named_scores(CONFUSION, CLASSES), run.path / "metrics.json")
    (run.path / "report").mkdir()
    for name in ("samples", "confusion"):
        Image.new("RGB", (2, 2)).save(run.path / "report" / f"{name}.png")
    return run.path


@pytest.fixture(scope="module")
def published(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "someone" / "squares"
    publish(run, folder, license="cc-by-4.0")
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    Image.fromarray(photo(37, 53)[0]).save(path)
    return path


@pytest.fixture(scope="module")
def class_ids(run, image):
    model = keras.models.load_model(run / "best.keras")
    return np.argmax(model(np.asarray(Image.open(image))[None]), axis=-1)[0]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder of the repositories of a hub that this process and its children ask."""
    repositories = tmp_path / "repositories"
    repositories.mkdir()
    with fake_hub(repositories) as endpoint:
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        # Its settings are read once, at the first import.
        names = {"ENDPOINT": endpoint, "HF_HUB_CACHE": str(tmp_path / "hf" / "hub")}
        names["HUGGINGFACE_CO_URL_TEMPLATE"] = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in names.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", endpoint, raising=False)
        yield repositories


def labels(folder):
    with Image.open(folder / "photo.png") as mask:
        return np.asarray(mask)


def test_a_second_process_labels_alike(published, image, class_ids, tmp_path):
    done = subprocess.run([*PREDICT, published, image, "--output", tmp_path], capture_output=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(labels(tmp_path), class_ids)
    assert len(np.unique(class_ids)) == 2


def test_plain_keras_opens_the_folder(published, image, class_ids):
    model = keras.saving.load_model(published)
    scores = model(np.asarray(Image.open(image))[None])
    np.testing.assert_array_equal(np.argmax(scores, axis=-1)[0], class_ids)


@pytest.mark.skipif(not library_path().exists(), reason="no C library in this wheel")
def test_a_kept_graph_opens_the_folder(published, image, class_ids, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    by_keras, by_graph = open_network(published), open_network(published)
    assert isinstance(by_graph, KeptGraph) and not isinstance(by_keras, KeptGraph)
    assert by_graph.job == by_keras.job and by_graph.colors == by_keras.colors
    np.testing.assert_array_equal(by_graph.label([np.asarray(Image.open(image))])[0], class_ids)


def test_classes_colours_and_scores_go_along(published, run):
    network = load_network(published)
    assert network.classes == CLASSES and network.colors == [*map(tuple, COLORS)]
    assert (published / "metrics.json").read_bytes() == (run / "metrics.json").read_bytes()
    assert sorted(path.name for path in published.iterdir()) == [
        *("README.md", "config.json", "metadata.json", "metrics.json", "model.weights.h5"),
        "report",
    ]
    assert not list(published.parent.glob(".*"))


def test_nothing_tells_of_this_machine(published, run):
    for path in published.rglob("*"):
        if path.is_file():
            assert b"private" not in path.read_bytes(), path
    assert b"private" in (run / "config.json").read_bytes()
    settings = json.loads((published / "config.json").read_text())["settings"]
    assert settings["variant"] == "fcn8s" and settings["dataset"] is None


def test_card(published):
    text = (published / "README.md").read_text("utf-8")
    head, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL).groups()
    assert yaml.safe_load(head) == {
        "library_name": "keras",
        "pipeline_tag": "image-segmentation",
        "license": "cc-by-4.0",
        "tags": ["semantic-segmentation", "fcn", "fcn8s", "vgg16"],
    }
    # Of the confusion matrix above: 135 of 150 pixels; 90 / 105, 45 / 60; by hand.
    for row in (
        "| pixel accuracy | 90.0 |",
        "| mean iu | 80.4 |",
        r"| 1 | square \| \*1\* | `#c86400` |",
        r"| square \| \*1\* | 75.0 | 81.8 | 90.0 | 85.7 |",
        "python -m fcn_keras evaluate squares --dataset",
        "python -m fcn_keras predict squares photo.jpg --output labelled",
        "| optimizer | ",
        "Images: 1 train, 1 val.",
    ):
        assert row in body, row
    shown = re.findall(r"!\[.+?\]\((.+?)\)", body)
    assert shown == ["report/samples.png", "report/confusion.png"]
    assert all((published / path).is_file() for path in shown)
    titles = re.findall(r"^## (.+)", body, re.MULTILINE)
    assert titles == [
        *("Classes", "Scores", "Use", "Training", "Intended use and limits", "Licence"),
        "Citation",
    ]


def test_a_file_on_its_own(run_command, run, tmp_path):
    keras.models.load_model(run / "best.keras").save(tmp_path / "alone.keras")
    code, out, _ = run_command("publish", tmp_path / "alone.keras", tmp_path / "alone")
    assert code == 0 and out == f"fcn8s in {tmp_path / 'alone'}\n"
    card = (tmp_path / "alone" / "README.md").read_text()
    assert "None was given." in card and "class_1" in card and "license" not in card
    assert not (tmp_path / "alone" / "report").exists()
    assert load_network(tmp_path / "alone").config == {}


def test_evaluate_asks_for_the_data(run_command, published, run):
    code, _, err = run_command("evaluate", published)
    assert code == 2 and err.startswith("error: --dataset: needed")
    code, out, _ = run_command(
        "evaluate", published, "--dataset", run.parents[1] / "squares", "--json"
    )
    assert code == 0 and [*json.loads(out)["per_class_iu"]] == CLASSES


@pytest.mark.parametrize(
    "words, message",
    [
        (["{run}", "{there}"], "exists already"),
        (["{run}", "new", "--license", "All rights reserved"], "--license: must be a name"),
        (["{run}", "new", "--private"], "--private: is for hf://"),
        (["{run}", "hf://squares"], "hf://squares: must be hf://USER/NAME"),
        (["{there}", "new"], "must be a run directory"),
    ],
)
def test_mistakes(run_command, run, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    words = [word.format(run=run, there="there") for word in words]
    code, _, err = run_command("publish", *words)
    assert code == 2 and message in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_what_fails_leaves_nothing(run, tmp_path, monkeypatch):
    def fail(_):
        raise RuntimeError("no card")

    monkeypatch.setattr("fcn_keras.exporters.publish.model_card", fail)
    with pytest.raises(RuntimeError):
        publish(run, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_without_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for act in (open_network, load_network, lambda address: publish(run, address)):
        with pytest.raises(UserError, match=rf"^{ADDRESS}: needs .*fcn_keras\[hub\]"):
            act(ADDRESS)


@needs_hub
def test_to_the_hub_and_from_it(hub, run, run_command, image, class_ids, tmp_path):
    code, out, err = run_command("publish", run, ADDRESS, "--private", "--no-samples")
    assert code == 0, err
    assert out.splitlines()[-1] == f"fcn8s in {ADDRESS}"
    repository = hub / "someone" / "squares"
    assert (repository / ".private").exists()
    assert not (repository / "report" / "samples.png").exists()
    assert f"predict {ADDRESS} photo.jpg" in (repository / "README.md").read_text()
    # Another process, and Keras by itself.
    environment = {**os.environ, "HF_HOME": str(tmp_path / "other")}
    words = [*PREDICT, ADDRESS, image, "--output", tmp_path / "out"]
    done = subprocess.run(words, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(labels(tmp_path / "out"), class_ids)
    model = keras.saving.load_model(ADDRESS)
    np.testing.assert_array_equal(
        np.argmax(model(np.asarray(Image.open(image))[None]), axis=-1)[0], class_ids
    )
    # What is on the hub is replaced; what is public does not become private by itself.
    (repository / ".private").unlink()
    code, _, err = run_command("publish", run, ADDRESS, "--private")
    assert code == 2 and f"{ADDRESS}: is there already, and public" in err


@needs_hub
def test_by_address_in_python(hub, published, run, image, class_ids):
    (hub / "someone").mkdir()
    (hub / "someone" / "squares").symlink_to(published)
    segmenter = open_network(ADDRESS)
    assert (segmenter.name, segmenter.classes) == ("squares", CLASSES)
    assert config_of(ADDRESS)["dataset"]["colors"] == COLORS and not is_address(ADDRESS)
    pixels = np.asarray(Image.open(image))
    np.testing.assert_array_equal(segmenter.label([pixels])[0], class_ids)
    model = build("fcn8s", 2, weights=ADDRESS, width=1 / 16, geometry="same")
    np.testing.assert_array_equal(np.argmax(model(pixels[None]), axis=-1)[0], class_ids)
    with pytest.raises(UserError, match=f"^{ADDRESS}: holds fcn8s, not fcn8s-atonce"):
        build("fcn8s-atonce", 2, weights=ADDRESS, width=1 / 16, geometry="same")


@needs_hub
def test_a_run_that_was_put_there_as_it_is(hub, run):
    (hub / "someone").mkdir()
    (hub / "someone" / "squares").symlink_to(run)
    assert load_network(ADDRESS).classes == CLASSES


@needs_hub
def test_what_the_hub_does_not_give(hub, run, monkeypatch):
    (hub / "someone" / "else").mkdir(parents=True)
    (hub / "someone" / "else" / "config.json").write_text('{"model_type": "bert"}')
    for address, message in {
        "hf://someone/nothing": "the hub has no such repository",
        "hf://someone/else": "holds no network as Keras keeps it",
        "hf://some one/else": "is no name of a repository",
        "hf://else": "must be hf://USER/NAME",
    }.items():
        with pytest.raises(UserError, match=f"^{address}: {message}"):
            load_network(address)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match=f"^{ADDRESS}: the hub did not take it"):
        publish(run, ADDRESS)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:9", raising=False)
    with pytest.raises(UserError, match=f"^{ADDRESS}: the hub cannot be reached"):
        load_network(ADDRESS)


def test_into_a_folder_here(run, published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    publish(run, "squares", license="cc-by-4.0")
    assert [path.name for path in tmp_path.iterdir()] == ["squares"]
    files = [
        {path.relative_to(root) for path in root.rglob("*")}
        for root in (tmp_path / "squares", published)
    ]
    assert files[0] == files[1]
