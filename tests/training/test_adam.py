"""Adam and AdamW against Keras' own, on one device and on two."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.training import adam

OPTIONS = {
    "Adam": {"learning_rate": 0.1},
    "AdamW": {"learning_rate": 0.1, "weight_decay": 0.03},
    "amsgrad": {"learning_rate": 0.1, "amsgrad": True},
}


def steps(module, name, strategy):
    """What two variables are after each of five steps on a function with a minimum."""
    with strategy.scope():
        start = np.linspace(-1, 1, 12).reshape(3, 4)
        kernel = keras.Variable(start, dtype="float32", name="kernel")
        bias = keras.Variable(np.ones(4), dtype="float32", name="bias")
        kind = "Adam" if name == "amsgrad" else name
        optimizer = getattr(module, kind)(**OPTIONS[name])
        if kind == "AdamW":
            optimizer.exclude_from_weight_decay(var_names=["bias"])
        optimizer.build([kernel, bias])

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(kernel.value**4) + tf.reduce_sum((bias.value - 3) ** 2)
        optimizer.apply(tape.gradient(loss, [kernel.value, bias.value]), [kernel, bias])

    found = []
    for _ in range(5):
        tf.function(lambda: strategy.run(step), autograph=False)()
        moments = [v.value for v in optimizer._momentums + optimizer._velocities]
        for variable in (kernel.value, bias.value, *moments):
            found += [copy.numpy() for copy in strategy.experimental_local_results(variable)]
    return found


def compare(strategy):
    for name in OPTIONS:
        expected = steps(keras.optimizers, name, strategy)
        found = steps(adam, name, strategy)
        a_step = len(expected) // 5
        assert np.abs(expected[0] - expected[-a_step]).max() > 0.1
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_steps_are_those_of_keras():
    compare(tf.distribute.get_strategy())


@pytest.mark.slow
def test_on_two_devices():
    """In a process of its own: how many devices there are cannot be changed later."""
    program = (
        "from fcn_keras.system.devices import make_strategy\n"
        "from test_adam import compare\n"
        "strategy = make_strategy('cpu:2')\n"
        "assert strategy.num_replicas_in_sync == 2\n"
        "compare(strategy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_a_compiled_model_is_saved_and_goes_on(name, tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(getattr(adam, name)(**OPTIONS[name]), "mse")
    x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    assert type(loaded.optimizer) is getattr(adam, name)
    model.fit(x, y, verbose=0)
    loaded.fit(x, y, verbose=0)
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
