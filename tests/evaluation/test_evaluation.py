import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from fcn_keras import UserError
from fcn_keras.data.dataset import Example
from fcn_keras.evaluation.evaluate import evaluate
from fcn_keras.evaluation.scores import SCORES, named_scores, score_table, write_scores

NUM_CLASSES = 5
SIZES = [(13, 21), (30, 17), (13, 21), (1, 1), (13, 21), (21, 13), (30, 17), (13, 21), (13, 21)]


class Pictures:
    """Random images of several sizes, more of one than fill a batch; some pixels are void."""

    def __init__(self, sizes=SIZES):
        rng = np.random.default_rng(1)
        self.examples = [
            Example(
                rng.integers(0, 256, (*size, 3), dtype="uint8"),
                # Class 4 has no pixel.
                rng.choice(np.uint8([0, 1, 2, 3, 255]), (*size, 1)),
                f"picture-{i}",
            )
            for i, size in enumerate(sizes)
        ]

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        return self.examples[index]

    def size(self, index):
        return self.examples[index].image.shape[:2]

    def scan(self):
        labels = np.concatenate([example.label.ravel() for example in self.examples])
        return np.bincount(labels, minlength=256)


def make_network():
    """A network whose scores are exact, so that no rounding decides between two classes."""
    rng = np.random.default_rng(0)
    image = keras.Input((None, None, 3))
    conv = layers.Conv2D(NUM_CLASSES, 3, padding="same")
    model = keras.Model(image, conv(image))
    kernel = rng.integers(-3, 4, (3, 3, 3, NUM_CLASSES))
    kernel -= np.roll(kernel, 1, axis=0)  # its sum is 0, so brightness favours no class
    # Products of whole numbers, and fractions that tell the classes apart: never a tie.
    conv.set_weights([kernel, np.arange(NUM_CLASSES) / 8])
    return model


@pytest.fixture(scope="module")
def network():
    return make_network()


@pytest.fixture(scope="module")
def counted(network):
    """The confusion matrix of `Pictures`, counted pixel by pixel, an image at a time."""
    confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), "int64")
    for image, label, _ in Pictures():
        class_ids = np.asarray(network(image[None]))[0].argmax(axis=-1)
        for truth, found in zip(label.ravel().tolist(), class_ids.ravel().tolist(), strict=True):
            if truth != 255:
                confusion[truth, found] += 1
    assert (confusion.sum(axis=0) > 0).all() and (confusion.sum(axis=1)[:4] > 0).all()
    return confusion


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_confusion(network, counted, batch_size):
    confusion = evaluate(network, Pictures(), batch_size, progress=False)
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(confusion, counted)


def test_progress_reaches_every_image(network, capfd):
    evaluate(network, Pictures([(8, 8)] * 4), batch_size=2)
    assert "4/4" in capfd.readouterr().err


ON_TWO_DEVICES = """
import json, sys
from fcn_keras.system.devices import make_strategy
from fcn_keras import evaluate, load_network
strategy = make_strategy("cpu:2")
assert strategy.num_replicas_in_sync == 2
from test_evaluation import Pictures
with strategy.scope():
    model = load_network(sys.argv[1]).model
answers = {}
for batch_size in (1, 2, 3, 4):
    try:
        confusion = evaluate(model, Pictures(), batch_size, progress=False, strategy=strategy)
        answers[batch_size] = confusion.tolist()
    except Exception as error:
        answers[batch_size] = f"{type(error).__name__}: {error}"
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def on_two_devices(network, tmp_path_factory):
    """What each batch size gives on two logical CPUs, which need a process of their own."""
    file = tmp_path_factory.mktemp("model") / "model.keras"
    network.save(file)
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES, str(file)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_confusion_on_two_devices(on_two_devices, counted, batch_size):
    # 1 is what the command line takes by default.
    assert on_two_devices[str(batch_size)] == counted.tolist()


def test_a_label_without_a_class_is_an_error(network):
    pictures = Pictures()
    pictures.examples[2].label[5, 5] = 77
    with pytest.raises(UserError, match=r"0\.\.4, or 255 for void.*1 pixels"):
        evaluate(network, pictures, progress=False)


def test_an_unreadable_image_is_named(network):
    class Broken(Pictures):
        def __getitem__(self, index):
            if index == 3:
                raise UserError("picture-3.png: cannot be read")
            return super().__getitem__(index)

    with pytest.raises(UserError, match="^picture-3.png: cannot be read"):
        evaluate(network, Broken(), batch_size=2, progress=False)


# Class "b" is taken once for "c"; "d" does not occur at all.
CONFUSION = np.array([[6, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_named_scores():
    scores = named_scores(CONFUSION, ["a", "b", "c", "d"])
    assert scores == {
        "pixel_accuracy": 7 / 8,
        "mean_accuracy": (1 + 1 / 2) / 2,
        "mean_iu": (1 + 1 / 2 + 0) / 3,
        "frequency_weighted_iu": (6 * 1 + 2 * 1 / 2) / 8,
        "per_class_iu": {"a": 1.0, "b": 0.5, "c": 0.0, "d": None},
        "per_class_precision": {"a": 1.0, "b": 1.0, "c": 0.0, "d": None},
        "per_class_recall": {"a": 1.0, "b": 0.5, "c": 0.0, "d": None},
        "per_class_f1": {"a": 1.0, "b": pytest.approx(2 / 3), "c": 0.0, "d": None},
        "precision_macro": pytest.approx(2 / 3),
        "recall_macro": 0.5,
        "f1_macro": pytest.approx(5 / 9),
        "confusion": CONFUSION.tolist(),
    }


def test_named_scores_of_nothing():
    scores = named_scores(np.zeros((2, 2), "int64"), ["a", "b"])
    assert scores.pop("confusion") == [[0, 0], [0, 0]]
    of_classes = [name for name in scores if name.startswith("per_class")]
    assert len(of_classes) == 4
    for name in of_classes:
        assert scores.pop(name) == {"a": None, "b": None}
    assert scores == dict.fromkeys(
        [
            *("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu"),
            *("precision_macro", "recall_macro", "f1_macro"),
        ]
    )


def test_written_scores_are_strict_json(tmp_path):
    scores = named_scores(CONFUSION, ["a", "b", "c", "d"])
    write_scores(scores, tmp_path / "run" / "metrics.json")

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    text = (tmp_path / "run" / "metrics.json").read_text()
    assert json.loads(text, parse_constant=refuse) == scores


def test_score_table():
    scores = named_scores(CONFUSION, ["a", "b", "c", "d"])
    lines = [line.split() for line in score_table(scores).splitlines()]
    assert {name: values for name, *values in lines} == {
        "pixel_accuracy": ["0.87500"],
        "mean_accuracy": ["0.75000"],
        "mean_iu": ["0.50000"],
        "frequency_weighted_iu": ["0.87500"],
        "precision_macro": ["0.66667"],
        "recall_macro": ["0.50000"],
        "f1_macro": ["0.55556"],
        "of": ["each", "class:", "IU", "precision", "recall", "F1", "(Dice)"],
        "a": ["1.00000"] * 4,
        "b": ["0.50000", "1.00000", "0.50000", "0.66667"],
        "c": ["0.00000"] * 4,
        "d": ["absent"] * 4,
    }
    # Of a run that was finished before there were these.
    older = {name: scores[name] for name in (*SCORES, "per_class_iu")}
    assert [line.split()[:2] for line in score_table(older).splitlines()[5:7]] == [
        ["a", "1.00000"],
        ["b", "0.50000"],
    ]
