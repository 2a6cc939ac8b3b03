"""Weights from one file format to another."""

from pathlib import Path

import h5py

from fcn_keras.errors import UserError
from fcn_keras.evaluation import load_network
from fcn_keras.fcn import preprocessing_of
from fcn_keras.files import written_whole


def convert(source: str | Path, target: str | Path) -> str:
    """Writes the weights of a network as a `.weights.h5` file.

    Such a file holds no network, only numbers: `fcn_keras.build(..., weights=target)` reads it
    into one of the same variant, classes and width. The preprocessing that the weights were
    trained with goes along in the file's attributes, and `build` follows it.

    Args:
        source: a run directory or a `.keras` file.
        target: the file to write.

    Returns:
        A line that says what was written.

    Raises:
        UserError: if the source is no network, or the target exists or has another ending.
    """
    target = Path(target)
    if not target.name.endswith(".weights.h5"):
        raise UserError(f"{target}: must end in .weights.h5.")
    if target.exists():
        raise UserError(f"{target}: exists already.")
    model = load_network(source).model
    try:
        mean, std = preprocessing_of(model)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    with written_whole(target) as aside:
        model.save_weights(aside)
        with h5py.File(aside, "a") as file:
            file.attrs["fcn_keras_input_mean"] = mean
            file.attrs["fcn_keras_input_std"] = std
    return f"{model.count_params():,} parameters of {model.name} in {target}"


def list_weights(source: str | Path) -> dict[str, list[tuple[int, ...]]]:
    """Returns the shapes of a network's weights, layer by layer."""
    model = load_network(source).model
    return {
        layer.name: [tuple(weight.shape) for weight in layer.weights]
        for layer in model.layers
        if layer.weights
    }
