"""Files of weights alone, which Keras reads into a network that has been built."""

import json
from pathlib import Path

import h5py
import keras

from fcn_keras.exporters.formats import Metadata, Run
from fcn_keras.models.channels import stored_numbers
from fcn_keras.models.layers import preprocessing_of


def write(model: keras.Model, path: Path, metadata: Metadata | None = None) -> None:
    """Does what `model.save_weights` does; the preprocessing goes along in the file's attributes.

    Raises:
        UserError: if it is no network of this package.
    """
    mean, std = preprocessing_of(model)
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        file.attrs["fcn_keras_input_mean"] = mean
        file.attrs["fcn_keras_input_std"] = std
        if stored := stored_numbers(model):
            file.attrs["fcn_keras_stored"] = json.dumps(stored)


def run(path: Path, model: keras.Model) -> Run:
    other = keras.models.clone_model(model)
    other.load_weights(path)
    return lambda image: other(image, training=False)
