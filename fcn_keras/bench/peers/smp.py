"""Networks of segmentation_models_pytorch (smp) on MobileNetV2, from Keras' weights of it.

Keras pads a map of even sides before a convolution of stride 2 by one row below and one column to
the right, PyTorch's layers by one on every side, of which the first row and column alone are
seen. So these networks see images turned by 180 degrees, with kernels that are turned too: their
encoder computes what Keras' does, turned, and nothing is padded that they do not pad themselves.
"""

from typing import TYPE_CHECKING, cast

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import nn

from fcn_keras.bench.peers.programs import SMP, SMP_BACKBONE

if TYPE_CHECKING:  # PyTorch cannot be relied on to run where TensorFlow has been imported
    import keras

MULTIPLE = 32  # of what the sides of images must be


class SmpNetwork(nn.Module):
    """A network with a MobileNetV2 whose batch normalisation does not learn; its decoder's does.

    Args:
        name: one of `fcn_keras.bench.peers.programs.SMP`.
        num_classes: number of classes C.
    """

    def __init__(self, name: str, num_classes: int):
        super().__init__()
        make = getattr(smp, SMP[name])
        self.network = make(SMP_BACKBONE, encoder_weights=None, classes=num_classes)
        self.encoder = self.network.encoder
        self.norms = [x for x in self.encoder.modules() if isinstance(x, nn.BatchNorm2d)]
        for norm in self.norms:
            norm.requires_grad_(False)

    def train(self, mode: bool = True) -> "SmpNetwork":
        super().train(mode)
        for norm in self.norms:
            norm.eval()
        return self

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """RGB bytes `(N, H, W, 3)` to logits `(N, C, H, W)`."""
        return self.network(preprocessed(image))

    def copy_encoder(self, classifier: "keras.Model") -> None:
        """Takes over the weights of Keras' MobileNetV2, turned, and which of its layers learn."""
        kinds = (nn.Conv2d, nn.BatchNorm2d)
        modules = [module for module in self.encoder.modules() if isinstance(module, kinds)]
        layers = [x for x in classifier.layers if x.weights and type(x).__name__ != "Dense"]
        # Both list them in the order in which an image passes them.
        for module, layer in zip(modules, layers, strict=True):
            arrays = layer.get_weights()
            if isinstance(module, nn.Conv2d):
                module.weight.requires_grad_(layer.trainable)
                # One kernel for each map, or for each pair of maps.
                order = (2, 3, 0, 1) if module.groups > 1 else (3, 2, 0, 1)
                places, arrays = [module.weight], [arrays[0].transpose(order)[..., ::-1, ::-1]]
            else:
                module.eps = layer.epsilon  # 1e-3, where PyTorch has 1e-5
                statistics = (module.running_mean, module.running_var)
                places = [module.weight, module.bias, *cast(list[torch.Tensor], statistics)]
            with torch.no_grad():
                for place, array in zip(places, arrays, strict=True):
                    assert place.shape == array.shape, (layer.name, place.shape, array.shape)
                    place.copy_(torch.from_numpy(np.ascontiguousarray(array)))


def preprocessed(image: torch.Tensor) -> torch.Tensor:
    """RGB bytes `(N, H, W, 3)` to numbers from -1 to 1, `(N, 3, H, W)`."""
    # A view of what lies channels last; the first convolution changes that as its weights lie.
    return image.permute(0, 3, 1, 2).float() / 127.5 - 1


def turned(images: np.ndarray) -> torch.Tensor:
    """Turns images or label maps `(N, H, W, C)` by 180 degrees."""
    return torch.from_numpy(np.ascontiguousarray(images[:, ::-1, ::-1]))
