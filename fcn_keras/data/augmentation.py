"""Training images varied at random."""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from fcn_keras.data.dataset import IGNORE_LABEL

# What lies beyond the border of an image: the mean of photographs, which the network sees as 0;
# then the mean of HHA, for images that bring that along.
PADDING_COLOR = (124, 117, 104, 132, 94, 118)

# The same for images that bring a depth in millimetres along.
PADDING_WITH_DEPTH = (*PADDING_COLOR[:3], 2550)


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied; image and mask always move together.

    Attributes:
        crop_size: height and width of the crops; None for whole images as they are.
        flip: whether half of the images are mirrored.
        scale: range from which a zoom is drawn (evenly in its logarithm).
        color: how far brightness, contrast, saturation and the tint may move; 0 for not at all,
            0.5 for strongly.
        class_crops: share of the crops that are centred, as far as the image reaches, on a pixel of
            a class: one drawn evenly among those in the image, in the first of its label maps.
        vertical_flip: whether half of the images are turned upside down.
        rotation: by how many degrees crops are turned at most, either way.
        blur: of half of the images, up to which standard deviation they are blurred, in pixels.
        padding: what lies beyond the border of an image, for each channel.
        brightest: the largest number that a colour may have.
    """

    crop_size: tuple[int, int] | None
    flip: bool = True
    scale: tuple[float, float] = (1.0, 1.0)
    color: float = 0.0
    class_crops: float = 0.0
    vertical_flip: bool = False
    rotation: float = 0.0
    blur: float = 0.0
    padding: tuple[float, ...] = PADDING_COLOR
    brightest: float = 255


def augment(
    image: tf.Tensor, label: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Varies one image and its labels alike.

    Args:
        image: uint8 tensor `(H, W, 3)`, RGB; or of any numbers and channels, of which the first
            three are colours, if there are so many.
        label: uint8 tensor `(H, W, maps)`.
        augmentation: how far.
        seed: two integers, from which all that is drawn follows.

    Returns:
        Both, of the crop's size and the dtypes that they had.
    """
    draw = tf.unstack(tf.random.stateless_uniform([9], seed))
    further = tf.random.experimental.stateless_fold_in(seed, 1)
    more = tf.unstack(tf.random.stateless_uniform([7], further))
    if augmentation.crop_size:
        image, label = _crop(image, label, augmentation, draw[:3], more[:4])
    if augmentation.flip:
        image, label = _mirrored(image, label, 1, draw[3])
    if augmentation.vertical_flip:
        image, label = _mirrored(image, label, 0, more[4])
    if augmentation.blur:
        image = _blurred(image, augmentation.blur, more[5:])
    if augmentation.color and image.shape[-1] >= 3:
        # What is behind the three colours stays as it is.
        colors = _recolor(image[..., :3], augmentation, draw[4:])
        image = tf.concat([colors, image[..., 3:]], axis=-1)
    return image, label


def _as(image, dtype):
    """Numbers as an image has them."""
    return tf.cast(tf.round(image) if dtype.is_integer else image, dtype)


def _crop(image, label, augmentation, draw, more):
    """Cuts a window out at a random place, scaled and turned to the crop; void lies outside."""
    sides = augmentation.crop_size
    low, high = augmentation.scale
    zoom = low * (high / low) ** draw[0]
    angle = (2 * more[3] - 1) * augmentation.rotation * math.pi / 180
    if augmentation.rotation:
        sides = _around(sides, angle)
    windows = [
        tf.maximum(1, tf.cast(tf.round(tf.cast(side, tf.float32) / zoom), tf.int32))
        for side in sides
    ]
    starts = [_start(tf.shape(image)[axis], windows[axis], draw[1 + axis]) for axis in range(2)]
    if augmentation.class_crops:
        starts = tf.cond(
            more[0] < augmentation.class_crops,
            lambda: _centred(label, windows, more[1:3]),
            lambda: starts,
        )
    cut, pads = [], []
    for axis, (window, start) in enumerate(zip(windows, starts, strict=True)):
        side = tf.shape(image)[axis]
        cut.append(slice(tf.maximum(start, 0), tf.minimum(start + window, side)))
        pads.append([tf.maximum(-start, 0), tf.maximum(start + window - side, 0)])
    pads.append([0, 0])
    image = _padded(image[tuple(cut)], pads, augmentation.padding)
    label = tf.pad(label[tuple(cut)], pads, constant_values=IGNORE_LABEL)
    if low != 1 or high != 1:
        image = _as(tf.image.resize(image, sides), image.dtype)
        label = tf.image.resize(label, sides, "nearest")
    if augmentation.rotation:
        image, label = _turned(image, label, angle, augmentation.crop_size)
    height, width = augmentation.crop_size
    return (
        tf.ensure_shape(image, (height, width, None)),
        tf.ensure_shape(label, (height, width, None)),
    )


def _padded(image, pads, padding):
    color = np.array(padding[: image.shape[-1]])
    if image.dtype.is_integer:
        color = np.rint(color).astype(image.dtype.as_numpy_dtype)
        return tf.pad(image - color, pads) + color  # modulo 2^bits, so nothing is lost
    inside = tf.pad(tf.ones_like(image, tf.bool), pads)
    return tf.where(inside, tf.pad(image, pads), color.astype("float32"))


def _start(side, window, place):
    """Where a window of an image's side starts, at a place from 0 to 1 of all that it may have."""
    slack = side - window
    # From 0 to the slack; where the image is smaller than the window, from it to 0.
    choices = tf.cast(tf.abs(slack) + 1, tf.float32)
    return tf.sign(slack) * tf.cast(tf.floor(place * choices), tf.int32)


def _centred(label, windows, draw):
    """Where windows start whose middle is a pixel of one of the classes in an image's labels."""
    ids = tf.reshape(label[..., 0], [-1])
    pixels = tf.math.bincount(tf.cast(ids, tf.int32), minlength=256)[:IGNORE_LABEL]
    classes = tf.where(pixels > 0)[:, 0]

    def one_of(choices, drawn):
        number = tf.size(choices)
        place = tf.cast(drawn * tf.cast(number, tf.float32), tf.int32)
        return tf.cast(choices[tf.minimum(place, number - 1)], tf.int32)

    def of_a_class():
        drawn = tf.cast(one_of(classes, draw[0]), ids.dtype)
        return one_of(tf.where(tf.equal(ids, drawn))[:, 0], draw[1])

    # Where all is void, any pixel.
    place = tf.cond(
        tf.size(classes) > 0, of_a_class, lambda: one_of(tf.range(tf.size(ids)), draw[1])
    )
    width = tf.shape(label)[1]
    starts = []
    for axis, middle in enumerate((place // width, place % width)):
        slack = tf.shape(label)[axis] - windows[axis]
        start = middle - windows[axis] // 2
        starts.append(tf.clip_by_value(start, tf.minimum(slack, 0), tf.maximum(slack, 0)))
    return starts


def _around(sides, angle):
    """The sides of what a crop lies within wherever it is turned by an angle."""
    height, width = (float(side) for side in sides)
    sine, cosine = tf.abs(tf.sin(angle)), tf.abs(tf.cos(angle))
    # What is turned by nothing is left as it is: two more pixels would move it by a half.
    turned = (height * cosine + width * sine, height * sine + width * cosine)
    return [tf.cast(tf.math.ceil(side - 1e-3), tf.int32) for side in turned]


def _turned(image, label, angle, sides):
    """Turns an image and its labels around their middle, and cuts the middle out."""
    sine, cosine = tf.sin(angle), tf.cos(angle)
    outer = [tf.cast(tf.shape(image)[axis] - 1, tf.float32) / 2 for axis in range(2)]
    inner = [(side - 1) / 2 for side in sides]
    # From places in what is returned, x and y, to those in what is given.
    transform = tf.stack(
        [
            *(cosine, -sine, outer[1] - cosine * inner[1] + sine * inner[0]),
            *(sine, cosine, outer[0] - sine * inner[1] - cosine * inner[0]),
            *(0.0, 0.0),
        ]
    )

    def turn(array, interpolation, fill_mode, fill_value):
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=array[None],
            transforms=transform[None],
            output_shape=tf.constant(sides),
            interpolation=interpolation,
            fill_mode=fill_mode,
            fill_value=fill_value,
        )[0]

    # The crop lies within the image, to rounding: nothing is to be seen of what lies outside.
    turned = turn(tf.cast(image, tf.float32), "BILINEAR", "NEAREST", 0.0)
    return (
        _as(turned, image.dtype),
        turn(label, "NEAREST", "CONSTANT", float(IGNORE_LABEL)),
    )


def _mirrored(image, label, axis, draw):
    mirrored = draw < 0.5
    return tuple(
        tf.cond(mirrored, lambda array=array: tf.reverse(array, [axis]), lambda array=array: array)
        for array in (image, label)
    )


def _blurred(image, strength, draw):
    """Blurs half of the images, by normal distributions of a width up to `strength`."""
    reach = math.ceil(3 * strength)
    sigma = tf.maximum(strength * draw[1], 1e-3)
    line = tf.exp(-((tf.range(-reach, reach + 1, dtype=tf.float32) / sigma) ** 2) / 2)
    line /= tf.reduce_sum(line)

    def blur():
        # With ones beside, as at the border only what lies within counts.
        ones = tf.ones_like(image[..., :1], tf.float32)
        blurred = tf.concat([tf.cast(image, tf.float32), ones], axis=-1)[None]
        for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
            kernel = tf.tile(tf.reshape(line, shape), (1, 1, image.shape[-1] + 1, 1))
            blurred = tf.nn.depthwise_conv2d(blurred, kernel, [1] * 4, "SAME")
        return _as(blurred[0, ..., :-1] / blurred[0, ..., -1:], image.dtype)

    return tf.cond(draw[0] < 0.5, blur, lambda: image)


def _recolor(image, augmentation, draw):
    """Moves saturation, contrast, brightness and tint, each by a factor drawn around 1."""
    dtype, strength = image.dtype, augmentation.color
    image = tf.cast(image, tf.float32)
    centred = [strength * (2 * number - 1) for number in draw]
    grey = tf.reduce_mean(image, axis=2, keepdims=True)
    image = grey + (image - grey) * tf.exp(centred[0])
    mean = tf.reduce_mean(image)
    image = mean + (image - mean) * tf.exp(centred[1])
    tint = 0.3 * tf.stack([centred[3], -(centred[3] + centred[4]) / 2, centred[4]])
    image = image * tf.exp(centred[2] + tint)
    if not dtype.is_integer:
        return image
    return tf.cast(tf.clip_by_value(tf.round(image), 0, augmentation.brightest), dtype)
