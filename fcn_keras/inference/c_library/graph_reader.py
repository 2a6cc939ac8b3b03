"""Networks of `.keras` files by graphs that were traced before: without TensorFlow's Python.

To import TensorFlow and Keras, to build a network and to trace its graph takes longer than to
label an image. The graph does not depend on the weights: one small file serves all networks that
are built alike.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

from fcn_keras.inference.c_library import library as c_api
from fcn_keras.inference.c_library.saved_model import InLibrary
from fcn_keras.inference.run_folder import classes_of, config_of, network_file
from fcn_keras.system.processor import has_only_avx2
from fcn_keras.system.versions import versions

# In a file of a graph.
GRAPH, ABOUT = "graph.pb", "about.json"

# Graphs are for processors. One of these is there where there is a GPU.
_GPUS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


class Traced(InLibrary):
    """A run's best network, or that of a `.keras` file, in TensorFlow's C library.

    Args:
        path: a run directory or a `.keras` file.

    Attributes:
        classes: C names.
        colors: C RGB triples.

    Raises:
        UserError: if there is no network; says what to do.
        Exception: of any kind, if no graph of it has been kept, see
            `fcn_keras.inference.c_library.graph_writer.keep_graph`, or if the file is not what
            Keras writes.

    Example:

    >>> network = Traced("runs/roads-fcn8s")
    >>> network.segment(images).shape == images.shape[:3]
    True
    """

    def __init__(self, path: str | Path):
        config = config_of(path)
        with zipfile.ZipFile(network_file(path)) as network:
            with zipfile.ZipFile(graph_file(network)) as archive:
                graph, about = archive.read(GRAPH), json.loads(archive.read(ABOUT))
            self.classes, self.colors = classes_of(config, about["num_classes"])
            self._model = c_api.Graph(graph, about["signatures"])
            missing = {name: tuple(shape) for name, shape in about["weights"].items()}
            for name, stored in stored_weights(network):
                # TensorFlow would take any other shape too.
                if missing.get(name) == stored.shape:
                    del missing[name]
                    stored.read_direct(self._model.hold(name, stored.shape, stored.dtype))
        if missing:
            raise ValueError(f"{path}: has no weights {', '.join(missing)} that fit.")


def open_traced(path: str | Path) -> Traced | None:
    """Returns the network of a run or a `.keras` file; None if it has to be opened by Keras.

    Raises:
        UserError: if there is no network; says what to do.
    """
    network_file(path), config_of(path)  # what is wrong with these is told
    if any(map(os.path.exists, _GPUS)):
        return None
    try:
        return Traced(path)
    # Whatever it is: Keras opens the file, or says what is wrong with it.
    except Exception:
        return None


def graph_file(network: zipfile.ZipFile) -> Path:
    """Returns where the graph of a network is kept, whether it is there or not.

    It lies in Keras' folder. Its name stands for all that it depends on: how the network is built,
    this package and its libraries, and the processor.

    Args:
        network: a `.keras` file, opened.
    """
    found = hashlib.sha256(_read(network, "config.json"))
    for file in sorted(Path(__file__).parents[2].rglob("*.py")):
        found.update(file.read_bytes())
    found.update(json.dumps([versions(), has_only_avx2()]).encode())
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return home / "fcn_keras" / "graphs" / f"{found.hexdigest()}.zip"


def stored_weights(network: zipfile.ZipFile) -> Iterator[tuple[str, h5py.Dataset]]:
    """Finds the weights in float32 of a network's layers.

    Args:
        network: a `.keras` file, opened.

    Returns:
        An iterator of names and of what can be read until the next one is asked for. A name is
        that of the layer, and which of its weights it is: "conv1_1/0". Layers whose names are not
        stored, as by early versions of Keras 3, and those of networks within it are left out.
        So is what Keras refuses: what lies in other places than its own.
    """
    with h5py.File(BytesIO(_read(network, "model.weights.h5"))) as file:
        for layer in file["layers"].values():
            group = layer.get("vars", {})
            for number in group:
                stored = group[number]
                if (
                    isinstance(group.get(number, getlink=True), h5py.HardLink)
                    and isinstance(stored, h5py.Dataset)
                    and not (stored.external or stored.is_virtual)
                    and stored.dtype == np.float32
                    and "name" in group.attrs
                ):
                    yield f"{group.attrs['name']}/{number}", stored


def _read(network, name):
    """Reads a part of a `.keras` file, which Keras does not compress."""
    if network.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed.")
    return network.read(name)
