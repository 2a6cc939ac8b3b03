"""Writes the step that each loss takes, with the images of a batch on some logical CPUs.

PYTHONPATH=tests python -m helpers.loss_gradients DEVICES OUTPUT.npz
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from fcn_keras.system.devices import make_strategy
from fcn_keras.training.losses.sums import make_loss
from fcn_keras.training.task import SegmentationTask

LOSSES = ("cross_entropy+2*focal", "ohem+0.25*lovasz", "dice")


def batch():
    """Four images and label maps with very different shares of void, one of nothing else."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 12, 10, 3)).astype("uint8")
    labels = rng.integers(0, 3, (4, 12, 10, 1)).astype("uint8")
    labels[0, 1:] = labels[1] = 255
    labels[2, :, :2] = 255
    labels[3][labels[3] == 1] = 255
    return images, labels


def network():
    """The same one each time."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Rescaling(1 / 128, -1),
            keras.layers.Conv2D(4, 3, padding="same", activation="tanh"),
            keras.layers.Conv2D(3, 1),
        ]
    )


def main(devices, output):
    strategy = make_strategy(f"cpu:{devices}")
    images, labels = batch()
    found = {}
    for text in LOSSES:
        with strategy.scope():
            model = network()
            task = SegmentationTask(model, make_loss(text))
            task.compile(keras.optimizers.SGD(1.0), jit_compile=False)
        before = np.concatenate([v.numpy().ravel() for v in model.trainable_variables])
        batches = tf.data.Dataset.from_tensors((images, labels)).unbatch().batch(4)
        batches = strategy.experimental_distribute_dataset(batches.repeat())
        loss = task.evaluate(batches, steps=1, verbose=0, return_dict=True)["loss"]
        task.fit(batches, epochs=1, steps_per_epoch=1, verbose=0)
        after = np.concatenate([v.numpy().ravel() for v in model.trainable_variables])
        found |= {f"{text}/step": after - before, f"{text}/loss": loss}
    np.savez(output, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
