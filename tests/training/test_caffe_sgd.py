"""CaffeSGD against Caffe's rule in NumPy, in float64, gradients included."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import small
from keras import layers

from fcn_keras import PixelCrossEntropy
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.caffe_sgd import CaffeSGD
from fcn_keras.training.optimizers import make_optimizer
from fcn_keras.training.task import SegmentationTask

STEPS, RATE, MOMENTUM, DECAY = 5, 2e-4, 0.9, 0.3

# What the reference's nets say: kernels and biases of VGG's; those of AlexNet's trunk and score.
FACTORS = {
    "vgg": {"conv1": [(1, 1), (2, 0)], "score_fr": [(1, 1), (2, 0)]},
    "alexnet": {"conv1": [(1, 1), (1, 1)], "score_fr": [(1, 1), (2, 0)]},
}
PATTERNS = {"vgg": None, "alexnet": {r"score_fr/bias$": (2.0, 0.0)}}
CASES = [(net, accumulate) for net in FACTORS for accumulate in (1, 3)]


def batches(accumulate):
    """Two small images for every step that is counted, in as many batches; some void."""
    rng = np.random.default_rng(0)
    count = STEPS * accumulate
    images = rng.integers(0, 3, (count, 2, 6, 7, 3)).astype("uint8")
    labels = rng.integers(0, 4, (count, 2, 6, 7, 1)).astype("uint8")
    return images, np.where(labels == 3, 255, labels).astype("uint8")


def network():
    """A convolution with a ReLU, and one that scores."""
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1")(image)
    model = keras.Model(image, layers.Conv2D(3, 1, name="score_fr")(x))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.weights])
    return model


def trained(net, accumulate, schedule=None):
    """The weights and velocities after five steps, by name."""
    task = SegmentationTask(network(), PixelCrossEntropy(normalization="sum"))
    optimizer = CaffeSGD(schedule or RATE, MOMENTUM, DECAY, PATTERNS[net], accumulate)
    task.compile(optimizer, jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices(batches(accumulate))
    task.fit(data, epochs=1, verbose=0, shuffle=False)
    assert int(optimizer.iterations.numpy()) == STEPS * accumulate
    found = {}
    for weight, velocity in zip(
        task.network.trainable_variables, optimizer.velocities, strict=True
    ):
        found[weight.path] = weight.numpy()
        found[f"{weight.path}, velocity"] = velocity.numpy()
    return found


def gradients(weights, images, labels):
    """Of the sum of all pixels' cross-entropies, by hand."""
    kernel1, bias1, kernel2, bias2 = weights
    padded = np.pad(images.astype("float64"), [(0, 0), (1, 1), (1, 1), (0, 0)])
    _, height, width, _ = images.shape
    windows = np.stack(
        [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=3
    ).reshape(-1, 27)
    before = windows @ kernel1.reshape(27, -1) + bias1
    hidden = np.maximum(before, 0)
    scores = hidden @ kernel2[0, 0] + bias2
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    labels = labels.ravel()
    valid = labels != 255
    error = (shares - np.eye(3)[np.where(valid, labels, 0)]) * valid[:, None]
    back = (error @ kernel2[0, 0].T) * (before > 0)
    return [
        (windows.T @ back).reshape(kernel1.shape),
        back.sum(axis=0),
        (hidden.T @ error)[None, None],
        error.sum(axis=0),
    ]


def caffe(net, accumulate, rates=None):
    """SGDSolver of Caffe: normalise by iter_size, regularise, take the momentum, update."""
    weights = [w.astype("float64") for w in network().get_weights()]
    history = [np.zeros_like(w) for w in weights]
    factors = [pair for pairs in FACTORS[net].values() for pair in pairs]
    images, labels = batches(accumulate)
    for step in range(STEPS):
        diffs = [np.zeros_like(w) for w in weights]
        for i in range(step * accumulate, (step + 1) * accumulate):
            for diff, gradient in zip(diffs, gradients(weights, images[i], labels[i]), strict=True):
                diff += gradient
        rate = rates[step] if rates else RATE
        for i, (lr_mult, decay_mult) in enumerate(factors):
            diff = diffs[i] / accumulate + DECAY * decay_mult * weights[i]
            history[i] = MOMENTUM * history[i] + rate * lr_mult * diff
            weights[i] = weights[i] - history[i]
    names = [f"{layer}/{part}" for layer in FACTORS[net] for part in ("kernel", "bias")]
    found = dict(zip(names, weights, strict=True))
    return found | {f"{k}, velocity": v for k, v in zip(names, history, strict=True)}


def assert_same(found, expected, start=None):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        error = np.abs(found[name] - value).max()
        # Velocities are what the steps moved: small beside the weights, whose rounding they have.
        scale = 20 if name.endswith("velocity") else 1
        assert error <= scale * 1e-6 * np.abs(value).max(), (name, error, np.abs(value).max())


@pytest.mark.parametrize("net, accumulate", CASES)
def test_five_steps(net, accumulate):
    assert_same(trained(net, accumulate), caffe(net, accumulate))


def test_the_rule_is_seen():
    """Each part of the rule changes the numbers by far more than the tolerance."""
    base = caffe("vgg", 1)
    before = dict(zip((n for n in base if "vel" not in n), network().get_weights(), strict=True))
    for name, value in before.items():
        assert np.abs(base[name] - value).max() > 1e-3 * np.abs(value).max()
    other = caffe("alexnet", 1)
    assert np.abs(base["conv1/bias"] - other["conv1/bias"]).max() > 1e-3


ON_TWO_REPLICAS = """
import sys
import numpy as np
from fcn_keras.system.devices import make_strategy
strategy = make_strategy("cpu:2")
assert strategy.num_replicas_in_sync == 2
from test_caffe_sgd import CASES, trained
with strategy.scope():
    for net, accumulate in CASES:
        np.savez(f"{net}-{accumulate}.npz", **trained(net, accumulate))
"""


@pytest.fixture(scope="module")
def on_two_replicas(tmp_path_factory):
    """A folder with what each case gives on two logical CPUs, in a process of its own."""
    folder = tmp_path_factory.mktemp("replicas")
    paths = [os.path.dirname(__file__), *(path or os.getcwd() for path in sys.path)]
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_REPLICAS],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("net, accumulate", CASES)
def test_five_steps_on_two_replicas(on_two_replicas, net, accumulate):
    found = np.load(on_two_replicas / f"{net}-{accumulate}.npz")
    assert_same({name: found[name] for name in found.files}, caffe(net, accumulate))


def test_rate_that_falls():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1, 3], [RATE, RATE / 2, RATE / 8])
    rates = [RATE, RATE, RATE / 2, RATE / 2, RATE / 8]
    assert_same(trained("vgg", 1, schedule), caffe("vgg", 1, rates))


def apply_nothing(optimizer, steps):
    """A variable of 1 under gradients of 0: what remains is decay."""
    variable = keras.Variable(np.ones(1, "float32"), name="kernel")
    values = []
    for _ in range(steps):
        optimizer.apply([np.zeros(1, "float32")], [variable])
        values.append(float(variable.numpy()[0]))
    return values


def test_decay_goes_through_momentum():
    # v = 0.01; 0.5 * 0.01 + 0.01 * 0.99; 0.5 * 0.0149 + 0.01 * 0.9751
    caffe = apply_nothing(CaffeSGD(0.1, momentum=0.5, decay=0.1), 3)
    np.testing.assert_allclose(caffe, [0.99, 0.9751, 0.957899], rtol=1e-6)
    keras_sgd = apply_nothing(keras.optimizers.SGD(0.1, momentum=0.5, weight_decay=0.1), 3)
    np.testing.assert_allclose(keras_sgd, [0.99, 0.9801, 0.970299], rtol=1e-6)


def test_nothing_moves_before_a_step_is_complete():
    variable = keras.Variable(np.zeros(1, "float32"), name="kernel")
    optimizer = CaffeSGD(0.1, momentum=0.5, decay=0.0, accumulate=3)
    found = []
    for gradient in (3, 6, 9, 3, 3, 3):
        optimizer.apply([np.float32([gradient])], [variable])
        found.append(float(variable.numpy()[0]))
    # Means 6 and 3: -0.6; then 0.5 * 0.6 + 0.3.
    np.testing.assert_allclose(found, [0, 0, -0.6, -0.6, -0.6, -1.2], rtol=1e-6)


@pytest.mark.parametrize("accumulate", [0, -1])
def test_accumulate_nothing(accumulate):
    with pytest.raises(
        ValueError, match=f"`accumulate` must be at least 1. Received: {accumulate}"
    ):
        CaffeSGD(accumulate=accumulate)


# Config


def test_config_round_trip():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    factors = {r"a/bias$": (3.0, 0.0), r"bias$": (2.0, 0.5)}
    optimizer = CaffeSGD(schedule, 0.7, 0.01, factors, accumulate=4, name="mine")
    config = json.loads(json.dumps(keras.optimizers.serialize(optimizer)))
    again = keras.optimizers.deserialize(config)
    assert type(again) is CaffeSGD and again.name == "mine"
    assert (again.momentum, again.decay, again.accumulate) == (0.7, 0.01, 4)
    assert float(again.learning_rate) == pytest.approx(0.1)
    assert {name: tuple(pair) for name, pair in again.factors.items()} == factors
    assert list(again.factors) == list(factors)  # the first that is found counts
    variables = [keras.Variable(np.ones(1), name=n) for n in ("kernel", "bias")]
    again.build(variables)
    assert [tuple(pair) for pair in again.each_factors] == [(1, 1), (2, 0.5)]


def test_a_compiled_network_goes_on_where_it_was_saved(tmp_path):
    images, labels = (array.reshape(-1, *array.shape[2:]) for array in batches(1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    labels = labels % 3
    models = [network()]
    models[0].compile(CaffeSGD(0.01, 0.9, 0.1, accumulate=2), loss)
    for _ in range(3):  # in the middle of a step
        models[0].train_on_batch(images, labels)
    models[0].save(tmp_path / "net.keras")
    models.append(keras.models.load_model(tmp_path / "net.keras"))
    for model in models:
        for _ in range(3):
            model.train_on_batch(images, labels)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(a, b)


# As recipes use it


@pytest.mark.parametrize("variant", ["fcn8s", "fcn32s-color-hha", "fcn-alexnet"])
def test_factors_of_the_networks(variant):
    settings = replace(resolve("voc-fcn32s"), variant=variant)
    model = small(variant)
    optimizer = make_optimizer(settings, 100)
    assert (optimizer.momentum, optimizer.decay, optimizer.accumulate) == (0.99, 5e-4, 1)
    optimizer.build(model.trainable_variables)
    for variable, factors in zip(model.trainable_variables, optimizer.each_factors, strict=True):
        layer, part = variable.path.split("/")
        assert not layer.startswith("up")  # fixed
        doubled = part == "bias" and (variant != "fcn-alexnet" or layer == "score_fr")
        assert tuple(factors) == ((2, 0) if doubled else (1, 1)), variable.path


@pytest.mark.parametrize("rule", ["caffe_sgd", "adamw"])
def test_what_does_not_decay(rule):
    """Biases, and the scales and offsets of normalisation."""
    options = dict(weight_decay=0.5, learning_rate=0.1, warmup=0.0, clip_norm=0.0)
    optimizer = make_optimizer(resolve("small", optimizer=rule, **options), 100)
    inside = [layers.BatchNormalization(name="norm"), layers.Conv2D(2, 1, name="gamma")]
    variables = keras.Sequential([keras.Input((None, None, 3)), *inside]).trainable_variables
    for variable in variables:
        variable.assign(tf.ones(variable.shape))
    optimizer.build(variables)
    optimizer.apply([tf.zeros(variable.shape) for variable in variables], variables)
    smaller = [v.path.split("/")[-2:] for v in variables if (v.numpy() < 1).any()]
    assert smaller == [["gamma", "kernel"]]
    assert len(variables) == 4


def test_accumulation_keeps_no_zeros():
    """TensorFlow would make constants of those of a variable's shape, and keep them."""
    variable = keras.Variable(np.ones((30, 40)))
    optimizer = CaffeSGD(0.1, accumulate=2)
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient * variable], [variable]))
    operations = step.get_concrete_function(tf.constant(1.0)).graph.get_operations()
    of_its_shape = [op.type for op in operations if op.outputs and op.outputs[0].shape == (30, 40)]
    assert "SelectV2" in of_its_shape
    assert not {"Const", "Fill", "ZerosLike"} & set(of_its_shape)
