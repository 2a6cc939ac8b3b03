"""Images by which a network in 8 bits is made, and compared."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.images import IMAGE_SUFFIXES, read_image
from fcn_keras.data.files.listing import entries
from fcn_keras.data.registry import load_dataset
from fcn_keras.errors import UserError
from fcn_keras.inference.network import Network

# So many images tell well what values there are, and what changes by 8 bits.
MAX_IMAGES = 100


class Samples(NamedTuple):
    """Images that a network is made for.

    Attributes:
        name: where they come from.
        shown: uint8 `(H, W, 3)`, by which it is found out what values there are.
        scored: others, or the same, by which the networks are compared.
        labels: uint8 `(H, W)` of each of `scored`; None if there are none.
    """

    name: str
    shown: list[np.ndarray]
    scored: list[np.ndarray]
    labels: list[np.ndarray] | None = None


def samples_of(source: str, network: Network) -> Samples:
    """Takes up to 100 images for calibration, and as many to compare networks on.

    Args:
        source: a folder of photographs, which serve both; or a data set, as
            `fcn_keras.data.registry.load_dataset` takes it, whose images for training are for
            calibration, and those for validation are compared on.
        network: the network that is to label them.

    Raises:
        UserError: if there are no images, one cannot be read, or the data set has other classes.
    """
    photos = _photos_in(Path(source))
    try:
        dataset = load_dataset(source)
    except UserError as error:
        if photos:
            images = [read_image(photos[i]) for i in _spread(len(photos))]
            return Samples(source, images, images)
        raise UserError(str(error).replace("`dataset`", "--calibrate", 1)) from error
    network.check_dataset(dataset, "the network", source)
    for split in ("train", "val"):
        if not dataset.splits.get(split):
            raise UserError(f"--calibrate: {source} has no images for {split}.")
    train, val = dataset.splits["train"], dataset.splits["val"]
    scored = [val[i] for i in _spread(len(val))]
    # Of several label maps the first is what an exported network gives.
    labels = [example.label[..., 0] for example in scored]
    if all((label == IGNORE_LABEL).all() for label in labels):
        raise UserError(f"--calibrate: {source} has no labelled pixel in its images for val.")
    shown = [train[i].image for i in _spread(len(train))]
    return Samples(source, shown, [example.image for example in scored], labels)


def _photos_in(folder):
    files = entries(folder) if folder.is_dir() else []
    return [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]


def _spread(count):
    """Up to `MAX_IMAGES` places among so many, evenly apart."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_IMAGES)).round().astype(int)).tolist()
