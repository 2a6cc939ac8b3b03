"""SavedModels for kinds of processors that this machine may not have."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.classifiers import scatter, tiny
from helpers.networks import photo, scatter_scores
from tensorflow.core.protobuf import saved_model_pb2

from fcn_keras import build
from fcn_keras.exporters.saved_model import export
from fcn_keras.system import processor

CLASSES, COLORS = ["sky", "tree", "car"], [(0, 0, 0), (0, 128, 0), (128, 0, 0)]


@pytest.fixture(scope="module")
def network():
    return scatter_scores(
        build("fcn8s", 3, backbone=scatter(tiny()), preprocessing="tf", dropout=0.0)
    )


def convolutions_in(exported):
    """The dtypes that convolutions compute in."""
    graph = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    return {
        tf.as_dtype(node.attr["T"].type).name
        for function in graph.meta_graphs[0].graph_def.library.function
        for node in function.node_def
        if node.op in ("Conv2D", "DepthwiseConv2dNative")
    }


def dtypes_of_weights(exported):
    stored = tf.train.load_checkpoint(str(exported / "variables" / "variables"))
    return {
        dtype.name
        for name, dtype in stored.get_variable_to_dtype_map().items()
        if name.endswith("VARIABLE_VALUE")
    }


def probabilities(exported, images):
    served = tf.saved_model.load(exported).signatures["probabilities"]
    return served(image=tf.constant(images))["probabilities"].numpy()


@pytest.mark.parametrize(
    "kind",
    [
        "avx2",
        pytest.param("avx512", marks=pytest.mark.slow),
        "avx512_bf16",
        pytest.param("amx", marks=pytest.mark.slow),
    ],
)
def test_bfloat16_is_computed_in_where_there_is_such(network, tmp_path, kind):
    computes = processor.KINDS[kind][1]
    exported = export(network, tmp_path, CLASSES, COLORS, precision="bfloat16", processor=kind)
    assert (exported / "assets" / "processor.txt").read_text() == f"{kind}\n"
    assert convolutions_in(exported) == {"bfloat16" if computes else "float32"}
    assert dtypes_of_weights(exported) == {"bfloat16"}
    images = photo(45, 70, count=2)
    expected = keras.ops.softmax(network(images))
    found = probabilities(exported, images)
    np.testing.assert_allclose(found, expected, atol=0.05)
    # They differ as weights of 8 bits let them.
    assert np.abs(found - expected).max() > 1e-4


@pytest.mark.slow
def test_this_machine_is_what_is_meant(network, tmp_path):
    for_this = export(network, tmp_path / "a", CLASSES, COLORS)
    assert (for_this / "assets" / "processor.txt").read_text() == f"{processor.kind()}\n"
    images = photo(33, 40)
    for kind in processor.KINDS:
        other = export(network, tmp_path / kind, CLASSES, COLORS, processor=kind)
        expected = keras.ops.softmax(network(images))
        np.testing.assert_allclose(probabilities(other, images), expected, atol=1e-5)
