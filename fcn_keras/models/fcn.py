"""The networks of the paper as Keras models."""

from pathlib import Path
from typing import Any

import keras
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.models.architecture import check, scores
from fcn_keras.models.backbone import BackboneTrunk
from fcn_keras.models.backbones import VGG16
from fcn_keras.models.channels import as_photograph, checked_stored
from fcn_keras.models.geometry import IMAGE
from fcn_keras.models.head import Head, crop_to, late_fusion
from fcn_keras.models.keras_defaults import keras_defaults
from fcn_keras.models.layers import Feature
from fcn_keras.models.plain_numbers import whole_number
from fcn_keras.models.trunks import PaperTrunk
from fcn_keras.models.upsampling import upsampling_of
from fcn_keras.models.variants import ALEXNET, COLOR_HHA, OWN_CHANNELS


@keras_defaults()
def build(
    variant: str,
    num_classes: int | dict[str, int] = 21,
    *,
    backbone: str | keras.Model = VGG16,
    weights: str | Path | None = "imagenet",
    preprocessing: str | None = None,
    input_shape: tuple | None = None,
    channels: int = 3,
    input_dtype: str | None = None,
    geometry: str = "paper",
    output_stride: int = 32,
    width: float = 1.0,
    dropout: float = 0.5,
    upsampling: str | None = None,
    learn_upsampling: bool | None = None,
    elide_padding: bool = True,
    input_mean: tuple[float, ...] | None = None,
    input_std: float | tuple[float, ...] | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds a fully convolutional network for semantic segmentation.

    The network takes RGB images in 0..255 of any size from one pixel up, uint8 or float, and
    returns a score for every class at every pixel. Channel order, mean and scale are dealt with
    inside; do not preprocess.

    Args:
        variant: which network:
            - `"fcn32s"`, `"fcn16s"`, `"fcn8s"`: on VGG16.
            - `"fcn8s-atonce"`: FCN-8s with its skips scaled down, to be trained in one go.
            - `"fcn-alexnet"`: on CaffeNet.
            - `"fcn32s-hha"`: FCN-32s on an encoding of depth (HHA) in place of colours: its
              channels keep their order.
            - `"fcn32s-color-d"`: FCN-32s on a four-channel image, RGB and the depth in
              millimetres, as a 16-bit PNG has it: uint16, or float. The network takes the
              logarithm of the depth, for which less than 1 counts as 1 (0 is unknown), and joins
              it to the colours in its first layer, `conv1_1_bgrd` (section 5). From a classifier
              the depth starts with the mean of the colours' kernels.
            - `"fcn32s-color-hha"`: two FCN-32s on a six-channel image, RGB and an encoding of
              depth (HHA), whose scores are averaged (section 5 of the paper).
        num_classes: number of classes, background included. A dictionary, such as
            `{"sem": 33, "geo": 3}`, makes a head for each name on one trunk (section 5, SIFT
            Flow); the names of its layers end in `_sem` or `_geo`.
        backbone: the classifier that the network is built on:
            - `"vgg16"`: the paper's.
            - the name of another one of `keras.applications` in snake case, such as
              `"mobilenet_v2"` or `"resnet50"`. Heads are the paper's: they score its last maps
              of strides 8, 16 and 32, and lie where the grids of these maps say.
            - a functional Keras model, with its weights, of images `(N, H, W, 3)`. It is copied;
              a dense top is left out, but for VGG16's, which becomes fc6 and fc7.
        weights: what to start from:
            - `"imagenet"`: the classifier's ImageNet weights, VGG16's fc6 and fc7 included; the
              layers that score start at zero. A model as `backbone` keeps its own.
            - `None`: random, scores at zero (nearly, where upsampling is nonlinear).
            - the path of a network of this package, `.keras` or `.weights.h5`, of the same
              variant, backbone, classes and upsampling.
            - `"hf://USER/NAME"`: such a network of the Hugging Face hub (the extra `hub`).
            - `"fcn8s-heavy-pascal"`: the reference's FCN-8s for PASCAL VOC, fetched the first time.
            - the path of Keras' own weights of the classifier, `.h5` or `.weights.h5`.
            - the path of published weights of this network: Caffe's `.caffemodel`,
              pytorch-fcn's `.pth`, Chainer's `.npz`; or of the classifier it starts from
              (VGG_ILSVRC_16_layers, bvlc_reference_caffenet).
        preprocessing: what a model as `backbone` expects: `"tf"`, `"torch"`, `"caffe"` or
            `"none"`, as `keras.applications` has them. Not given: known by the name that the
            model has there.
        input_shape: `(H, W, C)`, with the channels of the images; None for a free side, and for all
            of it.
        channels: how many channels the images have. If not three, or if `input_dtype` is given,
            they are no photographs but numbers as stored: each channel is first brought to the mean
            and the deviation that it has in photographs (the first three are red, green and blue;
            others have those colours' average). Weights for three colours are spread: further
            channels start with the mean of the three kernels, fewer than three all have it, and all
            is multiplied by `3 / channels`.
        input_dtype: what the numbers are: `"uint8"`, `"uint16"` or `"float32"`. The network keeps
            that, and whoever reads files for it goes by it.
        geometry: `"paper"` pads the image by 100 pixels, as published. `"same"` pads each
            convolution by half its kernel: cheaper, and other results near the borders. VGG16's
            and CaffeNet's alone, as `elide_padding`, `input_mean` and `input_std` are.
        output_stride: stride of the coarsest scores on the image; 16 or 8 take strides out of
            the trunk and dilate what follows, for FCN-32s only. The same weights serve.
        width: factor on the number of channels; 1.0 is VGG16, for which there are no published
            weights of other widths. For MobileNets it is their `alpha`.
        dropout: rate behind fc6 and fc7; behind the coarsest map of another backbone.
        upsampling: how scores are brought to finer grids:
            - `"bilinear"`: by transposed convolutions that stay bilinear, as in the reference;
              the default.
            - `"learned"`: by such that start bilinear and learn.
            - `"nonlinear"`: the upsampling to the image's size is a stack of them, one for each
              doubling, with ReLUs between (section 3.3). It starts as bilinear steps, and learns.
              Scores start nearly at zero: at zero, a ReLU passes no gradient.
        learn_upsampling: the older name: True is `upsampling="learned"`, False `"bilinear"`.
        elide_padding: whether to compute what becomes of the paper's padding once, and to repeat
            it, where it is the same in every row. The function and the weights are the same; it
            takes less time and memory.
        input_mean: BGR mean to subtract, in grey levels (with HHA: six numbers; with depth: four,
            the last one of its logarithm). Not given: the one of the weights.
        input_std: grey levels to divide by; or one number for each channel. Not given: that of
            the weights, which is 1 for published ones and 64 for a random start (0.5 for the
            logarithm of depth). `.weights.h5` files written by `fcn-keras convert` bring both
            along; for others give what they were trained with. With `channels` or `input_dtype`,
            mean and deviation of each channel in the training set, in the image's own order, on
            every backbone; bytes are taken for a photograph's without them.
        name: name of the model; the variant if not given.

    Returns:
        A functional `keras.Model`: `(N, H, W, 3)` to logits `(N, H, W, num_classes)`, float32
        under every precision policy; with several heads, to a dictionary of them by name.

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
    # Plain numbers, whatever came: a saved network keeps them.
    heads = num_classes if isinstance(num_classes, dict) else {"": num_classes}
    heads = {key: whole_number("num_classes", classes) for key, classes in heads.items()}
    output_stride = whole_number("output_stride", output_stride)
    width, dropout = float(width), float(dropout)
    upsampling = upsampling_of(upsampling, learn_upsampling)
    check(variant, list(heads.values()), geometry, output_stride, width)
    if not heads:
        raise UserError("`num_classes` must name at least one head. Received: {}.")
    options = dict(variant=variant, output_stride=output_stride, width=width, dropout=dropout)
    of_the_paper = dict(geometry=geometry, elide_padding=elide_padding)
    numbers = dict(input_mean=input_mean, input_std=input_std)
    stored = _is_stored(variant, channels, input_dtype)
    if stored:
        channels = whole_number("channels", channels)
        options |= dict(channels=channels)
    trunk = _trunk(
        backbone, options, weights, preprocessing, of_the_paper | ({} if stored else numbers)
    )
    shape = (None, None, trunk.channels) if input_shape is None else tuple(input_shape)
    shape = tuple(side and whole_number("input_shape", side) for side in shape)
    if len(shape) != 3 or shape[-1] != trunk.channels:
        raise UserError(f"`input_shape` must be (H, W, {trunk.channels}). Received: {shape}.")

    image = keras.Input(shape, name="image")
    pixels = image
    if stored:
        pixels = as_photograph(image, _stored_by(trunk, channels, input_dtype, numbers))
    maps = trunk.build(pixels)
    outputs = {
        key: _scored(variant, image, maps, Head(classes, upsampling, f"_{key}" if key else ""))
        for key, classes in heads.items()
    }
    model = keras.Model(image, outputs.get("", outputs), name=name or variant)
    trunk.fill(model)
    return model


def _scored(variant, image, maps, head):
    """The scores of a head, as large as the image."""
    if variant == COLOR_HHA:
        score = late_fusion(maps[0]["fc7"], maps[1]["fc7"], head)
    else:
        score = scores(variant, maps[0], head)
    score = crop_to(score, Feature(image, IMAGE)).tensor
    return layers.Identity(dtype="float32", name=f"score{head.suffix}")(score)


def _is_stored(variant, channels, input_dtype):
    """Whether images are taken with their numbers as stored."""
    if channels == 3 and input_dtype is None:
        return False
    if variant in OWN_CHANNELS:
        raise UserError(
            f"`channels` and `input_dtype` of {variant} must be left out: its images are what they "
            f"are. Received: {channels} and {input_dtype}."
        )
    return True


def _stored_by(trunk, channels, dtype, numbers):
    """What stored images are: as it was given, or else as a file of weights tells."""
    told = getattr(trunk.start, "stored", None)
    if told and dtype in (None, told.dtype) and len(told.mean) == channels:
        if all(number is None for number in numbers.values()):
            return told
        dtype = told.dtype
    return checked_stored(channels, dtype or "uint8", *numbers.values())


def _trunk(backbone, options, weights, preprocessing, of_the_paper):
    """The trunk of a network, whose weights are opened, and not yet copied."""
    if isinstance(backbone, keras.Model) and _is_paper_classifier(backbone):
        backbone, weights = VGG16, backbone if weights == "imagenet" else weights
    if backbone != VGG16:
        defaults = dict(geometry="paper", elide_padding=True, input_mean=None, input_std=None)
        others = {name: (value, defaults[name]) for name, value in of_the_paper.items()}
        return BackboneTrunk(
            backbone=backbone, weights=weights, preprocessing=preprocessing, **options, **others
        )
    if preprocessing is not None:
        raise UserError(
            "`preprocessing` is known for VGG16, and must be left out. "
            f"Received: {preprocessing!r}."
        )
    return PaperTrunk(weights=weights, **options, **of_the_paper)


def _is_paper_classifier(model):
    """Whether a model is Keras' VGG16 with its dense layers."""
    names = {layer.name for layer in model.layers}
    return model.name == VGG16 and {"fc1", "fc2", "block5_conv3"} <= names


def FCN32s(num_classes: int = 21, **options: Any) -> keras.Model:
    """FCN-32s: fc7's scores, upsampled 32 times. See `fcn_keras.build` for the options."""
    return build("fcn32s", num_classes, **options)


def FCN16s(num_classes: int = 21, **options: Any) -> keras.Model:
    """FCN-16s: FCN-32s with a skip from pool4. See `fcn_keras.build` for the options."""
    return build("fcn16s", num_classes, **options)


def FCN8s(num_classes: int = 21, **options: Any) -> keras.Model:
    """FCN-8s: FCN-16s with a skip from pool3. See `fcn_keras.build` for the options."""
    return build("fcn8s", num_classes, **options)


def FCNAlexNet(num_classes: int = 21, **options: Any) -> keras.Model:
    """FCN-AlexNet: CaffeNet's scores, upsampled 32 times. See `fcn_keras.build` for the options."""
    return build(ALEXNET, num_classes, **options)
