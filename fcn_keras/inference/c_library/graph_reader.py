"""Networks of `.keras` files by graphs that were traced before: without TensorFlow's Python.

To import TensorFlow and Keras, to build a network and to trace its graph takes longer than to
label an image. The graph does not depend on the weights: one small file serves all networks that
are built alike.
"""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

from fcn_keras.data.files.readers import AsStored
from fcn_keras.errors import first_line
from fcn_keras.inference.c_library import library
from fcn_keras.inference.c_library.saved_model import InLibrary
from fcn_keras.inference.run_folder import classes_of, config_of, network_file
from fcn_keras.system.console import debug_line, stderr_held
from fcn_keras.system.processor import has_only_avx2
from fcn_keras.system.versions import versions

# In a file of a graph: the graph, and the names of what goes in and comes out.
GRAPH, NAMES = "graph.pb", "names.json"

PACKAGE = Path(__file__).parents[2]

# What decides, in this package, on the graph of a network.
DECISIVE = ("models/**/*.py", "cpu/**/*.py", "inference/c_library/graph_*.py")

# What is raised where there is no graph, or no folder for it (OSError, RuntimeError), where memory
# does not do, by damaged files, and by networks that are stored otherwise than Keras does.
UNUSABLE = (
    MemoryError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)

# Graphs are for processors. One of these is there where there is a GPU.
_GPUS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


class KeptGraph(InLibrary):
    """A run's best network, or that of a `.keras` file, in TensorFlow's C library.

    Args:
        path: a run directory or a `.keras` file.

    Raises:
        UserError: if there is no network; says what to do.
        Exception: one of `UNUSABLE`, if no graph of it has been kept, see
            `fcn_keras.inference.c_library.graph_writer.keep_graph`, or if the file is not what
            Keras writes.

    Example:

    >>> network = KeptGraph("runs/roads-fcn8s")
    >>> network.segment(images).shape == images.shape[:3]
    True
    """

    def __init__(self, path: str | Path):
        config = config_of(path)
        with opened(network_file(path)) as network:
            with zipfile.ZipFile(graph_file(network)) as archive:
                graph, names = archive.read(GRAPH), json.loads(archive.read(NAMES))
            self.session = library.Graph(graph, names["signatures"])
            missing = {name: tuple(shape) for name, shape in names["weights"].items()}
            for name, stored in stored_weights(network):
                # TensorFlow would take any other shape too.
                if missing.get(name) == stored.shape:
                    del missing[name]
                    held = self.session.hold(name, stored.shape, stored.dtype)
                    stored.read_direct(held)
                    if name in names["fixed"] and digest(held) != names["fixed"][name]:
                        raise ValueError(f"has other weights {name} than the graph is for.")
        if missing:
            raise ValueError(f"has no weights {', '.join(missing)} that fit.")
        super().__init__(Path(path).resolve().name, *classes_of(config, names["num_classes"]))
        if names["images"]:
            self.images = AsStored(*names["images"])


def open_kept_graph(path: str | Path) -> KeptGraph | None:
    """Returns the network of a run or a `.keras` file; None if it has to be opened by Keras.

    Raises:
        UserError: if there is no network; says what to do.
    """
    config_of(path)  # what is wrong with it is told
    if any(map(os.path.exists, _GPUS)):
        return None
    try:
        with stderr_held():
            return KeptGraph(path)
    # Keras opens the file, or says what is wrong with it.
    except UNUSABLE as error:
        debug_line(f"{path}: is opened by Keras: {first_line(error)}")
        return None


def opened(file: Path) -> AbstractContextManager[zipfile.ZipFile | Path]:
    """Opens a `.keras` file; a folder of its parts, as Keras' `hf://` has them, is as it is."""
    return nullcontext(file) if file.is_dir() else zipfile.ZipFile(file)


def graph_file(network: zipfile.ZipFile | Path) -> Path:
    """Returns where the graph of a network is kept, whether it is there or not.

    It lies in Keras' folder. Its name stands for all that it depends on: how the network is built,
    what traces it, of this package and of its libraries, and the processor.

    Args:
        network: what `opened` returned.
    """
    key = hashlib.sha256(read_part(network, "config.json"))
    for file in sorted(file for pattern in DECISIVE for file in PACKAGE.glob(pattern)):
        key.update(file.read_bytes())
    key.update(json.dumps([versions(), has_only_avx2()]).encode())
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return home / "fcn_keras" / "graphs" / f"{key.hexdigest()}.zip"


def digest(weights: np.ndarray) -> str:
    """Returns what weights are known by for which alone a graph computes what a network does."""
    return hashlib.sha256(weights.tobytes()).hexdigest()


def stored_weights(network: zipfile.ZipFile | Path) -> Iterator[tuple[str, h5py.Dataset]]:
    """Finds the weights in float32 of a network's layers.

    Args:
        network: what `opened` returned.

    Returns:
        An iterator of names and of what can be read until the next one is asked for. A name is
        that of the layer, and which of its weights it is: "conv1_1/0". Layers whose names are not
        stored, as by early versions of Keras 3, and those of networks within it are left out.
        So is what Keras refuses: what lies in other places than its own.
    """
    with h5py.File(BytesIO(read_part(network, "model.weights.h5"))) as file:
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


def read_part(network: zipfile.ZipFile | Path, name: str) -> bytes:
    """Reads a part of a `.keras` file, which Keras does not compress.

    Args:
        network: what `opened` returned.
        name: of the part.

    Raises:
        Exception: one of `UNUSABLE`, if there is none, or it is compressed.
    """
    if isinstance(network, Path):
        return (network / name).read_bytes()
    if network.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed.")
    return network.read(name)
