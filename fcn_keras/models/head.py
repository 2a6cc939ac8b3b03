"""The head of a network: scores a trunk's maps, upsamples the scores, and adds them."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers, ops

from fcn_keras.models.bilinear import Bilinear
from fcn_keras.models.geometry import IMAGE, Deconv, Grid
from fcn_keras.models.layers import Feature
from fcn_keras.models.upsampling import BILINEAR, NONLINEAR, windows

# Deviation of the first scores behind features of about one, where they cannot start at zero.
NEARLY_ZERO = 1e-3


def late_fusion(color: Feature, hha: Feature, head: "Head") -> Feature:
    """The mean of the scores of two FCN-32s, one of the colours and one of the depth."""
    both = [head.score(color, "score_frcolor").tensor, head.score(hha, "score_frhha").tensor]
    score = layers.Average(name=f"score_fused{head.suffix}")(both)
    return head.upsample(Feature(score, color.grid), 32, "upscore", IMAGE)


def first_head(network: keras.Model, heads: Sequence[str]) -> keras.Model:
    """Returns a network with the first of its heads alone; itself if it has but one.

    Args:
        network: a network of this package.
        heads: the names of its heads, the first one first; none if it has but one.
    """
    if not heads:
        return network
    score = network.get_layer(f"score_{heads[0]}").output
    return keras.Model(network.input, score, name=network.name)


def is_of_head(layer: keras.Layer) -> bool:
    """Whether a layer of a network scores classes, or upsamples scores."""
    return layer.name.startswith(("score", "up"))


@dataclass(frozen=True)
class Head:
    """What every score and every upsampling layer of a network has in common.

    Attributes:
        num_classes: how many scores each place gets.
        upsampling: how scores are upsampled, one of `fcn_keras.models.upsampling.UPSAMPLINGS`.
        suffix: what the names of layers end in.
    """

    num_classes: int
    upsampling: str = BILINEAR
    suffix: str = ""

    def score(self, feature: Feature, name: str) -> Feature:
        """Scores each class at each place; starts from zero, as in the paper, or nearly so.

        At zero a ReLU passes no gradient: behind one, scores of zero would stay zero.
        """
        nearly = keras.initializers.VarianceScaling(NEARLY_ZERO**2)
        conv = layers.Conv2D(
            self.num_classes,
            1,
            kernel_initializer=nearly if self.upsampling == NONLINEAR else "zeros",
            name=name + self.suffix,
        )
        return Feature(conv(feature.tensor), feature.grid)

    def upsample(self, feature: Feature, factor: int, name: str, onto: Grid) -> Feature:
        """Upsamples scores by transposed convolutions that start as bilinear interpolation.

        Nonlinear upsampling has one for each doubling, named `upscore8_1`, `upscore8_2`,
        `upscore8`, with ReLUs between them. A ReLU would cut negative scores: between, each class
        has two channels, its positive and its negative part, whose difference it is. So at the
        start the ReLUs change nothing.

        Args:
            feature: the scores.
            factor: how many times as many there are to be, each way.
            name: name of the last layer.
            onto: the grid that they are to lie on, but for a crop.
        """
        steps = windows(feature.grid, factor, onto, self.upsampling)
        for number, window in enumerate(steps[:-1], 1):
            feature = self._deconvolve(feature, window, f"{name}_{number}", "relu")
        return self._deconvolve(feature, steps[-1], name)

    def _deconvolve(
        self, feature: Feature, window: Deconv, name: str, activation: str | None = None
    ) -> Feature:
        layer = layers.Conv2DTranspose(
            self.num_classes * (2 if activation else 1),
            window.kernel,
            strides=window.stride,
            activation=activation,
            use_bias=activation is not None,
            kernel_initializer=Bilinear(self.num_classes),
            trainable=self.upsampling != BILINEAR,
            name=name + self.suffix,
        )
        tensor = layer(feature.tensor)
        # The kernel is filled by now. A saved model may name stock classes only, so that
        # `keras.models.load_model` opens it where this package is not installed.
        layer.kernel_initializer = keras.initializers.Zeros()
        return Feature(tensor, window.grid(feature.grid))

    def fuse(self, coarse: Feature, skip: Feature, name: str) -> Feature:
        """Adds the scores of a skip connection where they look at the same place of the image."""
        if skip.grid.offset_over(coarse.grid) > 0:
            skip = crop_to(skip, coarse)
        else:
            coarse = crop_to(coarse, skip)
        both = [coarse.tensor, skip.tensor]
        return Feature(layers.Add(name=name + self.suffix)(both), coarse.grid)

    def rescale(self, feature: Feature, scale: float, name: str) -> Feature:
        """Multiplies a map by a number that does not learn."""
        rescale = layers.Rescaling(scale, name=name + self.suffix)
        return Feature(rescale(feature.tensor), feature.grid)


def crop_to(feature: Feature, like: Feature) -> Feature:
    """Cuts out of a map the part that lies over another map of the same stride.

    The rows and columns to take are counted on the other map itself: stock ops alone, for any
    size, on every backend, also after saving and loading.
    """
    offset = feature.grid.offset_over(like.grid)
    tensor = feature.tensor
    for axis, cells in ((1, like.tensor[:, :, 0, 0]), (2, like.tensor[:, 0, :, 0])):
        ones = ops.ones_like(ops.sum(cells, axis=0), dtype="int32")
        tensor = ops.take(tensor, ops.cumsum(ones) + (offset - 1), axis=axis)
    return Feature(tensor, like.grid)
