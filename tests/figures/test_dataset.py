"""Pictures of data sets."""

import numpy as np
import pytest
from helpers.folders import write_folder
from PIL import Image

from fcn_keras.data.dataset import Dataset, Example
from fcn_keras.data.findings import Contents, Inspection
from fcn_keras.data.folders.folder import load_folder
from fcn_keras.data.inspection import inspect
from fcn_keras.data.palette import voc_palette
from fcn_keras.figures.dataset import contact_sheet_figure, frequencies_figure
from fcn_keras.figures.style import save_figure

ABC = {"classes": ["a", "b", "c"], "colors": [[200, 0, 0], [0, 200, 0], [0, 0, 200]]}


def write(path, array):
    Image.fromarray(np.asarray(array, "uint8")).save(path)


def pixels_of(figure, path):
    save_figure(figure, path)
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


@pytest.mark.parametrize(("length", "count"), [(10, 4), (10, 10), (3, 12), (1, 1), (367, 12)])
def test_a_contact_sheet_shows_images_all_over_a_split(length, count):
    pixel = np.zeros((1, 1, 3), "uint8")
    examples = [Example(pixel, pixel[..., :1], str(i)) for i in range(length)]
    figure = contact_sheet_figure(
        Dataset("d", ("x",), ((1, 2, 3),), {"val": examples}), "val", count
    )
    numbers = [int(text.get_text()) for text in figure.texts if text.get_text().isdecimal()]
    assert len({*numbers}) == len(numbers) == min(length, count)
    assert numbers[0] == 0 and length - numbers[-1] <= -(-length // len(numbers))


def test_contact_sheet(tmp_path):
    """Photo and mask are there in their colours, and void is hatched, in grey on white."""
    root = write_folder(tmp_path / "photos", train=12, val=3, about=ABC)
    for i in range(12):
        write(root / "train" / f"train_{i}.png", np.full((40, 56, 3), (250, 120, 10)))
        write(root / "trainannot" / f"train_{i}.png", np.repeat([[0] * 28 + [255] * 28], 40, 0))
    figure = contact_sheet_figure(load_folder(root), "train", 5)
    sheet = pixels_of(figure, tmp_path / "sheet.png")
    count = {color: (sheet == color).all(-1).sum() for color in ((250, 120, 10), (200, 0, 0))}
    # A picture is 2.2 inches wide at 120 dots an inch; half of the mask is of the class.
    photo = 264 * 264 * 40 / 56
    assert count[250, 120, 10] == pytest.approx(5 * photo, rel=0.04)
    assert count[200, 0, 0] == pytest.approx(5 * photo / 2, rel=0.04)
    grey = (sheet == 190).all(-1).sum()
    assert 0.1 * photo < grey / 5 < 0.3 * photo
    assert not (sheet == (0, 200, 0)).all(-1).any()  # a class that does not occur, in the legend


def test_contact_sheet_of_many_sizes(tmp_path):
    root = write_folder(tmp_path / "photos", train=4, val=0, about=ABC)
    for i, size in enumerate([(1, 1), (300, 4), (4, 300), (50, 50)]):
        write(root / "train" / f"train_{i}.png", np.full((*size, 3), 99))
        write(root / "trainannot" / f"train_{i}.png", np.zeros(size))
    figure = contact_sheet_figure(load_folder(root), "train", 12)
    assert pixels_of(figure, tmp_path / "sheet.png").shape[0] < 1500


def test_contact_sheet_of_depth_and_several_maps(tmp_path):
    example = Example(np.zeros((20, 30, 6), "uint8"), np.zeros((20, 30, 2), "uint8"), "a")
    dataset = Dataset("d", ("x",), ((1, 2, 3),), {"train": [example]})
    sheet = pixels_of(contact_sheet_figure(dataset, "train", 3), tmp_path / "sheet.png")
    assert (sheet == (1, 2, 3)).all(-1).sum() > 10_000


def test_frequencies():
    """The bars' lengths are the logarithms of the shares."""
    contents = {}
    for split, counts, void in (("train", [3, 270, 27, 0], 100), ("val", [8, 8, 0, 0], 0)):
        pixels = np.zeros(256, "int64")
        pixels[:4], pixels[255] = counts, void
        contents[split] = Contents(1, pixels=[pixels])
    classes = ["$a$", "b", "c", "d"]
    figure = frequencies_figure(Inspection("photos", {"": classes}, voc_palette(4), contents, []))
    train, val = figure.axes
    assert [text.get_text() for text in train.get_yticklabels()] == ["b", "c", "$a$", "d"]
    assert [round(bar.get_width()) for bar in train.patches] == [90, 9, 1]
    assert train.get_xscale() == "log" and "void 25 %" in train.get_title()
    assert [text.get_text() for text in val.texts] == ["50", "absent", "50", "absent"]


def test_frequencies_in_the_classes_colors(tmp_path):
    root = write_folder(tmp_path / "photos", about=ABC)
    figure = frequencies_figure(inspect(root, progress=False))
    assert (pixels_of(figure, tmp_path / "figure.png") == (200, 0, 0)).all(-1).sum() > 1000


def test_frequencies_of_no_class(tmp_path):
    root = write_folder(tmp_path / "photos", train=1, val=0)
    (root / "trainannot" / "train_0.png").write_bytes(b"")
    figure = frequencies_figure(inspect(root, progress=False))
    assert pixels_of(figure, tmp_path / "figure.png").size
