import math
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fcn_keras.data.palette import voc_palette
from fcn_keras.figures.class_bars import per_class_iu_figure
from fcn_keras.figures.confusion import confusion_figure
from fcn_keras.figures.curves import curves_figure
from fcn_keras.figures.samples import Sample, samples_figure
from fcn_keras.figures.style import save_figure

CLASSES = [
    "_background_",
    "cat",
    "$dog$ and $cat$",
    "猫",
    "a class name that is longer than others",
]
COLORS = voc_palette(5)


def rows(count):
    for epoch in range(1, count + 1):
        score = 1 - 0.9**epoch
        yield {
            "epoch": float(epoch),
            "loss": 2 * 0.9**epoch,
            "val_loss": 2.5 * 0.9**epoch,
            "mean_iu": 0.6 * score,
            "pixel_accuracy": 0.9 * score,
            "mean_accuracy": 0.7 * score,
            "frequency_weighted_iu": 0.8 * score,
            "train_mean_iu": 0.7 * score,
            "learning_rate": 1e-3,
            "images_per_second": 12.0,
            "seconds": 30.0,
        }


def sample(height=12, width=16, name="img_1"):
    """Truth: cat above, void below. Prediction: cat everywhere but for one pixel in each half."""
    image = np.full((height, width, 3), (10, 200, 90), np.uint8)
    label = np.ones((height, width), np.uint8)
    label[height // 2 :] = 255
    class_ids = np.ones((height, width), np.uint8)
    class_ids[0, width // 4] = class_ids[-1, width // 4] = 2
    return Sample(image, label, class_ids, name, 0.5)


def pixels_of(figure, path):
    """What a figure looks like, which has nothing on its edges that could be cut off."""
    save_figure(figure, path)
    with Image.open(path) as picture:
        pixels = np.array(picture.convert("RGB"))
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 255).all(), "something is cut off"
    return pixels


def line(axes, label):
    return next(x for x in axes.get_lines() if x.get_label() == label)


def test_curves():
    log = list(rows(6))
    log[4]["mean_iu"] = 0.55
    figure = curves_figure(log)
    loss, scores, rate = figure.axes
    np.testing.assert_allclose(line(loss, "validation").get_ydata(), [r["val_loss"] for r in log])
    np.testing.assert_allclose(line(scores, "mean IU").get_ydata()[4], 55)
    assert line(scores, "best").get_xydata().tolist() == [[5, pytest.approx(55)]]
    assert "55.0 % at epoch 5" in figure.get_suptitle()
    assert "6 epochs\n3.0 min\n12 images/s" in [t.get_text() for t in rate.texts]


def test_curves_leave_out_what_is_missing():
    log = list(rows(6))
    log[1]["loss"] = math.nan
    log[2]["loss"] = math.inf
    log[3]["mean_iu"] = None
    for row in log:
        del row["pixel_accuracy"]
    loss, scores, _ = curves_figure(log).axes
    assert line(loss, "training").get_xdata().tolist() == [1, 4, 5, 6]
    assert line(scores, "mean IU").get_xdata().tolist() == [1, 2, 3, 5, 6]
    assert "pixel accuracy" not in [x.get_label() for x in scores.get_lines()]


@pytest.mark.parametrize("log", [[], [{"epoch": 1.0}], list(rows(1)), list(rows(60))])
def test_curves_of_any_number_of_epochs(tmp_path, log):
    assert pixels_of(curves_figure(log), tmp_path / "report" / "curves.png").std() > 0
    assert [x.name for x in (tmp_path / "report").iterdir()] == ["curves.png"]


def test_per_class_iu(tmp_path):
    scores = dict(zip(CLASSES, [0.25, 1.0, None, 0.0, 0.5], strict=True))
    figure = per_class_iu_figure(scores, COLORS, 0.4375)
    (axes,) = figure.axes
    bars = {round(x.get_y() + x.get_height() / 2): x for x in axes.patches}
    assert [bars[row].get_width() for row in sorted(bars)] == [100, 50, 25, 0]
    names = [x.get_text() for x in axes.get_yticklabels()]
    assert [names[0], *names[2:]] == ["cat", "_background_", "猫", "$dog$ and $cat$"]
    np.testing.assert_allclose(bars[0].get_facecolor()[:3], COLORS[1] / 255)
    assert {"100.0", "50.0", "25.0", "0.0", "absent"} == {x.get_text() for x in axes.texts}
    assert axes.get_lines()[0].get_xdata() == pytest.approx([43.75, 43.75])

    picture = pixels_of(figure, tmp_path / "iu.png")
    lengths = [(picture == color).all(axis=-1).sum(axis=1).max() for color in COLORS[[1, 4]]]
    # The mean's line covers a few pixels of the longer bar.
    assert lengths[0] == pytest.approx(2 * lengths[1], rel=0.03)


def test_other_scores_beside_the_bars():
    scores = {"cat": 0.25, "dog": None, "cow": 1.0}
    columns = {"recall": {"cat": 0.5, "dog": None, "cow": 0.125}}
    (axes,) = per_class_iu_figure(scores, COLORS[:3], None, columns).axes
    found = {x.get_text(): x.get_position()[1] for x in axes.texts if x.get_position()[0] > 110}
    assert found == {"recall": -0.75, "12.5": 0, "50.0": 1}


def test_per_class_iu_without_a_mean(tmp_path):
    figure = per_class_iu_figure({"cat": None}, [(64, 0, 0)], None)
    assert pixels_of(figure, tmp_path / "iu.png").std() > 0


def test_confusion():
    figure = confusion_figure([[75, 25, 0], [0, 0, 0], [1, 0, 1999]], ["a", "b", "c"])
    axes = figure.axes[0]
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_allclose(shown, [[75, 25, 0], [np.nan] * 3, [0.05, 0, 99.95]])
    cells = {x.get_position(): x.get_text() for x in axes.texts}
    assert cells == {(0, 0): "75", (1, 0): "25", (1, 1): "not in the truth", (2, 2): "100"}
    (totals,) = axes.child_axes
    assert [x.get_text() for x in totals.get_yticklabels()] == ["100", "0", "2 k"]


@pytest.mark.parametrize("names", [["background", "circle", "star"], ["a name of a class"] * 5])
def test_confusion_is_not_cut_off(tmp_path, names):
    pixels_of(confusion_figure(np.eye(len(names), dtype=int) * 1950000, names), tmp_path / "a.png")


@pytest.mark.parametrize("count", [1, 2, 60])
def test_confusion_of_any_number_of_classes(tmp_path, count):
    figure = confusion_figure(np.eye(count, dtype=np.int64) * 7, (CLASSES * 12)[:count])
    picture = pixels_of(figure, tmp_path / "confusion.png")
    diagonal = (picture == (8, 48, 107)).all(axis=-1)
    assert diagonal.any()
    # Numbers would be unreadable in many cells.
    assert bool(figure.axes[0].texts) == (count <= 25)


def test_confusion_refuses_other_classes():
    with pytest.raises(ValueError, match="3 classes"):
        confusion_figure(np.eye(2), ["a", "b", "c"])


def test_samples_mark_wrong_pixels_alone():
    figure = samples_figure([sample()], CLASSES, COLORS)
    image, truth, prediction, errors = (x.images[0].get_array() for x in figure.axes)
    np.testing.assert_array_equal(image, sample().image)
    assert (truth[:6] == COLORS[1]).all() and not (truth[6:] == COLORS[1]).all(axis=-1).any()
    assert prediction[0, 4].tolist() == COLORS[2].tolist()
    red = errors[..., 0] != errors[..., 1]
    # The wrong pixel in the lower half is void in the truth.
    assert np.argwhere(red).tolist() == [[0, 4]]
    words = [x.get_text() for x in figure.texts]
    assert "img_1   mean IU 50.0 %" in words
    assert words[-3:] == ["cat", "$dog$ and $cat$", "void"]


def test_samples_of_any_size(tmp_path):
    samples = [
        sample(),
        sample(1, 1, "one pixel"),
        sample(4, 300, "wide"),
        sample(300, 4, "$tall$" * 40),
        sample(1500, 2000)._replace(mean_iu=None),
    ]
    figure = samples_figure(samples, CLASSES, COLORS)
    picture = pixels_of(figure, tmp_path / "samples.png").astype(int)
    errors = picture[:, picture.shape[1] * 3 // 4 :]
    assert (errors[..., 0] - errors[..., 1] > 150).any()
    # Nothing is clipped: the margin is white all round.
    edge = [picture[:8], picture[-8:], picture[:, :8], picture[:, -8:]]
    assert all((x == 255).all() for x in edge)


def test_samples_are_eight_at_most():
    assert len(samples_figure([sample()] * 9, CLASSES, COLORS).axes) == 8 * 4
    with pytest.raises(ValueError, match="no sample"):
        samples_figure([], CLASSES, COLORS)


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"the one before")

    def stopped(self, file, **_):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", stopped)
    with pytest.raises(KeyboardInterrupt):
        save_figure(curves_figure([]), path)
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]


def test_pyplot_stays_out():
    code = (
        "import sys\n"
        "from fcn_keras.figures import bounds, class_bars, confusion, curves, dataset, samples\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_that_no_font_can_write(tmp_path):
    names = ["Stra\udcdfe", "half \ud800", "two\nlines\x1b[31m"]
    figure = confusion_figure(np.eye(3, dtype=int), names)
    save_figure(figure, tmp_path / "confusion.pdf")
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert [label.split("  ")[0] for label in labels] == [
        "Stra\\xdfe",
        "half \\ud800",
        "two lines [31m",
    ]
