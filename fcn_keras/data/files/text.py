"""Text files as people's editors write them."""

import codecs
from pathlib import Path

from fcn_keras.errors import UserError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as UTF-16 does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: str | Path) -> str:
    """Reads a text file: UTF-8, or UTF-16 or UTF-32 with a byte-order mark.

    Raises:
        UserError: if it is in another encoding, or cannot be read; names the file.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no text in {encoding.upper()}; save it as UTF-8.") from error
    if "\0" in text:
        raise UserError(f"{path}: is no text in UTF-8; save it as UTF-8.")
    return text
