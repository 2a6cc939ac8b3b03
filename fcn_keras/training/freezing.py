"""Layers that do not learn, or not from the beginning: the trunk, a part of it, or a pattern."""

import re
import sys
from difflib import get_close_matches

import keras
from tqdm import tqdm

from fcn_keras.errors import UserError
from fcn_keras.models.head import is_of_head

TRUNK = "trunk"


def freeze(network: keras.Model, which: str) -> list[keras.Layer]:
    """Freezes layers of a network: they cost neither gradients nor the memory for them.

    Their batch normalisation, if there is any, keeps its statistics too. To be called before the
    network is compiled, or given to `SegmentationTask.freeze`.

    Args:
        network: the network to be trained.
        which: "" for none; "trunk" for all but what scores and upsamples; "conv1_1..pool3" for two
            layers and all between, in the network's order; or a regular expression for whole names.

    Returns:
        The layers that would learn otherwise.

    Raises:
        UserError: if there is no such layer, or nothing would be left to learn.

    Example:

    >>> freeze(network, "conv1_1..pool2")
    """
    if not which:
        return []
    meant = _meant(network, which)
    learning = [layer for layer in meant if layer.trainable]
    for layer in learning:
        layer.trainable = False
    if not network.trainable_variables:
        raise UserError(f"`freeze` must leave layers that learn. Received: {which!r}.")
    weights = sum(layer.count_params() for layer in meant)
    print(f"frozen: {len(meant)} layers with {weights:,} weights (--freeze {which})")
    return learning


class Thaw(keras.callbacks.Callback):
    """Lets the layers that a task has frozen learn from an epoch on.

    Args:
        epochs: how many epochs they stay frozen.
        steps: of an epoch.
        quiet: whether to say nothing of it.
    """

    def __init__(self, epochs: int, steps: int, quiet: bool = False):
        super().__init__()
        self.epochs, self.steps, self.quiet = epochs, steps, quiet

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if epoch >= self.epochs and self.model.frozen:
            self.model.thaw(self.epochs * self.steps)
            if not self.quiet:
                text = f"epoch {epoch + 1}: all layers learn from here on"
                tqdm.write(f"{text} (--freeze-epochs {self.epochs})", file=sys.stdout)


def _meant(network, which):
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
