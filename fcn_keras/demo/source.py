"""What labels the images on the page of `demo`: a network, an export of one, or a server."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fcn_keras.demo.examples import examples_of
from fcn_keras.demo.html import encoded
from fcn_keras.errors import UserError
from fcn_keras.inference.classes import find_saved_model, numbered_classes, read_classes
from fcn_keras.inference.network import load_network
from fcn_keras.inference.segmenter import make_segmenter


class Source(NamedTuple):
    """What labels the images.

    Attributes:
        name: what the page is called.
        label: uint8 image `(H, W, 3)`, RGB, to uint8 class ids `(H, W)`.
        classes: C names.
        colors: C RGB triples.
        examples: images to try, by name.
    """

    name: str
    label: Callable[[np.ndarray], np.ndarray]
    classes: list[str]
    colors: list[tuple[int, int, int]]
    examples: dict[str, np.ndarray]


def open_source(source: str | Path, classes: str | Path | None = None) -> Source:
    """Opens what labels the images.

    Args:
        source: a run directory; a `.keras` file; an exported SavedModel, or the folder of its
            versions, of which the newest is taken; or the URL of a server of one.
        classes: where names and colours of the classes are, see
            `fcn_keras.inference.classes.read_classes`; those of the source if not given.

    Raises:
        UserError: if there is no such network, or it does not take RGB images of any size.
    """
    path = Path(source)
    exported = find_saved_model(path)
    if "://" in str(source):
        opened = _open_server(str(source))
    elif exported:
        # A version is called as the folder of versions is.
        home = path.resolve()
        name = home.parent.name if home.name.isdecimal() else home.name
        opened = _open_saved_model(exported, name)
    elif path.is_dir() and not (path / "best.keras").exists():
        raise UserError(
            f"{path}: must be a run directory with a best.keras in it, a .keras file, an exported "
            "SavedModel, or the URL of a server."
        )
    else:
        opened = _open_network(path)
    if classes is None:
        return opened
    names, colors = read_classes(classes)
    if len(names) != len(opened.classes):
        raise UserError(
            f"--classes: {classes} names {len(names)} classes, and {source} tells "
            f"{len(opened.classes)} apart."
        )
    return opened._replace(classes=names, colors=colors)


def _open_network(path):
    network = load_network(path)
    if network.model.input_shape != (None, None, None, 3):
        shape = ", ".join(map(str, network.model.input_shape[1:]))
        raise UserError(
            f"{path}: takes images of ({shape}). The page is for networks that take RGB images "
            "of any size, (None, None, 3)."
        )
    segment = make_segmenter(network.model)
    return Source(
        path.resolve().name,
        lambda image: np.asarray(segment(image[None])[0]),
        network.classes,
        network.colors,
        examples_of(network.config),
    )


def _open_saved_model(path, name):
    classes, colors = read_classes(path)
    loaded = tf.saved_model.load(path)
    if "segment" not in loaded.signatures:
        raise UserError(f"{path}: has no signature `segment`, as exports of this package have.")

    def label(image):
        # The signature's variables live as long as what was loaded.
        answer = loaded.signatures["segment"](image=tf.constant(image[None]))
        return answer["class_ids"][0].numpy()

    return Source(name, label, classes, colors, {})


def _open_server(url):
    from fcn_keras.client.client import Client

    try:
        client = Client(url, retries=1)  # someone is waiting
    except UserError as error:
        raise UserError(str(error).replace("--server:", "URL:", 1)) from error

    def label(image):
        # In a format that every server decodes to the same pixels.
        [class_ids] = client.label([encoded(image, "PNG", compress_level=1)])
        if class_ids is None:
            raise UserError(f"{url}: the server refuses the image.")
        return class_ids

    return Source(url, label, *numbered_classes(client.num_classes), {})
