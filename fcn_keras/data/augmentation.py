"""Training images varied at random."""

from dataclasses import dataclass

import tensorflow as tf

from fcn_keras.data.dataset import IGNORE_LABEL

# What lies beyond the border of an image: the mean of photographs, which the network sees as 0;
# then the mean of HHA, for images that bring that along.
PADDING_COLOR = (124, 117, 104, 132, 94, 118)


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied; image and mask always move together.

    Attributes:
        crop_size: height and width of the crops; None for whole images as they are.
        flip: whether half of the images are mirrored.
        scale: range from which a zoom is drawn (evenly in its logarithm).
        color: how far brightness, contrast, saturation and the tint may move; 0 for not at all,
            0.5 for strongly.
    """

    crop_size: tuple[int, int] | None
    flip: bool = True
    scale: tuple[float, float] = (1.0, 1.0)
    color: float = 0.0


def augment(
    image: tf.Tensor, label: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Varies one image and its labels alike.

    Args:
        image: uint8 tensor `(H, W, 3)`, or `(H, W, 6)` with an encoding of depth.
        label: uint8 tensor `(H, W, maps)`.
        augmentation: how far.
        seed: two integers, from which all that is drawn follows.

    Returns:
        Both, of the crop's size.
    """
    draw = tf.unstack(tf.random.stateless_uniform([9], seed))
    if augmentation.crop_size:
        image, label = _crop(image, label, augmentation, draw[:3])
    if augmentation.flip:
        mirrored = draw[3] < 0.5
        image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
        label = tf.cond(mirrored, lambda: tf.reverse(label, [1]), lambda: label)
    if augmentation.color:
        # An encoding of depth behind the three colours stays as it is.
        image = tf.concat(
            [_recolor(image[..., :3], augmentation.color, draw[4:]), image[..., 3:]], axis=-1
        )
    return image, label


def _crop(image, label, augmentation, draw):
    """Cuts a window out at a random place, scaled to the crop size; void lies outside."""
    height, width = augmentation.crop_size
    low, high = augmentation.scale
    zoom = low * (high / low) ** draw[0]
    windows = [tf.maximum(1, tf.cast(tf.round(side / zoom), tf.int32)) for side in (height, width)]
    cut, pads = [], []
    for axis, (window, place) in enumerate(zip(windows, draw[1:], strict=True)):
        side = tf.shape(image)[axis]
        slack = side - window
        # From 0 to the slack; where the image is smaller than the window, from it to 0.
        choices = tf.cast(tf.abs(slack) + 1, tf.float32)
        start = tf.sign(slack) * tf.cast(tf.floor(place * choices), tf.int32)
        cut.append(slice(tf.maximum(start, 0), tf.minimum(start + window, side)))
        pads.append([tf.maximum(-start, 0), tf.maximum(start + window - side, 0)])
    pads.append([0, 0])
    color = tf.constant(PADDING_COLOR[: image.shape[-1]], tf.uint8)
    image = tf.pad(image[tuple(cut)] - color, pads) + color  # modulo 256, so nothing is lost
    label = tf.pad(label[tuple(cut)], pads, constant_values=IGNORE_LABEL)
    if low != 1 or high != 1:
        image = tf.cast(tf.round(tf.image.resize(image, (height, width))), tf.uint8)
        label = tf.image.resize(label, (height, width), "nearest")
    return (
        tf.ensure_shape(image, (height, width, None)),
        tf.ensure_shape(label, (height, width, None)),
    )


def _recolor(image, strength, draw):
    """Moves saturation, contrast, brightness and tint, each by a factor drawn around 1."""
    image = tf.cast(image, tf.float32)
    centred = [strength * (2 * number - 1) for number in draw]
    grey = tf.reduce_mean(image, axis=2, keepdims=True)
    image = grey + (image - grey) * tf.exp(centred[0])
    mean = tf.reduce_mean(image)
    image = mean + (image - mean) * tf.exp(centred[1])
    tint = 0.3 * tf.stack([centred[3], -(centred[3] + centred[4]) / 2, centred[4]])
    image = image * tf.exp(centred[2] + tint)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
