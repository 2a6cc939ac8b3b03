"""Films: each frame is labelled as `predict` labels it on its own, and shown when it was."""

import csv
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import keras
import numpy as np
import pytest
from helpers.films import pictures, read_film, turn, write_film
from PIL import Image

from fcn_keras.data.palette import palette_for
from fcn_keras.errors import UserError
from fcn_keras.figures.label_maps import overlay
from fcn_keras.inference import video
from fcn_keras.inference.outputs import Outputs
from fcn_keras.inference.predict import predict
from fcn_keras.inference.segmenter import Segmenter
from fcn_keras.inference.video import predict_video

CLASSES, COLORS = ["dark", "middle", "bright"], [(0, 0, 0), (200, 0, 0), (0, 0, 200)]
JOB = {"network": "a"}
MASKS = Outputs(("mask",))
BOTH = Outputs(("mask", "overlay"))


class ByRed(Segmenter):
    """Tells classes apart by how red a pixel is.

    Attributes:
        seen: how many images it has been given.
        stop_at: the image that it is stopped at, as by Ctrl-C.
    """

    def __init__(self):
        super().__init__("by red", CLASSES, COLORS)
        self.seen, self.stop_at = 0, None

    def segment(self, images):
        self.seen += len(images)
        if self.stop_at is not None and self.seen > self.stop_at:
            raise KeyboardInterrupt
        return images[..., 0] // 86

    def probabilities(self, images):
        scores = -np.abs(images[..., :1] / 100 - np.arange(3))
        return (np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)).astype("float32")


def label(path, output, outputs=video.DEFAULT, segmenter=None, **options):
    options = {"job": JOB} | options
    segmenter = segmenter or ByRed()
    return predict_video(segmenter, path, output, CLASSES, COLORS, outputs=outputs, **options)


def masks(folder):
    files = sorted(path for path in folder.glob("*.png") if path.stem.isdigit())
    assert [file.stem for file in files] == [f"{i:06}" for i in range(len(files))]
    return [np.array(Image.open(file)) for file in files]


def test_ten_seconds(tmp_path):
    """300 frames of 30 a second; each as `predict` labels the decoded frame."""
    film = write_film(tmp_path / "drive.mp4", 300)
    written = label(film, tmp_path / "out", BOTH)
    assert written.frames == 300
    assert written.film == tmp_path / "out" / "drive_overlay.mp4"
    assert written.folder == tmp_path / "out" / "drive"
    frames, times = read_film(film)
    shown, shown_times = read_film(written.film)
    assert shown.shape == frames.shape == (300, 48, 64, 3)
    assert shown_times == times
    (tmp_path / "frames").mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{i:06}.png")
    predict(ByRed(), [tmp_path / "frames"], tmp_path / "apart", CLASSES, COLORS, outputs=MASKS)
    for one, other in zip(masks(written.folder), masks(tmp_path / "apart"), strict=True):
        np.testing.assert_array_equal(one, other)
    for found, frame in zip(shown, frames, strict=True):
        right = overlay(frame, frame[..., 0] // 86, palette_for(COLORS)).astype(int)
        # Colours are kept at half the size, and an outline is a pixel wide.
        assert np.abs(found - right).mean() < 12
    with open(written.folder / "summary.csv", newline="") as file:
        assert len([*csv.DictReader(file)]) == 300 * 3


KINDS = {
    "mp4": {},
    "m4v": {},
    "mov": dict(pixels="yuv420p10le"),
    "mkv": dict(rate=Fraction(30000, 1001)),
    "webm": dict(codec="libvpx-vp9"),
    "avi": dict(codec="mpeg4"),
    "b-frames.avi": {},
    "mpg": dict(codec="mpeg1video", rate=25),
    "odd.mp4": dict(size=(33, 51), pixels="yuv444p"),
    "one.mp4": dict(count=1),
    "tiny.mkv": dict(size=(1, 1), codec="ffv1", pixels="bgr0"),
    "uneven.mp4": dict(times=[0, 40, 41, 300, 310, 500, 501, 502, 503, 700, 1900, 2000]),
    "late.mp4": dict(times=[1000 + 33 * i for i in range(12)]),
    "wide.mp4": dict(sample_aspect_ratio=Fraction(4, 3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_film(kind, tmp_path):
    film = write_film(tmp_path / f"film.{kind}", **KINDS[kind])
    written = label(film, tmp_path / "out", Outputs(("mask", "overlay")))
    frames, times = read_film(film)
    if kind.endswith("avi"):  # which tells no times: PyAV makes some up
        times = [i / 30 for i in range(12)]
    shown, shown_times = read_film(written.film)
    assert shown.shape == frames.shape and len(frames) == KINDS[kind].get("count", 12)
    assert shown_times == pytest.approx(times, abs=1e-4)
    for mask, frame in zip(masks(written.folder), frames, strict=True):
        np.testing.assert_array_equal(mask, frame[..., 0] // 86)
    with av.open(str(film)) as one, av.open(str(written.film)) as other:
        aspects = [c.streams.video[0].sample_aspect_ratio or 1 for c in (one, other)]
        assert aspects[0] == aspects[1]


@pytest.mark.parametrize(
    ("right", "down", "shown"),
    [
        ((1, 0), (0, 1), lambda image: image),
        ((0, 1), (-1, 0), lambda image: np.rot90(image, -1)),
        ((0, -1), (1, 0), np.rot90),
        ((-1, 0), (0, -1), lambda image: np.rot90(image, 2)),
        ((-1, 0), (0, 1), np.fliplr),
        ((1, 0), (0, -1), np.flipud),
        ((0, 1), (1, 0), lambda image: image.swapaxes(0, 1)),
    ],
)
def test_films_of_phones_are_turned(right, down, shown, tmp_path):
    film = write_film(tmp_path / "film.mp4", sample_aspect_ratio=Fraction(4, 3))
    upright, _ = read_film(film)
    turn(film, right, down)
    written = label(film, tmp_path / "out", BOTH)
    for mask, frame in zip(masks(written.folder), upright, strict=True):
        np.testing.assert_array_equal(mask, shown(frame[..., 0] // 86))
    frames, _ = read_film(written.film)
    assert frames.shape[1:] == shown(upright[0]).shape
    with av.open(str(written.film)) as container:
        wide = container.streams.video[0].sample_aspect_ratio
    assert wide == (Fraction(4, 3) if right[0] else Fraction(3, 4))


def test_the_film_and_not_its_cover(tmp_path):
    film = write_film(tmp_path / "film.mp4", 5, cover=True)
    assert label(film, tmp_path / "out").frames == 5


def test_a_clock_that_starts_again(tmp_path):
    """Two films in one file, as recorders join them."""
    part = write_film(tmp_path / "part.mpg", codec="mpeg1video", rate=25).read_bytes()
    (tmp_path / "film.mpg").write_bytes(part * 2)
    written = label(tmp_path / "film.mpg", tmp_path / "out")
    _, times = read_film(written.film)
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=1e-4)
    assert written.frames == len(times) == 24


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_a_clock_that_began_long_before(kind, tmp_path):
    hours = 36_000_000
    film = write_film(tmp_path / f"film.{kind}", times=[hours + 40 * i for i in range(12)])
    _, times = read_film(label(film, tmp_path / "out").film)
    np.testing.assert_allclose(times, 0.04 * np.arange(12), atol=1e-4)


def test_frames_that_an_avi_file_leaves_out(tmp_path):
    """There the last one is shown for longer."""
    film = tmp_path / "film.avi"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for number, picture in zip([0, 1, 2, 6, 7], pictures(5), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    _, times = read_film(label(film, tmp_path / "out").film)
    assert times == pytest.approx([0, 0.1, 0.2, 0.6, 0.7], abs=1e-4)


def test_names_with_a_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / "film.mp4").rename(tmp_path / "12:30.mp4")
    assert label("12:30.mp4", "out:put").film.name == "12:30_overlay.mp4"
    assert label("12:30.mp4", "out:put").frames == 0


def test_nothing_of_others_is_written_over(tmp_path):
    film = write_film(tmp_path / "film.mp4", 2)
    (tmp_path / "film").mkdir()
    Image.fromarray(pictures(1)[0]).save(tmp_path / "film" / "000001.png")
    before = (tmp_path / "film" / "000001.png").read_bytes()
    with pytest.raises(UserError, match="film/000001.png: would be overwritten"):
        label(film, tmp_path, BOTH)
    assert (tmp_path / "film" / "000001.png").read_bytes() == before
    assert label(film, tmp_path).frames == 2  # which writes no frames
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: is not a folder"):
        label(film, tmp_path / "file")


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_stopped_by_ctrl_c(times, network, tmp_path):
    """Once, and by someone who cannot wait."""
    film = write_film(tmp_path / "film.mp4", 1500, size=(240, 320))
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from fcn_keras.cli import main; sys.exit(main())"
    words = ["predict", network, film, "--output", tmp_path / "out"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True
    )
    while not [*(tmp_path / "out").glob(".*.mp4")]:
        assert process.poll() is None
        time.sleep(0.02)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    error = process.communicate(timeout=60)[1]
    # The second one may come when all is said, and Python is about to end.
    assert process.returncode in (130, -signal.SIGINT)
    assert error.splitlines()[-1] == "stopped; the same command goes on from here"
    assert not [*(tmp_path / "out").iterdir()]


def test_files_of_each_frame(tmp_path):
    film = write_film(tmp_path / "film.mkv", 3, codec="ffv1", pixels="bgr0")
    formats = ("confidence", "probabilities", "polygons", "side_by_side")
    written = label(film, tmp_path / "out", Outputs(formats, min_confidence=0.5))
    assert written.film is None
    assert {path.name for path in written.folder.iterdir()} == {
        *("summary.csv", "coco.json"),
        *(
            f"{i:06}{ending}"
            for i in range(3)
            for ending in (*(".png", "_confidence.png", ".npz", ".geojson", "_side_by_side.png"),)
        ),
    }
    right = ByRed().probabilities(pictures(3))
    for i, found in enumerate(masks(written.folder)):
        sure = right[i].max(-1) >= 0.5
        np.testing.assert_array_equal(found, np.where(sure, right[i].argmax(-1), 255))
        with np.load(written.folder / f"{i:06}.npz") as file:
            np.testing.assert_allclose(file["probabilities"], right[i], atol=1e-3)


def test_what_is_done_is_left_alone(tmp_path):
    film, segmenter = write_film(tmp_path / "film.mp4"), ByRed()
    for outputs, labelled in ((video.DEFAULT, 12), (video.DEFAULT, 0), (BOTH, 12), (BOTH, 0)):
        before = segmenter.seen
        label(film, tmp_path / "out", outputs, segmenter)
        assert segmenter.seen - before == labelled
    for options in (dict(fresh=True), dict(job={"network": "b"}), *[dict(job=None)] * 2):
        before = segmenter.seen
        label(film, tmp_path / "out", BOTH, segmenter, **options)
        assert segmenter.seen - before == 12


@pytest.mark.parametrize("outputs", [MASKS, BOTH, video.DEFAULT])
def test_stopped_and_started_again(outputs, tmp_path):
    film, segmenter = write_film(tmp_path / "film.mp4", 30), ByRed()
    segmenter.stop_at = 16
    with pytest.raises(KeyboardInterrupt):
        label(film, tmp_path / "out", outputs, segmenter, batch_size=2)
    assert not [*(tmp_path / "out").rglob("*.mp4"), *(tmp_path / "out").rglob(".*")]
    done = len([*(tmp_path / "out").rglob("0*.png")])
    assert done >= 10 if "mask" in outputs.formats else done == 0
    again = ByRed()
    label(film, tmp_path / "out", outputs, again, batch_size=2)
    assert again.seen == 30 - done
    label(film, tmp_path / "whole", outputs, batch_size=2)
    files = [path for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert len(files) == {MASKS: 31, BOTH: 32, video.DEFAULT: 1}[outputs]
    for path in files:
        other = tmp_path / "out" / path.relative_to(tmp_path / "whole")
        if path.suffix == ".mp4":  # whose bytes are up to the encoder's threads
            (one, times), (two, same_times) = read_film(path), read_film(other)
            assert times == same_times and np.abs(one.astype(int) - two).mean() < 8
        else:
            assert path.read_bytes() == other.read_bytes()


CODECS = {"film.avi": "mpeg4", "film.mpg": "mpeg1video"}


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def spoil(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(255 - value for value in content[middle : middle + 200])
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("film.mp4", lambda path: cut(path, 0.5), "s are missing at its end"),
        ("film.mkv", lambda path: cut(path, 0.5), "s are missing at its end"),
        ("film.avi", lambda path: cut(path, 0.5), "damaged"),
        ("film.mp4", spoil, "damaged|cannot be decoded"),
        ("film.mpg", spoil, "damaged|cannot be decoded"),
    ],
)
def test_damaged_films(name, damage, words, tmp_path):
    """What can be decoded is written, and it is told, each time anew."""
    film = write_film(tmp_path / name, 150, codec=CODECS.get(name, "libx264"))
    damage(film)
    for _ in range(2):
        segmenter = ByRed()
        with pytest.raises(UserError, match=rf"{name}: .*({words}).* \d+ frames are done") as told:
            label(film, tmp_path / "out", segmenter=segmenter)
        assert "\n" not in str(told.value)
        assert 20 < segmenter.seen == len(read_film(tmp_path / "out" / "film_overlay.mp4")[0])


def sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "float32"), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b""), "cannot be opened as a film"),
        (lambda path: path.write_text("no film"), "cannot be opened as a film"),
        (lambda path: path.write_bytes(write_film(path).read_bytes()[-999:]), "cannot be opened"),
        (sound, "holds no moving pictures"),
        (lambda path: None, "no such file"),
    ],
)
def test_what_is_no_film(make, words, tmp_path):
    make(tmp_path / "film.mp4")
    with pytest.raises(UserError, match=f"film.mp4: {words}"):
        label(tmp_path / "film.mp4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_pyav(tmp_path, monkeypatch):
    film = write_film(tmp_path / "film.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"films need PyAV: pip install 'fcn_keras\[video\]'"):
        label(film, tmp_path / "out")


def test_a_frame_that_is_refused(tmp_path):
    class Full(ByRed):
        def segment(self, images):
            raise MemoryError

    with pytest.raises(UserError, match="film.mp4, frame 0: takes more memory than there is"):
        label(write_film(tmp_path / "film.mp4"), tmp_path / "out", segmenter=Full())


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A file with a network that tells colours apart."""
    image = keras.Input((None, None, 3))
    scores = keras.layers.Conv2D(3, 1)(keras.layers.Rescaling(1 / 255)(image))
    path = tmp_path_factory.mktemp("network") / "network.keras"
    keras.Model(image, scores).save(path)
    return path


def test_the_command(network, run_command, tmp_path):
    Image.fromarray(pictures(1)[0]).save(tmp_path / "photo.png")
    film = write_film(tmp_path / "film.MP4", 5)
    command = ("predict", network, film, tmp_path / "photo.png", film, "--output", tmp_path / "out")
    code, output, error = run_command(*command)
    assert code == 0, error
    assert output.splitlines() == [
        f"1 label maps with pictures in {tmp_path / 'out'}",
        f"5 frames in {tmp_path / 'out' / 'film_overlay.mp4'}",
    ]
    assert "predicting film.MP4" in error
    code, output, _ = run_command(*command)
    assert code == 0 and output.splitlines()[-1].endswith("film_overlay.mp4 is done")
    code, output, _ = run_command(*command, "--output-formats", "mask")
    assert output.splitlines()[-1] == f"5 frames in {tmp_path / 'out' / 'film'}"


def test_mistakes_with_the_command(network, run_command, tmp_path):
    film = write_film(tmp_path / "film.mp4", 2)
    (tmp_path / "film.mov").write_bytes(film.read_bytes())
    (tmp_path / "film_overlay.mp4").write_bytes(film.read_bytes())
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    for words, inputs in (
        ("would both write film_overlay.mp4", ["film.mp4", "film.mov"]),
        ("film_overlay.mp4: would be overwritten", ["film.mp4", "film_overlay.mp4"]),
        ("absent.mp4: no such file", ["film.mp4", "absent.mp4"]),
        ("--ray: is for images", ["film.mp4", "--ray", "local"]),
    ):
        inputs = [tmp_path / name if name.endswith(("4", "v")) else name for name in inputs]
        code, _, error = run_command("predict", network, *inputs, "--output", tmp_path)
        assert code == 2 and words in error and error.count("\n") == 1
    # What is right is done; what is wrong is told.
    code, output, error = run_command(
        "predict", network, tmp_path / "bad.mp4", film, "--output", tmp_path / "out"
    )
    assert code == 2 and "bad.mp4: cannot be opened as a film" in error.splitlines()[-1]
    assert output == f"2 frames in {tmp_path / 'out' / 'film_overlay.mp4'}\n"
