"""Time to quality: what is made of trainings; processes that train are replaced."""

import json

import pytest
from PIL import Image

from fcn_keras.bench import quality
from fcn_keras.bench.child import ChildFailed, watched_child
from fcn_keras.bench.quality import Quality, points_of, results, seconds_to
from fcn_keras.bench.quality_report import table
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.run import Run


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(quality, "find_spec", lambda name: object())


ROWS = [
    {"epoch": 1.0, "seconds": 10.0, "mean_iu": None},
    {"epoch": 2.0, "seconds": 5.0, "mean_iu": 0.5},
    {"epoch": 3.0, "seconds": 5.0, "mean_iu": 0.75},
    {"epoch": 4.0, "seconds": 5.0, "mean_iu": 0.7},
]


def test_the_first_validation_that_has_the_target_counts():
    points = points_of(ROWS)
    assert points == [
        {"epoch": 2, "seconds": 15.0, "mean_iu": 0.5},
        {"epoch": 3, "seconds": 20.0, "mean_iu": 0.75},
        {"epoch": 4, "seconds": 25.0, "mean_iu": 0.7},
    ]
    assert seconds_to(points, 0.5) == 15
    assert seconds_to(points, 0.51) == seconds_to(points, 0.75) == 20
    assert seconds_to(points, 0.76) is seconds_to([], 0.1) is None


def training(method, seed, seconds, *scores):
    points = [
        {"epoch": n + 1, "seconds": seconds * (n + 1), "mean_iu": x} for n, x in enumerate(scores)
    ]
    return {"method": method, "seed": seed, "stopped": False, "points": points}


MADE = [
    training("ours", 0, 10.0, 0.5, 0.7),
    training("fpn", 0, 20.0, 0.66, 0.6),
    training("deeplabv3plus", 0, 30.0, 0.1, 0.8),
    training("ours", 1, 10.0, 0.65, 0.6),
    training("fpn", 1, 20.0, 0.6, 0.67),
    training("deeplabv3plus", 1, 30.0, 0.1, 0.2),
    training("ours", 2, 10.0, 0.1, 0.2),
    training("fpn", 2, 22.0, 0.6, 0.66),
    training("deeplabv3plus", 2, 30.0, 0.1, 0.3),
]


def test_medians_and_ratio():
    found = results(Quality("camvid"), MADE)
    # 20, 10 and never; 20, 40 and 44; never in the middle.
    assert found["medians"] == {
        "ours": {"seconds_to_target": 20.0, "best_mean_iu": 0.65},
        "fpn": {"seconds_to_target": 40.0, "best_mean_iu": 0.66},
        "deeplabv3plus": {"seconds_to_target": None, "best_mean_iu": 0.3},
    }
    assert found["ratio"] == 0.5
    lines = [[cell.strip() for cell in line.split("|")] for line in table(found).splitlines()]
    assert ["", "fcn_keras", "1", "10", "0.650", "20", "2", ""] in lines
    assert ["", "fcn_keras", "2", "not reached", "0.200", "20", "2", ""] in lines
    assert ["", "**smp's FPN**", "median", "**40**", "**0.660**", "", "", ""] in lines
    assert table(found).endswith("ours over the better peer's: 0.50")
    found = results(Quality("camvid", methods=("ours",)), MADE[:1])
    assert found["ratio"] is None and "median" not in table(found)


@pytest.fixture
def trainings(monkeypatch):
    """Writes what processes would; returns what was asked of them."""
    asked = []

    def train(words, text, output, is_enough, **variables):
        told = json.loads(text)
        asked.append((told, words, variables))
        run, rows = Run(told["run_dir"]), []
        run.path.mkdir(exist_ok=True)
        if told["method"] == "fpn":
            assert not run.rows()  # it begins anew
        for number, score in enumerate((0.4, 0.66, 0.7)):
            rows.append({"epoch": number + 1, "loss": 1.0, "seconds": 10.0, "mean_iu": score})
            run.write_rows(rows)
            if is_enough():
                return False
        return True

    monkeypatch.setattr(quality, "watched_child", train)
    return asked


def test_document_and_files_beside_it(run_command, trainings, make_folder, tmp_path):
    data, document = make_folder(tmp_path / "data"), tmp_path / "out.md"
    command = ("bench", "quality", data, "--seeds", "0,3", "--epochs", 3, "--output", document)
    command += ("--methods", "ours,fpn", "--weights", "weights.h5")
    code, out, err = run_command(*command)
    assert code == 0, err
    assert "12/12" in err
    # In turns, with what the recipe has not.
    assert [(told["method"], told["settings"]["seed"]) for told, *_ in trainings] == [
        *[("ours", 0), ("fpn", 0), ("ours", 3), ("fpn", 3)]
    ]
    told, words, _ = trainings[2]
    settings = told["settings"]
    assert settings == {
        "dataset": str(data), "weights": "weights.h5", "seed": 3, "validate_every": 1, "epochs": 3
    }  # fmt: skip
    assert resolve("light", **settings).epochs == 3
    assert words[:3] == ["-m", "fcn_keras", "train"]
    assert {"--recipe=light", "--seed=3", "--validate-every=1", "--epochs=3"} <= {*words}
    assert [told["loss"] for told, *_ in trainings[:2]] == ["cross_entropy+dice", "cross_entropy"]
    text = document.read_text()
    assert text.startswith("# Time to quality\n\n<!-- bench quality -->\n|")
    assert "| smp's FPN | 3 | 20 | 0.700 | 30 | 3 |" in text and out.strip() in text
    report = json.loads((tmp_path / "quality.json").read_text())
    assert report["ratio"] == 1 and len(report["trainings"]) == 4
    assert {"machine", "versions", "command", "medians", "asked"} <= set(report)
    with Image.open(tmp_path / "quality.png") as image:
        assert image.size == (1080, 600)

    # What is done is not made again, and what another target asks for is there already.
    before = len(trainings)
    assert run_command(*command, "--target", 0.7)[0] == 0
    assert len(trainings) == before
    assert "| smp's FPN | 3 | 30 | 0.700 |" in document.read_text()
    code, _, err = run_command(*command, "--peer-loss", "recipe")
    assert code == 2 and "is of a training with other settings" in err


def test_until_the_target(run_command, trainings, make_folder, tmp_path):
    data, document = make_folder(tmp_path / "data"), tmp_path / "out.md"
    command = ("bench", "quality", data, "--seeds", 0, "--epochs", 3, "--output", document)
    command += ("--methods", "ours,fpn", "--json", "--until-target", "--peer-loss", "recipe")
    code, out, err = run_command(*command)
    assert code == 0, err
    rows = json.loads(out)["trainings"]
    assert [(row["stopped"], row["epochs"], row["best_mean_iu"]) for row in rows] == [
        (True, 2, 0.66), (True, 2, 0.66)
    ]  # fmt: skip
    assert trainings[1][0]["loss"] == "cross_entropy+dice"
    assert len(trainings) == 2 and run_command(*command)[0] == 0 and len(trainings) == 2
    # They ended too early for this one.
    assert run_command(*command, "--target", 0.7)[0] == 0 and len(trainings) == 4


@pytest.mark.parametrize(
    "words, message",
    [
        (["--methods", "unet"], "--methods: must be some of ours, fpn, deeplabv3plus"),
        (["--seeds", "a"], "must be whole numbers"),
        (["--seeds", "1,1"], "--seeds: must be given once each"),
        (["--target", "0"], "--target: must be above 0, and at most 1"),
        (["--target", "nan"], "--target: must be above 0"),
        (["--epochs", "0"], "must be a number from 1 up"),
        (["--peer-loss", "dice"], "invalid choice"),
        (["--output", "out.txt"], "must end in .md"),
        ([], "or the path of a folder"),
    ],
)
def test_wrong_options(words, message, run_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_command("bench", "quality", "./none", "--output", "out.md", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and message in err.lower()
    assert err.count("\n") == 1 and not [*tmp_path.iterdir()]


def test_without_smp(run_command, monkeypatch, tmp_path):
    monkeypatch.setattr(quality, "find_spec", lambda name: None)
    command = ("bench", "quality", "./none", "--output", tmp_path / "out.md")
    code, _, err = run_command(*command)
    assert code == 2 and 'pip install "fcn_keras[peers]"' in err and err.count("\n") == 1
    assert "peers" not in run_command(*command, "--methods", "ours")[2]


def test_a_document_without_a_place_is_left_alone(run_command, tmp_path):
    (tmp_path / "out.md").write_text("# Mine\n")
    code, _, err = run_command("bench", "quality", "./none", "--output", tmp_path / "out.md")
    assert code == 2 and "<!-- bench quality -->" in err


def test_watched(tmp_path):
    output = tmp_path / "printed.txt"
    echo = "import sys; print(sys.stdin.read())"
    assert watched_child(["-c", echo], "word", output, lambda: False)
    assert output.read_text() == "word\n"
    wait = "import time; print('waits', flush=True); time.sleep(600)"
    assert not watched_child(["-c", wait], "", output, lambda: output.read_text() == "waits\n")
    with pytest.raises(ChildFailed, match="^ValueError: no kernel$"):
        watched_child(["-c", "raise ValueError('no kernel')"], "", output, lambda: False)
