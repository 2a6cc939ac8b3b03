"""What is said of a file that cannot be read."""

from pathlib import Path
from typing import BinaryIO

from PIL import UnidentifiedImageError

from fcn_keras.errors import UserError, first_line


def unreadable(path: str | Path | BinaryIO, kind: str, error: Exception) -> UserError:
    """Returns the error to raise for a file that cannot be read.

    Args:
        path: the file.
        kind: what it should be, such as "an image".
        error: what came up; the first line of its message is the reason.
    """
    reason = getattr(error, "strerror", None) or first_line(error)
    if isinstance(error, UnidentifiedImageError):
        reason = "unknown or damaged format"
    return UserError(f"{path}: cannot be read as {kind} ({reason}).")
