"""The networks of the paper as Keras models."""

import math
from pathlib import Path
from typing import Any

import keras
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.models.architecture import check, scores, trunk_layers
from fcn_keras.models.geometry import IMAGE
from fcn_keras.models.head import Head, crop_to, late_fusion
from fcn_keras.models.keras_defaults import keras_defaults
from fcn_keras.models.layers import Feature, preprocess
from fcn_keras.models.plain_numbers import whole_number
from fcn_keras.models.trunks import build_trunk
from fcn_keras.models.variants import ALEXNET, COLOR_HHA, HHA
from fcn_keras.models.weights.starts import choose_start


@keras_defaults()
def build(
    variant: str,
    num_classes: int | dict[str, int] = 21,
    *,
    weights: str | Path | None = "imagenet",
    input_shape: tuple | None = None,
    geometry: str = "paper",
    output_stride: int = 32,
    width: float = 1.0,
    dropout: float = 0.5,
    learn_upsampling: bool = False,
    elide_padding: bool = True,
    input_mean: tuple[float, ...] | None = None,
    input_std: float | None = None,
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
            - `"fcn32s-color-hha"`: two FCN-32s on a six-channel image, RGB and an encoding of
              depth (HHA), whose scores are averaged (section 5 of the paper).
        num_classes: number of classes, background included. A dictionary, such as
            `{"sem": 33, "geo": 3}`, makes a head for each name on one trunk (section 5, SIFT
            Flow); the names of its layers end in `_sem` or `_geo`.
        weights: what to start from:
            - `"imagenet"`: VGG16's ImageNet weights, fc6 and fc7 included; the layers that
              score start at zero.
            - `None`: random (He), scores at zero.
            - the path of a network of this package, `.keras` or `.weights.h5`, of the same
              variant and classes.
            - the path of Keras' own VGG16 weights, `.h5`.
            - the path of published weights of this network: Caffe's `.caffemodel`,
              pytorch-fcn's `.pth`, Chainer's `.npz`; or of the classifier it starts from
              (VGG_ILSVRC_16_layers, bvlc_reference_caffenet).
        input_shape: `(H, W, 3)`; None for a free side, and for all of it.
        geometry: `"paper"` pads the image by 100 pixels, as published. `"same"` pads each
            convolution by half its kernel: cheaper, and other results near the borders.
        output_stride: stride of the coarsest scores on the image; 16 or 8 take strides out of
            the trunk and dilate what follows, for FCN-32s only. The same weights serve.
        width: factor on the number of channels; 1.0 is VGG16. Other widths have no published
            weights.
        dropout: rate behind fc6 and fc7.
        learn_upsampling: whether the transposed convolutions learn, or stay bilinear as in the
            reference.
        elide_padding: whether to compute what becomes of the paper's padding once, and to repeat
            it, where it is the same in every row. The function and the weights are the same; it
            takes less time and memory.
        input_mean: BGR mean to subtract, in grey levels (with HHA: six numbers). Not given: the
            one of the weights.
        input_std: grey levels to divide by. Not given: that of the weights, which is 1 for
            published ones and 64 for a random start. `.weights.h5` files written by
            `fcn-keras convert` bring both along; for others give what they were trained with.
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
    width, dropout, learn_upsampling = float(width), float(dropout), bool(learn_upsampling)
    channels = 6 if variant == COLOR_HHA else 3
    input_shape = (None, None, channels) if input_shape is None else tuple(input_shape)
    input_shape = tuple(side and whole_number("input_shape", side) for side in input_shape)
    _check(variant, heads, input_shape, channels, geometry, output_stride, width)
    start = choose_start(weights, variant, width)
    mean, std = _preprocessing(start, input_mean, input_std, channels, weights, variant)

    image = keras.Input(input_shape, name="image")
    if variant == COLOR_HHA:
        images = {
            "color": preprocess(image[..., :3], mean[:3], std, name="normalizecolor"),
            "hha": preprocess(image[..., 3:], mean[3:], std, flip=False, name="normalizehha"),
        }
    else:
        images = {"": preprocess(image, mean, std, flip=variant != HHA)}
    # Random numbers for 134 million weights take seconds and a gigabyte: only where they stay.
    initializer = "he_normal" if weights is None else "zeros"
    trunks = []
    for suffix, pixels in images.items():
        trunk = trunk_layers(variant, geometry, output_stride, width, elide_padding, suffix)
        trunks.append(build_trunk(trunk, pixels, dropout, initializer, suffix))
    outputs = {}
    for key, classes in heads.items():
        head = Head(classes, learn_upsampling, f"_{key}" if key else "")
        if variant == COLOR_HHA:
            score = late_fusion(trunks[0]["fc7"], trunks[1]["fc7"], head)
        else:
            score = scores(variant, trunks[0], head)
        score = crop_to(score, Feature(image, IMAGE)).tensor
        outputs[key] = layers.Identity(dtype="float32", name=f"score{head.suffix}")(score)
    model = keras.Model(image, outputs.get("", outputs), name=name or variant)
    # A dilated network upsamples by another factor; its kernel stays bilinear.
    start.fill(model, skip={"upscore"} if output_stride != 32 else ())
    return model


def _preprocessing(start, input_mean, input_std, channels, weights, variant):
    """What is subtracted and what is divided by: as given, or as it was with the weights."""
    mean = start.mean if input_mean is None else tuple(map(float, input_mean))
    std = start.std if input_std is None else float(input_std)
    if not 0 < std < math.inf:
        raise UserError(f"`input_std` must be above 0, and finite. Received: {std}.")
    if len(mean) != channels:
        raise UserError(
            f"`input_mean` must be {channels} numbers. Received: {mean}."
            if input_mean is not None
            else f"{weights}: was trained on images of {len(mean)} channels, and {variant} takes "
            f"{channels}."
        )
    return mean, std


def _check(variant, heads, input_shape, channels, geometry, output_stride, width):
    check(variant, list(heads.values()), geometry, output_stride, width)
    if not heads:
        raise UserError("`num_classes` must name at least one head. Received: {}.")
    if len(input_shape) != 3 or input_shape[-1] != channels:
        raise UserError(f"`input_shape` must be (H, W, {channels}). Received: {input_shape}.")


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
