"""Large images labelled in parts. Small ones count as large here, but for the last test."""

import csv
import os
import subprocess
import sys
import textwrap
import zlib

import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras import UserError
from fcn_keras.data.files import large
from fcn_keras.data.files.images import read_image
from fcn_keras.inference import regions
from fcn_keras.inference.keras_segmenter import KerasSegmenter, make_segmenter
from fcn_keras.inference.network import Network
from fcn_keras.inference.outputs import DEFAULT, Outputs
from fcn_keras.inference.predict import label_images, predict
from fcn_keras.inference.regions import count_regions

tifffile = pytest.importorskip("tifffile")

CLASSES, COLORS = ["ground", "cat", "dog"], [(1, 2, 3), (250, 0, 9), (0, 255, 70)]
JOB = {"network": "one"}


def network_of(channels, dtype):
    """Sees three pixels each way; its scores are whole numbers, so that none is rounded."""
    image = keras.Input((None, None, channels))
    x = image
    if channels != 3:
        numbers = [1.0] * channels, [0.0] * channels
        x = keras.layers.Rescaling(*numbers, name=f"from_{dtype}")(x)
    x = keras.layers.Rescaling(1.0, name="normalize")(x)
    layers = [keras.layers.Conv2D(count, 3, padding="same") for count in (4, 4, 3)]
    for layer in layers:
        x = layer(x)
    model = keras.Model(image, x)
    rng = np.random.default_rng(1)
    for layer in layers:
        kernel, bias = (weights.shape for weights in layer.get_weights())
        layer.set_weights([rng.integers(-1, 2, kernel), rng.integers(-9, 10, bias)])
    return model


@pytest.fixture(scope="module")
def network():
    return network_of(3, "uint8")


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr(large, "LARGE", 40 * 40)


def pixels(height, width, channels=3, dtype="uint8"):
    """A picture of flat areas and noise."""
    rng = np.random.default_rng(height)
    coarse = rng.integers(0, 200, (-(-height // 8), -(-width // 8), channels))
    fine = np.kron(coarse, np.ones((8, 8, 1), int))[:height, :width]
    return (fine + rng.integers(0, 3, fine.shape)).astype(dtype)


def write(path, data, **options):
    options = dict(photometric="rgb", tile=(32, 16), compression="zlib") | options
    tifffile.imwrite(path, data, **options)
    return path


def labels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("options", [{}, dict(tile=None, rowsperstrip=11)])
def test_in_parts_as_the_whole(network, tmp_path, options, small_is_large, capsys):
    big = write(tmp_path / "big.tif", pixels(101, 93), **options)
    small = write(tmp_path / "small.tif", pixels(30, 31), **options)
    written = predict(network, [big, small], tmp_path / "out", CLASSES, COLORS, tile=32, job=JOB)
    said = f"{big}: has 93 x 101 pixels: no overlay and no side_by_side of it\n"
    assert said in capsys.readouterr().err
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {
        *("big.png", "small.png", "small_overlay.png", "small_side_by_side.png", "summary.csv")
    }
    for path, mask in zip((big, small), written, strict=True):
        whole = np.asarray(make_segmenter(network)(read_image(path)[None]))[0]
        np.testing.assert_array_equal(labels(mask), whole)
    assert len(np.unique(labels(written[0]))) == 3
    with open(tmp_path / "out" / "summary.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["image"] == "big.tif"]
    right = np.bincount(labels(written[0]).ravel(), minlength=3)
    assert [int(row["pixels"]) for row in rows] == right.tolist()
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=1e-5)


def test_no_window_is_larger_than_what_a_part_sees(network, tmp_path, monkeypatch, small_is_large):
    sides = []
    real = large.LargeImage.read

    def read(image, rows, columns):
        sides.append((rows.stop - rows.start, columns.stop - columns.start))
        return real(image, rows, columns)

    monkeypatch.setattr(large.LargeImage, "read", read)
    path = write(tmp_path / "big.tif", pixels(101, 93))
    predict(network, [path], tmp_path / "out", CLASSES, COLORS, tile=32)
    assert len(sides) == 4 * 3 and max(map(max, sides)) <= 32 + 2 * 3


@pytest.mark.parametrize("name", ["a.tif", "a.npy"])
def test_four_channels(tmp_path, name, small_is_large):
    model = network_of(4, "uint16")

    def four_channels(tile=None):
        return KerasSegmenter(Network(model, CLASSES, COLORS, {}, (), model), "four", tile)

    data = pixels(101, 93, 4, "uint16")
    if name == "a.tif":
        write(tmp_path / name, data, extrasamples=["unspecified"])
    else:
        np.save(tmp_path / name, data)
    out = tmp_path / "out"
    [done] = label_images(four_channels(32), [tmp_path / name], out, CLASSES, COLORS)
    assert done == {tmp_path / name: None}
    whole = four_channels().segment(data[None])[0]
    np.testing.assert_array_equal(labels(out / "a.png"), whole)


def test_a_tif_of_a_large_image(network, tmp_path, small_is_large):
    rasterio = pytest.importorskip("rasterio")
    place = [(33550, "d", 3, (2.0, 2.0, 0.0), True), (33922, "d", 6, (0, 0, 0, 5e5, 6e6, 0), True)]
    path = write(tmp_path / "big.tif", pixels(101, 93), extratags=place)
    options = dict(tile=32, outputs=Outputs(("tif",)))
    [mask] = predict(network, [path], tmp_path / "out", CLASSES, COLORS, **options)
    with rasterio.open(tmp_path / "out" / "big_labels.tif") as found, rasterio.open(path) as image:
        np.testing.assert_array_equal(found.read(1), labels(mask))
        assert found.transform == image.transform and found.transform.a == 2


def test_uncertain_pixels_are_void(network, tmp_path, small_is_large):
    path = write(tmp_path / "big.tif", pixels(101, 93))
    asked = Outputs(("mask",), min_confidence=0.9)
    options = dict(tile=32, outputs=asked)
    [mask] = predict(network, [path], tmp_path / "out", CLASSES, COLORS, **options)
    scores = np.asarray(network(read_image(path)[None]), "float64")[0]
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    sure = (powers / powers.sum(-1, keepdims=True)).max(-1) >= 0.9
    np.testing.assert_array_equal(labels(mask), np.where(sure, scores.argmax(-1), 255))
    assert sure.any() and not sure.all()


def test_what_needs_the_whole_is_refused(network, tmp_path, small_is_large):
    big = write(tmp_path / "big.tif", pixels(101, 93))
    small = write(tmp_path / "small.tif", pixels(30, 31))
    options = dict(tile=32, outputs=Outputs(("mask", "polygons", "confidence")))
    reason = r"big\.tif: has 93 x 101 .*mask and tif.*confidence, polygons would.*1 of 2 images"
    with pytest.raises(UserError, match=reason):
        predict(network, [big, small], tmp_path / "out", CLASSES, COLORS, **options)
    assert not (tmp_path / "out" / "big.png").exists()
    assert (tmp_path / "out" / "small.geojson").exists()


def test_without_tile(tmp_path, small_is_large, monkeypatch):
    """The whole is tried, up to what Pillow takes for harmless."""
    path = write(tmp_path / "big.tif", pixels(101, 93))
    assert predict(network_of(3, "uint8"), [path], tmp_path / "out", CLASSES, COLORS)
    assert (tmp_path / "out" / "big_overlay.png").exists()
    np.save(tmp_path / "huge.npy", pixels(101, 93, 4, "uint16"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 40)
    with pytest.raises(UserError, match=r"huge\.npy: has 93 x 101 pixels, too many.*give --tile"):
        predict(network_of(4, "uint16"), [tmp_path / "huge.npy"], tmp_path / "out", CLASSES, COLORS)


def test_what_is_done_is_left_alone(network, tmp_path, small_is_large):
    path = write(tmp_path / "big.tif", pixels(101, 93))
    mask = tmp_path / "out" / "big.png"

    def stamp(formats=DEFAULT.formats):
        options = dict(tile=32, job=JOB, outputs=Outputs(formats))
        predict(network, [path], tmp_path / "out", CLASSES, COLORS, **options)
        return mask.stat().st_mtime_ns

    first = stamp()
    assert stamp() == first == stamp(("mask",))
    second = stamp(("mask", "tif"))
    assert second > first and stamp(("mask", "tif")) == second
    # Nobody had been told that these are left out.
    third = stamp()
    assert third > second and stamp() == third
    with pytest.raises(UserError, match="overlay would need it"):
        stamp(("mask", "overlay"))
    os.utime(path)
    assert stamp() > third


def test_a_broken_file_is_named(network, tmp_path, small_is_large):
    path = write(tmp_path / "big.tif", pixels(101, 93))
    other = write(tmp_path / "other.tif", pixels(102, 93))
    with tifffile.TiffFile(path) as file:
        start, length = file.pages[0].dataoffsets[-1], file.pages[0].databytecounts[-1]
    data = bytearray(path.read_bytes())
    data[start : start + length] = bytes(length)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"big\.tif: cannot be read as an image.*1 of 2 images"):
        predict(network, [path, other], tmp_path / "out", CLASSES, COLORS, tile=32)
    assert [file.name for file in (tmp_path / "out").glob("*.png")] == ["other.png"]


@pytest.mark.parametrize("band", [1, 93, 500])
def test_regions_are_counted_by_bands(band, monkeypatch):
    maps = [pixels(61, 93)[..., 0] // 40, pixels(60, 40)[..., 0] % 2, np.zeros((9, 3), "uint8")]
    # A spiral, which is joined at its very end.
    maps.append(np.uint8([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1]]))
    maps.append(np.vstack([maps[-1], np.ones((1, 5), "uint8")]))
    whole = [count_regions(found) for found in maps]
    monkeypatch.setattr(regions, "_BAND", band)
    for found, right in zip(maps, whole, strict=True):
        np.testing.assert_array_equal(count_regions(found), right)


MAKE = {
    "three channels of 8 bits, in tiles": (20000, 3, "uint8", 512),
    "four channels of 16 bits, in strips": (12000, 4, "uint16", None),
}


def write_huge(path, side, channels, dtype, tile):
    """Writes a picture piece by piece: what repeats itself, a little different in each piece."""
    flat = pixels(512, 512, channels, dtype) // 8 * 8
    high, wide = (tile, tile) if tile else (64, side)
    piece = np.tile(flat[:high], (1, -(-wide // 512), 1))[:, :wide]
    count = -(-side // high) * -(-side // wide)

    def pieces():
        for number in range(count):
            rows = high if tile else side - number * high
            yield zlib.compress(piece[:rows] + np.array(number % 30, dtype), 1)

    options = dict(tile=(tile, tile)) if tile else dict(rowsperstrip=high)
    options |= dict(photometric="rgb", compression="zlib")
    tifffile.imwrite(path, pieces(), shape=(side, side, channels), dtype=dtype, **options)


# As a command would: opened, labelled, and said how much memory that took at most.
LABEL = """
    import sys
    from fcn_keras.inference.keras_segmenter import KerasSegmenter
    from fcn_keras.inference.network import load_network
    from fcn_keras.inference.outputs import Outputs
    from fcn_keras.inference.predict import predict
    from fcn_keras.system.memory import process_memory

    network, image, output = sys.argv[1:]
    found = load_network(network)
    segmenter = KerasSegmenter(found, "network", tile=2048)
    to = (output, found.classes, found.colors)
    predict(segmenter, [image], *to, outputs=Outputs(("mask", "tif")))
    print(process_memory().peak)
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", MAKE)
def test_memory(form, tmp_path, monkeypatch):
    """A picture of 1.2 GB is labelled in less than 2 GB, the label map of 0.4 GB included."""
    side, channels, dtype, tile = MAKE[form]
    image = tmp_path / "a.tif"
    write_huge(image, side, channels, dtype, tile)
    network = tmp_path / "network.keras"
    network_of(channels, dtype).save(network)
    command = [sys.executable, "-c", textwrap.dedent(LABEL), network, image, tmp_path / "out"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    peak = int(run.stdout.split()[-1])
    assert peak < 2e9, f"{peak / 1e9:.2f} GB"
    print(f"{form}: {peak / 1e9:.2f} GB")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert picture.size == (side, side)
