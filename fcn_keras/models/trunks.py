"""The paper's trunks, VGG16 and CaffeNet, built of the layers that `architecture.py` lists.

Reference:
    Section 4.1 of arXiv 1411.4038.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.models.architecture import Named, Normalize, trunk_layers
from fcn_keras.models.channels import extended
from fcn_keras.models.geometry import Conv, Pool, Widen
from fcn_keras.models.layers import (
    Feature,
    convolve,
    normalize_responses,
    pool,
    preprocess,
    widen,
    with_log_depth,
)
from fcn_keras.models.variants import COLOR_D, COLOR_HHA, HHA, channels_of
from fcn_keras.models.weights.starts import Start, choose_start


class PaperTrunk:
    """VGG16 or CaffeNet as a trunk, or two of them: what `fcn_keras.build` puts heads on.

    Args:
        variant, weights, geometry, output_stride, width, dropout, elide_padding, input_mean,
            input_std: see `fcn_keras.build`.
        channels: how many the image has, if not those of the variant.

    Raises:
        UserError: if the weights, or what comes before them, do not fit.
    """

    def __init__(
        self,
        variant: str,
        weights: str | Path | keras.Model | Start | None,
        geometry: str,
        output_stride: int,
        width: float,
        dropout: float,
        elide_padding: bool,
        input_mean: Sequence[float] | None = None,
        input_std: float | Sequence[float] | None = None,
        channels: int | None = None,
    ):
        self.variant = variant
        self.channels = channels or channels_of(variant)
        self.options = geometry, output_stride, width, elide_padding
        self.output_stride = output_stride
        self.dropout = dropout
        self.start = choose_start(weights, variant, width)
        # Random numbers for 134 million weights take seconds and a gigabyte: only where they stay.
        self.initializer = "he_normal" if type(self.start) is Start else "zeros"
        self.mean = self.start.mean if input_mean is None else tuple(map(float, input_mean))
        self.std = self.start.std if input_std is None else self._checked_std(input_std)
        if channels and len(self.mean) == 3:
            self.mean = extended(self.mean, channels)
            if isinstance(self.std, tuple):
                self.std = extended(self.std, channels)
        if len(self.mean) != self.channels:
            raise UserError(
                f"`input_mean` must be {self.channels} numbers. Received: {self.mean}."
                if input_mean is not None
                else f"{weights}: was trained on images of {len(self.mean)} channels, and "
                f"{variant} takes {self.channels}."
            )

    def _checked_std(self, std):
        """A plain number, or one for each channel."""
        each = [float(number) for number in (std if isinstance(std, list | tuple) else [std])]
        for number in each:
            if not 0 < number < math.inf:
                raise UserError(f"`input_std` must be above 0, and finite. Received: {number}.")
        if not isinstance(std, list | tuple):
            return each[0]
        if self.variant == COLOR_HHA or len(each) != self.channels:
            allowed = "" if self.variant == COLOR_HHA else f", or {self.channels}"
            raise UserError(f"`input_std` must be one number{allowed}. Received: {std}.")
        return tuple(each)

    def build(self, image: keras.KerasTensor) -> list[dict[str, Feature]]:
        """Returns the maps of each trunk by name, of an image `(N, H, W, C)`."""
        if self.variant == COLOR_HHA:
            images = {
                "color": preprocess(image[..., :3], self.mean[:3], self.std, name="normalizecolor"),
                "hha": preprocess(
                    image[..., 3:], self.mean[3:], self.std, flip=False, name="normalizehha"
                ),
            }
        elif self.variant == COLOR_D:
            bgrd = with_log_depth(image)
            images = {"": preprocess(bgrd, self.mean, self.std, flip=False)}
        else:
            images = {"": preprocess(image, self.mean, self.std, flip=self.variant != HHA)}
        return [
            build_trunk(
                trunk_layers(self.variant, *self.options, suffix),
                pixels,
                self.dropout,
                self.initializer,
                suffix,
            )
            for suffix, pixels in images.items()
        ]

    def fill(self, model: keras.Model) -> None:
        """Puts the weights that were asked for into the network."""
        # A dilated network upsamples by another factor; its kernel stays bilinear.
        self.start.fill(model, skip={"upscore"} if self.output_stride != 32 else ())


def build_trunk(
    trunk: Iterable[Named],
    image: Feature,
    dropout: float = 0.5,
    initializer: str = "he_normal",
    suffix: str = "",
) -> dict[str, Feature]:
    """Builds the layers of a trunk, each on the map of the one before.

    Args:
        trunk: the layers, as `fcn_keras.models.architecture` has them.
        image: the preprocessed image.
        dropout: rate of the dropout behind fc6 and fc7.
        initializer: how kernels start.
        suffix: what the names of the layers end in.

    Returns:
        Each layer's map, by its name without the suffix.
    """
    maps, x = {}, image
    for name, layer, channels, groups in trunk:
        match layer:
            case Widen():
                x = widen(x, layer, name)
            case Normalize():
                x = normalize_responses(x, name)
            case Pool():
                x = pool(x, layer, name)
            case Conv():
                x = convolve(x, channels, layer, name, groups, initializer)
        if name.startswith("fc"):
            drop = layers.Dropout(dropout, name=f"drop{name.removeprefix('fc')}")
            x = Feature(drop(x.tensor), x.grid)
        maps[name.removesuffix(suffix)] = x
    return maps
