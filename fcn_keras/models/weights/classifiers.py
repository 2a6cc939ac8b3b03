"""Classifiers of `keras.applications`, by name, with the weights that were asked for."""

import os
import re
import warnings
from pathlib import Path

import h5py
import keras
import numpy as np

from fcn_keras.errors import UserError, first_line
from fcn_keras.models.backbones import CLASSIFIERS


def named_classifier(
    backbone: str, weights: str | Path | None = None, width: float = 1.0
) -> keras.Model:
    """Builds a classifier of `keras.applications`.

    Args:
        backbone: a name of `CLASSIFIERS`.
        weights: `"imagenet"`: Keras' own file, fetched the first time, without the dense top. A
            path: a file of this classifier's weights as Keras keeps them, `.h5` or `.weights.h5`,
            with or without the top. None: random ones.
        width: factor on the number of channels (`alpha`).

    Raises:
        UserError: if there are no such weights, or they do not fit; says what to do.
    """
    if weights is None:
        return _built(backbone, width)
    if weights == "imagenet":
        return _checked(_fetched(backbone, width), f"the ImageNet weights of {backbone}")
    path = Path(weights)
    classifier = _built(backbone, width)
    held = _count(path)
    if held != len(classifier.weights):
        top = _built(backbone, width, include_top=True)
        if held != len(top.weights):
            raise UserError(
                f"{path}: holds {held} arrays, and {backbone} has {len(classifier.weights)}, or "
                f"{len(top.weights)} with its dense top. Give a file of its own weights as "
                "`keras.applications` keeps them, or of a network of this package on it."
            )
        classifier = top
    _load(classifier, path, backbone)
    return _checked(classifier, str(path))


def is_classifier_file(path: str | Path) -> bool:
    """Whether a file holds weights alone, and those of no network of this package."""
    path = Path(path)
    if not path.name.endswith(".h5"):
        return False
    try:
        with h5py.File(path, "r") as file:
            return "fcn_keras_input_mean" not in file.attrs and not _has_score(file)
    except OSError as error:
        raise UserError(f"{path}: is no HDF5 file ({first_line(error)}).") from error


def _has_score(file):
    """Whether there is a layer among them that scores classes for a network of this package."""
    names = [str(group.attrs.get("name", "")) for group in _groups(file)]
    return any(name.startswith("score_") for name in names)


def _groups(file):
    found = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Group) else None)
    return found


def _built(backbone, width, weights=None, include_top=False):
    spec = CLASSIFIERS[backbone]
    options = {"alpha": width} if spec.scalable else {}
    if spec.size and not include_top:
        options["input_shape"] = (spec.size, spec.size, 3)
    with warnings.catch_warnings():
        # It is about the size that the weights were trained for.
        warnings.simplefilter("ignore")
        return getattr(keras.applications, spec.builder)(
            weights=weights, include_top=include_top, **options
        )


def _fetched(backbone, width):
    try:
        return _built(backbone, width, "imagenet")
    except ValueError as error:  # a width that has none
        raise UserError(
            f"`weights='imagenet'` of {backbone}: {first_line(error)} Give another `width`, or "
            "`weights=None`."
        ) from error
    except OSError as error:
        home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
        raise UserError(
            f"The ImageNet weights of {backbone} in {home} cannot be read ({first_line(error)}). "
            "Delete the file, to have it fetched again."
        ) from error
    # get_file wraps every failure of the network in a bare Exception.
    except Exception as error:
        home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
        url = re.search(r"https?://[^\s:]+", str(error))
        if not url:
            raise
        raise UserError(
            f"The ImageNet weights of {backbone} could not be fetched ({first_line(error)}). "
            f"Download {url[0]} on a machine with network access and put it at "
            f"{home / url[0].rsplit('/', 1)[-1]}, or give its path as --weights; or train a narrow "
            "network from random weights with --recipe small."
        ) from error


def _count(path):
    """How many arrays a file of weights holds."""
    count = 0

    def note(_, item):
        nonlocal count
        count += isinstance(item, h5py.Dataset)

    try:
        with h5py.File(path, "r") as file:
            # A whole model in Keras' older format has its weights in a group of their own.
            file.get("model_weights", file).visititems(note)
    except OSError as error:
        raise UserError(f"{path}: is no HDF5 file ({first_line(error)}).") from error
    return count


def _load(classifier, path, backbone):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _check_names(classifier, path)
            classifier.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"{path}: holds no weights of {backbone} ({first_line(error)}).") from error


def _check_names(classifier, path):
    """Keras' older files are read layer by layer in their order, whatever these are called."""
    with h5py.File(path, "r") as file:
        group = file.get("model_weights", file)
        if "layer_names" not in group.attrs:
            return
        names = [str(np.asarray(name).astype(str)) for name in group.attrs["layer_names"]]
        there = [name for name in names if len(group[name].attrs.get("weight_names", ()))]
    wanted = [layer.name for layer in classifier.layers if layer.weights]
    different = [
        (old, new)
        for old, new in zip(there, wanted, strict=False)
        # Keras numbers what has no name by what was built before.
        if re.sub(r"(_v1)?(_\d+)?$", "", old) != re.sub(r"(_v1)?(_\d+)?$", "", new)
    ]
    if different:
        raise ValueError("its layer {} stands where {} should".format(*different[0]))


def _checked(classifier, name):
    for weight in classifier.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise UserError(f"{name}: {weight.path} holds numbers that are not finite.")
    return classifier
