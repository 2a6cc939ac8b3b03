import json

import pytest

from fcn_keras import UserError
from fcn_keras.inference.classes import numbered_classes, read_classes

ABOUT = {"classes": ["sky", "road"], "colors": [[1, 2, 3], [4, 5, 6]]}
EXPECTED = ["sky", "road"], [(1, 2, 3), (4, 5, 6)]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_numbered_classes():
    names, colors = numbered_classes(3)
    assert names == ["class_0", "class_1", "class_2"]
    assert colors == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]  # PASCAL VOC's


def test_where_classes_are_read_from(tmp_path):
    run = write(tmp_path / "run" / "config.json", {"dataset": {"name": "roads", **ABOUT}}).parent
    for version in (2, 9, 10):  # the newest by number
        names = ["sky", "road"] if version == 10 else ["old"]
        about = {"classes": names, "colors": [[1, 2, 3], [4, 5, 6]][: len(names)]}
        write(tmp_path / "exported" / str(version) / "assets" / "classes.json", about)
        (tmp_path / "exported" / str(version) / "saved_model.pb").touch()
    folder = write(tmp_path / "data" / "dataset.json", ABOUT).parent
    plain = write(tmp_path / "plain.json", ABOUT)
    for source in (run, tmp_path / "exported", tmp_path / "exported" / "10", folder, plain):
        assert read_classes(source) == EXPECTED
    assert read_classes(tmp_path / "exported" / "9") == (["old"], [(1, 2, 3)])


def test_without_colors(tmp_path):
    file = write(tmp_path / "a.json", {"classes": ["sky", "road"]})
    assert read_classes(file) == (["sky", "road"], [(0, 0, 0), (128, 0, 0)])


@pytest.mark.parametrize("content", [{}, [1], {"classes": 3}, {"classes": ["a"], "colors": [1]}])
def test_what_is_none(tmp_path, content):
    with pytest.raises(UserError, match="a.json: must be a run"):
        read_classes(write(tmp_path / "a.json", content))


def test_what_cannot_be_read(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "broken.json"):
        with pytest.raises(UserError, match=f"{path.name}: must be a run"):
            read_classes(path)


def test_as_many_colors_as_classes(tmp_path):
    file = write(tmp_path / "a.json", {"classes": ["a"], "colors": [[1, 2, 3], [4, 5, 6]]})
    with pytest.raises(UserError, match="a.json: has 1 classes and 2 colours"):
        read_classes(file)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_as_editors_write_it(tmp_path, encoding):
    text = json.dumps({"classes": ["Straße", "空"]}, ensure_ascii=False)
    (tmp_path / "dataset.json").write_text(text, encoding)
    assert read_classes(tmp_path)[0] == ["Straße", "空"]
    (tmp_path / "dataset.json").write_text(text.replace("空", "b"), "latin-1")
    with pytest.raises(UserError, match="dataset.json: is no text in UTF-8; save it as UTF-8"):
        read_classes(tmp_path)
