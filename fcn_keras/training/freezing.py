"""Layers that do not learn: those of the trunk, of a part of it, or of a pattern."""

import re
from difflib import get_close_matches

import keras

from fcn_keras.errors import UserError
from fcn_keras.models.head import is_of_head

TRUNK = "trunk"


def freeze(network: keras.Model, which: str) -> None:
    """Freezes layers of a network: they cost neither gradients nor the memory for them.

    Their batch normalisation, if there is any, keeps its statistics too. To be called before the
    network is compiled.

    Args:
        network: the network to be trained.
        which: "" for none; "trunk" for all but what scores and upsamples; "conv1_1..pool3" for two
            layers and all between, in the network's order; or a regular expression for whole names.

    Raises:
        UserError: if there is no such layer, or nothing would be left to learn.

    Example:

    >>> freeze(network, "conv1_1..pool2")
    """
    if not which:
        return
    frozen = _frozen(network, which)
    weights = sum(layer.count_params() for layer in frozen)
    for layer in frozen:
        layer.trainable = False
    if not network.trainable_variables:
        raise UserError(f"`freeze` must leave layers that learn. Received: {which!r}.")
    print(f"frozen: {len(frozen)} layers with {weights:,} weights (--freeze {which})")


def _frozen(network, which):
    """The layers with weights that are meant."""
    layers = network.layers
    first, dots, last = which.partition("..")
    names = [layer.name for layer in layers]
    if which == TRUNK:
        meant = [layer for layer in layers if not is_of_head(layer)]
    elif dots and not (first in names and last in names) and re.fullmatch(r"[\w/]+", first + last):
        wrong = first if first not in names else last
        near = get_close_matches(wrong, names)
        hint = f" (near: {', '.join(near)})" if near else ""
        raise UserError(f"`freeze`: the network has no layer {wrong!r}{hint}. Received: {which!r}.")
    elif dots and first in names and last in names:
        begin, end = sorted((names.index(first), names.index(last)))
        meant = layers[begin : end + 1]
    else:
        try:
            pattern = re.compile(which)
        except re.error as error:
            raise UserError(
                "`freeze` must be trunk, two layers as in conv1_1..pool3, or a regular expression. "
                f"Received: {which!r}: {error}."
            ) from None
        meant = [layer for layer in layers if pattern.fullmatch(layer.name)]
    found = [layer for layer in meant if layer.weights]
    if not found:
        raise UserError(f"`freeze`: no layer with weights is meant by it. Received: {which!r}.")
    return found
