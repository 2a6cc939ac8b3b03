"""Which files of a folder count: everywhere the same ones."""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

# What systems and programs leave in folders, beside hidden files.
_FOREIGN = {
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    "__macosx",
    "@eadir",
    "$recycle.bin",
    "system volume information",
}

# Photographs that Pillow does not decode, and what does.
_UNDECODED = {
    ".heic": 'pip install "fcn_keras[heif]"',
    ".heif": 'pip install "fcn_keras[heif]"',
    **dict.fromkeys(
        (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"), "raw: save as JPEG"
    ),
    ".avif": "needs Pillow 11.3",
    **dict.fromkeys((".jxl", ".svg", ".psd", ".exr", ".hdr"), "save as PNG"),
}


def is_foreign(name: str) -> bool:
    """Whether a file or folder of this name is a system's or a program's own: hidden ones too."""
    return name.startswith(".") or name.lower() in _FOREIGN


def entries(folder: Path) -> list[Path]:
    """Lists what lies in a folder, in order of the names, but for foreign things."""
    return sorted(path for path in folder.iterdir() if not is_foreign(path.name))


def files_below(folder: Path) -> Iterator[Path]:
    """Lists the files in a folder and in those within it, but for foreign ones."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        where = os.stat(place)
        if (where.st_dev, where.st_ino) in seen:  # a link to a folder around it
            folders.clear()
            continue
        seen.add((where.st_dev, where.st_ino))
        folders[:] = sorted(name for name in folders if not is_foreign(name))
        yield from (Path(place, name) for name in sorted(files) if not is_foreign(name))


def key_of(path: Path, folder: Path) -> str:
    """Returns what an image is called: its path within a folder, without the ending.

    Letters with accents are written in one way (NFC), whatever the file system does.
    """
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())


def passed_over(files: Iterable[Path], suffixes: Collection[str]) -> str:
    """Counts photographs that cannot be decoded here, in words; "" if there are none.

    Args:
        files: files of any kind.
        suffixes: the endings of those that can be decoded, in small letters.
    """
    counts = Counter(
        suffix
        for suffix in (path.suffix.lower() for path in files)
        if suffix in _UNDECODED and suffix not in suffixes
    )
    parts = (f"{count} {suffix} ({_UNDECODED[suffix]})" for suffix, count in sorted(counts.items()))
    return ", ".join(parts)
