"""Weights from one file format to another."""

import tempfile
import zipfile
from functools import partial
from pathlib import Path

import keras
import numpy as np

from fcn_keras.errors import UserError
from fcn_keras.exporters import weights
from fcn_keras.inference.network import load_network
from fcn_keras.models.fcn import build
from fcn_keras.models.layers import preprocessing_of
from fcn_keras.models.variants import ALEXNET, VARIANTS
from fcn_keras.models.weights.published import is_foreign, read_weights
from fcn_keras.models.weights.reference import (
    FETCHED,
    fetch_published,
    is_published_name,
)
from fcn_keras.models.weights.starts import PublishedFile
from fcn_keras.models.weights.transplant import matched
from fcn_keras.system.files import written_whole


def convert(
    source: str | Path,
    target: str | Path,
    variant: str | None = None,
    num_classes: int | None = None,
    width: float | None = None,
    input_mean: tuple[float, ...] | None = None,
) -> str:
    """Writes a network as a `.keras` file, or its weights alone as a `.weights.h5` file.

    A `.weights.h5` file holds no network, only numbers: `fcn_keras.build(..., weights=target)`
    reads it into one of the same variant, classes and width. The preprocessing that the weights
    were trained with goes along in the file's attributes, and `build` follows it.

    Args:
        source: a run directory, a `.keras` file or `hf://USER/NAME`; or published weights,
            `.caffemodel` of the reference, `.pth` of pytorch-fcn, `.npz` of Chainer; or
            "fcn8s-heavy-pascal", which is fetched.
        target: the file to write.
        variant: of published weights: which network they are for, see `fcn_keras.build`.
        num_classes, width: of published weights; as many as they have if not given.
        input_mean: of published weights: what they had subtracted from blue, green and red; that
            of PASCAL VOC's networks if not given. NYUDv2's is 116.190,97.203,92.318, SIFT
            Flow's 114.578,115.294,108.353.

    Returns:
        A line that says what was written.

    Raises:
        UserError: if the source is no network, does not fit the variant, or the target exists or
            has another ending.
    """
    target = Path(target)
    published = is_foreign(source) or is_published_name(source)
    endings = (".keras", ".weights.h5") if published else (".weights.h5",)
    if not target.name.endswith(endings):
        raise UserError(f"{target}: must end in {' or '.join(endings)}.")
    if target.exists():
        raise UserError(f"{target}: exists already.")
    if is_published_name(source):
        source = fetch_published(source, variant)
        variant = FETCHED[source.stem][0]
    if published:
        with keras.StatelessScope(initialize_variables=False):
            model = _stand_in(source, variant, num_classes, width, input_mean)
            save = _save_network if target.suffix == ".keras" else weights.write
            with written_whole(target) as aside:
                save(model, aside)
    else:
        if variant is not None:
            raise UserError(f"--variant: is for published weights; {source} tells it itself.")
        model = load_network(source).full
        try:
            preprocessing_of(model)
        except UserError as error:
            raise UserError(f"{source}: {error}") from error
        with written_whole(target) as aside:
            weights.write(model, aside)
    return f"{model.count_params():,} parameters of {model.name} in {target}"


def _save_network(model, path):
    """Does what `model.save` does, which holds the archive in memory, by way of the disk."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        model.save(folder, zipped=False)
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(Path(folder).iterdir()):
                if file.is_file():
                    archive.write(file, file.name)


def _stand_in(source, variant, num_classes, width, input_mean):
    """A network whose variables were never made: it saves the file's weights as its own.

    Filling and saving one holds fc6, three quarters of all weights, four times in memory.
    """
    if variant not in VARIANTS:
        raise UserError(
            f"--variant: must say what {source} is: one of {', '.join(VARIANTS)}. "
            f"Received: {variant}."
        )
    start = PublishedFile(Path(source), variant)
    scores = {
        name.removeprefix("score_fr"): kernel.shape[0]
        for name, (kernel, *_) in start.blobs.items()
        if name.startswith("score_fr")
    }
    if not scores:
        raise UserError(
            f"{source}: scores no classes, so it is no network to convert (it has "
            f"{', '.join(start.blobs)}). A classifier to start training from goes to --weights."
        )
    if num_classes is None:
        # Names tell heads apart: score_fr_sem.
        heads = {name[1:]: classes for name, classes in scores.items() if name.startswith("_")}
        num_classes = heads if len(heads) == len(scores) else next(iter(scores.values()))
    model = build(
        variant,
        num_classes,
        weights=None,
        width=_width_of(start, variant) if width is None else width,
        geometry="paper",
        input_mean=start.mean if input_mean is None else input_mean,
        input_std=start.std,
    )
    for layer, arrays in matched(start.blobs, model, source):
        layer.save_own_variables = partial(_save_arrays, arrays)
    return model


def _width_of(start, variant):
    """How wide the first layer is, against the whole network's."""
    first, channels = ("conv1", 96) if variant == ALEXNET else ("conv1_1", 64)
    for name, (kernel, *_) in start.blobs.items():
        if name.startswith(first) and kernel.shape:
            return kernel.shape[0] / channels
    raise UserError(f"{start.path}: has no layer {first}, with which {variant} begins.")


def _save_arrays(arrays, store):
    """Saves arrays of a mapped file as a layer's own, each copied only while it is written."""
    for number, array in enumerate(arrays):
        store[str(number)] = _OneCopy(array)


class _OneCopy:
    """An array that NumPy and HDF5 take in the order of its axes: of a view they make two."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype, order="C")


def list_weights(source: str | Path) -> dict[str, list[tuple[int, ...]]]:
    """Returns the shapes of a file's weights, layer by layer."""
    if is_foreign(source):
        return {
            name: [tuple(blob.shape) for blob in blobs]
            for name, blobs in read_weights(source).items()
        }
    return {
        layer.name: [tuple(weight.shape) for weight in layer.weights]
        for layer in load_network(source).full.layers
        if layer.weights
    }
