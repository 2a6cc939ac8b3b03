"""The Lovasz-softmax loss: the mean IU itself, made continuous (arXiv 1705.08790)."""

from typing import Any

import keras
from keras import ops

from fcn_keras.training.losses.pixel_loss import ImageLoss, without_void


def lovasz_softmax(labels: Any, logits: Any, ignore_label: int = 255) -> tuple[Any, Any]:
    """The Lovasz-softmax loss of each image: a mean over the classes that are in its labels.

    Args:
        labels: integers `(N, H, W)` or `(N, H, W, 1)`: class ids, or `ignore_label`.
        logits: `(N, H, W, C)`, any float type.
        ignore_label: label of the pixels that do not count.

    Returns:
        A pair, both `(N,)`: float32 losses from 0 to 1, and whether an image has a pixel that
        counts; without any its loss is 0.
    """
    labels, valid = without_void(labels, logits, ignore_label)
    num_classes = logits.shape[-1]
    images = ops.shape(labels)[0]
    counts = ops.reshape(ops.cast(valid, "float32"), (images, 1, -1))
    # A line for each class, as what is sorted should lie together: `(N, C, H W)`.
    classes = ops.one_hot(ops.reshape(labels, (images, -1)), num_classes, axis=1)
    truth = ops.cast(classes, "float32") * counts
    probabilities = ops.softmax(ops.cast(logits, "float32"))
    probabilities = ops.transpose(ops.reshape(probabilities, (images, -1, num_classes)), (0, 2, 1))
    errors = ops.abs(truth - probabilities)
    # Void behind all that counts.
    order = ops.argsort(ops.where(counts > 0, -errors, 1.0), axis=-1)
    errors, truth = (ops.take_along_axis(x, order, axis=-1) for x in (errors, truth))
    counts = ops.take_along_axis(ops.broadcast_to(counts, ops.shape(order)), order, axis=-1)
    # What the loss of IU grows by when one pixel after the other becomes an error.
    pixels = ops.sum(truth, axis=-1, keepdims=True)
    left = pixels - ops.cumsum(truth, axis=-1)
    union = pixels + ops.cumsum(counts - truth, axis=-1)
    jaccard = 1 - left / ops.maximum(union, 1.0)
    before = ops.pad(jaccard[..., :-1], ((0, 0), (0, 0), (1, 0)))
    of_classes = ops.sum(errors * counts * ops.stop_gradient(jaccard - before), axis=-1)
    present = ops.cast(pixels[..., 0] > 0, "float32")
    number = ops.sum(present, axis=-1)
    return ops.sum(of_classes * present, axis=-1) / ops.maximum(number, 1.0), number > 0


@keras.saving.register_keras_serializable(package="fcn_keras")
class LovaszSoftmax(ImageLoss):
    """One minus the mean IU of each image, made continuous: the Lovasz-softmax loss, in float32.

    Labels and logits are as for `PixelCrossEntropy`. The mean is over the classes that are in the
    labels of an image, and over the images that have any. `(N,)` sample weights multiply images;
    there are none for pixels. All pixels of an image are sorted, once for each class, which takes
    time.

    Args:
        ignore_label: label of the pixels that do not count; -1 for none.
        name: name of the loss.

    Raises:
        UserError: if `ignore_label` is no whole number.

    Example:

    >>> model.compile("adam", LovaszSoftmax())
    """

    def __init__(self, ignore_label: int = 255, name: str = "lovasz_softmax"):
        super().__init__(ignore_label, name)

    def losses(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        losses, counted = lovasz_softmax(labels, logits, self.ignore_label)
        return losses[:, None, None], counted[:, None, None]
