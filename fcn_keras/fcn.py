"""FCN-32s, FCN-16s and FCN-8s: section 4 of arXiv 1411.4038 on one page."""

import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
from keras import layers, ops

from fcn_keras.bilinear import Bilinear
from fcn_keras.errors import UserError
from fcn_keras.geometry import Deconv
from fcn_keras.names import VARIANTS
from fcn_keras.surgery import copy_weights
from fcn_keras.vgg import (
    GEOMETRIES,
    IMAGENET_MEAN,
    RANDOM_START_STD,
    Feature,
    Trunk,
    fetch_imagenet,
    load_classifier,
    vgg16_trunk,
)


def scores(variant: str, trunk: Trunk, head: "Head") -> Feature:
    """The paper's networks: scores of three strides, each upsampled onto the next finer one."""
    score = head.score(trunk.fc7, "score_fr")
    if variant == "fcn32s":
        return head.upsample(score, 32, "upscore")

    # Trained from VGG16 in one go, a net needs its skips small at first (at-once).
    at_once = variant == "fcn8s-atonce"
    pool4 = rescale(trunk.pool4, 0.01, "scale_pool4") if at_once else trunk.pool4
    pool3 = rescale(trunk.pool3, 0.0001, "scale_pool3") if at_once else trunk.pool3

    score = head.upsample(score, 2, "upscore2")
    score = fuse(score, head.score(pool4, "score_pool4"), "fuse_pool4")
    if variant == "fcn16s":
        return head.upsample(score, 16, "upscore16")

    score = head.upsample(score, 2, "upscore_pool4")
    score = fuse(score, head.score(pool3, "score_pool3"), "fuse_pool3")
    return head.upsample(score, 8, "upscore8")


@dataclass(frozen=True)
class Head:
    """What every score and every upsampling layer of a network has in common."""

    num_classes: int
    learn_upsampling: bool

    def score(self, feature: Feature, name: str) -> Feature:
        """Scores each class at each place; starts from zero, as in the paper."""
        conv = layers.Conv2D(self.num_classes, 1, kernel_initializer="zeros", name=name)
        return Feature(conv(feature.tensor), feature.grid)

    def upsample(self, feature: Feature, factor: int, name: str) -> Feature:
        """Upsamples scores by a transposed convolution that starts as bilinear."""
        deconv = Deconv(kernel=2 * factor, stride=factor)
        layer = layers.Conv2DTranspose(
            self.num_classes,
            deconv.kernel,
            strides=deconv.stride,
            use_bias=False,
            kernel_initializer=Bilinear(),
            trainable=self.learn_upsampling,
            name=name,
        )
        tensor = layer(feature.tensor)
        # The kernel is filled by now. A saved model may name stock classes only, so that
        # `keras.models.load_model` opens it where this package is not installed.
        layer.kernel_initializer = keras.initializers.Zeros()
        return Feature(tensor, deconv.grid(feature.grid))


def rescale(feature: Feature, scale: float, name: str) -> Feature:
    return Feature(layers.Rescaling(scale, name=name)(feature.tensor), feature.grid)


def fuse(coarse: Feature, skip: Feature, name: str) -> Feature:
    """Adds the scores of a skip connection where they look at the same place of the image."""
    if skip.grid.offset_over(coarse.grid) >= 0:
        skip = crop_to(skip, coarse)
    else:
        coarse = crop_to(coarse, skip)
    return Feature(layers.Add(name=name)([coarse.tensor, skip.tensor]), coarse.grid)


def crop_to(feature: Feature, like: Feature) -> Feature:
    """Cuts out of a map the part that lies over another map of the same stride.

    The rows and columns to take are counted on the other map itself: stock ops alone, for any
    size, on every backend, also after saving and loading.
    """
    offset = feature.grid.offset_over(like.grid)
    rows = ops.sum(like.tensor[:, :, 0, 0], axis=0)
    columns = ops.sum(like.tensor[:, 0, :, 0], axis=0)
    tensor = feature.tensor
    for axis, line in ((1, rows), (2, columns)):
        index = ops.cumsum(ops.ones_like(line, dtype="int32")) + (offset - 1)
        tensor = ops.take(tensor, index, axis=axis)
    return Feature(tensor, like.grid)


def build(
    variant: str,
    num_classes: int = 21,
    *,
    weights: str | Path | None = "imagenet",
    input_shape: tuple = (None, None, 3),
    geometry: str = "paper",
    width: float = 1.0,
    dropout: float = 0.5,
    learn_upsampling: bool = False,
    input_mean: tuple[float, float, float] | None = None,
    input_std: float | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds a fully convolutional network for semantic segmentation.

    The network takes RGB images in 0..255 of any size from one pixel up, uint8 or float, and
    returns a score for every class at every pixel. Channel order, mean and scale are dealt with
    inside; do not preprocess.

    Args:
        variant: `"fcn32s"`, `"fcn16s"`, `"fcn8s"`, or `"fcn8s-atonce"` (FCN-8s with its skips
            scaled down, to be trained in one go).
        num_classes: number of classes, background included.
        weights: what to start from:
            - `"imagenet"`: VGG16's ImageNet weights, fc6 and fc7 included; the layers that
              score start at zero.
            - `None`: random (He), scores at zero.
            - the path of a network of this package, `.keras` or `.weights.h5`, of the same
              variant and classes.
            - the path of Keras' own VGG16 weights, `.h5`.
        input_shape: `(H, W, 3)`; None for a free side.
        geometry: `"paper"` pads the image by 100 pixels, as published. `"same"` pads each
            convolution by half its kernel: cheaper, and other results near the borders.
        width: factor on the number of channels; 1.0 is VGG16. Other widths have no published
            weights.
        dropout: rate behind fc6 and fc7.
        learn_upsampling: whether the transposed convolutions learn, or stay bilinear as in the
            reference.
        input_mean: BGR mean to subtract, in grey levels. Not given: the one of the weights.
        input_std: grey levels to divide by. Not given: that of the weights, which is 1 for
            published ones and 64 for a random start. `.weights.h5` files written by
            `fcn-keras convert` bring both along; for others give what they were trained with.
        name: name of the model; the variant if not given.

    Returns:
        A functional `keras.Model`: `(N, H, W, 3)` to logits `(N, H, W, num_classes)`, float32
        under every precision policy.

    Raises:
        ValueError: if an argument is out of its range, or the weights do not fit.

    Example:

    >>> model = build("fcn8s", num_classes=21, weights=None, width=0.125)
    >>> model(np.zeros((1, 37, 53, 3), "uint8")).shape
    TensorShape([1, 37, 53, 21])

    Reference:
        Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation,
        section 4.2.
    """
    if variant not in VARIANTS:
        raise UserError(f"`variant` must be one of {', '.join(VARIANTS)}. Received: {variant!r}.")
    if geometry not in GEOMETRIES:
        raise UserError(
            f"`geometry` must be one of {', '.join(GEOMETRIES)}. Received: {geometry!r}."
        )
    if num_classes < 1:
        raise UserError(f"`num_classes` must be at least 1. Received: {num_classes}.")
    if not width > 0:
        raise UserError(f"`width` must be above 0; 1 is VGG16. Received: {width}.")
    if len(input_shape) != 3 or input_shape[-1] != 3:
        raise UserError(f"`input_shape` must be (H, W, 3). Received: {input_shape}.")
    source = _Source(weights, width)

    image = keras.Input(input_shape, name="image")
    trunk = vgg16_trunk(
        image,
        geometry,
        width,
        dropout,
        input_mean=source.mean if input_mean is None else input_mean,
        input_std=source.std if input_std is None else input_std,
    )
    score = crop_to(scores(variant, trunk, Head(num_classes, learn_upsampling)), trunk.image)
    score = layers.Identity(dtype="float32", name="score")(score.tensor)
    model = keras.Model(image, score, name=name or variant)
    source.fill(model)
    return model


def FCN32s(num_classes: int = 21, **options) -> keras.Model:
    """FCN-32s: fc7's scores, upsampled 32 times. See `fcn_keras.build` for the options."""
    return build("fcn32s", num_classes, **options)


def FCN16s(num_classes: int = 21, **options) -> keras.Model:
    """FCN-16s: FCN-32s with a skip from pool4. See `fcn_keras.build` for the options."""
    return build("fcn16s", num_classes, **options)


def FCN8s(num_classes: int = 21, **options) -> keras.Model:
    """FCN-8s: FCN-16s with a skip from pool3. See `fcn_keras.build` for the options."""
    return build("fcn8s", num_classes, **options)


def open_model(path: str | Path) -> keras.Model:
    """Opens a `.keras` file as `keras.models.load_model` does, uncompiled.

    Raises:
        UserError: if that fails; names the file.
    """
    try:
        return keras.models.load_model(path, compile=False)
    # A file of something else, a damaged archive, layers of other packages.
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be opened as a Keras model ({_line(error)}).") from error


class _Source:
    """Where weights come from, and the preprocessing they were trained with."""

    def __init__(self, weights, width):
        self.path = None
        self.mean, self.std = IMAGENET_MEAN, 1.0
        if weights is None:
            self.std = RANDOM_START_STD
            return
        if weights == "imagenet":
            if width != 1:
                raise UserError(
                    "`weights='imagenet'` are those of the full VGG16: they need `width=1`. "
                    f"Received: width={width}. Use `weights=None` for a narrow network."
                )
            self.path = fetch_imagenet()
            return
        self.path = Path(weights)
        if not self.path.is_file():
            raise UserError(
                "`weights` must be 'imagenet', None, or the path of a file. "
                f"Received: {str(weights)!r}, which is no file."
            )
        if self.path.suffix == ".keras":
            self.model = open_model(self.path)
            self.mean, self.std = preprocessing_of(self.model)
        elif self.path.name.endswith(".weights.h5"):
            self._read_preprocessing()
        elif self.path.suffix != ".h5":
            raise UserError(
                "`weights` files end in .keras, .weights.h5 or .h5 (Keras' VGG16). "
                f"Received: {weights}."
            )

    def _read_preprocessing(self):
        """Reads mean and scale from a `.weights.h5` file, if `fcn-keras convert` wrote it."""
        try:
            with h5py.File(self.path, "r") as file:
                if "fcn_keras_input_mean" in file.attrs:
                    self.mean = tuple(file.attrs["fcn_keras_input_mean"])
                    self.std = float(file.attrs["fcn_keras_input_std"])
        except OSError as error:
            raise UserError(f"{self.path}: is no HDF5 file ({_line(error)}).") from error

    def fill(self, model):
        if self.path is None:
            return
        if self.path.suffix == ".keras":
            different = _scales(self.model) ^ _scales(model)
            if different:
                raise UserError(
                    f"{self.path}: holds {self.model.name}, not {model.name}: only one of them has "
                    f"{', '.join(sorted(different))}."
                )
            copy_weights(self.model, model)
        elif self.path.name.endswith(".weights.h5"):
            try:
                with warnings.catch_warnings():
                    # Keras lists what it skips, layer by layer, before it raises.
                    warnings.simplefilter("ignore")
                    model.load_weights(self.path)
            except (ValueError, KeyError) as error:
                raise UserError(
                    f"{self.path}: holds weights of another network than {model.name} with these "
                    f"classes and this width ({_line(error)})."
                ) from error
        else:
            load_classifier(model, self.path)


def preprocessing_of(model: keras.Model) -> tuple[tuple[float, float, float], float]:
    """Returns the BGR mean that a network subtracts, and the number it divides by.

    Raises:
        UserError: if it is no network of this package.
    """
    if "normalize" not in [layer.name for layer in model.layers]:
        raise UserError(f"{model.name} is no network of this package: it has no layer normalize.")
    config = model.get_layer("normalize").get_config()
    return tuple(config["mean"]), config["variance"][0] ** 0.5


def _scales(model):
    """The fixed scales of a network, which hold no weights that could be compared."""
    return {layer.name for layer in model.layers if isinstance(layer, layers.Rescaling)}


def _line(error):
    """The first line of a message: those of Keras go on with all that they know."""
    return (str(error).splitlines() or [type(error).__name__])[0]
