import functools
import http.server
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
import requests
import tensorflow_datasets as tfds
from helpers.voc_files import pack
from tensorflow_datasets.core.download import checksums

from fcn_keras.data.tfds.builders import downloads
from fcn_keras.data.tfds.builders.downloads import OriginalFile, locate
from fcn_keras.errors import UserError

MD5_OF_HELLO = "5d41402abc4b2a76b9719d911017c592"
SHA256_OF_HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


class Mirror(http.server.ThreadingHTTPServer):
    """A server of the files that are put into `files`; what was asked for is in `asked`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.asked = {}, []

    def url(self, path, contents=None):
        if contents is not None:
            self.files[path] = contents
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def handle_error(self, request, client_address):
        pass  # The client went away, as it may.


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.strip("/")
        self.server.asked.append(path)
        contents = self.server.files.get(path)
        if contents is None:
            return self.send_error(404)
        promised = len(contents)
        if path.startswith("breaks_off"):
            promised += 100
        self.send_response(200)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(contents)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror():
    with Mirror() as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def silent():
    """The address of a server that takes calls and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/file.txt"


@pytest.fixture
def dead():
    """An address at which nobody is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}/file.txt"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(downloads, "PATIENCE", 1.0)


@pytest.fixture
def manager(tmp_path):
    """Makes TFDS's download manager, as `download_and_prepare` does; a new one each time."""
    return functools.partial(
        tfds.download.DownloadManager,
        download_dir=tmp_path / "downloads",
        manual_dir=tmp_path / "manual",
        manual_dir_instructions="Put it there.",
        dataset_name="some_set",
    )


def find(manager, *wanted):
    return locate(manager(), wanted)


def fetch(manager, *urls, **options):
    (path,) = find(manager, OriginalFile("file.txt", urls, **options))
    return path.read_bytes()


def put(tmp_path, name, contents=b"hello"):
    path = tmp_path / "manual" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents)
    return path


def kept_files(tmp_path):
    return [path for path in (tmp_path / "downloads").rglob("*") if path.is_file()]


# Mirrors


def test_the_first_mirror_that_answers(manager, mirror, dead):
    second, third = mirror.url("second", b"hello"), mirror.url("third", b"other")
    assert fetch(manager, dead, second, third) == b"hello"


def test_mirrors_are_taken_in_their_order(manager, mirror):
    mirror.url("b", b"other")
    assert fetch(manager, mirror.url("a", b"hello"), mirror.url("b")) == b"hello"


def test_a_mirror_without_the_file(manager, mirror):
    assert fetch(manager, mirror.url("gone"), mirror.url("second", b"hello")) == b"hello"


def test_a_mirror_that_says_nothing_is_left(manager, mirror, silent):
    start = time.monotonic()
    assert fetch(manager, silent, mirror.url("second", b"hello")) == b"hello"
    assert time.monotonic() - start < 3


def test_many_silent_mirrors_take_no_longer_than_one(manager, silent):
    start = time.monotonic()
    with pytest.raises(UserError, match="no answer|no connection"):
        fetch(manager, *(f"{silent}?{i}" for i in range(8)))
    assert time.monotonic() - start < 3


def test_a_name_that_is_looked_up_forever(manager, monkeypatch):
    woken = threading.Event()
    monkeypatch.setattr(requests, "get", lambda *args, **options: woken.wait(20))
    start = time.monotonic()
    with pytest.raises(UserError, match=r"http://a/b \(no answer\)"):
        fetch(manager, "http://a/b")
    assert time.monotonic() - start < 3
    woken.set()


def test_a_mirror_that_breaks_off(manager, mirror):
    urls = mirror.url("breaks_off", b"hel"), mirror.url("second", b"hello")
    assert fetch(manager, *urls) == b"hello"


@pytest.mark.parametrize("digest", [MD5_OF_HELLO, SHA256_OF_HELLO])
def test_a_mirror_with_another_file(tmp_path, manager, mirror, digest):
    urls = mirror.url("first", b"jello"), mirror.url("second", b"hello")
    assert fetch(manager, *urls, digests=("0" * 32, digest)) == b"hello"
    assert b"jello" not in [path.read_bytes() for path in kept_files(tmp_path)]
    # It is not taken later either.
    assert fetch(manager, *urls, digests=[digest]) == b"hello"


def test_a_mirror_with_another_file_than_registered(manager, mirror):
    urls = mirror.url("first", b"jello"), mirror.url("second", b"hello")
    info = checksums.UrlInfo(size=5, checksum=SHA256_OF_HELLO, filename="file.txt")
    registered = functools.partial(manager, url_infos=dict.fromkeys(urls, info))
    assert fetch(registered, *urls) == b"hello"


def test_only_other_files(manager, mirror):
    url = mirror.url("first", b"jello")
    for _ in range(2):
        with pytest.raises(UserError) as error:
            fetch(manager, url, digests=[MD5_OF_HELLO])
        assert f"{url} (not the published file)" in str(error.value)


@pytest.mark.parametrize("other_set", [False, True])
def test_what_was_fetched_is_kept(manager, mirror, other_set):
    url = mirror.url("first", b"hello")
    assert fetch(manager, url) == b"hello"
    mirror.files.clear()
    if other_set:
        manager = functools.partial(manager, dataset_name="other_set")
    asked = len(mirror.asked)
    assert fetch(manager, url) == b"hello"
    assert len(mirror.asked) == asked


def test_the_manual_folder_comes_first(tmp_path, manager, mirror):
    path = put(tmp_path, "file.txt", b"mine")
    assert find(manager, OriginalFile("file.txt", [mirror.url("first", b"hello")])) == [path]
    assert not mirror.asked


# What is missing


def test_everything_missing_is_listed_at_once(tmp_path, manager, mirror, dead):
    put(tmp_path, "there.txt")
    with pytest.raises(UserError) as error:
        find(
            manager,
            OriginalFile("a.tgz", [mirror.url("gone"), dead], folder="a/files"),
            OriginalFile("there.txt", [dead]),
            OriginalFile("b.mat", origin="the author, by letter"),
        )
    assert str(error.value) == (
        "2 of 3 files of this data set could not be fetched. "
        f"Put into {tmp_path / 'manual'}: a.tgz, or a/files that it holds, from "
        f"{mirror.url('gone')} (HTTP 404) or {dead} (no connection); "
        "b.mat, from the author, by letter."
    )


def test_nothing_is_fetched_in_vain(tmp_path, manager, mirror):
    with pytest.raises(UserError, match="^1 of 2 files.*: b.txt, from by hand"):
        find(
            manager,
            OriginalFile("a", [mirror.url("a", b"hello")]),
            OriginalFile("b.txt", origin="by hand"),
        )
    assert not kept_files(tmp_path)


def test_an_empty_manual_folder(tmp_path, manager):
    (tmp_path / "manual").mkdir()
    with pytest.raises(UserError, match=f"Put into {tmp_path / 'manual'}: a, from b"):
        find(manager, OriginalFile("a", origin="b"))


# Archives


@pytest.fixture
def files(tmp_path):
    """What is packed: `set/files/a.txt`."""
    path = tmp_path / "unpacked" / "set" / "files" / "a.txt"
    path.parent.mkdir(parents=True)
    path.write_text("hello")
    return tmp_path / "unpacked"


ARCHIVE = OriginalFile("archive.tgz", origin="somewhere", folder="set/files")


def text_in(manager, source=ARCHIVE):
    (root,) = find(manager, source)
    return (root / source.folder / "a.txt").read_text()


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
@pytest.mark.parametrize("name", ["archive.tgz", "archive.tar", "archive.tar.gz", "archive.zip"])
def test_archives_are_what_they_hold(tmp_path, manager, files, kind, name):
    pack(files, tmp_path / "manual" / name, kind)
    assert text_in(manager) == "hello"


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_fetched_archive(tmp_path, manager, mirror, files, kind):
    contents = pack(files, tmp_path / "other", kind).read_bytes()
    url = mirror.url("archive.tgz", contents)
    assert text_in(manager, OriginalFile("archive.tgz", [url], folder="set/files")) == "hello"


def test_unpacked_folder(tmp_path, manager, files):
    pack(files, tmp_path / "manual" / "archive.tgz", "tgz")
    place = shutil.copytree(files, tmp_path / "manual", dirs_exist_ok=True)
    (place / "set" / "files" / "a.txt").write_text("mine")
    assert find(manager, ARCHIVE) == [place]
    assert text_in(manager) == "mine"
    assert not kept_files(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_around_everything(tmp_path, manager, files, packed):
    (tmp_path / "more").mkdir()
    shutil.move(files, tmp_path / "more" / "archive")
    if packed:
        pack(tmp_path / "more", tmp_path / "manual" / "archive.tgz", "tgz")
    else:
        shutil.move(tmp_path / "more", tmp_path / "manual")
    assert text_in(manager) == "hello"


def test_a_manual_folder_within_the_unpacked_one(tmp_path, manager, files):
    for inside in ("set", "set/files"):
        assert find(functools.partial(manager, manual_dir=files / inside), ARCHIVE) == [files]
    # Only where the names agree.
    (tmp_path / "unpacked" / "else").mkdir()
    with pytest.raises(UserError, match="could not be fetched"):
        find(functools.partial(manager, manual_dir=files / "else"), ARCHIVE)


def test_folders_of_one_common_name_are_looked_for_in_one_place_only(tmp_path, manager, files):
    """`images` in a neighbour's folder is not ours."""
    shutil.copytree(files, tmp_path / "manual")
    with pytest.raises(UserError, match="could not be fetched"):
        find(manager, OriginalFile("archive.tgz", origin="somewhere", folder="files"))
    assert find(manager, OriginalFile("archive.tgz", folder="set")) == [tmp_path / "manual"]


def break_off(path):
    """Leaves less than the contents of the file in the archive, in each of the formats."""
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: 3 * 512 + 2 if size > 5000 else size // 2])


def break_off_early(path):
    """Leaves no file, but what a reader of .tar takes for a whole archive."""
    path.write_bytes(path.read_bytes()[:700])


FAULTS = {
    "text": lambda path: path.write_text("<html>not found</html>"),
    "nothing": lambda path: path.write_bytes(b""),
    "half": break_off,
}


@pytest.mark.parametrize(
    "kind, fault",
    [(kind, fault) for kind in ("tar", "tgz", "zip") for fault in FAULTS] + [("tar", "early")],
)
def test_broken_archive(tmp_path, manager, files, kind, fault):
    path = pack(files, tmp_path / "manual" / "archive.tgz", kind)
    make_fault = {**FAULTS, "early": break_off_early}[fault]
    make_fault(path)
    message = "holds no set/files" if fault == "early" else "cannot be unpacked"
    with pytest.raises(UserError, match=f"^{path}: {message}") as error:
        find(manager, ARCHIVE)
    assert "\n" not in str(error.value)
    pack(files, path, kind)
    assert text_in(manager) == "hello"
    # Nor is anything half unpacked left beside what was unpacked now.
    assert len([*(tmp_path / "downloads" / "extracted").iterdir()]) == (
        2 if fault == "early" else 1
    )


@pytest.fixture(params=["its own", "none"])
def tar_filter(request, monkeypatch):
    """Python's filter of archives, and none, as before 3.11.4."""
    if request.param == "none":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


@pytest.mark.usefixtures("tar_filter")
@pytest.mark.parametrize("is_link", [False, True])
def test_an_archive_that_writes_elsewhere(tmp_path, manager, is_link):
    path = put(tmp_path, "archive.tgz")
    with tarfile.open(path, "w") as archive:
        if is_link:
            link = tarfile.TarInfo("set")
            link.type, link.linkname = tarfile.SYMTYPE, "../.."
            archive.addfile(link)
            archive.add(__file__, "set/elsewhere.txt")
        else:
            archive.add(__file__, "../../elsewhere.txt")
    with pytest.raises(UserError, match=f"^{path}: cannot be unpacked .*outside"):
        find(manager, ARCHIVE)
    assert not [*tmp_path.rglob("elsewhere.txt")]


def test_archive_of_something_else(tmp_path, manager, files):
    path = tmp_path / "manual" / "archive.tgz"
    pack(files / "set", path, "tgz")
    with pytest.raises(UserError, match=f"^{path}: holds no set/files."):
        find(manager, ARCHIVE)
    pack(files, path, "tgz")
    assert text_in(manager) == "hello"


@pytest.mark.usefixtures("tar_filter")
def test_archives_are_unpacked_once(tmp_path, manager, files):
    path = pack(files, tmp_path / "manual" / "archive.tgz", "tar")
    os.utime(path, (0, 0))
    (root,) = find(manager, ARCHIVE)
    (root / "set" / "files" / "a.txt").write_text("unpacked before")
    assert text_in(manager) == "unpacked before"
    (files / "set" / "files" / "a.txt").write_text("newer")
    # A file of the same name, size and time. Times have steps, therefore the wait.
    time.sleep(0.05)
    pack(files, path, "tar")
    os.utime(path, (0, 0))
    assert text_in(manager) == "newer"


# The command line


def test_without_network(tmp_path):
    environment = os.environ | {
        "TFDS_DATA_DIR": str(tmp_path),
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "",
    }
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        environment.pop(name, None)
    command = [sys.executable, "train.py", "--variant", "fcn8s", "--dataset", "voc2012_sbd"]
    start = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[3]
    )
    seconds = time.monotonic() - start
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: 2 of 2 files of this data set could not be fetched.")
    for words in (
        f"Put into {tmp_path}/downloads/manual: VOCtrainval_11-May-2012.tar, or VOCdevkit/VOC2012",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar (no conn",
        "benchmark.tgz, or benchmark_RELEASE/dataset",
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/",
    ):
        assert words in line
    # TensorFlow Datasets alone would try again for 204; on an idle machine it takes less than 10.
    assert seconds < 150
