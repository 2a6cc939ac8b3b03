"""Several heads on one trunk, and labels of several maps, from the network to the run."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import outputs_of, photo, scatter_scores, small
from keras import layers, ops

from fcn_keras import PixelCrossEntropy, UserError, cli
from fcn_keras.data.dataset import Dataset, Example, count_labels
from fcn_keras.evaluation.evaluate import evaluate
from fcn_keras.inference.network import load_network
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training import train as training
from fcn_keras.training.task import SegmentationTask

HEADS = {"sem": 4, "geo": 2}
VARIANTS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce", "fcn-alexnet")


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_head_is_a_network_of_its_own(variant):
    model = scatter_scores(small(variant, HEADS, width=1 / 32))
    image = photo(41, 60)
    logits = model(image)
    assert {name: found.shape for name, found in logits.items()} == {
        name: (1, 41, 60, classes) for name, classes in HEADS.items()
    }
    for head, classes in HEADS.items():
        single = small(variant, classes, width=1 / 32)
        for layer in single.layers:
            if layer.weights:
                names = [other.name for other in model.layers]
                name = layer.name if layer.name in names else f"{layer.name}_{head}"
                layer.set_weights(model.get_layer(name).get_weights())
        assert np.ptp(logits[head]) > 0.01
        np.testing.assert_allclose(logits[head], single(image), atol=1e-5)


def test_names_of_the_layers():
    names = {layer.name for layer in small("fcn16s", HEADS, width=1 / 32).layers}
    for head in HEADS:
        for name in ("score_fr", "upscore2", "score_pool4", "fuse_pool4", "upscore16", "score"):
            assert f"{name}_{head}" in names and name not in names
    assert "fc7" in names and "fc7_sem" not in names


@pytest.mark.parametrize("variant, cell", [("fcn32s", 12.5), ("fcn-alexnet", 13)])
def test_scores_lie_over_the_pixels_they_belong_to(variant, cell):
    model = small(variant, {"a": 2, "b": 2}, width=1 / 32)
    heads = keras.Model([model.input, model.get_layer("drop7").output], model.output)
    for head, share in (("a", 1), ("b", 2)):
        conv = model.get_layer(f"score_fr_{head}")
        kernel, bias = (np.zeros_like(w) for w in conv.get_weights())
        kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = share
        conv.set_weights([kernel, bias])
    size = (131, 90)
    image = np.zeros((1, *size, 3), "float32")
    place = np.zeros_like(outputs_of(model, image, "drop7")["drop7"])
    y, x = (32 * np.arange(n) + cell for n in place.shape[1:3])
    place[0, ..., 0], place[0, ..., 1] = y[:, None], x
    found = heads([image, place])
    inside = (slice(13, min(131, int(y[-1]) + 1)), slice(13, min(90, int(x[-1]) + 1)))
    expected = np.moveaxis(np.mgrid[: size[0], : size[1]], 0, -1)[inside]
    assert np.abs(np.asarray(found["a"])[0][inside] - expected).max() < 1e-4
    assert np.abs(np.asarray(found["b"])[0][inside] - 2 * expected).max() < 2e-4


def test_saved_and_loaded(tmp_path):
    model = scatter_scores(small("fcn16s", HEADS, width=1 / 32))
    path = tmp_path / "net.keras"
    model.save(path)
    image = photo(41, 60)
    loaded = keras.models.load_model(path, safe_mode=True)
    again = small("fcn16s", HEADS, width=1 / 32, weights=path)
    network = load_network(path)
    assert {*network.heads} == {*HEADS}
    for head in HEADS:
        for other in (loaded, again, network.full):
            np.testing.assert_allclose(other(image)[head], model(image)[head], atol=1e-5)
    first = network.heads[0]
    np.testing.assert_allclose(network.model(image), model(image)[first], atol=1e-5)
    assert len(network.classes) == HEADS[first]


# The task


def two_headed(classes=HEADS):
    """Scores of one convolution for each head."""
    image = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 128, -1)(image)
    outputs = {
        name: layers.Conv2D(number, 3, padding="same", name=f"score_{name}")(x)
        for name, number in classes.items()
    }
    model = keras.Model(image, outputs)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.weights])
    return model


def labelled(count=5, size=(9, 12)):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, *size, 3)).astype("uint8")
    maps = [rng.integers(0, n, (count, *size)) for n in HEADS.values()]
    labels = np.stack(maps, axis=-1)
    labels[rng.random(labels.shape) < 0.2] = 255
    labels[1, ..., 0] = 255  # nothing of one map
    labels[2] = 255  # nothing at all: only fills up
    return images, labels.astype("uint8")


def losses_by_hand(logits, label):
    """Cross-entropy of every pixel, 0 for void, in float64."""
    logits = np.asarray(logits, "float64")
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    valid = label != 255
    picked = np.take_along_axis(logs, np.where(valid, label, 0)[..., None], -1)[..., 0]
    return np.where(valid, -picked, 0), valid


@pytest.mark.parametrize("normalization", ["sum", "valid_pixels", "image"])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_loss_is_the_sum_and_counts_are_each_heads(normalization, batch_size):
    model, (images, labels) = two_headed(), labelled()
    loss = PixelCrossEntropy(normalization=normalization)
    task = SegmentationTask(model, loss, heads=tuple(HEADS))
    task.compile(jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)
    found = task.evaluate(data, verbose=0, return_dict=True)
    expected = 0
    logits = model(images)
    for number, (head, classes) in enumerate(HEADS.items()):
        label = labels[..., number].astype(int)
        losses, valid = losses_by_hand(logits[head], label)
        count = valid.sum() if normalization == "valid_pixels" else valid.any(axis=(1, 2)).sum()
        expected += losses.sum() / count
        confusion = np.zeros((classes, classes), int)
        np.add.at(confusion, (label[valid], np.argmax(logits[head], -1)[valid]), 1)
        np.testing.assert_array_equal(task.score_metrics[number].confusion.numpy(), confusion)
        if number == 0:
            accuracy = confusion.trace() / confusion.sum()
            assert found["pixel_accuracy"] == pytest.approx(accuracy, rel=1e-5)
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("normalization", ["sum", "valid_pixels"])
def test_gradient_is_that_of_the_sum(normalization):
    model, (images, labels) = two_headed(), labelled()
    before = [w.numpy() for w in model.trainable_weights]
    with tf.GradientTape() as tape:
        total = 0.0
        for number, head in enumerate(HEADS):
            label = labels[..., number].astype("int32")
            valid = label != 255
            losses = ops.sparse_categorical_crossentropy(
                np.where(valid, label, 0), model(images)[head], from_logits=True
            )
            part = tf.reduce_sum(tf.boolean_mask(losses, valid))
            total += part / (valid.sum() if normalization == "valid_pixels" else 1)
    expected = tape.gradient(total, [w.value for w in model.trainable_weights])
    loss = PixelCrossEntropy(normalization=normalization)
    task = SegmentationTask(model, loss, heads=tuple(HEADS))
    task.compile(keras.optimizers.SGD(0.5), jit_compile=False)
    data = tf.data.Dataset.from_tensors((images, labels))
    task.fit(data, verbose=0, shuffle=False)
    for weight, old, gradient in zip(model.trainable_weights, before, expected, strict=True):
        scale = 0.5 * np.abs(gradient).max()
        np.testing.assert_allclose(old - weight.numpy(), 0.5 * gradient, atol=2e-5 * scale)


def test_order_of_the_heads_is_that_of_the_maps():
    """Keras sorts outputs by name; the maps of a label are in another order."""
    assert list(HEADS) != sorted(HEADS)
    model, (images, labels) = two_headed(), labelled()
    split = Maps(images, labels)
    confusion = evaluate(model, split, 2, progress=False, heads=tuple(HEADS))
    assert list(confusion) == list(HEADS)
    logits = model(images)
    for number, head in enumerate(HEADS):
        label = labels[..., number]
        right = (np.argmax(logits[head], -1) == label) & (label != 255)
        assert confusion[head].trace() == right.sum()
        assert confusion[head].sum() == (label != 255).sum()


# A run


class Maps:
    """A split of arrays in memory."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return Example(self.images[index], self.labels[index], f"image-{index}")

    def size(self, index):
        return self.images[index].shape[:2]

    def scan(self):
        return count_labels(self)


def squares(count, depth=3, maps=2, seed=0):
    """Bright squares, and a floor in the lower half."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 80, (count, 36, 40, depth)).astype("uint8")
    labels = np.zeros((count, 36, 40, maps), "uint8")
    for image, label in zip(images, labels, strict=True):
        top, left = rng.integers(0, 20, 2)
        label[top : top + 14, left : left + 14, 0] = rng.integers(1, 4)
        image[label[..., 0] > 0] += 120
        label[18:, :, 1:] = 1
        label[:2] = 255
    return Maps(images, labels)


COLORS = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128)]
NAMES = {"sem": ["ground", "red", "green", "blue"], "geo": ["up", "down"]}


def fake(monkeypatch, dataset):
    monkeypatch.setattr("fcn_keras.data.source.load_dataset", lambda name, *places: dataset)
    return dataset


@pytest.fixture(scope="module")
def two_map_run(tmp_path_factory):
    """A short training on a data set of two maps."""
    splits = {"train": squares(5), "val": squares(3, seed=1)}
    dataset = Dataset("squares", NAMES["sem"], COLORS, splits, NAMES)
    settings = resolve(
        "small",
        dataset="tfds:squares",
        variant="fcn16s",
        width=1 / 32,
        epochs=2,
        batch_size=2,
        crop_size=(24, 48),
        learning_rate=0.01,
        class_weights="none",
    )
    run = tmp_path_factory.mktemp("runs") / "squares"
    with pytest.MonkeyPatch.context() as monkeypatch:
        fake(monkeypatch, dataset)
        training.train(settings, run)
    return run, dataset


def test_scores_of_all_heads_are_written(two_map_run):
    run, dataset = two_map_run
    scores = json.loads((run / "metrics.json").read_text())
    assert list(scores["heads"]) == list(NAMES)
    network = load_network(run)
    assert network.heads == tuple(NAMES)
    assert network.classes == NAMES["sem"]
    split = dataset.splits["val"]
    logits = network.full(split.images)
    for number, (head, names) in enumerate(NAMES.items()):
        label = split.labels[..., number]
        valid = label != 255
        confusion = np.zeros((len(names),) * 2, int)
        np.add.at(confusion, (label[valid], np.argmax(logits[head], -1)[valid]), 1)
        assert scores["heads"][head]["confusion"] == confusion.tolist()
        assert list(scores["heads"][head]["per_class_iu"]) == names
    assert {name: scores[name] for name in scores["heads"]["sem"]} == scores["heads"]["sem"]
    assert math.isfinite(scores["mean_iu"])
    assert (run / "report" / "samples.png").is_file()
    config = json.loads((run / "config.json").read_text())
    assert config["dataset"]["heads"] == NAMES


@pytest.fixture
def fcn(monkeypatch, capsys):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")

    def call(*args):
        monkeypatch.setattr("sys.argv", ["fcn-keras", *map(str, args)])
        code = cli.main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_evaluate_on_the_command_line(two_map_run, monkeypatch, fcn):
    run, dataset = two_map_run
    fake(monkeypatch, dataset)
    code, out, err = fcn("evaluate", run, "--json")
    assert code == 0, err
    assert json.loads(out) == json.loads((run / "metrics.json").read_text())


def test_evaluate_one_head_on_two_maps(tmp_path, two_map_run, monkeypatch, fcn):
    fake(monkeypatch, two_map_run[1])
    small("fcn32s", 4, width=1 / 32).save(tmp_path / "one.keras")
    code, out, err = fcn("evaluate", tmp_path / "one.keras", "--dataset", "squares")
    assert (code, out) == (2, ""), err
    assert err.startswith("error: ") and err.count("\n") == 1 and "sem, geo" in err


def test_evaluate_two_heads_on_one_map(two_map_run, monkeypatch, fcn):
    run, dataset = two_map_run
    fake(monkeypatch, Dataset("one", dataset.classes, COLORS, dataset.splits))
    code, out, err = fcn("evaluate", run, "--dataset", "one")
    assert (code, out) == (2, ""), err
    assert err.startswith("error: ") and err.count("\n") == 1 and "sem, geo" in err


def test_another_network_beside_a_run_of_two_heads(two_map_run):
    run, _ = two_map_run
    small("fcn32s", 4, width=1 / 32).save(run / "other.keras")
    try:
        network = load_network(run / "other.keras")
        assert network.heads == ()
        assert network.full is network.model
    finally:
        (run / "other.keras").unlink()


def test_class_weights_are_for_one_map(monkeypatch, tmp_path):
    splits = {"train": squares(2), "val": squares(1)}
    fake(monkeypatch, Dataset("squares", NAMES["sem"], COLORS, splits, NAMES))
    settings = resolve("small", dataset="squares", class_weights="sqrt_median_frequency")
    with pytest.raises(UserError, match="`class_weights` must be none"):
        training.train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def in_millimetres(split):
    """Makes a depth of 16 bits of the fourth channel of a split."""
    images = split.images.astype("uint16")
    images[..., 3] *= 40
    return Maps(images, split.labels)


@pytest.mark.slow
@pytest.mark.parametrize("kind, channels, rate", [("color-hha", 6, 1e-6), ("color-d", 4, 1e-7)])
def test_training_with_depth(monkeypatch, tmp_path, kind, channels, rate):
    """Four or six channels, whole images, drawn with replacement, by the reference's rule."""
    splits = {"train": squares(4, channels, 1), "val": squares(2, channels, 1, seed=1)}
    if kind == "color-d":
        splits = {name: in_millimetres(split) for name, split in splits.items()}
    fake(monkeypatch, Dataset("rooms", NAMES["sem"], COLORS, splits))
    settings = resolve(
        f"nyud-fcn32s-{kind}",
        dataset="rooms",
        weights="none",
        init_from="",
        width=1 / 32,
        steps=6,
        learning_rate=rate,
    )
    run = training.train(settings, tmp_path / "run")
    network = load_network(run)
    assert network.model.input_shape == (None, None, None, channels)
    rows = (run / "log.csv").read_text().splitlines()
    header = rows[0].split(",")
    losses = [float(dict(zip(header, row.split(","), strict=True))["loss"]) for row in rows[1:]]
    # The sum over an image's 34 x 40 pixels that are not void, at first their count times ln 4.
    assert losses[0] == pytest.approx(34 * 40 * math.log(4), rel=0.1)
    assert losses[-1] < losses[0]
