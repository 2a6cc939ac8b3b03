"""The moving average of the weights: its formula, and what a run keeps of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.folders import write_folder

from fcn_keras.inference.network import load_network
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.averages import WeightAverages
from fcn_keras.training.task import SegmentationTask
from fcn_keras.training.train import train


def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.Rescaling(1 / 128, -1)(image))
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    return keras.Model(image, keras.layers.Conv2D(3, 1)(x))


@pytest.mark.parametrize("momentum", [0.15, 0.999])
def test_formula(momentum):
    """After each step, of all that it changes: weights, and the statistics of batches."""
    model = network()
    task = SegmentationTask(model, ema=momentum)
    task.compile(keras.optimizers.SGD(0.5), jit_compile=False)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    labels = rng.integers(0, 3, (2, 8, 8, 1)).astype("uint8")
    data = tf.data.Dataset.from_tensors((images, labels)).repeat()
    expected = [weight.astype("float64") for weight in model.get_weights()]
    for step in range(1, 5):
        task.fit(data, steps_per_epoch=1, epochs=1, shuffle=False, verbose=0)
        keep = min(momentum, (1 + step) / (10 + step))
        for average, weight in zip(expected, model.get_weights(), strict=True):
            average *= keep
            average += (1 - keep) * weight
    before = model.get_weights()
    with task.averaged():
        for found, wanted in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
    assert max(np.abs(a - b).max() for a, b in zip(before, expected, strict=True)) > 1e-3
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_come_back_whatever_happens():
    model = network()
    averages = WeightAverages(model, 0.9)
    for weight in model.weights:
        weight.assign(weight + 0.1)
    before = model.get_weights()
    with pytest.raises(KeyboardInterrupt), averages.in_place():
        assert all((a != b).any() for a, b in zip(model.get_weights(), before, strict=True))
        raise KeyboardInterrupt
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_run_keeps_the_average(tmp_path):
    """Which is behind the weights, as these move away from zero."""
    folder = str(write_folder(tmp_path / "data", train=4, val=2))
    options = dict(width=1 / 32, epochs=2, batch_size=2, crop_size=(16, 24), validate_every=1)
    options |= dict(schedule="constant", warmup=0.0)
    moved = []
    for ema in (0.0, 0.9):
        settings = resolve("small", dataset=folder, ema=ema, **options)
        run = train(settings, tmp_path / str(ema))
        kernel = load_network(run / "last.keras").full.get_layer("score_fr").kernel
        moved.append(np.abs(kernel.numpy()).max())  # scores start at zero
    # 2/11, 3/12, 4/13 and 5/14 of the average are kept at the four steps.
    assert 0 < moved[1] < 0.97 * moved[0]
