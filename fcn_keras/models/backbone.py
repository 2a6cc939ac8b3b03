"""A classifier of Keras' as what a network is built on: with weights and preprocessing."""

import re
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.models.backbones import BACKBONES, CLASSIFIERS, PREPROCESSING
from fcn_keras.models.channels import FROM, extended
from fcn_keras.models.classifier_trunk import ClassifierTrunk
from fcn_keras.models.layers import Feature, divided, preprocess, preprocessing_of
from fcn_keras.models.tracing import is_graph
from fcn_keras.models.variants import ALEXNET, COLOR_D, COLOR_HHA, HHA
from fcn_keras.models.weights.classifiers import is_classifier_file, named_classifier
from fcn_keras.models.weights.starts import (
    IMAGENET_MEAN,
    KerasFile,
    WeightsFile,
    choose_start,
)

# What is subtracted and what is divided by, in the order of the channels, and whether they are
# turned to BGR.
_NUMBERS: dict[str, tuple[Sequence[float], float | Sequence[float], bool]] = {
    "tf": ((1.0, 1.0, 1.0), 1.0, False),  # of the image divided by 127.5
    "torch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
    "caffe": (IMAGENET_MEAN, 1.0, True),
    "none": ((0.0, 0.0, 0.0), 1.0, False),
}

# The names that `keras.applications` gives its models.
_MODEL_NAMES = {
    r"mobilenet(v2)?_[\d.]+_\d+|resnet\d+v2|inception(_resnet)?_v\d|xception|nasnet.*": "tf",
    r"densenet\d+": "torch",
    r"resnet\d+|vgg1[69]": "caffe",
    r"MobileNetV3(Small|Large)|efficientnet(b\d|v2-.+)|convnext_.+": "none",
}


class BackboneTrunk:
    """A classifier as a trunk: what `fcn_keras.build` puts heads on.

    Args:
        variant, backbone, weights, preprocessing, output_stride, width, dropout: see
            `fcn_keras.build`.
        channels: how many the image has.
        **others: arguments that are VGG16's and CaffeNet's alone, and must be as they are by
            default.

    Raises:
        UserError: if an argument does not fit the others.
    """

    def __init__(
        self,
        variant: str,
        backbone: str | keras.Model,
        weights: str | Path | None,
        preprocessing: str | None,
        output_stride: int,
        width: float,
        dropout: float,
        channels: int | None = None,
        **others: object,
    ):
        self.channels = channels or 3
        _check(variant, backbone, width, preprocessing, self.channels, others)
        self.start: KerasFile | WeightsFile | None = None
        if isinstance(backbone, str):
            if weights in (None, "imagenet") or is_classifier_file(weights):
                classifier = named_classifier(backbone, weights, width)
            else:
                classifier = named_classifier(backbone, None, width)
                self.start = _network_file(weights, variant, backbone)
            self.preprocessing = CLASSIFIERS[backbone].preprocessing
        else:
            classifier = backbone
            if weights not in (None, "imagenet"):
                self.start = _network_file(weights, variant, backbone.name)
            self.preprocessing = preprocessing or _preprocessing_by_name(classifier)
        self.dropout = dropout
        self.trunk = ClassifierTrunk(
            classifier, variant, output_stride, keep_weights=weights is not None
        )

    def build(self, image: keras.KerasTensor) -> list[dict[str, Feature]]:
        """Returns the maps of the trunk by name, of an image `(N, H, W, C)`, RGB first, 0..255."""
        mean, std, flip = _NUMBERS[self.preprocessing]
        if self.channels != len(mean):
            mean = extended(mean, self.channels)
            std = std if isinstance(std, float) else extended(std, self.channels)
        if self.preprocessing == "tf":
            image = divided(image, 127.5)
        maps = self.trunk.build(preprocess(image, mean, std, flip))
        coarsest = maps["fc7"]
        drop = layers.Dropout(self.dropout, name="drop7")
        return [maps | {"fc7": Feature(drop(coarsest.tensor), coarsest.grid)}]

    def fill(self, model: keras.Model) -> None:
        """Puts the weights of a network of this package into the new one, if asked for."""
        if not self.start:
            return
        expected = _preprocessing(model)
        if isinstance(self.start, KerasFile):
            found = _preprocessing(self.start.model)
        elif self.start.tells_preprocessing:
            found, expected = (self.start.mean, self.start.std), expected[:2]
        else:
            found = expected
        self.start.fill(model)
        if not _alike(*(_of_channels(numbers, self.channels) for numbers in (found, expected))):
            raise UserError(
                f"{self.start.path}: its weights expect another preprocessing than "
                f"{self.preprocessing!r} of this backbone. Give the one that it was trained with."
            )


def same_preprocessing(one: keras.Model, other: keras.Model) -> bool:
    """Whether two networks of this package make the same of an image before they look at it.

    Where one has other channels than three colours, the same is made of the colours.
    """
    return _alike(
        *(_of_channels(_preprocessing(model), one.input_shape[-1]) for model in (one, other))
    )


def _of_channels(numbers, channels):
    """Numbers for three colours as those for so many channels."""
    if isinstance(numbers, list | tuple):
        plain = len(numbers) == 3 and all(isinstance(number, float) for number in numbers)
        return (
            extended(numbers, channels) if plain else [_of_channels(x, channels) for x in numbers]
        )
    return numbers


def _network_file(weights, variant, name):
    """The weights of a network of this package."""
    start = choose_start(weights, variant)
    if not isinstance(start, KerasFile | WeightsFile):
        raise UserError(
            f"`weights` on {name} must be 'imagenet', None, or the path of a network of this "
            "package (.keras, .weights.h5) or, where `backbone` is a name, of Keras' own weights "
            f"of it (.h5, .weights.h5). Received: {weights}."
        )
    return start


def _preprocessing(model):
    """What a network subtracts, and divides by; and the scales and offsets of its classifier."""
    rescaling = [layer for layer in model.layers if isinstance(layer, layers.Rescaling)]
    own = [x for x in rescaling if not x.name.startswith(("normalize", "scale_", FROM))]
    return *preprocessing_of(model), [_mean_and_divisor(layer) for layer in own]


def _mean_and_divisor(layer):
    """What a layer subtracts and divides by, one number each for all channels, or for each."""
    scale, offset = np.asarray(layer.scale, "float64"), np.asarray(layer.offset, "float64")
    return (-offset / scale).tolist(), (1 / scale).tolist()


def _alike(one, other):
    """Whether two structures of numbers are equal, but for rounding."""
    one, other = keras.tree.flatten(one), keras.tree.flatten(other)
    return len(one) == len(other) and np.allclose(one, other, rtol=1e-5)


def _check(variant, backbone, width, preprocessing, channels, others):
    if variant in (ALEXNET, HHA, COLOR_D, COLOR_HHA):
        raise UserError(
            f"`backbone` of {variant} must be left out: it has a trunk of its own. "
            f"Received: {getattr(backbone, 'name', backbone)}."
        )
    for name, (value, default) in others.items():
        if value != default:
            raise UserError(
                f"`{name}` is VGG16's and CaffeNet's, and must be left out with another "
                f"`backbone`. Received: {value!r}."
            )
    if preprocessing is not None and preprocessing not in PREPROCESSING:
        raise UserError(
            f"`preprocessing` must be one of {', '.join(PREPROCESSING)}. "
            f"Received: {preprocessing!r}."
        )
    if isinstance(backbone, str):
        if backbone not in CLASSIFIERS:
            raise UserError(
                f"`backbone` must be one of {', '.join(BACKBONES)}, or a Keras model. "
                f"Received: {backbone!r}."
            )
        if preprocessing is not None:
            raise UserError(
                f"`preprocessing` of {backbone} is known, and must be left out. "
                f"Received: {preprocessing!r}."
            )
        if width != 1 and not CLASSIFIERS[backbone].scalable:
            raise UserError(
                f"`width` of {backbone} must be 1: only VGG16's, CaffeNet's and the MobileNets' "
                f"channels can be scaled. Received: {width}."
            )
        return
    if not is_graph(backbone):
        raise UserError(
            "`backbone` must be a name, or a Keras model that is functional, or a sequence of "
            f"layers with an input. Received: {type(backbone).__name__}."
        )
    shapes = [getattr(x, "shape", ()) for x in backbone.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] not in (3, channels):
        others = "" if channels == 3 else f", or {channels} channels"
        raise UserError(
            f"`backbone` must be a classifier of one image `(N, H, W, 3)`{others}. "
            f"Received: {backbone.name}, of {', '.join(map(str, shapes))}."
        )
    if width != 1:
        raise UserError(f"`width` of a model that is built already must be 1. Received: {width}.")


def _preprocessing_by_name(classifier):
    for names, preprocessing in _MODEL_NAMES.items():
        if re.fullmatch(names, classifier.name):
            # These can be built without it.
            if preprocessing != "none" or _preprocesses(classifier):
                return preprocessing
    raise UserError(
        f"`preprocessing` must be given for {classifier.name}: 'tf' (its weights expect RGB from "
        "-1 to 1), 'torch' (less ImageNet's mean, divided by its deviation), 'caffe' (BGR less "
        "ImageNet's mean), or 'none' (it takes RGB from 0 to 255)."
    )


def _preprocesses(model):
    """Whether a classifier begins with layers that scale the image."""
    for layer in model.layers:
        if isinstance(layer, keras.Model) and _preprocesses(layer):
            return True
        if isinstance(layer, layers.Rescaling | layers.Normalization):
            return True
        if isinstance(layer, layers.Conv2D):
            return False
    return False
