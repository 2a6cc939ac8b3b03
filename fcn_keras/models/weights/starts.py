"""What a network starts from: a class for each kind of weights, and the choice among them."""

import json
import warnings
from collections.abc import Collection
from pathlib import Path

import h5py
import keras
import numpy as np

from fcn_keras.errors import UserError, first_line
from fcn_keras.models.channels import Stored, stored_numbers
from fcn_keras.models.layers import preprocessing_of
from fcn_keras.models.variants import ALEXNET, COLOR_D, COLOR_HHA, HHA
from fcn_keras.models.weights.copying import copy_weights
from fcn_keras.models.weights.first_layer import blobs_for
from fcn_keras.models.weights.hub import fetched, is_hub_address, network_in
from fcn_keras.models.weights.imagenet import copy_classifier, fetch_imagenet, load_classifier
from fcn_keras.models.weights.keras_files import open_model
from fcn_keras.models.weights.published import SUFFIXES, is_foreign, read_weights
from fcn_keras.models.weights.reference import (
    FETCHED,
    fetch_published,
    is_published_name,
)
from fcn_keras.models.weights.transplant import is_classifier, is_scale, transplant

# BGR means in grey levels: of Keras' VGG16 weights, and of the reference's networks and CaffeNet.
IMAGENET_MEAN = (103.939, 116.779, 123.68)
REFERENCE_MEAN = (104.00699, 116.66877, 122.67892)

# What NYUDv2's HHA images have on average, in their files' own order (nyud_layers.py).
HHA_MEAN = (132.431, 94.076, 118.477)

# What the logarithms of NYUDv2's depths, in millimetres, are on average: of 2.55 m.
LOG_DEPTH_MEAN = 7.844

# Grey levels of a usual photograph scatter by about this much: dividing by it lets a random
# start see numbers of order one, which He scaling then carries through all 16 layers.
RANDOM_START_STD = 64.0

# The logarithms of a room's depths scatter by about this much.
RANDOM_START_LOG_DEPTH_STD = 0.5


class Start:
    """What a network starts from; this one, the random kernels that it is built with.

    Attributes:
        mean: what the weights expect to be subtracted from an image: BGR, HHA, or both; or BGR
            and the logarithm of the depth.
        std: what they expect it to be divided by.
        stored: what the images were that they were trained on; None for photographs.
    """

    mean: tuple[float, ...]
    std: float | tuple[float, ...]
    stored: Stored | None = None

    def __init__(
        self,
        variant: str,
        color_mean: tuple[float, ...] = IMAGENET_MEAN,
        std: float | tuple[float, ...] = 1.0,
    ):
        self.mean = {
            HHA: HHA_MEAN,
            COLOR_HHA: (*color_mean, *HHA_MEAN),
            COLOR_D: (*color_mean, LOG_DEPTH_MEAN),
        }.get(variant, color_mean)
        self.std = std

    def fill(self, model: keras.Model, skip: Collection[str] = ()) -> None:
        """Puts the weights into a network; the layers named in `skip` stay as they are."""


class ClassifierFile(Start):
    """Keras' own VGG16 with its dense layers, an `.h5` file; layers that score keep their start."""

    def __init__(self, path: Path, variant: str):
        super().__init__(variant)
        self.path = path

    def fill(self, model: keras.Model, skip: Collection[str] = ()) -> None:
        load_classifier(model, self.path)


class Classifier(Start):
    """Keras' own VGG16 with its dense layers; layers that score keep their start."""

    def __init__(self, classifier: keras.Model, variant: str):
        super().__init__(variant)
        self.classifier = classifier

    def fill(self, model: keras.Model, skip: Collection[str] = ()) -> None:
        copy_classifier(self.classifier, model)


class KerasFile(Start):
    """A network of this package in a `.keras` file, or in a folder as that is unpacked.

    Attributes:
        path: where it came from, for messages.
    """

    def __init__(self, path: Path, variant: str, address: str = ""):
        self.path = address or path
        self.model = open_model(path)
        self.mean, self.std = preprocessing_of(self.model)
        self.stored = stored_numbers(self.model)

    def fill(self, model: keras.Model, skip: Collection[str] = ()) -> None:
        different = _told_apart_by(self.model) ^ _told_apart_by(model)
        if different:
            other = (
                f"{self.model.name}, not {model.name}"
                if self.model.name != model.name
                else f"a {model.name} with another `backbone` or `upsampling`"
            )
            raise UserError(
                f"{self.path}: holds {other}: only one of them has {', '.join(sorted(different))}."
            )
        same = {layer.name: [weight.shape for weight in layer.weights] for layer in model.layers}
        for layer in self.model.layers:
            # What fits is filled all the same: kernels that have learned.
            if (
                layer.name in skip
                and [weight.shape for weight in layer.weights] != same[layer.name]
            ):
                del same[layer.name]
        copy_weights(self.model, model, {name: name for name, shapes in same.items() if shapes})


class WeightsFile(Start):
    """The weights alone of a network of this package, a `.weights.h5` file.

    `fcn-keras convert` writes the preprocessing beside them; plain Keras does not.

    Attributes:
        tells_preprocessing: whether the file does.
    """

    def __init__(self, path: Path, variant: str):
        super().__init__(variant)
        self.path = path
        try:
            with h5py.File(path, "r") as file:
                self.tells_preprocessing = "fcn_keras_input_mean" in file.attrs
                if self.tells_preprocessing:
                    self.mean = tuple(file.attrs["fcn_keras_input_mean"])
                    std = file.attrs["fcn_keras_input_std"]
                    self.std = tuple(std) if np.ndim(std) else float(std)
                if "fcn_keras_stored" in file.attrs:
                    kind, mean, std = json.loads(file.attrs["fcn_keras_stored"])
                    self.stored = Stored(kind, tuple(mean), tuple(std))
        except OSError as error:
            raise UserError(f"{path}: is no HDF5 file ({first_line(error)}).") from error

    def fill(self, model: keras.Model, skip: Collection[str] = ()) -> None:
        try:
            with warnings.catch_warnings():
                # Keras lists what it skips, layer by layer, before it raises.
                warnings.simplefilter("ignore")
                model.load_weights(self.path)
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{self.path}: holds weights of another network than {model.name} with these "
                f"classes and this width ({first_line(error)})."
            ) from error


class PublishedFile(Start):
    """Weights of another framework: of one of these networks, or of the classifier under it.

    Attributes:
        blobs: the arrays in the file, see `fcn_keras.models.weights.published.read_weights`.
    """

    def __init__(self, path: Path, variant: str):
        super().__init__(variant, REFERENCE_MEAN)
        self.path = path
        self.blobs = read_weights(path)

    def fill(self, model: keras.Model, skip: Collection[str] = ()) -> None:
        starting = is_classifier(self.blobs)
        blobs = blobs_for(model, self.blobs) if starting else self.blobs
        transplant(blobs, model, self.path, starting, skip)


# By the endings of files; the first that fits counts.
_FILES = {".keras": KerasFile, ".weights.h5": WeightsFile, ".h5": ClassifierFile}


def choose_start(
    weights: str | Path | keras.Model | Start | None, variant: str, width: float = 1.0
) -> Start:
    """Returns what a network starts from; files are opened, or fetched, but not yet copied.

    Args:
        weights, variant, width: see `fcn_keras.build`; or Keras' VGG16 itself; or what it is that
            is to be chosen.

    Raises:
        UserError: if there are no such weights, or none for this network.
    """
    if isinstance(weights, Start):
        return weights
    if weights is None:
        color_std = (RANDOM_START_STD,) * 3
        early = (*color_std, RANDOM_START_LOG_DEPTH_STD)
        return Start(variant, std=early if variant == COLOR_D else RANDOM_START_STD)
    if isinstance(weights, keras.Model):
        return Classifier(weights, variant)
    if weights == "imagenet":
        if variant == ALEXNET:
            raise UserError(
                "`weights='imagenet'` are VGG16's. For fcn-alexnet give the path of "
                "bvlc_reference_caffenet.caffemodel, or None for random ones."
            )
        if width != 1:
            raise UserError(
                "`weights='imagenet'` are those of the full VGG16: they need `width=1`. "
                f"Received: width={width}. Use `weights=None` for a narrow network."
            )
        return ClassifierFile(fetch_imagenet(), variant)
    if is_hub_address(weights):
        return KerasFile(network_in(fetched(weights)), variant, weights)
    if is_published_name(weights):
        return PublishedFile(fetch_published(weights, variant), variant)
    path = Path(weights)
    if not path.is_file():
        raise UserError(
            "`weights` must be 'imagenet', None, or the path of a file; or "
            f"{', '.join(map(repr, FETCHED))} or 'hf://USER/NAME'. "
            f"Received: {str(weights)!r}, which is no file."
        )
    if is_foreign(path):
        return PublishedFile(path, variant)
    for ending, kind in _FILES.items():
        if path.name.endswith(ending):
            return kind(path, variant)
    raise UserError(
        "`weights` files end in .keras, .weights.h5, .h5 (Keras' VGG16), "
        f"{', '.join(SUFFIXES)}. Received: {weights}."
    )


def _told_apart_by(model):
    """Layers whose absence comparing weights would not tell, or not why.

    They are fixed scales, which hold no weights, and the steps of a nonlinear upsampling.
    """
    return {
        layer.name
        for layer in model.layers
        if is_scale(layer) or (isinstance(layer, keras.layers.Conv2DTranspose) and layer.use_bias)
    }
