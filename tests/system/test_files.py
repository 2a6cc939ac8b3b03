import errno
import os
from pathlib import Path

import pytest

from fcn_keras.errors import UserError, WriteError
from fcn_keras.system.files import remove_leftovers, written_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_new_file(tmp_path):
    with written_whole(tmp_path / "a.json") as aside:
        aside.write_text("new")
        assert names(tmp_path) == [aside.name]  # nothing of that name before it is complete
    assert names(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "new"


def test_old_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with written_whole(path) as aside:
        aside.write_text("new, and longer")
        assert path.read_text() == "old"
    assert path.read_text() == "new, and longer"
    assert names(tmp_path) == ["a.json"]


def test_open_readers_keep_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with open(path) as reader:
        with written_whole(path) as aside:
            aside.write_text("new")
        assert reader.read() == "old"


@pytest.mark.parametrize("inside", ["a.json", "folder/a.json"])
def test_a_file_where_the_folder_should_be(tmp_path, inside):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match="is not a folder"):
        with written_whole(tmp_path / "file" / inside):
            pass
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", ["old", None])
def test_failure_changes_nothing(tmp_path, error, old):
    path = tmp_path / "a.json"
    if old:
        path.write_text(old)
    with pytest.raises(type(error)), written_whole(path) as aside:
        aside.write_text("half")
        raise error
    assert names(tmp_path) == (["a.json"] if old else [])
    if old:
        assert path.read_text() == old


def test_failure_before_anything_is_written(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written_whole(path):
        raise ZeroDivisionError
    assert names(tmp_path) == ["a.json"] and path.read_text() == "old"


def test_nothing_written_is_an_error(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), written_whole(path):
        pass
    assert path.read_text() == "old"


def test_folders_are_made(tmp_path):
    with written_whole(tmp_path / "a" / "b" / "c.txt") as aside:
        aside.write_text("new")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "new"


@pytest.mark.parametrize("name", ["best.keras", "fcn.weights.h5", "mask.png"])
def test_same_folder_and_ending(tmp_path, name):
    """Keras and Pillow tell the format from the ending; a move within a folder is atomic."""
    with written_whole(tmp_path / name) as aside:
        assert aside.parent == tmp_path
        assert aside.name.endswith(f".{name}")
        aside.write_text("new")


def test_path_as_text(tmp_path):
    with written_whole(str(tmp_path / "a.json")) as aside:
        aside.write_text("new")
    assert (tmp_path / "a.json").read_text() == "new"


def test_processes_do_not_share_the_file_aside(tmp_path):
    with written_whole(tmp_path / "a.json") as aside:
        assert str(os.getpid()) in aside.name
        aside.write_text("new")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES])
def test_what_the_disk_refuses_is_said_in_one_line(number, tmp_path):
    """Also where HDF5 fails a second time as it closes the file."""
    with pytest.raises(WriteError, match="a.txt: could not be written: ") as found:
        with written_whole(tmp_path / "a.txt"):
            try:
                raise OSError(number, os.strerror(number))
            finally:
                raise RuntimeError("Can't decrement id ref count")
    assert os.strerror(number).lower() in str(found.value) and "\n" not in str(found.value)
    assert not list(tmp_path.iterdir())


def test_other_errors_stay_what_they_are(tmp_path):
    """What was read meanwhile may be refused too, and says so itself."""
    refused = PermissionError(errno.EACCES, "Permission denied")
    for error, cause in ((ValueError("a fault"), None), (UserError("photo.jpg: denied"), refused)):
        with pytest.raises(type(error), match=str(error)):
            with written_whole(tmp_path / "a.txt"):
                raise error from cause


def test_leftovers_of_killed_processes_go(tmp_path):
    (tmp_path / "report").mkdir()
    kept = [tmp_path / name for name in (".gitignore", ".123", "1.best.keras", "report/.x.png")]
    for path in [*kept, tmp_path / ".123.best.keras", tmp_path / "report/.9.curves.png"]:
        path.write_text("")
    remove_leftovers(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


@pytest.mark.parametrize(
    "name",
    ["n" * 251 + ".png", "\u00fc" * 120 + ".weights.h5", "[1] *?\\ \udcff.tar.gz", "n" * 255],
)
def test_a_name_that_has_no_room_for_another(tmp_path, name):
    with written_whole(tmp_path / name) as aside:
        aside.write_text("new")
        assert aside.name.endswith("".join(Path(name).suffixes[-2:]))
    assert names(tmp_path) == [name]


def test_a_name_that_is_too_long(tmp_path):
    with (
        pytest.raises(WriteError, match="could not be written: file name too long"),
        written_whole(tmp_path / ("n" * 256)) as aside,
    ):
        aside.write_text("new")
    assert names(tmp_path) == []
