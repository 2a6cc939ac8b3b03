"""How scores are brought to finer grids: which ways there are, and their windows; no Keras."""

from fcn_keras.errors import UserError
from fcn_keras.models.geometry import Deconv, Grid, bilinear_window

# Bilinear kernels that stay as they are, as in the reference; such that learn; stacks of smaller
# ones with ReLUs between, which start as bilinear steps and learn.
BILINEAR, LEARNED, NONLINEAR = "bilinear", "learned", "nonlinear"
UPSAMPLINGS = (BILINEAR, LEARNED, NONLINEAR)


def upsampling_of(upsampling: str | None, learn_upsampling: bool | None) -> str:
    """Returns how a network upsamples, of its setting and the older one.

    Args:
        upsampling: one of `UPSAMPLINGS`; None or "" if not given.
        learn_upsampling: whether the transposed convolutions learn, as it was said before there
            was `upsampling`; None if not given.

    Raises:
        UserError: if there is no such way, or one setting contradicts the other.

    Example:

    >>> upsampling_of(None, True)
    'learned'
    """
    upsampling = upsampling or (LEARNED if learn_upsampling else BILINEAR)
    if upsampling not in UPSAMPLINGS:
        raise UserError(
            f"`upsampling` must be one of {', '.join(UPSAMPLINGS)}. Received: {upsampling!r}."
        )
    if learn_upsampling is not None and learn_upsampling != (upsampling != BILINEAR):
        raise UserError(
            "`learn_upsampling` is the older name of upsampling='learned', and must be left out "
            f"with {upsampling!r}. Received: {bool(learn_upsampling)}."
        )
    return upsampling


def windows(grid: Grid, factor: int, onto: Grid, upsampling: str = BILINEAR) -> list[Deconv]:
    """Returns the transposed convolutions that bring a map on to a finer grid, but for a crop.

    It is one, or, with `"nonlinear"`, one for each doubling. These have kernels as even or odd as
    the one: even, they reach farther on every side, by whole cells of the finer map, as many on
    either; odd, they compose to the one. So what the one covers, they cover.

    Args:
        grid: of the coarse map.
        factor: how many times as many cells there are to be: a power of two.
        onto: the grid of the finer map.
        upsampling: one of `UPSAMPLINGS`.

    Raises:
        ValueError: if the grids do not fit, see `geometry.bilinear_window`.

    Example:

    >>> windows(Grid(Fraction(8), Fraction(7, 2)), 8, IMAGE, "nonlinear")[0]
    Deconv(kernel=4, stride=2)
    """
    whole = bilinear_window(grid, factor, onto)
    if upsampling != NONLINEAR:
        return [whole]
    return [Deconv(4 - whole.kernel % 2, 2)] * (factor.bit_length() - 1)
