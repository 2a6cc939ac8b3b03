import os
import unicodedata

import pytest

from fcn_keras.system.spelling import (
    local_path,
    same_path,
    shown_name,
    spelled_as_found,
    split_paths,
    valid_text,
)

NFC, NFD = "r\u00fccken", "ru\u0308cken"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a folder `data`, a link to it, and another folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("data")
    return tmp_path


@pytest.mark.parametrize(
    "spelling, same",
    [
        ("data", True),
        ("data/", True),
        ("./data", True),
        ("other/../data", True),
        ("link", True),
        ("HERE/data", True),
        ("HERE//data/.", True),
        ("other", False),
        ("data2", False),
        ("", False),
    ],
)
def test_one_folder_by_several_spellings(here, spelling, same):
    assert same_path("data", spelling.replace("HERE", str(here))) == same


def test_what_is_gone_is_compared_by_name(here):
    assert same_path("gone/", str(here / "gone")) and same_path(NFC, NFD)
    assert not same_path("gone", "went")


@pytest.mark.parametrize("on_disk, asked", [(NFC, NFD), (NFD, NFC)])
def test_accents_as_the_file_system_has_them(here, on_disk, asked):
    os.mkdir(on_disk)
    assert os.path.samefile(spelled_as_found(asked), on_disk)
    os.mkdir("both")
    assert spelled_as_found("both") == "both"
    assert spelled_as_found(NFC + "?") == NFC + "?"


def test_two_names_that_differ_by_spelling_alone(here):
    os.mkdir(NFC)
    try:
        os.mkdir(NFD)
    except FileExistsError:
        pytest.skip("this file system takes them for one")
    assert not same_path(NFC, NFD)
    assert {spelled_as_found(name) for name in (NFC, NFD)} == {NFC, NFD}


@pytest.mark.parametrize(
    "text, count, paths",
    [
        ("data", 1, ["data"]),
        ("a,b", 1, ["a,b"]),
        ("data,other", 2, ["data", "other"]),
        ("a,b,data", 2, ["a,b", "data"]),
        ("data,a,b", 2, ["data", "a,b"]),
        # Not there: as many as there are pieces, which is what the message is about.
        ("x,y", 1, ["x", "y"]),
        ("x,y,z", 2, ["x", "y", "z"]),
        ("x,y", 2, ["x", "y"]),
    ],
)
def test_commas_in_paths_and_between(here, text, count, paths):
    (here / "a,b").mkdir()
    assert split_paths(text, count) == paths


def test_paths_of_a_process_whose_locale_is_ascii():
    """Such a one has each byte of other letters as a surrogate."""
    bytewise = "\u00fc".encode().decode("ascii", "surrogateescape")
    assert bytewise == "\udcc3\udcbc" and local_path(bytewise) == "\u00fc"
    assert local_path("a \u00fc \udcff") == "a \u00fc \udcff"
    assert local_path("\ud800") == "\ud800"
    assert same_path(bytewise, "\u00fc")


@pytest.mark.parametrize(
    "name, text",
    [
        ("sky, [1] $x$", "sky, [1] $x$"),
        ("\u00fc\U0001f600\u05d0", "\u00fc\U0001f600\u05d0"),
        ("Stra\udcdfe", "Stra\\xdfe"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_any_name_can_be_written(name, text):
    assert valid_text(name) == shown_name(name) == text
    assert unicodedata.is_normalized("NFC", text) and text.encode()


def test_a_name_is_shown_in_one_line():
    assert shown_name("a\r\nb\tc\x1b[31m\u2028d\x00") == "a b c [31m d "
