"""Losses as text: `cross_entropy+0.5*dice`. No Keras."""

import math

from fcn_keras.errors import UserError

CROSS_ENTROPY, DICE, FOCAL, LOVASZ, OHEM = "cross_entropy", "dice", "focal", "lovasz", "ohem"
LOSSES = (CROSS_ENTROPY, DICE, FOCAL, LOVASZ, OHEM)
WEIGHED = (CROSS_ENTROPY, FOCAL, OHEM)  # by class weights
NORMALIZED = (CROSS_ENTROPY, FOCAL)  # by a number of pixels or images that is chosen


def parse_loss(text: str) -> dict[str, float]:
    """Returns the losses that a text adds up, each with what it is multiplied by.

    Args:
        text: names of `LOSSES`, each once, with `+` between; a number and `*` may stand before one.

    Raises:
        UserError: if it is anything else.

    Example:

    >>> parse_loss("cross_entropy+0.5*dice")
    {'cross_entropy': 1.0, 'dice': 0.5}
    """
    factors: dict[str, float] = {}
    for term in text.split("+"):
        number, star, name = term.strip().rpartition("*")
        try:
            factor = float(number) if star else 1.0
        except ValueError:
            factor = 0.0
        name = name.strip()
        if name not in LOSSES or name in factors or not 0 < factor < math.inf:
            raise UserError(
                f"`loss` must be one or several of {', '.join(LOSSES)}, each once, as in "
                f"'cross_entropy+0.5*dice', with factors above 0. Received: {text!r}."
            )
        factors[name] = factor
    return factors
