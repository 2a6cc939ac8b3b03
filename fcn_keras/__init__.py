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
    "FCN32s": "models.fcn",
    "FCN16s": "models.fcn",
    "FCN8s": "models.fcn",
    "build": "models.fcn",
    "FCNAlexNet": "models.fcn",
    "convolutionalize": "models.surgery",
    "expand_classes": "models.surgery",
    "CaffeSGD": "training.caffe_sgd",
    "Bilinear": "models.bilinear",
    "PixelCrossEntropy": "training.losses",
    "SegmentationScores": "evaluation.metrics",
    "PixelAccuracy": "evaluation.metrics",
    "MeanAccuracy": "evaluation.metrics",
    "MeanIU": "evaluation.metrics",
    "FrequencyWeightedIU": "evaluation.metrics",
    "with_products": "cpu.products",
    "load_dataset": "data.registry",
    "resolve": "recipes",
    "train": "training.train",
    "load_network": "inference.network",
    "evaluate": "evaluation.evaluate",
    "predict": "inference.predict",
    "export": "exporters.saved_model",
    "export_to_runtime": "exporters.runtimes",
    "UserError": "errors",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    return [*globals(), *__all__]
