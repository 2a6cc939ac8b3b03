"""Fully Convolutional Networks for semantic segmentation, in Keras.

>>> from fcn_keras import FCN8s
>>> model = FCN8s(num_classes=21)

Reference:
    Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation,
    arXiv 1411.4038.
"""

from importlib import import_module

from fcn_keras.registration import register_with_keras

# For editors and type checkers, which take it for true; what is used is imported below. `typing` is
# left out, as it takes longer to import than all this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from fcn_keras.cpu.products import with_products as with_products
    from fcn_keras.data.registry import load_dataset as load_dataset
    from fcn_keras.errors import UserError as UserError
    from fcn_keras.evaluation.evaluate import evaluate as evaluate
    from fcn_keras.evaluation.metrics import (
        FrequencyWeightedIU as FrequencyWeightedIU,
        MeanAccuracy as MeanAccuracy,
        MeanIU as MeanIU,
        PixelAccuracy as PixelAccuracy,
        SegmentationScores as SegmentationScores,
    )
    from fcn_keras.exporters.runtimes import export_to_runtime as export_to_runtime
    from fcn_keras.exporters.saved_model import export as export
    from fcn_keras.inference.network import load_network as load_network
    from fcn_keras.inference.predict import predict as predict
    from fcn_keras.models.bilinear import Bilinear as Bilinear
    from fcn_keras.models.fcn import (
        FCN8s as FCN8s,
        FCN16s as FCN16s,
        FCN32s as FCN32s,
        FCNAlexNet as FCNAlexNet,
        build as build,
    )
    from fcn_keras.models.surgery import (
        convolutionalize as convolutionalize,
        expand_classes as expand_classes,
    )
    from fcn_keras.recipes import resolve as resolve
    from fcn_keras.training.caffe_sgd import CaffeSGD as CaffeSGD
    from fcn_keras.training.losses.cross_entropy import PixelCrossEntropy as PixelCrossEntropy
    from fcn_keras.training.losses.dice import DiceLoss as DiceLoss
    from fcn_keras.training.losses.focal import FocalLoss as FocalLoss
    from fcn_keras.training.losses.lovasz import LovaszSoftmax as LovaszSoftmax
    from fcn_keras.training.losses.ohem import OHEMLoss as OHEMLoss
    from fcn_keras.training.losses.sums import SumOfLosses as SumOfLosses
    from fcn_keras.training.train import train as train

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
    "PixelCrossEntropy": "training.losses.cross_entropy",
    "DiceLoss": "training.losses.dice",
    "FocalLoss": "training.losses.focal",
    "LovaszSoftmax": "training.losses.lovasz",
    "OHEMLoss": "training.losses.ohem",
    "SumOfLosses": "training.losses.sums",
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


register_with_keras()
