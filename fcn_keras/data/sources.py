"""The files that a data set is made of: found on disk, or fetched, or asked for in one line."""

import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow_datasets as tfds

from fcn_keras.errors import UserError

# A mirror that does not answer by then is passed over; TFDS itself would try for minutes.
PATIENCE = 4  # seconds

_MAGIC = {
    b"PK\x03\x04": tfds.download.ExtractMethod.ZIP,
    b"\x1f\x8b": tfds.download.ExtractMethod.TAR,
}


@dataclass(frozen=True)
class Source:
    """A file, or an archive of files.

    Attributes:
        name: what the file is called when someone puts it into the manual folder.
        urls: where it can be fetched, to be tried in order; none if only by hand.
        folder: what lies in the manual folder if someone has unpacked the archive there, such
            as "VOCdevkit/VOC2012"; empty for a file that is no archive.
        origin: for files that have to be fetched by hand: where from.
    """

    name: str
    urls: Sequence[str] = ()
    folder: str = ""
    origin: str = ""


def locate(dl_manager, sources: Sequence[Source]) -> list[Path]:
    """Finds the files of a data set: in the manual folder, or by fetching them.

    Args:
        dl_manager: the `tfds.download.DownloadManager` that `_split_generators` gets. The
            builder must have `MANUAL_DOWNLOAD_INSTRUCTIONS`.
        sources: what is needed.

    Returns:
        For each source the file, or the folder that holds what the archive holds: the
        archive's root, in which `folder` lies.

    Raises:
        UserError: if one is neither there nor to be had; lists all that are missing, where they
            come from and where to put them.
    """
    manual = _manual_dir(dl_manager)
    found, missing = [], []
    for source in sources:
        path = _in(manual, source) or _fetched(dl_manager, source)
        if path is None:
            missing.append(source)
        elif path.is_file() and source.folder:
            path = _unpacked(dl_manager, path)
        found.append(path)
    if missing:
        wanted = "; ".join(
            f"{source.name} from {' or '.join(source.urls) or source.origin}" for source in missing
        )
        raise UserError(
            f"{len(missing)} of {len(sources)} files of this data set could not be fetched. "
            f"Put into {manual}: {wanted}."
        )
    return found


def _manual_dir(dl_manager):
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:  # It is not there, or empty.
        return Path(dl_manager._manual_dir)


def _in(manual, source):
    if source.folder and (manual / source.folder).is_dir():
        return manual
    path = manual / source.name
    return path if path.is_file() else None


def _fetched(dl_manager, source):
    for url in source.urls:
        if _answers(url):
            return Path(dl_manager.download(url))
    return None


def _answers(url):
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE):
            return True
    except (urllib.error.URLError, TimeoutError, ValueError):
        return False


def _unpacked(dl_manager, path):
    """Unpacks an archive by what it is; browsers unpack a .tgz and keep its name."""
    with open(path, "rb") as file:
        magic = file.read(4)
    methods = [method for start, method in _MAGIC.items() if magic.startswith(start)]
    method = methods[0] if methods else tfds.download.ExtractMethod.TAR
    resource = tfds.download.Resource(path=path, extract_method=method)
    return Path(dl_manager.extract(resource))
