"""State dicts of wkentaro/pytorch-fcn."""

import pickle
import warnings
from pathlib import Path

import numpy as np

from fcn_keras.errors import UserError

# Under this key a checkpoint of pytorch-fcn's trainer holds the state dict.
CHECKPOINT_KEY = "model_state_dict"

# A checkpoint's best score is a NumPy scalar. Names as NumPy 1 wrote them, and as NumPy 2 does.
NUMPY_TYPES = ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")


class Ignored:
    """Stands for what is not needed, so that nothing but torch's own types is trusted."""

    def __init__(self, *args: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict, without running code that the file may hold.

    Args:
        path: what `torch.save` wrote: a state dict, or a checkpoint that has it under
            `model_state_dict`.

    Returns:
        Key of the state dict -> float32 array; a view of the file where its format allows it.

    Raises:
        UserError: if PyTorch is missing, or the file holds anything else; names it.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"{path}: is read with PyTorch, which is not installed. Run: pip install torch"
        ) from error
    try:
        with open(path, "rb") as file:
            # torch.save has written zip archives since version 1.6; these alone can be mapped.
            is_zip = file.read(4) == b"PK\x03\x04"
        with (
            warnings.catch_warnings(),
            torch.serialization.safe_globals([(Ignored, name) for name in NUMPY_TYPES]),
        ):
            # PyTorch warns of what it plans to change, which is not the user's concern.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: is no state dict: it is damaged, or holds Python objects, which could run "
            "code and are not loaded. Save the weights alone: torch.save(model.state_dict(), PATH)."
        ) from error
    # Damaged files fail in any way that zip archives, pickles and torch know.
    except Exception as error:
        raise UserError(
            f"{path}: is no whole file of torch.save ({type(error).__name__}). "
            "Download or copy it again, and compare its size."
        ) from error
    if isinstance(state, dict):
        state = state.get(CHECKPOINT_KEY, state)
    if not isinstance(state, dict):
        raise UserError(
            f"{path}: must hold a state dict, alone or under {CHECKPOINT_KEY!r}. "
            f"Received: {type(state).__name__}. Save it so: torch.save(model.state_dict(), PATH)."
        )
    return {key: _array(path, key, value, torch) for key, value in state.items()}


def _array(path, key, tensor, torch):
    if not isinstance(key, str) or not isinstance(tensor, torch.Tensor):
        raise UserError(
            f"{path}: must be a state dict of tensors by name, alone or under {CHECKPOINT_KEY!r}. "
            f"Received: {key!r}, a {type(tensor).__name__}."
        )
    try:
        return tensor.detach().to(torch.float32).numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise UserError(
            f"{path}: {key!r} must be a dense tensor. Received: {tensor.layout}."
        ) from error
