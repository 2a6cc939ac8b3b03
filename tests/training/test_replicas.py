"""Where the images of a batch lie changes nothing: devices, parts of a batch, recomputation."""

import subprocess
import sys
from itertools import chain
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import replica_runs
from helpers.folders import write_squares
from helpers.replica_runs import RUNS, SIZES

from fcn_keras import build
from fcn_keras.cpu.products import with_products
from fcn_keras.errors import UserError
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.system.memory import tensors_in_use
from fcn_keras.training.recomputation import Recomputed
from fcn_keras.training.task import SegmentationTask


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What every run of `replica_runs` ended with, on masks with more and less void."""
    folder = tmp_path_factory.mktemp("replicas")
    data = write_squares(folder / "data", train=max(SIZES))
    script, found = Path(replica_runs.__file__), {}
    for devices in RUNS:
        output = folder / f"{devices}.npz"
        subprocess.run([sys.executable, script, data, str(devices), output], check=True)
        with np.load(output) as arrays:
            found |= arrays
    return found


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", sorted({*chain(*RUNS.values())} - {"one"}))
def test_every_way_trains_alike(name, size, runs):
    """Batches of four images; the set's size makes the last one full, uneven or all there is."""
    weights, losses, confusion = (
        [runs[f"{run}/{size}/{what}"] for run in ("one", name)]
        for what in ("weights", "losses", "confusion")
    )
    np.testing.assert_allclose(*weights, rtol=0, atol=1e-6)
    np.testing.assert_allclose(*losses, rtol=1e-6)
    np.testing.assert_array_equal(*confusion)
    assert confusion[0].sum() > 0


@pytest.mark.slow
def test_no_replica_steps_where_one_overflows(runs):
    assert runs["moved by an overflow"] == 0


@pytest.mark.slow
def test_each_processor_reads_its_own_stream(runs):
    """Not two from one, which takes a stage that TensorFlow tunes, and sleeps in when it ends."""
    np.testing.assert_array_equal(runs["streams"], [(0, 1), (1, 1)])


@pytest.mark.slow
def test_they_do_train(runs):
    """Otherwise everything above would hold for nothing at all."""
    weights = [runs[f"one/{size}/weights"] for size in SIZES]
    assert all(np.abs(one - weights[0]).max() > 1e-3 for one in weights[1:])


@pytest.mark.parametrize("variant", ["fcn8s", "fcn32s", "fcn-alexnet", "fcn32s-color-hha"])
def test_a_recomputed_network_is_the_same(variant):
    """Outputs and gradients, of networks with one trunk and with two.

    In float64: what rounds differently in float32 may be another pixel's maximum.
    """
    keras.config.set_dtype_policy("float64")
    try:
        network = build(variant, 3, weights=None, width=1 / 32, dropout=0)
    finally:
        keras.config.set_dtype_policy("float32")
    compare_recomputed(network)


def test_recomputed_products_are_the_same():
    keras.utils.set_random_seed(0)
    wide = build("fcn8s", 3, weights=None, width=1 / 4, geometry="same", dropout=0)
    compare_recomputed(with_products(wide))


def compare_recomputed(network):
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if layer.name.startswith("score_") and layer.weights:
            layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    images = rng.integers(0, 256, (2, 33, 47, network.input_shape[-1]), dtype=np.uint8)

    @tf.function
    def outputs_and_gradients(network_, images):
        with tf.GradientTape() as tape:
            logits = network_(images, training=True)
            loss = tf.reduce_mean(logits**2)
        return logits, tape.gradient(loss, network.trainable_variables)

    logits, gradients = outputs_and_gradients(network, tf.constant(images))
    again, recomputed = outputs_and_gradients(Recomputed(network), tf.constant(images))
    np.testing.assert_allclose(again, logits, rtol=0, atol=1e-5 * np.abs(logits).max())
    for one, other in zip(gradients, recomputed, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5 * np.abs(one).max() + 1e-12)


def test_dropout_is_drawn_in_a_recomputed_network_too():
    """And the network is saved as it would be otherwise."""
    network = build("fcn8s", 3, weights=None, width=1 / 32, dropout=0.5)
    config = network.get_config()
    task = SegmentationTask(network, remat=True)
    assert network.get_config() == config
    layer = network.get_layer("score_fr")
    layer.set_weights([np.ones(w.shape) for w in layer.weights])
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    once, again = (task(images, training=True).numpy() for _ in range(2))
    assert np.abs(once - again).max() > 0
    np.testing.assert_allclose(task(images, training=False), network(images), rtol=1e-5)


def test_accumulation_begins_with_zeros_that_do_not_stay():
    """TensorFlow would keep zeros as constants, as many as there are weights."""
    if tensors_in_use() is None:
        pytest.skip("TensorFlow does not count its tensors here")
    network = build("fcn8s", 3, weights=None, width=1 / 4, geometry="same")
    task = SegmentationTask(network, micro_batch=1)
    task.compile("adam", jit_compile=False)
    task.make_train_function()
    batch = tf.zeros((2, 32, 32, 3), tf.uint8), tf.zeros((2, 32, 32, 1), tf.uint8)
    before = tensors_in_use().now
    task.train_function(iter([batch]))
    assert tensors_in_use().now - before < network.get_layer("fc6").kernel.numpy().nbytes


def test_recomputation_computes_the_first_blocks_twice():

    def kept(network_):
        @tf.function
        def step(images):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(network_(images, training=True))
            return tape.gradient(loss, network.trainable_variables)

        graph = step.get_concrete_function(tf.zeros((1, 64, 64, 3), tf.uint8)).graph
        forward = [op for op in graph.get_operations() if op.type == "Relu"]
        return len(forward)

    network = build("fcn8s", 3, weights=None, width=1 / 32, dropout=0)
    # Each activation of the three blocks, two, two and three, occurs a second time.
    assert kept(Recomputed(network)) >= kept(network) + 7


def test_whole_images_cannot_be_accumulated_but_by_caffe():
    with pytest.raises(UserError, match="`accumulate` must be 1 where whole images"):
        resolve("voc-fcn8s", optimizer="adam", accumulate=2)
    assert resolve("voc-fcn8s", accumulate=2).images_per_step == 1
    assert resolve("small", batch_size=2, accumulate=3).images_per_step == 6
    assert keras.config.dtype_policy().name == "float32"
