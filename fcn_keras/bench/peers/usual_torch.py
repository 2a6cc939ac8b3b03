"""FCNs in PyTorch, as one writes them there."""

import numpy as np
import torch
from torch import nn

from fcn_keras.bench.peers.network import fcn_layers


class FCN(nn.Module):
    """A network; its layers have the names of this package's.

    Args:
        variant: `"fcn32s"`, `"fcn16s"` or `"fcn8s"`.
        num_classes: number of classes C.
        width, geometry: see `fcn_keras.build`.
        mean, std: of the preprocessing, BGR.
    """

    def __init__(
        self,
        variant: str,
        num_classes: int,
        width: float = 1.0,
        geometry: str = "paper",
        mean: tuple[float, ...] = (0, 0, 0),
        std: float = 1.0,
    ):
        super().__init__()
        self.trunk, self.upsamplings = fcn_layers(variant, width, geometry)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32)[:, None, None])
        self.std = float(std)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        inputs, made = 3, {}
        for name, layer, channels in self.trunk:
            if channels:
                conv = nn.Conv2d(inputs, channels, layer.kernel, padding=layer.pad)
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                self.add_module(name, conv)
                inputs = channels
            made[name] = inputs
        scored = {"score_fr": inputs}
        for step in self.upsamplings:
            deconv = nn.ConvTranspose2d(
                num_classes, num_classes, 2 * step.factor, step.factor, bias=False
            )
            self.add_module(step.name, deconv.requires_grad_(False))
            if step.skip:
                scored[f"score_{step.skip}"] = made[step.skip]
        for name, channels in scored.items():
            conv = nn.Conv2d(channels, num_classes, 1)
            self.add_module(name, conv)
            nn.init.zeros_(conv.weight)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """RGB `(N, H, W, 3)` in 0..255 to logits `(N, C, H, W)`."""
        size = image.shape[1:3]
        x = image.permute(0, 3, 1, 2).flip(1).float()
        x = ((x - self.mean) / self.std).to(self.fc7.weight.dtype)
        channels_last = self.conv1_2.weight.is_contiguous(memory_format=torch.channels_last)
        order = torch.channels_last if channels_last else torch.contiguous_format
        x = x.contiguous(memory_format=order)
        pools = {}
        for name, _, channels in self.trunk:
            if channels:
                x = self.relu(self.get_submodule(name)(x))
            else:
                x = pools[name] = self.pool(x)
            if name.startswith("fc"):
                x = self.dropout(x)
        x = self.score_fr(x)
        for step in self.upsamplings:
            x = self.get_submodule(step.name)(x)
            if step.skip is None:
                return _crop(x, step.crop, size)
            skip = self.get_submodule(f"score_{step.skip}")(pools[step.skip])
            if step.crop:
                x = _crop(x, step.crop, skip.shape[2:])
            else:
                skip = _crop(skip, step.crop_skip, x.shape[2:])
            x = x + skip


def _crop(x, start, size):
    return x[:, :, start : start + size[0], start : start + size[1]]


def set_weights(model: nn.Module, weights: dict[str, np.ndarray]):
    """Fills a network with `weights`, see `fcn_keras.bench.peers.files`."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            layer, _, kind = name.partition(".")
            array = weights[f"{layer}.{'kernel' if kind == 'weight' else kind}"]
            if array.ndim == 4:
                array = array.transpose(3, 2, 0, 1)
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(array)))
