"""Curves of made figures, and tiny ones that are measured."""

import json

import numpy as np
import pytest

from fcn_keras.bench.child import ChildFailed
from fcn_keras.bench.growth import growth, work
from fcn_keras.bench.growth.curves import SIZES, Asked, Curve, curves_of, job_of, side_of
from fcn_keras.bench.growth.growth import Point, bench_growth, results, table
from fcn_keras.bench.growth.handling import write_folder
from fcn_keras.bench.growth.lines import FLAT, bend_of, line_of
from fcn_keras.data.folders.folder import load_folder
from fcn_keras.errors import UserError
from fcn_keras.figures.growth import growth_figure

MIB = 2**20


def test_line_through_the_ends():
    sizes = np.array([1.0, 4, 16, 36, 100])
    np.testing.assert_allclose(line_of(sizes, 3 + 0.5 * sizes), 3 + 0.5 * sizes)
    assert line_of([10, 1010, 100_010], [0.1, 7, 1000.1]) == pytest.approx([0.1, 10.1, 1000.1])
    assert line_of([1, 2, 4], [5, 7, 9], FLAT) == [5, 5, 5]
    assert line_of([3], [2]) == [2]


def test_bends_go_both_ways():
    assert bend_of([1, 2, 3], [1, 2, 3]) == 1
    assert bend_of([1, 3, 3], [1, 2, 3]) == 1.5
    assert bend_of([1, 1, 3], [1, 2, 3]) == 2
    # What is quadratic lies below the line through its ends.
    sizes = np.array([10, 100, 1000])
    assert bend_of(sizes**2, line_of(sizes, sizes**2)) > 9


def made_up():
    """A curve that bends in the middle by 1.5 in seconds and by 2 in memory, and one of nothing."""
    points = [
        Point(10, [1.0, 1.2, 1.1], [50 * MIB] * 3, work=10),
        Point(100, [3.0], [100 * MIB], work=20),
        Point(1000, [4.1], [60 * MIB], work=40),
        Point(10_000, error="killed by signal 9"),
    ]
    return [
        (Curve("check", "checking", (10, 100, 1000, 10_000), FLAT), points),
        (Curve("train", "training", (10, 20)), [Point(10, error="no"), Point(20)]),
    ]


def test_results():
    """Medians; the line of seconds goes by the work; what failed has no part in it."""
    found = results(Asked("images"), made_up())
    checking, training = found["curves"]
    assert json.loads(json.dumps(found))["unit"] == "images"
    assert [row.get("seconds_line") for row in checking["points"]] == pytest.approx(
        [1.1, 2.1, 4.1, None]
    )
    assert checking["seconds_bend"] == pytest.approx(3 / 2.1)
    assert checking["bytes_bend"] == 2
    assert checking["points"][1]["seconds_per_unit"] == 0.03
    assert "seconds_bend" not in training
    text = table(found)
    assert "| 100 | 3.000 | 30 | 2.100 | 1.43x | 100 | 50 | 2.00x |" in text
    assert "| 10000 | not measured: killed by signal 9 |" in text
    assert "bends by 1.43x in seconds, 2.00x in memory" in text


def test_memory_of_tiles_goes_by_the_largest():
    """From the size on at which a tile has others on all sides, it is level."""
    sizes, held, mebibytes = (1, 4, 16, 100), (1.0, 1.5, 2.5, 2.5), (100, 150, 250, 250)
    points = [
        Point(size, [size], [own * MIB], work=size, held=part)
        for size, part, own in zip(sizes, held, mebibytes, strict=True)
    ]
    [curve] = results(Asked("tiled"), [(Curve("label", "tiled", sizes), points)])["curves"]
    assert curve["bytes_bend"] == pytest.approx(1) == curve["seconds_bend"]


def test_figure():
    """Each curve lies beside its line, on axes by powers of ten."""
    figure = growth_figure(results(Asked("images"), made_up())["curves"], "images")
    for panel, values in zip(figure.axes, ((1.1, 3.0, 4.1), (50, 100, 60)), strict=True):
        assert panel.get_xscale() == panel.get_yscale() == "log"
        line, measured = panel.lines[:2]
        assert [*measured.get_xdata()] == [*line.get_xdata()] == [10, 100, 1000]
        assert [*measured.get_ydata()] == pytest.approx(values)
        assert line.get_linestyle() == "--"


def test_points_are_measured_in_turns(monkeypatch):
    """By rounds; a point that has failed is left alone afterwards."""
    asked = []

    def run_child(words, text, **variables):
        job = json.loads(text)
        asked.append((job["job"], job.get("at")))
        if asked[-1] == ("step", 21):
            raise ChildFailed("no memory")
        return json.dumps({"seconds": 1.0, "peak_bytes": MIB, "work": 1, "held": 1})

    monkeypatch.setattr(growth, "run_child", run_child)
    measured = bench_growth(Asked("classes", (2, 21)), rounds=2)
    once = [("forward", 2), ("forward", 21), ("step", 2), ("step", 21), ("scores", 2)]
    once += [("scores", 21)]
    again = [point for point in once if point != ("step", 21)]
    assert asked == [("write", None), *once, *again]
    assert [len(point.seconds) for _, points in measured for point in points] == [2, 2, 2, 0, 2, 2]


def test_whole_images_end_where_memory_does(monkeypatch):
    """By the line of the last two: 3 GB at 8 megapixels, of which no more than 2 are allowed."""
    tried = []

    def run_child(words, text, **variables):
        tried.append(at := json.loads(text).get("at", 0))
        return json.dumps(
            {"seconds": 1.0, "peak_bytes": int(1e9 + 0.25e9 * at), "work": at, "held": at}
        )

    monkeypatch.setattr(growth, "run_child", run_child)
    monkeypatch.setattr(growth, "free_memory", lambda: 1e15)
    [(_, points)] = bench_growth(Asked("whole", (1, 2, 4, 8, 16), memory=2.0))
    assert tried == [0, 1, 2, 4]
    assert points[3].error == "would take about 3 GB, and there are 2"


def test_what_cannot_be_written(monkeypatch):
    def run_child(words, text, **variables):
        raise ChildFailed("no space left")

    monkeypatch.setattr(growth, "run_child", run_child)
    with pytest.raises(UserError, match="^bench growth: cannot begin: no space left$"):
        bench_growth(Asked("images"))


def test_curves():
    for kind, sizes in SIZES.items():
        assert all(curve.sizes == sizes for curve in curves_of(Asked(kind)) if curve.memory != FLAT)
    # Files are written for as many alone as a disk has room for.
    sizes = {curve.name: curve.sizes for curve in curves_of(Asked("images"))}
    assert sizes["predict"] == (10, 1000, 10_000) and sizes["check"][-1] == 100_000
    assert max(Asked("tiled", backbone="vgg16").sizes) == 25
    assert side_of(0.25) == 500


def test_a_folder_of_many_names(tmp_path):
    """It is a whole data set, with few files on the disk."""
    write_folder(tmp_path, 2600)
    splits = load_folder(tmp_path).splits
    assert [len(splits[name]) for name in ("train", "val")] == [2080, 520]
    files = {path.stat().st_ino for path in tmp_path.rglob("*.png")}
    assert len(files) == 2 * (3 + 1)
    assert splits["train"][2079].image.shape == (16, 16, 3)


@pytest.mark.parametrize("name", ("check", "predict_start", "predict"))
def test_handling(name, tmp_path):
    """A point of a curve, in this process."""
    asked = Asked("images", (10, 12))
    work.write(asked, tmp_path)
    found = work.measure(job_of(asked, name, 12), tmp_path)
    assert found["work"] == 12 and found["seconds"] > 0 and found["peak_bytes"] > MIB
    # What it wrote is gone.
    assert {path.name for path in tmp_path.iterdir()} == {"10", "12", "first", "network.keras"}


TINY = ("--backbone", "vgg16", "--width", "0.03125")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("tiled", "--sizes", "0.01,0.02,0.03", "--tile", "64", *TINY),
        ("whole", "--sizes", "0.01,0.02,0.03", *TINY),
        ("classes", "--sizes", "2,3,4", "--size", "32x32", *TINY),
        ("images", "--sizes", "10,20,30"),
    ],
    ids=lambda words: words[0],
)
def test_command(words, run_command, tmp_path):
    """Every point of every curve, each in a process of its own."""
    figure = tmp_path / "growth.png"
    code, out, err = run_command("bench", "growth", *words, "--figure", figure, "--json")
    assert code is None or code == 0, err
    found = json.loads(out.splitlines()[-1])
    for curve in found["curves"]:
        assert [row.get("error", "") for row in curve["points"]] == ["", "", ""]
        assert all(row["peak_bytes"] > 20 * MIB for row in curve["points"])
    assert figure.stat().st_size > 1000
    if words[0] == "tiled":  # overlaps are seen twice
        points = found["curves"][0]["points"]
        assert all(row["work"] > row["size"] for row in points)
        assert all(row["work"] > row["held"] > 0.064**2 for row in points)


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "the following arguments are required: kind"),
        (("pixels",), "invalid choice: 'pixels'"),
        (("tiled", "--memory", "3"), "--memory: is not for tiled."),
        (("images", "--num-classes", "3"), "--num-classes: is not for images."),
        (("images", "--sizes", "10"), "two at least. Received: 10."),
        (("classes", "--sizes", "21,2"), "from 2 to 255, two at least. Received: 21,2."),
        (("classes", "--sizes", "2,300"), "ascending numbers of classes"),
        (("images", "--sizes", "10,20.5"), "ascending numbers of images"),
        (("whole", "--sizes", "1,nan"), "ascending numbers of megapixels"),
        (("whole", "--sizes", "1,x"), "numbers with commas"),
        (("whole", "--figure", "a.txt"), "must end in .png"),
        (("whole", "--memory", "nan"), "--memory: must be above 0 GB. Received: nan."),
        (("whole", "--variant", "fcn32s-color-d"), "argument --variant: invalid choice"),
    ],
)
def test_mistakes(words, message, run_command):
    code, out, err = run_command("bench", "growth", *words)
    assert code == 2 and message in err and len(err.splitlines()) == 1 and not out
