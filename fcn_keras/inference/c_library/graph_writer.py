"""Graphs of networks, kept for `fcn_keras.inference.c_library.graph_reader`."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from fcn_keras.cpu.class_ids import parts_of
from fcn_keras.cpu.products import interpolations_of, with_products
from fcn_keras.errors import first_line
from fcn_keras.inference.c_library.graph_reader import (
    GRAPH,
    NAMES,
    UNUSABLE,
    digest,
    graph_file,
    opened,
    read_part,
    stored_weights,
)
from fcn_keras.inference.c_library.library import library_path
from fcn_keras.models.channels import image_spec, stored_pixels
from fcn_keras.system.console import debug_line
from fcn_keras.system.files import written_whole


def keep_graph(network: keras.Model, file: str | Path) -> Path | None:
    """Keeps the graph of a network, with which `predict` starts in a third of the time.

    Args:
        network: what was opened.
        file: the `.keras` file, or the folder of its parts, that it was opened from.

    Returns:
        Where the graph is, see `fcn_keras.inference.c_library.graph_reader.graph_file`. None if
        there is a GPU, for which TensorFlow is needed, or no C library; if the network has layers
        or functions of others than Keras and this package, whose code may change; if it is no
        function from `(N, H, W, 3)` to `(N, H, W, C)` with weights in float32 that the file holds
        by name; or if it cannot be written.

    Example:

    >>> keep_graph(keras.models.load_model("best.keras"), "best.keras").is_file()
    True
    """
    if tf.config.list_logical_devices("GPU") or not library_path().is_file():
        return None
    try:
        return _keep(network, file)
    # Nothing but time is lost. Of networks that others have built TensorFlow may say anything.
    except (*UNUSABLE, AssertionError, tf.errors.OpError) as error:
        debug_line(f"{file}: no graph of it is kept: {first_line(error)}")
        return None


def _keep(network, file):
    weights = {
        f"{layer.name}/{number}": weight
        for layer in network.layers
        for number, weight in enumerate(layer.weights)
    }
    if len(network.outputs) != 1 or network.input_shape[:3] != (None, None, None):
        return None
    with opened(Path(file)) as archive:
        kept = graph_file(archive)
        config = json.loads(read_part(archive, "config.json"))
        if not _is_known(config | {"compile_config": None}):
            return None
        stored = {
            name
            for name, value in stored_weights(archive)
            if name in weights and np.array_equal(value, weights[name])
        }
    if stored != weights.keys():
        return None
    computed = with_products(network, fixed=True)
    parts = parts_of(computed)
    spec = tf.TensorSpec(*image_spec(network), name="image")

    def segment(image, values):
        with keras.StatelessScope(state_mapping=zip(weights.values(), values, strict=True)):
            # What a session is given is not looked at: one channel would be taken for all.
            taken = parts.before(tf.ensure_shape(image, spec.shape))
        return parts.label(*taken), tf.nn.softmax(parts.logits(*taken))

    traced = tf.function(segment, autograph=False).get_concrete_function(
        spec,
        [tf.TensorSpec(weight.shape, tf.float32) for weight in weights.values()],
    )
    inputs = [f"{op.name}:0" for op in traced.graph.get_operations() if op.type == "Placeholder"]
    if len(inputs) != 1 + len(weights):
        return None  # it needs something else
    feeds = dict(zip(("image", *weights), inputs, strict=True))
    labels, probabilities = (output.name for output in traced.outputs)
    names = {
        "num_classes": network.output_shape[-1],
        "images": stored_pixels(network),
        "signatures": {
            "segment": [feeds, {"class_ids": labels}],
            "probabilities": [feeds, {"probabilities": probabilities}],
        },
        "weights": {name: list(weight.shape) for name, weight in weights.items()},
        "fixed": {
            name: digest(keras.ops.convert_to_numpy(weights[name]))
            for name in (f"{layer.conv.name}/0" for layer in interpolations_of(computed))
        },
    }
    with written_whole(kept) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(GRAPH, traced.graph.as_graph_def().SerializeToString())
        out.writestr(NAMES, json.dumps(names))
    return kept


def _is_known(config):
    """Whether all that a network is built of is Keras' or this package's.

    What others have written may be something else tomorrow, under the same name.
    """
    if isinstance(config, list):
        return all(map(_is_known, config))
    if not isinstance(config, dict):
        return True
    if "registered_name" in config:
        # Classes of Keras are told by their module, others by "package>name".
        package, of_others, _ = (config["registered_name"] or "").partition(">")
        if not of_others:
            package, *_ = (config["module"] or "").split(".")
        if package not in ("keras", "fcn_keras"):
            return False
    return config.get("class_name") != "__lambda__" and all(map(_is_known, config.values()))
