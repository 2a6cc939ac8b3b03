"""What a folder of photographs takes beside the bare forward pass."""

import importlib.util
import json
import time

import numpy as np
import pytest
from PIL import Image

from fcn_keras.bench import folder, served
from fcn_keras.bench.child import ChildFailed, serving_child
from fcn_keras.bench.folder import MeasuredWay, Photographs, bench_folder
from fcn_keras.bench.folder_work import FORMATS, Clock
from fcn_keras.bench.peers.network import Forward
from fcn_keras.bench.photographs import write_photographs
from fcn_keras.bench.served import Load, percentile
from fcn_keras.data.files.masks import read_mask
from fcn_keras.data.registry import load_dataset
from fcn_keras.errors import UserError

SMALL = Photographs(
    Forward(width=0.0625, size=(33, 40), num_classes=5), size=(33, 40), count=4, batch_size=2
)
TINY = ("--width", "0.0625", "--size", "33x40", "--num-classes", "5", "--count", "4")


def spectrum(images):
    """Amplitude by frequency, of a tenth and of two fifths of what the pixels can hold."""
    waves = np.abs(np.fft.fft2(np.mean([image.mean(axis=-1) for image in images], axis=0)))
    y, x = (np.fft.fftfreq(side) for side in waves.shape)
    frequency = np.hypot(y[:, None], x)
    low, high = (waves[abs(frequency - at) < 0.02].mean() for at in (0.1, 0.4))
    return low / high


def test_made_photographs(tmp_path):
    paths = write_photographs(tmp_path / "set", 5, 3, (120, 160))
    assert len(paths) == 3 and {path.suffix for path in paths} == {".jpg"}
    split = load_dataset(tmp_path / "set").splits["val"]
    images = [np.asarray(Image.open(path)) for path in paths]
    assert len({image.tobytes() for image in images}) == 3
    for example, image in zip((split[i] for i in range(3)), images, strict=True):
        np.testing.assert_array_equal(example.image, image)
        assert image.shape == (120, 160, 3) and 30 < image.std() < 80
        assert 2 <= len(np.unique(example.label)) <= 5
    # As in photographs, and unlike noise, coarse waves are stronger than fine ones.
    assert 2.5 < spectrum(images[:1]) < 12


def test_photographs_of_ones_own(tmp_path, make_folder):
    make_folder(tmp_path / "mine", train=3, val=0)
    paths = write_photographs(tmp_path / "set", 4, 2, images=tmp_path / "mine" / "train")
    assert [path.name for path in paths] == ["train_0.png", "train_1.png"]
    assert paths[0].read_bytes() == (tmp_path / "mine/train/train_0.png").read_bytes()
    assert read_mask(tmp_path / "set/valannot/train_0.png").shape == (20, 28)


def made_up(name, images, *rounds):
    by_round = enumerate(rounds, start=1)
    return MeasuredWay(
        name,
        {n: {"images": images, "seconds": s, "cpu_seconds": 2 * s} for n, s in by_round},
    )


def test_ratios_are_of_one_round():
    """The machine was slower in the third round, for both; the batches are not as many."""
    ways = [
        made_up("forward", 10, 1.0, 1.0, 4.0),
        made_up("masks", 8, 1.0, 1.6, 4.0),
        MeasuredWay("evaluate", error="no such layer"),
    ]
    found = folder.results(SMALL, ways)
    bare, masks, evaluated = found["rows"]
    assert (bare["images_per_second"], bare["ratio"]) == (10, 1)
    assert masks["images_per_second"] == 5  # of 8, 5 and 2
    assert masks["ratio"] == pytest.approx(0.8)  # of 0.8, 0.5 and 0.8
    assert masks["cpu_seconds_per_image"] == pytest.approx(2 * 1.6 / 8)
    assert evaluated["error"] == "no such layer"
    head, rule, _, line, last = folder.table(found).splitlines()
    assert head.count("|") == rule.count("|") == line.count("|") == last.count("|")
    assert line.endswith("| 5.00 | 0.80 | 400.0 |")
    assert "not measured: no such layer" in last


def test_clock_leaves_out_the_first_batch(monkeypatch):
    ticks = iter([10.0, 16.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(time, "process_time", lambda: 3.0)
    clock = Clock()
    for _ in range(3):
        clock.batch_done(4)
    assert clock.read(12) == {"images": 8, "seconds": 6.0, "cpu_seconds": 0.0}
    monkeypatch.undo()
    clock = Clock()
    clock.batch_done(4)
    with pytest.raises(UserError, match="one batch holds all photographs"):
        clock.read(4)


def test_figures_of_a_load():
    """Two rounds: ten requests in 2 s, then ten in 5 s."""
    waits = [0.1 * n for n in range(1, 11)]
    load = Load(4, {1: (2.0, waits), 2: (5.0, waits)})
    found = served.results(SMALL, made_up("forward", 10, 1.0, 2.0), [load])
    [row] = found["rows"]
    assert found["forward_per_second"] == 7.5
    assert row["requests_per_second"] == 3.5
    assert row["ratio"] == pytest.approx((0.5 + 0.4) / 2)
    assert row["median_seconds"] == pytest.approx(0.55)
    assert row["seconds_of_95_percent"] == pytest.approx(1.0) and row["requests"] == 20
    assert "| `serve`, 4 clients | 3.50 | 0.45 | 550 | 1000 |" in served.table(found)


def test_percentile():
    assert percentile([3, 1, 2], 0.95) == 3
    assert percentile([*range(1, 101)], 0.95) == 95
    assert percentile([7], 0.5) == 7


def test_a_server_is_asked_to_end(tmp_path):
    ended = tmp_path / "ended"
    program = f"""
import atexit, pathlib, signal, sys, time
atexit.register(pathlib.Path({str(ended)!r}).touch)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
time.sleep(60)
"""
    with serving_child(["-c", program]) as line:
        assert line.strip() == "ready" and not ended.exists()
    assert ended.exists()
    with pytest.raises(ChildFailed, match="^no port$"):
        with serving_child(["-c", "raise SystemExit('no port')"]):
            pass


@pytest.mark.parametrize(
    "words, message",
    [
        (("folder", "--rounds", "0"), "--rounds: must be a number from 1 up"),
        (("folder", "--model", "runs/x", "--width", "0.5"), "--width: is for a network that is"),
        (("folder", "--model", "nothing"), "nothing: must be a run directory"),
        (("folder", *TINY, "--variant", "fcn-alexnet"), "--variant: must be one of fcn32s"),
        (("serve", "--clients", "1,2.5"), "--clients: must be numbers from 1 up"),
        (("serve", "--clients", "0"), "--clients: must be numbers from 1 up"),
        (("serve", "--seconds", "0"), "--seconds: must be above 0"),
    ],
)
def test_wrong_options(run_command, words, message):
    code, out, err = run_command("bench", *words)
    assert (code, out) == (2, "")
    assert message in err


def test_no_server_here(run_command, monkeypatch):
    monkeypatch.setattr("fcn_keras.cli.bench_folder.find_spec", lambda name: None)
    code, out, err = run_command("bench", "serve")
    assert (code, out) == (2, "")
    assert err == 'error: bench serve: needs KServe: pip install "fcn_keras[serve]".\n'


@pytest.mark.slow
def test_ways(run_command):
    """All of them in processes, on what is made."""
    options = ("--batch-size", "2", "--rounds", "2", "--json")
    code, out, err = run_command("bench", "folder", *TINY, *options)
    assert code == 0, err
    found = json.loads(out)
    rows = {row["name"]: row for row in found["rows"]}
    assert rows.keys() == folder.TITLES.keys() == {"forward", *FORMATS, "evaluate"}
    for name, row in rows.items():
        assert row["images_per_second"] > 0 and row["cpu_seconds_per_image"] > 0
        # Of four images, but for the first two.
        images = {figures["images"] for figures in row["measured"].values()}
        assert images == ({4} if name == "forward" else {2})
    assert found["photographs"]["network"]["backbone"] == "vgg16"


@pytest.mark.slow
def test_one_batch(tmp_path):
    with pytest.raises(UserError, match="^one batch holds all photographs"):
        bench_folder(Photographs(SMALL.network, (33, 40), count=2), rounds=1)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("kserve") is None, reason="needs KServe (the extra serve)"
)
def test_serving(run_command):
    options = ("--rounds", "1", "--seconds", "0.2", "--clients", "1,3", "--json")
    code, out, err = run_command("bench", "serve", *TINY, *options)
    assert code == 0, err
    one, three = json.loads(out)["rows"]
    assert (one["clients"], three["clients"]) == (1, 3)
    assert one["requests"] >= 1 and three["requests"] >= 3
    assert 0 < one["median_seconds"] <= one["seconds_of_95_percent"]
