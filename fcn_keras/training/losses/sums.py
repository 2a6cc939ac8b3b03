"""Several losses added up."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from fcn_keras.errors import UserError
from fcn_keras.training.losses.cross_entropy import PixelCrossEntropy
from fcn_keras.training.losses.dice import DiceLoss
from fcn_keras.training.losses.focal import FocalLoss
from fcn_keras.training.losses.lovasz import LovaszSoftmax
from fcn_keras.training.losses.names import CROSS_ENTROPY, DICE, FOCAL, LOVASZ, OHEM, parse_loss
from fcn_keras.training.losses.ohem import OHEMLoss
from fcn_keras.training.losses.pixel_loss import PixelLoss


@keras.saving.register_keras_serializable(package="fcn_keras")
class SumOfLosses(keras.losses.Loss):
    """Adds up losses over pixels, each multiplied by a number: a float32 scalar.

    Labels and logits are as for `PixelCrossEntropy`.

    Args:
        losses: losses of this package.
        factors: what each is multiplied by: finite numbers above 0; None for 1.
        name: name of the loss.

    Raises:
        UserError: if there are no losses, or the factors are not as many numbers above 0.

    Example:

    >>> model.compile("adam", SumOfLosses([PixelCrossEntropy(), DiceLoss()], [1.0, 0.5]))
    """

    def __init__(
        self,
        losses: Sequence[PixelLoss],
        factors: Sequence[float] | None = None,
        name: str = "sum_of_losses",
    ):
        super().__init__(name=name, dtype="float32")
        self.losses = list(losses)
        self.factors = [
            float(each) for each in ([1.0] * len(losses) if factors is None else factors)
        ]
        if not self.losses or not all(isinstance(loss, PixelLoss) for loss in self.losses):
            raise UserError(f"`losses` must be losses of fcn_keras. Received: {losses!r}.")
        right = len(self.factors) == len(self.losses)
        if not right or not all(0 < factor < float("inf") for factor in self.factors):
            raise UserError(
                f"`factors` must be {len(self.losses)} numbers above 0, one for each loss. "
                f"Received: {factors!r}."
            )

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the loss of a batch, a float32 scalar; see `PixelLoss`."""
        found = [factor * loss(y_true, y_pred, sample_weight) for factor, loss in terms_of(self)]
        return ops.sum(ops.stack(found))

    def get_config(self) -> dict:
        return {
            "losses": [keras.losses.serialize(loss) for loss in self.losses],
            "factors": self.factors,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> "SumOfLosses":
        return cls(**{**config, "losses": [*map(keras.losses.deserialize, config["losses"])]})


def terms_of(loss: PixelLoss | SumOfLosses) -> tuple[tuple[float, PixelLoss], ...]:
    """Returns the losses that a loss adds up, each with what it is multiplied by."""
    if isinstance(loss, SumOfLosses):
        return tuple(zip(loss.factors, loss.losses, strict=True))
    return ((1.0, loss),)


def make_loss(
    text: str,
    normalization: str = "valid_pixels",
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> PixelLoss | SumOfLosses:
    """Makes the loss that `train.py --loss` names.

    Args:
        text: see `parse_loss`.
        normalization: of the losses of pixels, cross-entropy and focal.
        class_weights: a number for every class, which Dice and Lovasz do not take: they weigh
            classes alike.
        label_smoothing: of the cross-entropy.

    Raises:
        UserError: if an argument is out of its range.

    Example:

    >>> make_loss("cross_entropy+0.5*dice").factors
    [1.0, 0.5]
    """
    shared: dict[str, Any] = dict(normalization=normalization, class_weights=class_weights)
    kinds: dict[str, Callable[[], PixelLoss]] = {
        CROSS_ENTROPY: lambda: PixelCrossEntropy(label_smoothing=label_smoothing, **shared),
        DICE: DiceLoss,
        FOCAL: lambda: FocalLoss(**shared),
        LOVASZ: LovaszSoftmax,
        OHEM: lambda: OHEMLoss(class_weights=class_weights),
    }
    factors = parse_loss(text)
    losses = [kinds[name]() for name in factors]
    if [*factors.values()] == [1.0]:
        return losses[0]
    return SumOfLosses(losses, [*factors.values()])
