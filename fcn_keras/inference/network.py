"""Trained networks with what their classes are called."""

from pathlib import Path
from typing import NamedTuple

import keras

from fcn_keras.data.dataset import Dataset
from fcn_keras.data.files.readers import PHOTOGRAPHS, AsStored, ImageReader
from fcn_keras.errors import UserError
from fcn_keras.inference.classes import numbered_classes
from fcn_keras.inference.run_folder import classes_of, config_of, local_folder, network_file
from fcn_keras.models.channels import stored_pixels
from fcn_keras.models.head import first_head
from fcn_keras.models.weights.keras_files import open_model


class Network(NamedTuple):
    """A trained network and what its classes are called.

    Attributes:
        model: images `(N, H, W, 3)`, or of other channels, to logits `(N, H, W, C)`.
        classes: C names.
        colors: C RGB triples.
        config: the `config.json` of its run; empty for a file on its own.
        heads: names of the network's outputs if there are several; `model` has the first alone,
            `full` has all.
        full: the network with all of its outputs.
    """

    model: keras.Model
    classes: list[str]
    colors: list[tuple[int, int, int]]
    config: dict
    heads: tuple[str, ...]
    full: keras.Model

    @property
    def images(self) -> ImageReader:
        """How the images are read that it takes."""
        pixels = stored_pixels(self.full)
        return AsStored(*pixels) if pixels else PHOTOGRAPHS

    def check_dataset(self, dataset: Dataset, path: str | Path, name: str):
        """Raises a `UserError` if a data set has other classes, or other label maps.

        Args:
            dataset: the data set.
            path, name: what the network and the data set are called.
        """
        if {*dataset.heads} != {*self.heads}:
            two = [
                f"the label maps {', '.join(heads)}" if heads else "one label map"
                for heads in (self.heads, dataset.heads)
            ]
            raise UserError(f"{path} scores {two[0]}, and {name} has {two[1]}.")
        for head, theirs in (dataset.heads or {"": dataset.classes}).items():
            ours = self._classes_of(head)
            suffix = f" in {head}" if head else ""
            if len(theirs) != len(ours):
                raise UserError(
                    f"{path} tells {len(ours)} classes apart{suffix}, but {name} has {len(theirs)}."
                )
            # Names may differ, as those of another language do, but not mean other numbers.
            for number, known in enumerate(theirs):
                if known in ours and ours[number] != known:
                    raise UserError(
                        f"{path} and {name} number the classes differently{suffix}: {known!r} is "
                        f"{ours.index(known)} there and {number} here."
                    )

    def _classes_of(self, head):
        """The names of a head's classes, or where nothing tells them, numbers."""
        if not head or head == self.heads[0]:
            return self.classes
        number = self.full.get_layer(f"score_{head}").output.shape[-1]
        classes = self.config.get("dataset", {}).get("heads", {}).get(head, ())
        return list(classes) if len(classes) == number else numbered_classes(number)[0]


def load_network(path: str | Path) -> Network:
    """Opens a run's best network, or a `.keras` file.

    Args:
        path: a run directory, a `.keras` file, or an address of the hub, `hf://USER/NAME`. Class
            names and colours come from the run; a file that does not lie in one gets numbers and
            the colours of PASCAL VOC.

    Returns:
        A `Network`: its Keras `model` of images `(N, H, W, 3)` to logits `(N, H, W, C)`, the
        `classes`, C names, and their `colors`, C RGB triples.

    Raises:
        UserError: if there is no network; says what to do.

    Example:

    >>> network = load_network("runs/roads-fcn8s")
    >>> network.classes
    ['sky', 'road', 'car']
    """
    path = local_folder(path)
    file = network_file(path)
    full = open_model(file)
    outputs = getattr(full, "outputs", ())
    names = getattr(full, "output_names", ())
    several = isinstance(getattr(full, "output", None), list | tuple | dict)
    if (
        not outputs
        or any(len(output.shape) != 4 for output in outputs)
        or (several and not all(name.startswith("score_") for name in names))
    ):
        raise UserError(f"{file}: holds no segmentation network ({full.name}).")
    config = config_of(path)
    heads: tuple[str, ...] = ()
    if several:
        heads = tuple(name.removeprefix("score_") for name in names)
        # In the order of the run's label maps, which a file on its own does not tell.
        known = tuple(config.get("dataset", {}).get("heads", ()))
        heads = known if {*known} == {*heads} else heads
    model = first_head(full, heads)
    return Network(model, *classes_of(config, model.output_shape[-1]), config, heads, full)
