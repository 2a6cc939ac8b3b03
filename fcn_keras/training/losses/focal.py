"""Cross-entropy that pixels count less for the surer they are (arXiv 1708.02002)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fcn_keras.errors import UserError
from fcn_keras.training.losses.class_weights import weights_at
from fcn_keras.training.losses.cross_entropy import PixelCrossEntropy, pixel_cross_entropy
from fcn_keras.training.losses.pixel_loss import without_void


@keras.saving.register_keras_serializable(package="fcn_keras")
class FocalLoss(PixelCrossEntropy):
    """The focal loss `-(1 - p)^gamma log(p)` of pixels that are not void, in float32.

    `p` is the probability of a pixel's class: what is labelled rightly and surely hardly counts.
    Labels, logits, sample weights and replicas are as for `PixelCrossEntropy`.

    Args:
        gamma: how fast pixels cease to count; 0 for the cross-entropy.
        ignore_label: label of the pixels that do not count; -1 for none.
        normalization: what the sum over pixels is divided by, see `PixelCrossEntropy`.
        class_weights: C numbers that the losses of each class's pixels are multiplied by.
        name: name of the loss.

    Raises:
        UserError: if an argument is out of its range.

    Example:

    >>> model.compile("adam", FocalLoss(gamma=2.0))
    """

    def __init__(
        self,
        gamma: float = 2.0,
        ignore_label: int = 255,
        normalization: str = "valid_pixels",
        class_weights: Sequence[float] | None = None,
        name: str = "focal",
    ):
        super().__init__(ignore_label, normalization, class_weights, name=name)
        self.gamma = float(gamma)
        if not 0 <= self.gamma < float("inf"):
            raise UserError(f"`gamma` must be a finite number from 0 up. Received: {gamma!r}.")

    def losses(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        loss, valid = pixel_cross_entropy(labels, logits, self.ignore_label)
        if self.gamma:
            # The slope of a power below 1 is infinite at 0.
            loss = loss * ops.power(ops.maximum(-ops.expm1(-loss), 1e-7), self.gamma)
        if self.class_weights is not None:
            labels, _ = without_void(labels, logits, self.ignore_label)
            loss = loss * weights_at(labels, self.class_weights, logits.shape[-1])
        return loss, valid

    def get_config(self) -> dict:
        config = super().get_config()
        del config["label_smoothing"]
        return {"gamma": self.gamma, **config}
