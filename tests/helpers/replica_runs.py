"""Trains a small network on 1, 2 and 4 logical CPUs, and writes what comes out.

PYTHONPATH=tests python -m helpers.replica_runs DATA OUTPUT.npz
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from fcn_keras.data.augmentation import Augmentation
from fcn_keras.data.batches import distributed_batches, sharded, steps_per_epoch, training_batches
from fcn_keras.data.registry import load_dataset
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.system.devices import make_strategy
from fcn_keras.training.initial_network import make_task

SIZES = (1, 9, 11)  # less than a batch, one more than two, one less than three
EPOCHS = 2

# Devices -> name -> images of a batch, batches of a step, recomputation.
RUNS = {
    1: {"one": (4, 1, False), "accumulated": (1, 4, False), "recomputed": (4, 1, True)},
    2: {"two": (4, 1, False), "accumulated on two": (1, 4, False)},
    4: {"four": (4, 1, False)},
}


class First:
    """The first images of a split."""

    def __init__(self, split, count):
        self.split, self.count = split, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.split[index]

    def size(self, index):
        return self.split.size(index)


def main(data, devices, output):
    devices = int(devices)
    strategy = make_strategy(f"cpu:{devices}")
    dataset = load_dataset(data)
    results = {}
    for name, (batch_size, accumulate, remat) in RUNS[devices].items():
        micro_batch = -(-batch_size // devices)
        settings = resolve(
            "small",
            dataset=data,
            width=1 / 32,
            dropout=0.0,
            batch_size=batch_size,
            accumulate=accumulate,
            remat=remat,
        )
        keras.utils.set_random_seed(0)
        with strategy.scope():
            task = make_task(settings, dataset, np.ones(256), 6, micro_batch)
        variables = [*task.network.variables, *task.optimizer.variables]
        start = [keras.ops.convert_to_numpy(variable) for variable in variables]
        for size in SIZES:
            for variable, value in zip(variables, start, strict=True):
                variable.assign(value)
            split = First(dataset.splits["train"], size)
            images = settings.images_per_step

            def make(shards, split=split, images=images):
                crops = Augmentation((32, 32), scale=(0.8, 1.25), color=0.2)
                return training_batches(split, crops, images, seed=0, shards=shards)

            history = task.fit(
                sharded(strategy, make, micro_batch),
                epochs=EPOCHS,
                steps_per_epoch=steps_per_epoch(split, images),
                shuffle=False,
                verbose=0,
            )
            batches, steps = distributed_batches(split, batch_size, strategy)
            loss = task.evaluate(batches, steps=steps, verbose=0, return_dict=True)["loss"]
            results |= {
                f"{name}/{size}/losses": [*history.history["loss"], loss],
                f"{name}/{size}/confusion": task.score_metric.confusion.numpy(),
                f"{name}/{size}/weights": np.concatenate(
                    [weight.numpy().ravel() for weight in task.network.trainable_variables]
                ),
            }
    if devices == 2:
        results["moved by an overflow"] = overflow(data, dataset, strategy)
        results["streams"] = streams(dataset, strategy)
    np.savez(output, **results)


def overflow(data, dataset, strategy):
    """How far weights move where a scaled loss gives infinite gradients, on the second replica."""
    settings = resolve(
        "small", dataset=data, width=1 / 32, precision="mixed_float16", clip_norm=0.0
    )
    with strategy.scope():
        task = make_task(settings, dataset, np.ones(256), 6, 1)
    gradients_of = task._gradients

    def spoilt(*args):
        totals, gradients = gradients_of(*args)
        second = tf.distribute.get_replica_context().replica_id_in_sync_group == 1
        return totals, [tf.where(second, np.inf, gradient) for gradient in gradients]

    task._gradients = spoilt
    before = task.network.get_weights()
    crops = Augmentation((32, 32))
    batches = sharded(
        strategy,
        lambda shards: training_batches(dataset.splits["train"], crops, 2, 0, shards=shards),
    )
    task.fit(batches, epochs=1, steps_per_epoch=1, shuffle=False, verbose=0)
    after = task.network.get_weights()
    return max(np.abs(a - b).max() for a, b in zip(after, before, strict=True))


def streams(dataset, strategy):
    """The first shard of each stream that is made for a strategy, and how many shards it has."""
    asked = []

    def make(shards):
        asked.append((shards.first, shards.mine))
        return training_batches(
            dataset.splits["train"], Augmentation((32, 32)), 2, 0, shards=shards
        )

    iter(sharded(strategy, make))
    return asked


if __name__ == "__main__":
    main(*sys.argv[1:])
