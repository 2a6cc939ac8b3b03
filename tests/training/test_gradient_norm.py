"""The length of the gradient in the log, against the gradient found by itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras import PixelCrossEntropy
from fcn_keras.training.task import SegmentationTask


def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Rescaling(1 / 128, -1)(image))
    return keras.Model(image, keras.layers.Conv2D(3, 1)(x))


def length(model, images, labels):
    with tf.GradientTape() as tape:
        loss = PixelCrossEntropy()(labels, model(images))
    gradients = tape.gradient(loss, model.trainable_variables)
    return np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients))


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.01}, {"micro_batch": 1}])
@pytest.mark.parametrize("scaled", [False, True])
def test_mean_over_an_epoch(options, scaled):
    """Before it is cut, and whatever the loss is scaled by."""
    model = network()
    task = SegmentationTask(model, **options)
    rule = keras.optimizers.SGD(0.0)  # nothing moves
    task.compile(keras.optimizers.LossScaleOptimizer(rule) if scaled else rule, jit_compile=False)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 8, 8, 3)).astype("uint8")
    labels = rng.integers(0, 3, (6, 6, 6, 1)).astype("uint8")
    labels[3:, :4] = 255
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2, drop_remainder=True)
    found = task.fit(data, shuffle=False, verbose=0).history["gradient_norm"]
    expected = [length(model, images[i : i + 2], labels[i : i + 2]) for i in (0, 2, 4)]
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(found, [np.mean(expected)], rtol=1e-4)
    # A validation does not count.
    assert task.evaluate(data, verbose=0, return_dict=True)["gradient_norm"] == 0


def test_steps_of_a_loss_scaled_too_far_do_not_count():
    task = SegmentationTask(network())
    rule = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0), initial_scale=3e38)
    task.compile(rule, jit_compile=False)
    images = np.zeros((1, 8, 8, 3), "uint8")
    data = tf.data.Dataset.from_tensors((images, np.zeros((1, 6, 6, 1), "uint8"))).repeat()
    found = task.fit(data, steps_per_epoch=1, shuffle=False, verbose=0).history["gradient_norm"]
    assert found == [0.0] and task.norm_metric.count.numpy() == 0
