"""Batches for training and for evaluation, by tf.data.

The order of a training set and all that is drawn for an image follow from the seed and from
the image's place in the stream alone. So a stream can start at any step and go on exactly as
if it had run up to there, and no state has to be saved.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from fcn_keras.data.augmentation import Augmentation, augment
from fcn_keras.data.dataset import IGNORE_LABEL, Split, in_parallel
from fcn_keras.errors import UserError
from fcn_keras.system.devices import on_cpus
from fcn_keras.system.processor import cores


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Returns how many batches hold every image once; the last one is filled up."""
    return -(-len(split) // batch_size)


@dataclass(frozen=True)
class Shards:
    """Which part of every batch a process reads, where several replicas share it.

    A batch is cut into shards of one size, one for each replica, in order; what it lacks to fill
    the last ones is void.

    Attributes:
        count: how many shards there are, on all machines.
        first: the first one that is read here, counted from 0.
        mine: how many are read here.
        multiple: what the number of images in a shard must be a multiple of.
    """

    count: int = 1
    first: int = 0
    mine: int = 1
    multiple: int = 1

    def __post_init__(self):
        if not (self.mine >= 1 and 0 <= self.first <= self.count - self.mine):
            raise ValueError(f"Shards must be some of those that there are. Received: {self}.")

    def size(self, batch_size: int) -> int:
        """Returns how many images a shard has."""
        return -(-batch_size // (self.count * self.multiple)) * self.multiple


WHOLE = Shards()


def training_batches(
    split: Split,
    augmentation: Augmentation,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    replacement: bool = False,
    shards: Shards = WHOLE,
    images_alone: bool = False,
) -> tf.data.Dataset:
    """Streams training batches, epoch after epoch, each in an order of its own.

    Where several replicas train together, each one's batches are its shards of those that a
    single one would see; no image is read by two of them.

    Args:
        split: what to read from.
        augmentation: how to vary it.
        batch_size: images in a batch, over all replicas.
        seed: of everything drawn.
        first_step: how many batches to leave out: the place to resume at.
        replacement: whether every image is drawn from the whole set, and not each once an epoch.
        shards: which part of each batch to read: one shard after the other.
        images_alone: whether the last batch of an epoch is filled up with images instead of void:
            with those that the epoch began with, varied anew. So none is in a batch twice unless
            there are fewer than a batch has.

    Returns:
        An endless `tf.data.Dataset` of pairs: images uint8 `(shard, h, w, 3)` and labels uint8
        `(shard, h, w, 1)`. Every one is full: the last batch of an epoch has images that are all
        void at its end.

    Raises:
        ValueError: if there are to be images alone, and shards cannot be filled with those of a
            batch.
    """
    size = shards.size(batch_size)
    if images_alone and shards.count * size != batch_size:
        raise ValueError(f"Batches of {batch_size} cannot be cut into full shards: {shards}.")
    here = shards.mine * size  # images of a batch that are read here

    def example(number):
        slot = shards.first * size + number % here
        index, position = _drawn(
            split, batch_size, seed, replacement, images_alone, number // here, slot
        )
        return augment(*_read(split, index), augmentation, tf.stack([seed, position]))

    return _ahead(
        tf.data.Dataset.range(first_step * here, np.iinfo("int64").max)
        .map(example, num_parallel_calls=cores())
        .batch(size, drop_remainder=True)
    )


def _drawn(split, batch_size, seed, replacement, images_alone, step, slot):
    """The number of the image in a slot of a batch, -1 for void, and its place in the stream."""
    # Slots beyond the batch fill up shards.
    position = step * batch_size + tf.minimum(slot, batch_size - 1)
    if replacement:
        index = tf.random.stateless_uniform([], tf.stack([seed, position]), 0, len(split), tf.int64)
        return tf.where(slot < batch_size, index, -1), position
    places = steps_per_epoch(split, batch_size) * batch_size
    epoch, place = position // places, position % places
    last = len(split) - 1
    if images_alone:
        place %= len(split)
    index = tf.random.experimental.index_shuffle(
        tf.minimum(place, last), tf.stack([seed, epoch]), last
    )
    return tf.where((slot < batch_size) & (place <= last), index, -1), position


def images_of_batch(
    split: Split,
    batch_size: int,
    seed: int,
    step: int,
    replacement: bool = False,
    images_alone: bool = False,
) -> list[str]:
    """Returns the names of the images in a training batch, see `training_batches`."""
    options = (split, batch_size, seed, replacement, images_alone)
    drawn = [
        int(_drawn(*options, tf.constant(step, tf.int64), slot)[0])
        for slot in tf.range(batch_size, dtype=tf.int64)
    ]
    return [split[index].id for index in drawn if index >= 0]


def evaluation_batches(split: Split, batch_size: int, shards: Shards = WHOLE) -> tf.data.Dataset:
    """Batches whole images at their own sizes, each exactly once.

    Images of one size share a batch, so nothing is scaled or padded; batches that are not full
    are filled up with images that are all void.

    Args:
        split: what to read from.
        batch_size: images in a batch, over all replicas.
        shards: which part of each batch to read: one shard after the other.

    Returns:
        A `tf.data.Dataset` of pairs: images uint8 `(shard, H, W, 3)` and labels uint8
        `(shard, H, W, 1)`.
    """
    size = shards.size(batch_size)
    return _in_order(split, _by_size(split, shards.count * size), shards, size)


def _in_order(split, order, shards, size):
    """The shards of batches that have the examples of these numbers, one after the other."""
    order = order.reshape(-1, shards.count, size)
    mine = order[:, shards.first : shards.first + shards.mine].reshape(-1)
    # All images of a batch have one size but those that fill it up: one pixel of void each,
    # which the padding makes as large as the others.
    return _ahead(
        tf.data.Dataset.from_tensor_slices(mine)
        .map(lambda index: _read(split, index), num_parallel_calls=cores())
        .padded_batch(size, padding_values=(None, np.uint8(IGNORE_LABEL)), drop_remainder=True)
    )


def _ahead(batches):
    """Reads two batches ahead, without TensorFlow's tuning.

    That sleeps up to a minute from one look at the pipeline to the next, and where a stream is
    given up meanwhile, TensorFlow wakes it before it can see that it is to end: every few times
    it sleeps on, and the program waits for it.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(2).with_options(options)


def evaluation_steps(split: Split, batch_size: int, shards: int = 1) -> int:
    """Returns how many batches `evaluation_batches` makes where each is cut into shards."""
    batch_size = shards * Shards(shards).size(batch_size)
    return len(_by_size(split, batch_size)) // batch_size


def _by_size(split, batch_size):
    """Numbers of the examples, those of one size together, filled up to whole batches by -1."""
    if batch_size == 1:
        return np.arange(len(split))
    same = {}
    sizes = in_parallel(split.size, range(len(split)), "looking at sizes")
    for index, size in enumerate(sizes):
        same.setdefault(size, []).append(index)
    return np.concatenate([group + [-1] * (-len(group) % batch_size) for group in same.values()])


def _read(split, index):
    """Reads an example by its number; for -1, a pixel of void."""
    first = split[0]
    channels, maps, dtype = first.image.shape[-1], first.label.shape[-1], first.image.dtype

    def read(index):
        if index < 0:
            return np.zeros((1, 1, channels), dtype), np.full((1, 1, maps), IGNORE_LABEL, "uint8")
        example = split[int(index)]
        # TensorFlow takes arrays that happen to be aligned as they are, and computes in place: what
        # a split has kept would be another image the next time.
        return example.image.copy(), example.label.copy()

    # Reading has no side effects, so tf.data may do it in parallel also when deterministic.
    image, label = tf.numpy_function(read, [index], (dtype, tf.uint8), stateful=False)
    image = tf.ensure_shape(image, (None, None, channels))
    return image, tf.ensure_shape(label, (None, None, maps))


@contextmanager
def reading_errors() -> Iterator[None]:
    """Turns an error that came up while a batch was read back into the `UserError` it was.

    tf.data hands on the text of an exception, but not the exception.
    """
    try:
        yield
    except tf.errors.OpError as error:
        match = re.search(r"(?:User|Label)Error: (.+)", error.message)
        if match is None:
            raise
        raise UserError(match[1]) from error


def sharded(
    strategy: tf.distribute.Strategy, make: Callable[[Shards], tf.data.Dataset], multiple: int = 1
) -> tf.distribute.DistributedDataset:
    """Gives every replica its own shards of the batches, which each machine reads for itself.

    Args:
        strategy: see `make_strategy`.
        make: gives the stream of the shards that it is asked for.
        multiple: what the number of images in a shard must be a multiple of.

    Returns:
        A distributed data set, for `fit` and `evaluate`; a step takes a shard for each replica.
    """

    def here(context):
        mine = context.num_replicas_in_sync // context.num_input_pipelines
        return make(
            Shards(
                count=context.num_replicas_in_sync,
                first=context.input_pipeline_id * mine,
                mine=mine,
                multiple=multiple,
            )
        )

    options = None
    if isinstance(strategy, tf.distribute.MirroredStrategy) and on_cpus(strategy):
        # Else a stage that copies to GPUs stands before each replica, and TensorFlow tunes it,
        # whatever the stream's own options say, see `_ahead`.
        options = tf.distribute.InputOptions(
            experimental_fetch_to_device=False,
            experimental_replication_mode=tf.distribute.InputReplicationMode.PER_REPLICA,
        )
    return strategy.distribute_datasets_from_function(here, options)


def distributed_batches(
    split: Split, batch_size: int, strategy: tf.distribute.Strategy
) -> tuple[tf.distribute.DistributedDataset, int]:
    """Gives every replica its part of the batches of `evaluation_batches`.

    Returns:
        A pair: the distributed data set, and how many batches it has.
    """
    count = strategy.num_replicas_in_sync
    size = Shards(count).size(batch_size)
    order = _by_size(split, count * size)
    batches = sharded(strategy, lambda shards: _in_order(split, order, shards, size))
    return batches, len(order) // (count * size)
