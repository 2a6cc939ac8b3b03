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

# The classifiers that normalise by numbers which come with their weights, and what they are.
_NORMALIZING = "efficientnet_b"
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], "float32")
_IMAGENET_STD = np.array([0.229, 0.224, 0.225], "float32")


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
        return _with_one_normalization(_built(backbone, width))
    if weights == "imagenet":
        fetched = _checked(_fetched(backbone, width), f"The ImageNet weights of {backbone}")
        if not backbone.startswith(_NORMALIZING):
            return fetched
        classifier = _built(backbone, width)
        classifier.set_weights(fetched.get_weights())
        return _with_one_normalization(classifier, weights)
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
    return _with_one_normalization(_checked(classifier, str(path)), weights)


def _with_one_normalization(classifier, weights=None):
    """Lets EfficientNet's normalisation alone do what Keras' EfficientNet does to an image.

    Keras' files hold ImageNet's deviations where its variances should be, and Keras divides by
    their roots once more, in a layer that it builds for `weights="imagenet"` alone. Random weights
    get ImageNet's mean and variance too: so the network is the same one whatever it starts from.
    """
    if not classifier.name.startswith(_NORMALIZING.replace("_", "")):
        return classifier
    [layer] = [x for x in classifier.layers if isinstance(x, keras.layers.Normalization)]
    variance = keras.ops.convert_to_numpy(layer.adapt_variance)
    if weights is None:
        layer.adapt_mean.assign(_IMAGENET_MEAN)
        layer.adapt_variance.assign(np.square(_IMAGENET_STD))
    elif np.allclose(variance, _IMAGENET_STD, rtol=1e-2):
        layer.adapt_variance.assign(variance * _IMAGENET_STD)
    layer.finalize_state()
    return classifier


def is_classifier_file(path: str | Path) -> bool:
    """Whether a file holds weights alone, and those of no network of this package."""
    path = Path(path)
    if not path.name.endswith(".h5") or not path.is_file():
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
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) and width != 1:  # that has none
            raise UserError(
                f"`weights='imagenet'` of {backbone}: {first_line(error)} Give another `width`, or "
                "`weights=None`."
            ) from error
        raise UserError(
            f"The ImageNet weights of {backbone} could not be fetched, or not be read in {_home()} "
            f"({first_line(error)}). Delete the file there, if any, to have it fetched again."
        ) from error
    # get_file wraps every failure of the network in a bare Exception.
    except Exception as error:
        url = re.search(r"https?://[^\s:]+", str(error))
        if not url:
            raise
        raise UserError(
            f"The ImageNet weights of {backbone} could not be fetched ({first_line(error)}). "
            f"Download {url[0]} on a machine with network access and put it at "
            f"{_home() / url[0].rsplit('/', 1)[-1]}, or give its path as --weights; or train a "
            "narrow network from random weights with --recipe small."
        ) from error


def _home():
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"


def _count(path):
    """How many arrays a file of weights holds, without an optimizer's and states of randomness."""
    count = 0

    def note(name, item):
        nonlocal count
        others = {"optimizer", "seed_generator"} & {*name.split("/")}
        count += isinstance(item, h5py.Dataset) and not others

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
    """Keras reads files layer by layer in their order, whatever these are called."""
    wanted = [weight.path.split("/")[-2] for weight in classifier.weights]
    with h5py.File(path, "r") as file:
        group = file.get("model_weights", file)
        if "layer_names" in group.attrs:
            names = [str(np.asarray(name).astype(str)) for name in group.attrs["layer_names"]]
            there = [name for name in names if len(group[name].attrs.get("weight_names", ()))]
        else:
            there = [str(x.attrs["name"]) for x in _groups(file) if "name" in x.attrs and len(x)]
            there = there or wanted  # older files of this kind tell no names
    different = {*map(_plain, wanted)} - {*map(_plain, there)}
    if different:
        raise ValueError(f"it has no layer {min(different)}")


def _plain(name):
    """A name without the number that Keras gives what was built before."""
    return re.sub(r"(_v1)?(_\d+)?$", "", name)


def _checked(classifier, name):
    for weight in classifier.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise UserError(f"{name}: {weight.path} holds numbers that are not finite.")
    return classifier
