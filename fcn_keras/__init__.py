"""Fully Convolutional Networks for semantic segmentation, in Keras.

>>> from fcn_keras import FCN8s
>>> model = FCN8s(num_classes=21)

Reference:
    Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation,
    arXiv 1411.4038.
"""

from importlib import import_module

__version__ = "0.1.0"

# Public name -> the module that defines it. Modules are imported when a name of theirs is first
# used, so that the command line answers without waiting for TensorFlow.
_HOMES = {
    "FCN32s": "fcn",
    "FCN16s": "fcn",
    "FCN8s": "fcn",
    "build": "fcn",
    "FCNAlexNet": "fcn",
    "convolutionalize": "surgery",
    "expand_classes": "growth",
    "CaffeSGD": "solver",
    "Bilinear": "bilinear",
    "PixelCrossEntropy": "losses",
    "SegmentationScores": "metrics",
    "PixelAccuracy": "metrics",
    "MeanAccuracy": "metrics",
    "MeanIU": "metrics",
    "FrequencyWeightedIU": "metrics",
    "with_products": "products",
    "load_dataset": "data",
    "resolve": "recipes",
    "train": "training",
    "load_network": "evaluation",
    "evaluate": "evaluation",
    "predict": "prediction",
    "export": "serving",
    "export_to_runtime": "runtimes",
    "UserError": "errors",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    return [*globals(), *__all__]
