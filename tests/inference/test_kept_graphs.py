"""Networks of `.keras` files without TensorFlow's Python, beside the same ones in Keras."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from unittest import mock

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.classifiers import scatter, tiny
from keras import layers
from PIL import Image

from fcn_keras import UserError, build, load_network
from fcn_keras.data.palette import voc_palette
from fcn_keras.inference.c_library import graph_reader
from fcn_keras.inference.c_library.graph_reader import (
    GRAPH,
    NAMES,
    KeptGraph,
    graph_file,
    open_kept_graph,
    stored_weights,
)
from fcn_keras.inference.c_library.graph_writer import keep_graph
from fcn_keras.inference.c_library.library import library_path
from fcn_keras.inference.opening import open_network
from fcn_keras.inference.predict import predict

pytestmark = pytest.mark.skipif(not library_path().exists(), reason="no C library in this wheel")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A folder for graphs in which there are none yet."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def save(network, path):
    network.save(path)
    return path


def images(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, "uint8")


def exact(seed=0, channels=3, **options):
    """A network whose scores are exact, so that no rounding decides between two classes."""
    rng = np.random.default_rng(seed)
    image = keras.Input((None, None, channels))
    conv = layers.Conv2D(4, 3, padding="same", name="conv", **options)
    model = keras.Model(image, conv(image))
    kernel = rng.integers(-3, 4, (3, 3, channels, 4))
    conv.set_weights([kernel - np.roll(kernel, 1, axis=0), np.arange(4) / 8])
    return model


def fcn(**options):
    """A narrow FCN-8s."""
    keras.utils.set_random_seed(0)
    network = build("fcn8s", 5, weights=None, **options)
    rng = np.random.default_rng(1)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = network.get_layer(name)
        layer.kernel.assign(rng.normal(0, 1, layer.kernel.shape))
    return balanced(network, network.get_layer("score_pool3"))


def balanced(network, layer):
    """Takes from the biases of a last layer what would let one class win everywhere."""
    layer.bias.assign(-np.mean(network(images((1, 64, 80, 3))), axis=(0, 1, 2)))
    return network


def kept(network, path):
    """Saves a network, and keeps its graph."""
    assert keep_graph(network, save(network, path)) == graph_of(path)
    return path


def graph_of(path):
    with zipfile.ZipFile(path) as network:
        return graph_file(network)


def weights_in(path):
    with zipfile.ZipFile(path) as network:
        return {name: stored[()] for name, stored in stored_weights(network)}


def assert_labels_are_those_of(network, found, pixels, ties=0.0):
    """Checks class ids, but where two classes' scores are as good as equal."""
    scores = np.asarray(network(pixels))
    best = np.take_along_axis(scores, np.asarray(found, int)[..., None], -1)[..., 0]
    assert found.dtype == np.uint8
    assert np.all(scores.max(-1) - best <= ties * np.abs(scores).max())
    assert len(np.unique(found)) > 1


@pytest.mark.parametrize("shape", [(1, 20, 31, 3), (3, 9, 40, 3), (1, 5, 1, 3)])
def test_exact_scores(tmp_path, shape):
    network = exact()
    found = KeptGraph(kept(network, tmp_path / "net.keras"))
    assert_labels_are_those_of(network, found.segment(images(shape)), images(shape))


@pytest.mark.parametrize(
    "options",
    [
        {"width": 0.0625},
        {"width": 0.0625, "geometry": "same", "learn_upsampling": True},
        {"width": 0.25, "elide_padding": False},
    ],
)
def test_fcn(tmp_path, options):
    network = fcn(**options)
    found = KeptGraph(kept(network, tmp_path / "net.keras"))
    for shape in ((1, 64, 80, 3), (2, 40, 53, 3)):
        assert_labels_are_those_of(network, found.segment(images(shape)), images(shape), 1e-5)


def test_fcn_on_another_classifier(tmp_path):
    network = scatter(build("fcn8s", 5, backbone=tiny(), preprocessing="tf"))
    balanced(network, network.get_layer("score_pool3"))
    found = KeptGraph(kept(network, tmp_path / "net.keras"))
    for shape in ((1, 64, 80, 3), (2, 40, 53, 3)):
        assert_labels_are_those_of(network, found.segment(images(shape)), images(shape), 1e-5)


def test_mixed_precision(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = fcn(width=0.0625)
    finally:
        keras.config.set_dtype_policy(before)
    found = KeptGraph(kept(network, tmp_path / "net.keras"))
    pixels = images((1, 64, 80, 3))
    assert_labels_are_those_of(network, found.segment(pixels), pixels, 0.02)


def test_one_graph_serves_other_weights(tmp_path):
    """And so what Keras saves later under the same name is labelled by its own weights."""
    path = kept(exact(0), tmp_path / "net.keras")
    network = keras.models.load_model(path)
    network.set_weights(exact(1).get_weights())
    pixels = images((1, 20, 31, 3))
    before = KeptGraph(path).segment(pixels)
    found = KeptGraph(save(network, path)).segment(pixels)
    assert_labels_are_those_of(network, found, pixels)
    assert np.any(found != before)


def test_kernels_that_interpolate_are_those_that_it_was_kept_for(tmp_path):
    """A graph interpolates whatever such a kernel is: with another one Keras opens the file."""
    network = fcn(width=0.0625)
    path = kept(network, tmp_path / "net.keras")
    assert open_kept_graph(path)
    kernel = network.get_layer("upscore8").kernel
    bilinear = kernel.numpy()
    kernel.assign(2 * bilinear)
    save(network, path)
    assert graph_of(path).exists() and open_kept_graph(path) is None
    kept(network, path)  # this graph multiplies by what it is given
    pixels = images((1, 64, 80, 3))
    for numbers in (2 * bilinear, bilinear):
        kernel.assign(numbers)
        found = KeptGraph(save(network, path)).segment(pixels)
        assert_labels_are_those_of(network, found, pixels, 1e-5)


def test_order_of_layers_and_weights(tmp_path):
    """Weights of one shape, of layers in another order than that of their names, some fixed."""
    image = keras.Input((None, None, 3))
    x = image
    rng = np.random.default_rng(5)
    for name in ("z", "a", "m"):
        x = layers.BatchNormalization(name=f"norm_{name}", trainable=name != "a")(x)
        x = layers.Conv2D(3, 1, name=name)(x)
    network = keras.Model(image, x)
    for layer in network.layers:
        layer.set_weights([rng.uniform(0.5, 2, value.shape) for value in layer.get_weights()])
    balanced(network, network.layers[-1])
    pixels = images((1, 20, 31, 3))
    found = KeptGraph(kept(network, tmp_path / "net.keras")).segment(pixels)
    assert_labels_are_those_of(network, found, pixels, 1e-5)


def test_classes(tmp_path):
    path = kept(exact(), tmp_path / "net.keras")
    names, colors = ["class_0", "class_1", "class_2", "class_3"], voc_palette(4).tolist()
    assert (KeptGraph(path).classes, [list(c) for c in KeptGraph(path).colors]) == (names, colors)
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(path, run / "best.keras")
    about = {"classes": [*"wxyz"], "colors": [[i, 0, 9] for i in range(4)]}
    (run / "config.json").write_text(json.dumps({"settings": {}, "dataset": about}))
    for source in (run, str(run), run / "best.keras"):
        assert KeptGraph(source).classes == load_network(source).classes == [*"wxyz"]
        assert KeptGraph(source).colors == load_network(source).colors
    (run / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is not the config.json of a run"):
        open_kept_graph(run)


def test_it_predicts_what_keras_does(tmp_path):
    network, folder = exact(), tmp_path / "photos"
    folder.mkdir()
    for name, shape in (("a.png", (20, 31, 3)), ("b.png", (20, 31, 3)), ("c.jpg", (9, 40, 3))):
        Image.fromarray(images(shape)).save(folder / name)
    found = KeptGraph(kept(network, tmp_path / "net.keras"))
    predict(network, [folder], tmp_path / "a", found.classes, found.colors)
    predict(found, [folder], tmp_path / "b", found.classes, found.colors)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 10  # with the table of all together
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_without_a_graph(tmp_path):
    assert open_kept_graph(save(exact(), tmp_path / "net.keras")) is None


def test_what_memory_does_not_hold_is_opened_by_keras(tmp_path, monkeypatch):
    path = kept(exact(), tmp_path / "net.keras")

    def hold(*_):
        raise MemoryError("for a tensor of 411 MB")

    monkeypatch.setattr("fcn_keras.inference.c_library.library.Graph.hold", hold)
    assert open_kept_graph(path) is None


def test_a_network_that_cannot_be_traced_is_not_kept(tmp_path, monkeypatch):
    path = save(exact(), tmp_path / "net.keras")
    for error in (tf.errors.InternalError(None, None, "whatever"), AssertionError("a shape")):
        monkeypatch.setattr(tf, "function", mock.Mock(side_effect=error))
        assert keep_graph(keras.models.load_model(path), path) is None


def test_graphs_of_networks_that_are_built_otherwise(tmp_path):
    kept(exact(), tmp_path / "net.keras")
    other = save(exact(use_bias=True, dilation_rate=2), tmp_path / "other.keras")
    assert open_kept_graph(other) is None


def assert_mended(path):
    network = keras.models.load_model(path)
    assert keep_graph(network, path) == graph_of(path)
    assert open_kept_graph(path)


@pytest.mark.parametrize("name", [GRAPH, NAMES])
def test_damaged_graph(tmp_path, name):
    path = kept(exact(), tmp_path / "net.keras")
    with zipfile.ZipFile(graph_of(path)) as archive:
        content = {known: archive.read(known) for known in archive.namelist()}
    with zipfile.ZipFile(graph_of(path), "w") as archive:
        for known, data in content.items():
            archive.writestr(known, data[: len(data) // 2] if known == name else data)
    assert open_kept_graph(path) is None
    assert_mended(path)


def test_flipped_bits_in_a_graph(tmp_path):
    """It is mended, or works all the same, wherever they are."""
    path = kept(exact(), tmp_path / "net.keras")
    whole, refused = graph_of(path).read_bytes(), 0
    for place in range(0, len(whole), 37):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        graph_of(path).write_bytes(damaged)
        refused += open_kept_graph(path) is None
    assert refused > len(whole) // 37 // 2
    graph_of(path).write_bytes(whole[:-9])
    assert open_kept_graph(path) is None
    assert_mended(path)


def test_damaged_network(tmp_path):
    path = kept(exact(), tmp_path / "net.keras")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    assert open_kept_graph(path) is None


def missing(group):
    del group["1"]


def of_another_shape(group):
    value = group["0"][:1, :1]
    del group["0"]
    group["0"] = value


def of_another_type(group):
    value = group["0"][()]
    del group["0"]
    group["0"] = value.astype("float64")


def without_a_name(group):
    del group.attrs["name"]


def a_group(group):
    del group["1"]
    group.create_group("1")


def a_link(group):
    group.move("1", "other")
    group["1"] = h5py.SoftLink(group.name + "/other")


def outside(group):
    """Numbers in another file, which a stranger's network has no business in."""
    value = group["1"][()]
    del group["1"]
    file = Path(os.environ["KERAS_HOME"]) / "numbers"
    file.write_bytes(value.tobytes())
    group.create_dataset("1", value.shape, value.dtype, external=[(str(file), 0, value.nbytes)])


def virtual(group):
    value = group["1"]
    group.move("1", "other")
    layout = h5py.VirtualLayout(value.shape, value.dtype)
    layout[:] = h5py.VirtualSource(".", group.name + "/other", value.shape)
    group.create_virtual_dataset("1", layout)


def nothing(group):
    del group["1"]
    group["1"] = h5py.Empty("f")


def rewrite(path, change, how=zipfile.ZIP_STORED):
    """Changes what a `.keras` file has of its convolution."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    weights = BytesIO(content["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        change(file["layers/conv2d/vars"])
    content["model.weights.h5"] = weights.getvalue()
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    "change",
    [
        missing,
        of_another_shape,
        of_another_type,
        without_a_name,
        a_group,
        a_link,
        outside,
        virtual,
        nothing,
    ],
)
def test_weights_that_keras_must_judge(tmp_path, change):
    path = kept(exact(), tmp_path / "net.keras")
    rewrite(path, change)
    assert open_kept_graph(path) is None


def test_compressed_network(tmp_path):
    """A small file could become a large one."""
    path = kept(exact(), tmp_path / "net.keras")
    rewrite(path, lambda group: None)
    assert open_kept_graph(path)
    rewrite(path, lambda group: None, zipfile.ZIP_DEFLATED)
    assert open_kept_graph(path) is None


def test_no_network(tmp_path):
    with pytest.raises(UserError, match="There is nothing of that name"):
        open_kept_graph(tmp_path / "net.keras")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of this package, which graphs depend on in place of the package itself."""
    copy = tmp_path / "package"
    shutil.copytree(graph_reader.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(graph_reader, "PACKAGE", copy)
    return copy


def test_files_that_a_graph_depends_on(tmp_path, package):
    path = save(exact(), tmp_path / "net.keras")
    seen = {graph_of(path)}
    names = ("models/fcn.py", "models/weights/copying.py", "cpu/winograd.py")
    for number, name in enumerate((*names, "inference/c_library/graph_writer.py"), 2):
        with open(package / name, "a") as file:
            file.write("# edited\n")
        seen.add(graph_of(path))
        assert len(seen) == number


def test_files_that_a_graph_does_not_depend_on(tmp_path, package):
    path = kept(exact(), tmp_path / "net.keras")
    for name in ("figures/curves.py", "data/palette.py", "inference/predict.py", "__init__.py"):
        with open(package / name, "a") as file:
            file.write("# edited\n")
    (package / "recipes" / "another.py").touch()
    assert open_kept_graph(path)


@pytest.mark.parametrize("change", ["processor", "library"])
def test_what_else_a_graph_depends_on(tmp_path, monkeypatch, change):
    path = save(exact(), tmp_path / "net.keras")
    file = graph_of(path)
    assert graph_of(path) == file
    if change == "processor":
        other = not graph_reader.has_only_avx2()
        monkeypatch.setattr(graph_reader, "has_only_avx2", lambda: other)
    else:
        monkeypatch.setattr(graph_reader, "versions", lambda: {"keras": "9.9"})
    assert graph_of(path) != file
    assert graph_of(path).parent == file.parent == tmp_path / "home" / "fcn_keras" / "graphs"


def several_outputs():
    image = keras.Input((None, None, 3))
    scores = [layers.Conv2D(2, 1, name=f"score_{name}")(image) for name in "ab"]
    return keras.Model(image, scores)


def nested():
    image = keras.Input((None, None, 3))
    return keras.Model(image, exact()(image))


@keras.saving.register_keras_serializable("of_a_user")
class Doubled(layers.Layer):
    """What it does is in no file."""

    def call(self, x):
        return 2 * x

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("of_a_user")
def doubled(x):
    return 2 * x


@keras.saving.register_keras_serializable("of_a_user")
class Own(keras.Model):
    def call(self, x, training=None):
        return 2 * super().call(x)


def behind(layer):
    network = exact()
    return keras.Model(network.input, layer(network.output))


def of_an_own_class():
    network = exact()
    return Own(network.input, network.output)


def with_state():
    """It depends on numbers that are no weights, and too many to be part of the graph."""
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(256, 1)(image)
    x = layers.Normalization(mean=np.arange(256.0), variance=np.ones(256))(x)
    return keras.Model(image, layers.Conv2D(2, 1)(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: exact(dtype="bfloat16"),
        several_outputs,
        nested,
        with_state,
        lambda: behind(Doubled()),
        lambda: behind(layers.Activation(doubled)),
        lambda: exact(activation=doubled),
        lambda: behind(layers.TimeDistributed(Doubled())),
        of_an_own_class,
    ],
    ids=[
        *("bfloat16", "outputs", "nested", "state"),
        *("a layer of others", "a function", "a function within", "a layer within", "a model"),
    ],
)
def test_networks_whose_graph_is_not_kept(tmp_path, make, home):
    network = make()
    path = save(network, tmp_path / "net.keras")
    assert keep_graph(network, path) is None
    assert open_kept_graph(path) is None
    assert not home.exists()


def test_others_may_change_their_code(tmp_path, monkeypatch):
    """Under one name, in one file: what is opened is what Keras opens."""
    path = save(behind(Doubled()), tmp_path / "net.keras")
    pixels = images((1, 20, 31, 3))
    before = open_network(path).label(pixels)
    monkeypatch.setattr(Doubled, "call", lambda layer, x: -x)
    for _ in range(2):
        found = np.stack(open_network(path).label(pixels))
        assert_labels_are_those_of(keras.models.load_model(path), found, pixels)
    assert np.any(before[0] != found[0])


def test_losses_of_others_are_no_part_of_a_graph(tmp_path):
    network = exact()
    network.compile("sgd", loss=doubled)
    kept(network, tmp_path / "net.keras")


def test_weights_of_another_file(tmp_path):
    path = save(exact(0), tmp_path / "net.keras")
    assert keep_graph(exact(1), path) is None


def test_gpu(tmp_path, monkeypatch):
    path = kept(exact(), tmp_path / "net.keras")
    monkeypatch.setattr(graph_reader, "_GPUS", ("/dev/no-such-gpu", str(tmp_path)))
    assert open_kept_graph(path) is None
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["/GPU:0"])
    assert keep_graph(exact(), path) is None


def test_home_that_cannot_be_written_to(tmp_path, home):
    home.write_text("a file")
    assert keep_graph(exact(), save(exact(), tmp_path / "net.keras")) is None


def test_no_home(tmp_path, monkeypatch):
    """As in containers with any user's number."""

    def nobody(*_):
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    path = save(exact(), tmp_path / "net.keras")
    assert keep_graph(exact(), path) is None
    assert open_kept_graph(path) is None


def test_stored_weights(tmp_path):
    network = fcn(width=0.0625)
    found = weights_in(save(network, tmp_path / "net.keras"))
    weights = {weight.path: weight for weight in network.weights}
    assert len(found) == len(weights)
    np.testing.assert_array_equal(found["conv3_1/0"], weights["conv3_1/kernel"])
    np.testing.assert_array_equal(found["conv3_1/1"], weights["conv3_1/bias"])


@pytest.mark.parametrize("options", [{"flip": True}, {"scales": (1, 2)}, {"tile": 64}])
def test_averaging_and_parts_need_keras(tmp_path, options):
    path = kept(fcn(width=0.03125, geometry="same"), tmp_path / "net.keras")
    assert open_network(path).network is None
    assert open_network(path, **options).network


def test_debug_tells_why_keras_is_needed(tmp_path, run_command):
    path, photo = save(exact(), tmp_path / "net.keras"), tmp_path / "photo.png"
    Image.fromarray(images((20, 31, 3))).save(photo)
    for options, told in (((), False), (("--debug", "--fresh"), False)):
        code, _, err = run_command("predict", path, photo, "--output", tmp_path / "a", *options)
        assert (code, "is opened by Keras" in err) == (0, told)
    graph_of(path).write_bytes(b"damaged")
    code, _, err = run_command("predict", path, photo, "--output", tmp_path / "b", "--debug")
    assert code == 0 and f"{path}: is opened by Keras: File is not a zip file" in err


def test_commands(tmp_path):
    """The first labels by Keras, the second without; bad images are told as ever."""
    path = save(fcn(width=0.0625), tmp_path / "net.keras")
    photo = tmp_path / "photo.png"
    Image.fromarray(images((64, 80, 3))).save(photo)
    program = (
        "import sys; from fcn_keras import cli; code = cli.main(); "
        "print('tensorflow' in sys.modules or 'keras' in sys.modules); exit(code)"
    )

    def call(*options):
        env = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        command = [sys.executable, "-c", program, "predict", path, photo, *options]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout.splitlines()[-1], done.stderr

    found = []
    for number, with_python in enumerate((True, False)):
        code, used, err = call("--output", tmp_path / str(number))
        assert (code, used) == (0, str(with_python)), err
        assert all(line.startswith("predicting: ") for line in err.splitlines() if line)
        found.append(np.asarray(Image.open(tmp_path / str(number) / "photo.png")))
    np.testing.assert_array_equal(*found)
    assert len(np.unique(found)) > 1
    made = (tmp_path / "0" / "photo.png").stat().st_mtime_ns
    assert call("--output", tmp_path / "0")[:2] == (0, "False")
    assert (tmp_path / "0" / "photo.png").stat().st_mtime_ns == made  # by the same network
    photo.write_bytes(photo.read_bytes()[:100])
    code, used, err = call("--output", tmp_path / "3")
    assert (code, used) == (2, "False")
    assert f"error: {photo}" in err.splitlines()[-1]


def test_what_nothing_could_open_is_not_kept(tmp_path, monkeypatch):
    file = save(exact(), tmp_path / "a.keras")
    absent = tmp_path / "lib.so"
    monkeypatch.setattr("fcn_keras.inference.c_library.graph_writer.library_path", lambda: absent)
    assert keep_graph(keras.models.load_model(file), file) is None
