"""Cross-entropy of the hardest pixels alone: online hard example mining (arXiv 1604.03540)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fcn_keras.errors import UserError
from fcn_keras.training.losses.class_weights import weights_of_classes
from fcn_keras.training.losses.cross_entropy import pixel_cross_entropy
from fcn_keras.training.losses.pixel_loss import ImageLoss


@keras.saving.register_keras_serializable(package="fcn_keras")
class OHEMLoss(ImageLoss):
    """The mean cross-entropy of the hardest pixels of each image, in float32.

    Labels and logits are as for `PixelCrossEntropy`. It is averaged over the images that have a
    pixel that counts. `(N,)` sample weights multiply images; there are none for pixels.

    Args:
        share: which share of an image's pixels is added up, those of the largest losses: above 0,
            up to 1. At least one pixel is.
        ignore_label: label of the pixels that do not count; -1 for none.
        class_weights: C numbers that the losses of each class's pixels are multiplied by, before
            they are compared.
        name: name of the loss.

    Raises:
        UserError: if an argument is out of its range.

    Example:

    >>> model.compile("adam", OHEMLoss(share=0.25))
    """

    def __init__(
        self,
        share: float = 0.25,
        ignore_label: int = 255,
        class_weights: Sequence[float] | None = None,
        name: str = "ohem",
    ):
        super().__init__(ignore_label, name)
        self.share = float(share)
        if not 0 < self.share <= 1:
            raise UserError(f"`share` must be above 0, and at most 1. Received: {share!r}.")
        self.class_weights = weights_of_classes(class_weights)

    def losses(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        loss, valid = pixel_cross_entropy(labels, logits, self.ignore_label, self.class_weights)
        pixels = ops.reshape(ops.cast(valid, "float32"), (ops.shape(valid)[0], -1))
        number = ops.sum(pixels, axis=1, keepdims=True)
        hardest = ops.ceil(number * self.share)
        # The largest first; void ones are 0 and last.
        order = -ops.sort(-ops.reshape(loss, ops.shape(pixels)), axis=1)
        place = ops.cumsum(ops.ones_like(order), axis=1)
        kept = ops.where(place <= hardest, order, ops.zeros_like(order))
        mean = ops.sum(kept, axis=1, keepdims=True) / ops.maximum(hardest, 1.0)
        return mean[..., None], (number > 0)[..., None]

    def get_config(self) -> dict:
        return {
            "share": self.share,
            "class_weights": self.class_weights,
            **super().get_config(),
        }
