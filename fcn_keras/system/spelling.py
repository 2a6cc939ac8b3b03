"""Names of files and folders: one thing, however it is spelled, and any text to be shown."""

import itertools
import os
import re
import unicodedata


def local_path(text: str) -> str:
    """Returns a path that a file holds as this process has it, whatever its locale is.

    Where the locale is ASCII, Python has every byte of other letters as a surrogate of its own;
    elsewhere those alone that are no UTF-8.
    """
    try:
        return os.fsdecode(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # no path
        return text


def spelled_as_found(text: str) -> str:
    """Returns a path with its letters with accents as the file system has them.

    They are one character, or a letter and an accent (NFC, NFD), and some file systems, and
    programs that copy from one to another, turn the one into the other.
    """
    forms = (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))
    paths = [*map(local_path, forms)]
    return next(filter(os.path.exists, paths), paths[0])


def same_path(one: str, other: str) -> bool:
    """Whether two paths lead to one place: absolute or not, through links, by any spelling."""
    one, other = spelled_as_found(one), spelled_as_found(other)
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one is not there: they can be compared by name alone
        return _comparable(one) == _comparable(other)


def _comparable(path):
    return unicodedata.normalize("NFC", valid_text(os.path.abspath(path)))


def split_paths(text: str, count: int) -> list[str]:
    """Splits a list of paths at its commas, but for those in paths that are there.

    Returns:
        `count` paths; another number of them if the text cannot be that many.
    """
    pieces = text.split(",")
    for cuts in itertools.combinations(range(1, len(pieces)), count - 1):
        ends = itertools.pairwise((0, *cuts, len(pieces)))
        paths = [",".join(pieces[start:end]) for start, end in ends]
        if all(map(os.path.exists, paths)):
            return paths
    return pieces


def file_name(text: str, windows: bool = os.name == "nt") -> str:
    """Returns a text as the name of a file, with dashes for what the system refuses in one.

    Windows refuses more, which others keep: they find again what has been written before.
    """
    text = text.replace("\0", "")
    return re.sub(r'[<>:"/\\|?*\x01-\x1f]', "-", text) if windows else text.replace("/", "-")


def valid_text(text: str) -> str:
    r"""Returns a name as text that can be written as UTF-8: `\xfc` for a byte that is none."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character of UTF-16, as JSON may have it
        return text.encode("utf-8", "backslashreplace").decode()


def shown_name(text: str) -> str:
    """Returns a name as `valid_text` does, in one line."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", valid_text(text))
