"""Keras callbacks that a user brings along."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

import keras

from fcn_keras.errors import UserError, first_line
from fcn_keras.training.patience import Patience


def load_callbacks(text: str) -> list[keras.callbacks.Callback]:
    """Calls a function of a module, and returns the callbacks that it returns.

    Args:
        text: `MODULE:FUNCTION`; modules in the working directory are found too.

    Raises:
        UserError: if there is no such function, it fails, or it returns anything else.

    Example:

    >>> load_callbacks("tracking:mlflow")
    """
    module, colon, function = text.partition(":")
    if not (module and colon and function):
        raise UserError(
            f"`callbacks` must be MODULE:FUNCTION, as in tracking:wandb. Received: {text!r}."
        )
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(import_module(module), function)()
    except Exception as error:  # whatever the user's own code raises
        raise UserError(
            f"`callbacks`: {text} could not be called: {type(error).__name__}: {first_line(error)}"
        ) from error
    callbacks = list(found) if isinstance(found, Sequence) else [found]
    if not all(isinstance(each, keras.callbacks.Callback) for each in callbacks):
        raise UserError(
            f"`callbacks`: {text} must return Keras callbacks, in a list. Received: {found!r}."
        )
    return callbacks


@contextmanager
def told_as_own(callbacks: Sequence[keras.callbacks.Callback]) -> Iterator[None]:
    """Says of an error within a user's callback that it is the callback's, and in which method.

    Raises:
        UserError: in place of such an error; any other goes on as it is.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever the user's own code raises
        hooks = {
            getattr(hook, "__code__", None): f"{type(callback).__name__}.{name}"
            for callback in callbacks
            for name in dir(callback)
            if name.startswith("on_") and callable(hook := getattr(callback, name))
        }
        # Keras takes its own frames out of a traceback: theirs remain.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code in hooks:
                raise UserError(
                    f"callbacks: {hooks[frame.f_code]} failed: {type(error).__name__}: "
                    f"{first_line(error)} (--debug shows where). The last backup is as it was "
                    "before; mended, the same command goes on."
                ) from error
        raise


class NoStop(keras.callbacks.Callback):
    """Refuses that a user's callback ends training on this machine: the others would wait for it.

    Args:
        patience: what all machines end training by.
    """

    def __init__(self, patience: Patience):
        super().__init__()
        self.patience = patience

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._check()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._check()

    def _check(self):
        if self.model.stop_training and not self.patience.is_over:
            raise UserError(
                "callbacks: one of yours has ended training, which on several machines would leave "
                "the others waiting. Use --patience there. The last backup is as it was before."
            )
