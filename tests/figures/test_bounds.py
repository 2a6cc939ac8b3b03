"""The figure of what strides allow."""

import numpy as np
import pytest
from PIL import Image

from fcn_keras.figures.bounds import bounds_figure
from fcn_keras.figures.style import save_figure

CLASSES = ["$a$", "b", "a class name that is longer than others"]


def scores(*per_class_iu, names=CLASSES):
    present = [iu for iu in per_class_iu if iu is not None]
    mean = sum(present) / len(present)
    return {"per_class_iu": dict(zip(names, per_class_iu, strict=True)), "mean_iu": mean}


def test_bounds():
    bounds = {32: scores(0.25, None, 0.5), 8: scores(0.75, None, 1.0), 1: scores(1.0, None, 1.0)}
    (axes,) = bounds_figure(bounds, "photos, val").axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert [names[1:], names[0][:12]] == [["$a$", "b", "mean"], "a class name"]
    rows = axes.get_yticks()
    marks = [line for line in axes.get_lines() if line.get_marker() != "None"]
    found = {(*map(float, line.get_xydata()[0]), line.get_marker()) for line in marks}
    percent = {(50, 0): "s", (100, 0): "o", (25, 1): "s", (75, 1): "o"}
    percent |= {(37.5, 3): "s", (87.5, 3): "o"}
    assert {(x, rows[row], mark) for (x, row), mark in percent.items()} <= found
    assert len(found) == 6 + 2  # two in the legend
    texts = [text.get_text() for text in axes.texts]
    assert texts == [
        *("50.0", "100.0", "25.0", "75.0", "absent", "37.5", "87.5"),
        *("stride", "32", "8"),
    ]
    assert "photos, val" in axes.get_title()


@pytest.mark.parametrize("count", [1, 60])
def test_bounds_of_any_number_of_classes(tmp_path, count):
    """All that belongs to a class is on the page, beside its name."""
    names = [f"{CLASSES[-1] if number % 9 == 0 else 'class'} {number}" for number in range(count)]
    names = [f"{number} {name}" for number, name in enumerate(names)]
    bounds = {stride: scores(*[0.99] * count, names=names) for stride in (32, 16, 8, 4, 1)}
    save_figure(bounds_figure(bounds, "photos, val"), tmp_path / "bounds.png")
    with Image.open(tmp_path / "bounds.png") as picture:
        pixels = np.array(picture.convert("RGB"))
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 255).all(), "something is cut off"
    assert 700 < picture.width < 1300
    # Rows of letters with paper between them.
    vermilion = (pixels == (213, 94, 0)).all(-1).any(1)
    assert np.diff(vermilion.astype(int)).clip(0).sum() >= count + 2
