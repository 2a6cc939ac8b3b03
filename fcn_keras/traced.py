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
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

from fcn_keras import c_api
from fcn_keras.processor import has_only_avx2
from fcn_keras.run import classes_of, config_of, network_file

# In a file of a graph; in a `.keras` file.
GRAPH, ABOUT = "graph.pb", "about.json"
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


class Traced:
    """A run's best network, or that of a `.keras` file, in TensorFlow's C library.

    Args:
        path: a run directory or a `.keras` file.

    Attributes:
        classes: C names.
        colors: C RGB triples.

    Raises:
        UserError: if there is no network; says what to do.
        OSError, RuntimeError, KeyError, ValueError, zipfile.BadZipFile, MemoryError: if there is no
            graph of it, see `fcn_keras.tracing.keep_graph`, or if anything else keeps it from
            being opened in this way.

    Example:

    >>> network = Traced("runs/roads-fcn8s")
    >>> network.segment(images).shape == images.shape[:3]
    True
    """

    def __init__(self, path: str | Path):
        file = network_file(path)
        with zipfile.ZipFile(graph_file(file)) as archive:
            graph, about = archive.read(GRAPH), json.loads(archive.read(ABOUT))
        self.classes, self.colors = classes_of(config_of(path), about["num_classes"])
        self._graph = c_api.Graph(graph, about["signatures"])
        inputs, _ = about["signatures"]["segment"]
        for name, stored in stored_weights(file):
            if name in inputs:
                stored.read_direct(self._graph.hold(name, stored.shape, stored.dtype))

    def segment(self, images: np.ndarray) -> np.ndarray:
        """Labels images.

        Args:
            images: uint8 `(N, H, W, 3)`, RGB.

        Returns:
            uint8 `(N, H, W)`, class ids.

        Raises:
            MemoryError: if they take more memory than there is.
        """
        return self._graph.run("segment", {"image": images})["class_ids"]


def open_traced(path: str | Path) -> Traced | None:
    """Returns the network of a run or a `.keras` file; None if it has to be opened by Keras.

    Raises:
        UserError: if there is no network; says what to do.
    """
    network_file(path), config_of(path)  # what is wrong with these is told
    try:
        return Traced(path)
    # What is wrong with the rest Keras tells, if it is not the graph alone.
    except (OSError, RuntimeError, KeyError, ValueError, zipfile.BadZipFile, MemoryError):
        return None


def graph_file(network: str | Path) -> Path:
    """Returns where the graph of a network is kept, whether it is there or not.

    It lies where Keras keeps what it downloads. Its name stands for all that it depends on: how
    the network is built, this package and its libraries, and what they compute with.

    Args:
        network: a `.keras` file.

    Raises:
        OSError, KeyError, zipfile.BadZipFile: if it is none.
    """
    with zipfile.ZipFile(network) as archive:
        found = hashlib.sha256(archive.read(_CONFIG))
    for file in sorted(Path(__file__).parent.glob("*.py")):
        found.update(file.read_bytes())
    machine = (has_only_avx2(), os.path.exists("/dev/nvidiactl"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    found.update(repr((version("tensorflow"), version("keras"), machine, visible)).encode())
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    return home / "fcn_keras" / "graphs" / f"{found.hexdigest()}.zip"


def stored_weights(network: str | Path) -> Iterator[tuple[str, h5py.Dataset]]:
    """Finds the weights in a `.keras` file.

    Args:
        network: the file.

    Returns:
        An iterator of names and of what can be read until the next one is asked for. A name is
        that of the layer, and which of its weights it is: "conv1_1/0". Layers whose names are not
        stored, as by early versions of Keras 3, are left out.
    """
    with zipfile.ZipFile(network) as archive:
        content = BytesIO(archive.read(_WEIGHTS))
    groups = []
    with h5py.File(content) as file:
        file.visititems(lambda _, found: groups.append(found) if "name" in found.attrs else None)
        for group in groups:
            for number, stored in group.items():
                yield f"{group.attrs['name']}/{number}", stored
