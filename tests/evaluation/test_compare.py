"""Scores of label maps on disk."""

import functools
import json

import numpy as np
import pytest
from helpers.folders import SHARED
from PIL import Image

from fcn_keras import UserError
from fcn_keras.data.folders.folder import load_folder
from fcn_keras.data.palette import voc_palette
from fcn_keras.evaluation.compare import compare_label_maps
from fcn_keras.evaluation.scores import scores_of

COLORS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]

TRUTH = np.uint8([[0, 0, 1, 1], [0, 2, 2, 255], [1, 1, 255, 255]])
FOUND = np.uint8([[0, 1, 1, 1], [0, 2, 0, 2], [1, 0, 0, 1]])
# Rows are the truth: counted by hand.
CONFUSION = [[2, 1, 0], [1, 3, 0], [1, 0, 1]]


def write(path, class_ids, kind="grey"):
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "color":
        colors = np.full((256, 3), 7, "uint8")
        colors[:3] = COLORS
        image = Image.fromarray(colors[class_ids])
    else:
        image = Image.fromarray(np.asarray(class_ids, "uint8"))
    if kind == "palette":
        image.putpalette([*range(255, -1, -1)] * 3)  # of no meaning: indices are the classes
    image.save(path)
    return path


@pytest.fixture
def folders(tmp_path):
    """Predictions in each way of writing them down, and the truth."""
    for i, kind in enumerate(["grey", "palette", "color"]):
        write(tmp_path / "found" / f"{kind}.png", np.roll(FOUND, i, axis=1), kind)
        write(
            tmp_path / "truth" / f"{kind}.png",
            np.roll(TRUTH, i, axis=1),
            ["palette", "grey"][i % 2],
        )
    return tmp_path / "found", tmp_path / "truth"


@pytest.fixture
def fcn(run_command):
    """Calls `evaluate`; returns its exit code and what it printed."""
    return functools.partial(run_command, "evaluate")


def test_all_ways_of_writing_class_ids(folders):
    confusion = compare_label_maps(*folders, COLORS, progress=False)
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(confusion, 3 * np.array(CONFUSION))


@pytest.mark.parametrize("kind", ["grey", "palette", "color"])
def test_single_files(folders, kind):
    found, truth = (folder / f"{kind}.png" for folder in folders)
    np.testing.assert_array_equal(
        compare_label_maps(found, truth, COLORS, progress=False), CONFUSION
    )
    np.testing.assert_array_equal(
        compare_label_maps(found.parent, truth, COLORS, progress=False), CONFUSION
    )


def test_files_of_other_names_can_be_compared_one_by_one(folders):
    other = folders[0].parent / "output.png"
    (folders[0] / "grey.png").rename(other)
    np.testing.assert_array_equal(
        compare_label_maps(other, folders[1] / "grey.png", COLORS, progress=False), CONFUSION
    )


def test_predictions_that_nobody_asks_for(folders):
    write(folders[0] / "more.png", np.full((1, 1), 200))
    (folders[0] / "notes.txt").write_text("none")
    assert compare_label_maps(*folders, COLORS, progress=False).sum() == 27


def test_split_as_truth(make_folder, tmp_path):
    root = make_folder(tmp_path / "photos", val=3, about={"classes": [*"abc"]})
    split = load_folder(root).splits["val"]
    for i in range(3):
        _, label, name = split[i]
        assert name == f"val_{i}"
        write(tmp_path / "found" / f"{name}.png", (label[..., 0] + (i == 1)) % 3)
    confusion = compare_label_maps(tmp_path / "found", split, COLORS, progress=False)
    size = split[0].label.size
    assert confusion.trace() == 2 * size
    assert confusion[0, 1] + confusion[1, 2] + confusion[2, 0] == size == confusion.sum() - 2 * size


def missing(found, truth):
    (found / "color.png").unlink()
    return [found, "color.png"]


def other_size(found, truth):
    write(found / "grey.png", FOUND.T)
    return [found / "grey.png", truth / "grey.png", "3x4 pixels", "4x3"]


def unknown_color(found, truth):
    image = np.zeros((3, 4, 3), "uint8")
    image[1, 2] = 1, 2, 3
    Image.fromarray(image).save(found / "color.png")
    return [found / "color.png", "(1, 2, 3)"]


def beyond_the_classes(found, truth):
    write(found / "grey.png", FOUND + 1)
    return [found / "grey.png", "label 3", "0 to 2."]


def void_as_prediction(found, truth):
    write(found / "grey.png", TRUTH)
    return [found / "grey.png", "label 255"]


def truth_beyond_the_classes(found, truth):
    write(truth / "grey.png", np.where(TRUTH == 2, 7, TRUTH))
    return [truth / "grey.png", "label 7", "0 to 2 or 255"]


def no_image(found, truth):
    (found / "grey.png").write_text("none")
    return [found / "grey.png"]


def no_truth(found, truth):
    for path in truth.iterdir():
        path.unlink()
    return [truth, ".png"]


def no_predictions(found, truth):
    for path in found.iterdir():
        path.unlink()
    return [found, ".png"]


FAULTS = [
    *(missing, other_size, unknown_color, beyond_the_classes, void_as_prediction),
    *(truth_beyond_the_classes, no_image, no_truth, no_predictions),
]


@pytest.mark.parametrize("spoil", FAULTS)
def test_faults(folders, spoil):
    words = spoil(*folders)
    with pytest.raises(UserError) as error:
        compare_label_maps(*folders, COLORS, progress=False)
    for word in words:
        assert str(word) in str(error.value)


# On the command line


def test_table(fcn, folders):
    code, out, _ = fcn("--predictions", folders[0], "--labels", folders[1], "--num-classes", 3)
    assert code == 0
    assert out.startswith(f"{folders[0]}:\n")
    lines = {name: first for name, first, *_ in map(str.split, out.splitlines()[1:])}
    # 6 of 9 are right; IU 2/5, 3/5, 1/2; accuracies 2/3, 3/4, 1/2.
    assert lines["pixel_accuracy"] == "0.66667"
    assert lines["mean_accuracy"] == "0.63889"
    assert lines["mean_iu"] == "0.50000"
    assert lines["frequency_weighted_iu"] == "0.51111"
    assert lines["class_1"] == "0.60000"


def test_one_json_object(fcn, folders):
    code, out, _ = fcn(
        *("--predictions", folders[0], "--labels", folders[1], "--num-classes", 3, "--json")
    )
    assert code == 0
    scores = json.loads(out)
    assert scores["confusion"] == (3 * np.array(CONFUSION)).tolist()
    assert scores["per_class_iu"] == pytest.approx({"class_0": 0.4, "class_1": 0.6, "class_2": 0.5})


def test_dataset_as_truth(fcn, make_folder, tmp_path):
    root = make_folder(tmp_path / "photos", val=2, about={"classes": [*"abc"]})
    code, out, _ = fcn("--predictions", root / "valannot", "--dataset", root, "--json")
    assert code == 0
    assert json.loads(out)["per_class_iu"] == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("spoil", FAULTS)
def test_faults_in_one_line(fcn, folders, spoil):
    words = spoil(*folders)
    code, out, err = fcn("--predictions", folders[0], "--labels", folders[1], "--num-classes", 3)
    assert (code, out) == (2, "")
    # Behind what is left of the bar, on a line of its own.
    bar, _, message = err.rpartition("error: ")
    assert bar in ("", bar.rstrip("\n") + "\n") and "error" not in bar
    assert message.count("\n") == 1 and message.endswith("\n")
    for word in words:
        assert str(word) in message


@pytest.mark.parametrize(
    "options",
    [
        ["--predictions", "a"],
        ["--predictions", "a", "--labels", "b", "--dataset", "c"],
        ["model.keras", "--predictions", "a", "--labels", "b"],
        ["--labels", "b"],
        [],
    ],
)
def test_options_that_do_not_go_together(fcn, options):
    code, out, err = fcn(*options)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and "--labels" in err


# The reference's own example


@pytest.fixture(scope="module")
def demo():
    """An image's published prediction, and its true label map."""
    folder = SHARED / "data" / "fcn_demo"
    if not folder.is_dir():
        pytest.skip("needs the files of ../shared/data/fcn_demo")
    return folder


def test_published_prediction(demo):
    confusion = compare_label_maps(
        demo / "output.png", demo / "label.png", voc_palette(21), progress=False
    )
    counted = np.ix_([0, 2, 15], [0, 2, 15])
    assert confusion[counted].tolist() == [
        [52692, 1398, 299],
        [4618, 28404, 1161],
        [8782, 7320, 45041],
    ]
    assert confusion.sum() == confusion[counted].sum() == 149715
    scores = scores_of(confusion)
    assert f"{scores['pixel_accuracy']:.5f}" == "0.84251"
    assert f"{scores['mean_accuracy']:.5f}" == "0.84546"
    assert f"{scores['mean_iu']:.5f}" == "0.71962"
    assert f"{scores['frequency_weighted_iu']:.5f}" == "0.72737"
    assert [f"{iu:.5f}" for iu in scores["per_class_iu"][[0, 2, 15]]] == [
        *("0.77729", "0.66208", "0.71947"),
    ]


def test_published_prediction_on_the_command_line(demo, fcn, tmp_path):
    for folder, name in (("found", "output.png"), ("truth", "label.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "2007_000129.png").write_bytes((demo / name).read_bytes())
    code, out, _ = fcn("--predictions", tmp_path / "found", "--labels", tmp_path / "truth")
    assert code == 0
    lines = {name: first for name, first, *_ in map(str.split, out.splitlines()[1:])}
    assert lines["pixel_accuracy"] == "0.84251"
    assert lines["mean_accuracy"] == "0.84546"
    assert lines["mean_iu"] == "0.71962"
    assert lines["frequency_weighted_iu"] == "0.72737"
    assert (lines["background"], lines["bicycle"], lines["person"]) == (
        "0.77729",
        "0.66208",
        "0.71947",
    )
    assert lines["aeroplane"] == "absent"


def test_names_in_folders_and_by_either_spelling(tmp_path):
    """A Mac writes an accent behind its letter, and a file of its own beside each."""
    for folder, name in (("found", "a/ru\u0308cken"), ("truth", "a/r\u00fccken")):
        write(tmp_path / folder / f"{name}.PNG", TRUTH % 3)
        (tmp_path / folder / "a" / "._x.png").write_bytes(b"\0\5\x16\7")
    folders = tmp_path / "found", tmp_path / "truth"
    confusion = compare_label_maps(*folders, COLORS, progress=False)
    assert confusion.sum() == confusion.trace() == TRUTH.size
    write(tmp_path / "found" / "a" / "r\u00fccken.bmp", TRUTH % 3)
    with pytest.raises(UserError, match="are two label maps of one name"):
        compare_label_maps(*folders, COLORS, progress=False)


def test_palettes_are_no_colours_that_anybody_has_given(tmp_path):
    """Beside a folder of label maps, indexed ones are read by number, whatever they look like."""
    for folder in ("found", "truth"):
        image = Image.fromarray(np.minimum(TRUTH, 2))
        image.putpalette(bytes([128, 0, 0, 7, 7, 7, 0, 0, 0]))  # two of them classes' colours
        (tmp_path / folder).mkdir()
        image.save(tmp_path / folder / "a.png")
    found = compare_label_maps(tmp_path / "found", tmp_path / "truth", COLORS, progress=False)
    np.testing.assert_array_equal(found, np.diag([3, 4, 5]))


@pytest.mark.parametrize(
    "values, words", [((0, 255), '"255": "object"'), ((255, 255), "without a labelled pixel")]
)
def test_labels_that_tell_nothing(tmp_path, values, words):
    """255 is void, and the object would not be scored."""
    write(tmp_path / "truth" / "a.png", np.array(values)[(TRUTH > 0).astype(int)])
    write(tmp_path / "found" / "a.png", TRUTH > 0)
    with pytest.raises(UserError, match=words):
        compare_label_maps(tmp_path / "found", tmp_path / "truth", COLORS[:2], progress=False)


def test_label_maps_of_images_in_folders(tmp_path):
    """`predict` writes them side by side: each is found by its name, if no other has it."""
    for name in ("day/a", "night/b"):
        write(tmp_path / "truth" / f"{name}.png", TRUTH)
        write(tmp_path / "found" / f"{name[-1]}.png", FOUND)
    found = compare_label_maps(tmp_path / "found", tmp_path / "truth", COLORS, progress=False)
    np.testing.assert_array_equal(found, 2 * np.array(CONFUSION))
    write(tmp_path / "truth" / "night" / "a.png", TRUTH)
    with pytest.raises(UserError, match="a.png: could be the label map of day/a or of night/a"):
        compare_label_maps(tmp_path / "found", tmp_path / "truth", COLORS, progress=False)
