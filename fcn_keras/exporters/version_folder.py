"""The numbered folders that TensorFlow Serving watches: complete or absent."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fcn_keras.errors import UserError
from fcn_keras.system.files import writing
from fcn_keras.system.locks import locked

# Folders in the making. TensorFlow Serving looks at numbered ones only.
_PARTIAL = ".export-"


def check_target(output: str | Path, version: int | None = None) -> Path:
    """Returns the folder that an export would make, see `fcn_keras.exporters.saved_model.export`.

    Raises:
        UserError: if it exists, or cannot be made.
    """
    output = Path(output)
    for path in (output, *output.parents):
        if path.exists() and not path.is_dir():
            raise UserError(f"{path}: is not a folder.")
    if version is None:
        names = [path.name for path in output.iterdir()] if output.is_dir() else []
        version = 1 + max(
            (int(name) for name in names if name.isascii() and name.isdecimal()), default=0
        )
    if not 0 < version < 1 << 63:
        raise UserError(
            f"--version: must be a number from 1 up to {(1 << 63) - 1}, the highest that "
            f"TensorFlow Serving knows. Received: {version}."
        )
    target = output / str(version)
    if target.exists():
        raise UserError(
            f"{target}: exists already. Leave --version out for one above the highest, or choose "
            "another."
        )
    return target


@contextmanager
def partial_folder(output: str | Path) -> Iterator[Path]:
    """Gives a new folder in `output`, which is gone afterwards unless it was published.

    `output` is made if need be. What exports that were killed have left in it is deleted.

    Raises:
        WriteError: if the disk refuses what is written meanwhile.
    """
    folder = Path(output) / f"{_PARTIAL}{uuid.uuid4().hex[:12]}"
    with writing(output), ExitStack() as stack:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent):
            for path in folder.parent.glob(f"{_PARTIAL}*"):
                # One that its process writes to is locked, as long as that lives.
                with suppress(OSError), locked(path, wait=False):
                    shutil.rmtree(path)
            folder.mkdir()
            stack.enter_context(locked(folder))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def publish(folder: Path, version: int | None = None) -> Path:
    """Gives a partial folder its number, under which it is returned.

    Raises:
        UserError: if another process was faster, and that version exists now.
    """
    with locked(folder.parent):
        return folder.rename(check_target(folder.parent, version))
