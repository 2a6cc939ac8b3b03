"""The files that a data set is made of: taken from disk, or fetched, or asked for in one line."""

import hashlib
import json
import os
import queue
import tarfile
import tempfile
import threading
import time
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import download_manager

from fcn_keras.errors import UserError, first_line

# A mirror that does not answer by then is passed over; TFDS itself would try for minutes.
PATIENCE = 3  # seconds

# Browsers and servers unpack a .tgz and keep its name, or rename it.
_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")

# What a broken archive raises.
_FAULTS = (OSError, EOFError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class OriginalFile:
    """A file, or an archive of files, as the authors of a data set publish it.

    Attributes:
        name: what the file is called when someone puts it into the manual folder.
        urls: where it can be fetched, to be tried in order; none if only by hand.
        folder: what lies in the manual folder if someone has unpacked the archive there, such
            as "VOCdevkit/VOC2012"; empty for a file that is no archive.
        origin: for files that have to be fetched by hand: where from.
        digests: MD5 or SHA-256 digests in hexadecimal, one of which a fetched file must have.
            Files whose size is known too are entered in `checksums.tsv` instead, where TFDS
            looks.
    """

    name: str
    urls: tuple[str, ...] = ()
    folder: str = ""
    origin: str = ""
    digests: tuple[str, ...] = ()


def locate(dl_manager: tfds.download.DownloadManager, files: list[OriginalFile]) -> list[Path]:
    """Finds the files of a data set: in the manual folder, or by fetching them.

    Nothing is fetched or unpacked unless everything is there or can be had.

    Args:
        dl_manager: what `_split_generators` gets. The builder must have
            `MANUAL_DOWNLOAD_INSTRUCTIONS`.
        files: what is needed.

    Returns:
        For each the path of the file, or of the folder in which `folder` lies. That is the root
        of the archive, or a folder in it if the archive has one around everything.

    Raises:
        UserError: if one is neither there nor to be had; lists all that are missing, where they
            come from and where to put them. If a file is not what it should be; names it.
    """
    try:
        manual = Path(dl_manager.manual_dir)
    except AssertionError:  # It is not there, or empty.
        manual = Path(dl_manager._manual_dir)
    paths = [_in(manual, file) or _fetched_before(dl_manager, file) for file in files]
    wanted = [file for file, path in zip(files, paths, strict=True) if path is None]
    faults = faults_of([url for file in wanted for url in file.urls])
    missing = [file for file in wanted if all(faults[url] for url in file.urls)]
    if not missing:
        paths = [
            path or _fetch(dl_manager, file, faults)
            for file, path in zip(files, paths, strict=True)
        ]
        missing = [file for file, path in zip(files, paths, strict=True) if path is None]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(files)} files of this data set could not be fetched. Put "
            f"into {manual}: {'; '.join(_description(file, faults) for file in missing)}."
        )
    return [
        _unpacked(dl_manager, file, path) if file.folder and path.is_file() else path
        for file, path in zip(files, paths, strict=True)
    ]


def _description(file, faults):
    places = " or ".join(f"{url} ({faults[url]})" for url in file.urls) or file.origin
    unpacked = f", or {file.folder} that it holds" if file.folder else ""
    return f"{file.name}{unpacked}, from {places}"


def _in(manual, file):
    """Where a file lies in the manual folder, packed or unpacked; None if nowhere."""
    names = [file.name]
    if file.folder:
        root = _root(manual, file.folder, deep="/" in file.folder)
        if root:
            return root
        stem = min((file.name.removesuffix(suffix) for suffix in _SUFFIXES), key=len)
        names += [stem + suffix for suffix in _SUFFIXES]
    return next((manual / name for name in names if (manual / name).is_file()), None)


def _root(place, folder, deep=True):
    """Where `folder` lies: in `place`, above it, or (`deep`) in a folder of it; None if nowhere."""
    parts = Path(folder).parts
    place = Path(place).absolute()
    # `place` may be itself a part of `folder`, such as VOCdevkit.
    above = [
        place.parents[i - 1] for i in range(1, len(parts) + 1) if place.parts[-i:] == parts[:i]
    ]
    inside = sorted(place.iterdir()) if deep and place.is_dir() else []
    return next((root for root in (place, *above, *inside) if (root / folder).is_dir()), None)


def _fetched_before(dl_manager, file):
    """A file that was fetched before, perhaps for another data set; TFDS notes its address."""
    for info in sorted(Path(dl_manager.download_dir).glob("*/*.INFO")):
        path = info.with_suffix("")
        if path.is_file() and {*file.urls} & {*json.loads(info.read_text("utf-8")).get("urls", ())}:
            return path
    return None


def faults_of(urls: list[str]) -> dict[str, str]:
    """Asks all addresses at once; returns for each what is wrong with it, empty if nothing is."""
    answers: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def ask(url):
        try:
            with requests.get(url, stream=True, timeout=PATIENCE) as response:
                answers.put((url, "" if response.ok else f"HTTP {response.status_code}"))
        # Besides its own errors, `requests` lets through those of the libraries below it.
        except Exception:
            answers.put((url, "no connection"))

    # Looking up a name has no time limit, so whoever is late is left behind.
    for url in urls:
        threading.Thread(target=ask, args=[url], daemon=True).start()
    until = time.monotonic() + PATIENCE
    faults = dict.fromkeys(urls, "no answer")
    with suppress(queue.Empty):
        for _ in urls:
            url, fault = answers.get(timeout=max(0, until - time.monotonic()))
            faults[url] = fault
    return faults


def _fetch(dl_manager, file, faults):
    """Fetches from the first address that keeps its promise; enters what is wrong with others."""
    for url in file.urls:
        if faults[url]:
            continue
        try:
            path = Path(dl_manager.download(url))
        except download_manager.NonMatchingChecksumError:
            faults[url] = "not the published file"
        # TFDS raises errors of many libraries. Whatever is wrong with a mirror, the next may do.
        except Exception as error:
            faults[url] = first_line(error)
        else:
            if not file.digests or _digests(path) & {*file.digests}:
                return path
            faults[url] = "not the published file"
            for fetched in (path, path.with_name(f"{path.name}.INFO")):
                fetched.unlink()
    return None


def _digests(path):
    digests = set()
    for method in ("md5", "sha256"):
        with open(path, "rb") as file:
            digests.add(hashlib.file_digest(file, method).hexdigest())
    return digests


def _unpacked(dl_manager, file, path):
    """Unpacks an archive by what it is, once, not by its name as TFDS does."""
    state = path.stat()
    # Another file of that name is another folder. A copy may bring its old time along, but not
    # the one at which its entry changed.
    name = f"{path.name}.{state.st_size:x}.{state.st_ctime_ns:x}"
    target = Path(dl_manager.download_dir) / "extracted" / name
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as aside:
            inside = Path(aside) / name
            inside.mkdir()
            try:
                with _archive(path) as archive:
                    _keep_inside(archive)
                    archive.extractall(inside)
            except _FAULTS as error:
                raise UserError(
                    f"{path}: cannot be unpacked ({first_line(error).rstrip(':')})."
                ) from error
            os.rename(inside, target)
    root = _root(target, file.folder)
    if root is None:
        raise UserError(f"{path}: holds no {file.folder}.")
    return root


def _archive(path):
    return zipfile.ZipFile(path) if zipfile.is_zipfile(path) else tarfile.open(path)


def _keep_inside(archive):
    """Sees to it that nothing comes to lie outside of the folder that is unpacked to."""
    if isinstance(archive, zipfile.ZipFile):
        return  # which does so by itself
    if hasattr(tarfile, "data_filter"):
        archive.extraction_filter = tarfile.data_filter
        return
    # Python before 3.11.4, as of Debian 12.
    for member in archive.getmembers():
        path = Path(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name} would lie outside, or is a link")
