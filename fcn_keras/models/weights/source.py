"""Where a network's weights come from, and the preprocessing that they were trained with."""

import warnings
from pathlib import Path

import h5py
import keras
from keras import layers

from fcn_keras.errors import UserError, first_line
from fcn_keras.models.variants import ALEXNET, COLOR_HHA, HHA
from fcn_keras.models.weights.copying import copy_weights
from fcn_keras.models.weights.imagenet import fetch_imagenet, load_classifier
from fcn_keras.models.weights.keras_files import open_model
from fcn_keras.models.weights.published import SUFFIXES, is_foreign, read_weights
from fcn_keras.models.weights.transplant import is_classifier, transplant

# BGR means in grey levels: of Keras' VGG16 weights, and of the reference's networks and CaffeNet.
IMAGENET_MEAN = (103.939, 116.779, 123.68)

REFERENCE_MEAN = (104.00699, 116.66877, 122.67892)

# What NYUDv2's HHA images have on average, in their files' own order (nyud_layers.py).
HHA_MEAN = (132.431, 94.076, 118.477)

# Grey levels of a usual photograph scatter by about this much: dividing by it lets a random
# start see numbers of order one, which He scaling then carries through all 16 layers.
RANDOM_START_STD = 64.0


class Source:
    """Where weights come from, and the preprocessing they were trained with."""

    def __init__(self, weights, variant, width=1.0):
        self.path = None
        mean, self.std = IMAGENET_MEAN, 1.0
        if weights is None:
            self.std = RANDOM_START_STD
        elif weights == "imagenet":
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
            self.path = fetch_imagenet()
        else:
            self.path = Path(weights)
            if not self.path.is_file():
                raise UserError(
                    "`weights` must be 'imagenet', None, or the path of a file. "
                    f"Received: {str(weights)!r}, which is no file."
                )
            if is_foreign(self.path):
                self.blobs = read_weights(self.path)
                self.starting = is_classifier(self.blobs)
                mean = REFERENCE_MEAN
        self.mean = {HHA: HHA_MEAN, COLOR_HHA: (*mean, *HHA_MEAN)}.get(variant, mean)
        if self.path is None or is_foreign(self.path):
            return
        if self.path.suffix == ".keras":
            self.model = open_model(self.path)
            self.mean, self.std = preprocessing_of(self.model)
        elif self.path.name.endswith(".weights.h5"):
            self._read_preprocessing()
        elif self.path.suffix != ".h5":
            raise UserError(
                "`weights` files end in .keras, .weights.h5, .h5 (Keras' VGG16), "
                f"{', '.join(SUFFIXES)}. Received: {weights}."
            )

    def _read_preprocessing(self):
        """Reads mean and scale from a `.weights.h5` file, if `fcn-keras convert` wrote it."""
        try:
            with h5py.File(self.path, "r") as file:
                if "fcn_keras_input_mean" in file.attrs:
                    self.mean = tuple(file.attrs["fcn_keras_input_mean"])
                    self.std = float(file.attrs["fcn_keras_input_std"])
        except OSError as error:
            raise UserError(f"{self.path}: is no HDF5 file ({first_line(error)}).") from error

    @property
    def whole(self) -> bool:
        """Whether every kernel of the trunk will be filled, so that none needs a random start."""
        return self.path is not None

    def fill(self, model, output_stride=32):
        """Puts the weights into a network; nothing where it starts from random ones."""
        if self.path is None:
            return
        # A dilated network upsamples by another factor; its kernel stays bilinear.
        skip = {"upscore"} if output_stride != 32 else set()
        if is_foreign(self.path):
            transplant(self.blobs, model, self.path, self.starting, skip)
            self.blobs = None
        elif self.path.suffix == ".keras":
            different = _scales(self.model) ^ _scales(model)
            if different:
                raise UserError(
                    f"{self.path}: holds {self.model.name}, not {model.name}: only one of them has "
                    f"{', '.join(sorted(different))}."
                )
            names = [layer.name for layer in model.layers if layer.weights]
            copy_weights(self.model, model, {name: name for name in names if name not in skip})
        elif self.path.name.endswith(".weights.h5"):
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
        else:
            load_classifier(model, self.path)


def preprocessing_of(model: keras.Model) -> tuple[tuple[float, ...], float]:
    """Returns the BGR mean that a network subtracts, and the number it divides by.

    Raises:
        UserError: if it is no network of this package.
    """
    configs = [layer.get_config() for layer in model.layers if layer.name.startswith("normalize")]
    if not configs:
        raise UserError(f"{model.name} is no network of this package: it has no layer normalize.")
    mean = tuple(number for config in configs for number in config["mean"])
    return mean, configs[0]["variance"][0] ** 0.5


def _scales(model):
    """The fixed scales of a network, which hold no weights that could be compared."""
    return {layer.name for layer in model.layers if isinstance(layer, layers.Rescaling)}
