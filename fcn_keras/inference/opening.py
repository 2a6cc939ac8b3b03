"""The one way from a path or an address to what labels images."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from fcn_keras.errors import UserError
from fcn_keras.inference.classes import find_saved_model, numbered_classes, read_classes
from fcn_keras.inference.run_folder import network_file
from fcn_keras.inference.segmenter import Segmenter
from fcn_keras.models.weights.hub import KERAS_PARTS, fetched, is_hub_address
from fcn_keras.system.console import import_tensorflow_silently, stderr_held

if TYPE_CHECKING:
    import keras

    from fcn_keras.client.client import Client

# The most bytes of weights of a network that labels two batches at once.
LIGHT = 128 << 20

# An image is seen whole, once.
_WHOLE = {"tile": None, "scales": (1.0,), "flip": False}


def open_network(
    what: "str | Path | keras.Model | Client | Segmenter",
    *,
    tile: int | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    classes: str | Path | None = None,
    kept_graph: bool = True,
) -> Segmenter:
    """Opens what labels images.

    TensorFlow and Keras are imported only if they are needed: not for an export, not for a
    server, and not for a network whose graph has been kept, see
    `fcn_keras.inference.c_library.graph_reader`.

    Args:
        what: a run directory; a `.keras` file; a network of the hub, `hf://USER/NAME`; an exported
            SavedModel, or the folder of its versions, of which the newest is taken; the URL of a
            server. Or what has been opened: a Keras model, a `Client`, a `Segmenter`, which is
            returned as it is.
        tile, scales, flip: see `fcn_keras.inference.keras_segmenter.make_segmenter`; for a run, a
            `.keras` file or a Keras model.
        classes: where names and colours of the classes are, see
            `fcn_keras.inference.classes.read_classes`; those of the network if not given.
        kept_graph: whether a run or a `.keras` file may be opened by a kept graph, which has no
            Keras model, and its graph be kept.

    Raises:
        UserError: if there is no such network, or an argument is out of its range.
        ServerError: if the server cannot be reached, or fails.

    Example:

    >>> segmenter = open_network("runs/roads-fcn8s")
    >>> [class_ids] = segmenter.label([image])
    """
    names = read_classes(classes) if classes else None
    views = {"tile": tile, "scales": tuple(scales), "flip": flip}
    # A folder of the hub's cache is called by a commit's hash.
    address = what if is_hub_address(what) else None
    source = fetched(address) if address else what
    segmenter = _opened(source, views, kept_graph and views == _WHOLE)
    segmenter.name = address.rpartition("/")[2] if address else segmenter.name
    if names:
        if len(names[0]) != len(segmenter.classes):
            raise UserError(
                f"--classes: {classes} names {len(names[0])} classes, and {segmenter.name} tells "
                f"{len(segmenter.classes)} apart."
            )
        segmenter.classes, segmenter.colors = names
    return segmenter


def is_address(what: object) -> bool:
    """Whether something is the URL of a server, and no path, which may look like one."""
    return (
        isinstance(what, str)
        and "://" in what
        and not is_hub_address(what)
        and not os.path.exists(what)
    )


def _opened(what, views, kept_graph):
    if isinstance(what, Segmenter):
        for name in _given(views):
            raise UserError(f"`{name}`: is for what has not been opened yet.")
        return what
    if isinstance(what, str | Path) and not is_address(what):
        folder = find_saved_model(what)
        return _open_export(what, folder, views) if folder else _open_file(what, views, kept_graph)
    from fcn_keras.client.client import Client
    from fcn_keras.inference.remote import Remote

    if isinstance(what, str | Client):
        for name in _given(views):
            raise UserError(f"--{name}: is not for a --server, which sees an image whole, once.")
        return Remote(Client(what) if isinstance(what, str) else what)
    from fcn_keras.inference.keras_segmenter import KerasSegmenter
    from fcn_keras.inference.network import Network

    return KerasSegmenter(
        Network(what, *numbered_classes(what.output_shape[-1]), {}, (), what), what.name, **views
    )


def _open_export(path, folder, views):
    for name in _given(views):
        raise UserError(
            f"--{name}: is for a run or a .keras file. {folder} is exported, and sees an image "
            "whole, once."
        )
    from fcn_keras.inference.c_library.saved_model import Exported

    files = {
        file.relative_to(folder).as_posix(): file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    with ThreadPoolExecutor(1) as aside, stderr_held():
        digests = aside.map(_digest, files.values())
        segmenter = Exported(folder)
    segmenter.job = {"exported": dict(zip(files, digests, strict=True))}
    segmenter.at_once = _at_once([*files.values()])
    return segmenter


def _open_file(path, views, kept_graph):
    from fcn_keras.inference.c_library.graph_reader import open_kept_graph

    file = network_file(path, "a .keras file, an exported SavedModel, or the URL of a server")
    with ThreadPoolExecutor(1) as aside:
        digest = aside.submit(_digest, file)
        segmenter: Segmenter | None = open_kept_graph(path) if kept_graph else None
        if segmenter:
            files = [part for part in file.rglob("*") if part.is_file()] or [file]
            segmenter.at_once = _at_once(files)
        else:
            segmenter = _by_keras(path, file, views, kept_graph)
        segmenter.job = {
            "network": digest.result(),
            "scales": views["scales"],
            "flip": views["flip"],
        }
    return segmenter


def _at_once(files):
    """How many batches a network is given at once, by the size of its files."""
    return 2 if sum(file.stat().st_size for file in files) <= LIGHT else 1


def _by_keras(path, file, views, kept_graph):
    import_tensorflow_silently()
    from fcn_keras.inference.c_library.graph_writer import keep_graph
    from fcn_keras.inference.keras_segmenter import KerasSegmenter
    from fcn_keras.inference.network import load_network

    network = load_network(path)
    if kept_graph:
        keep_graph(network.full, file)
    return KerasSegmenter(network, Path(path).resolve().name, **views)


def _given(views):
    """The names of the ways of looking at an image that are not those by default."""
    return [name for name, value in views.items() if value != _WHOLE[name]]


def _digest(path):
    """The hash of a file; of a folder of a network, that of how it is built and of its weights."""
    if path.is_dir():
        parts = "".join(_digest(path / name) for name in KERAS_PARTS if name != "metadata.json")
        return hashlib.sha256(parts.encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
