"""Large images, read window by window; small ones count as large here."""

import numpy as np
import pytest
from PIL import Image

from fcn_keras.data.files import large, tiff
from fcn_keras.data.files.images import read_image
from fcn_keras.data.files.large import Bands, find_large
from fcn_keras.data.files.readers import PHOTOGRAPHS, AsStored
from fcn_keras.errors import UserError

tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(0)
# Smooth enough for JPEG, and in all four channels.
PIXELS = np.kron(RNG.integers(0, 256, (12, 9, 4)), np.ones((16, 16, 1))).astype("uint8")
RGB = PIXELS[..., :3]
TILES = dict(photometric="rgb", tile=(64, 48))


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    monkeypatch.setattr(large, "LARGE", 12 * 16 * 9 * 16 - 1)


# What is read in windows, as `read_image` reads the whole.
PLAIN = {
    "plain": (RGB, dict(photometric="rgb")),
    "tiles": (RGB, TILES),
    "deflate": (RGB, TILES | dict(compression="zlib", predictor=True)),
    "LZW in strips": (RGB, dict(photometric="rgb", compression="lzw", rowsperstrip=10)),
    "JPEG": (RGB, TILES | dict(compression="jpeg")),
    "JPEG in strips": (RGB, dict(photometric="rgb", compression="jpeg", rowsperstrip=32)),
    "the other byte first": (RGB, dict(photometric="rgb", byteorder=">")),
    "transparent": (PIXELS, TILES | dict(compression="zlib", extrasamples=["unassalpha"])),
    "a fourth channel": (PIXELS, TILES | dict(extrasamples=["unspecified"])),
    "BigTIFF": (RGB, TILES | dict(bigtiff=True)),
}
# What is read as a whole.
OTHERS = {
    "16 bits": (RGB.astype("uint16") * 257, TILES),
    "grey": (RGB[..., 0], dict(photometric="minisblack")),
    "premultiplied": (PIXELS, TILES | dict(extrasamples=["assocalpha"])),
    "turned": (RGB, TILES | dict(extratags=[(274, "H", 1, 6, True)])),
    "upside down": (RGB, TILES | dict(extratags=[(274, "H", 1, 3, True)])),
    "pages": (np.moveaxis(RGB, 2, 0), dict(photometric="minisblack")),
    "CMYK": (PIXELS, dict(photometric="separated")),
    "two pictures": (np.stack([RGB, RGB]), dict(photometric="rgb")),
}


@pytest.mark.parametrize("form", PLAIN)
def test_photographs(form, tmp_path):
    data, options = PLAIN[form]
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    whole = read_image(tmp_path / "a.tif")
    image = find_large(tmp_path / "a.tif", PHOTOGRAPHS)
    assert image.shape == whole.shape
    for rows, columns in ((slice(0, 192), slice(0, 144)), (slice(31, 101), slice(50, 144))):
        np.testing.assert_array_equal(image.read(rows, columns), whole[rows, columns])


@pytest.mark.parametrize("form", OTHERS)
def test_what_is_read_as_a_whole(form, tmp_path):
    data, options = OTHERS[form]
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    assert find_large(tmp_path / "a.tif", PHOTOGRAPHS) is None


def test_other_files(tmp_path):
    palette = Image.fromarray(RGB).quantize(16)
    for name, picture in (("p.tif", palette), ("a.png", RGB), ("a.jpg", RGB)):
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        picture.save(tmp_path / name)
        assert find_large(tmp_path / name, PHOTOGRAPHS) is None
    np.save(tmp_path / "a.npy", RGB)
    assert find_large(tmp_path / "a.npy", PHOTOGRAPHS) is None
    (tmp_path / "b.tif").write_bytes(b"no image")
    for images in (PHOTOGRAPHS, AsStored(3)):
        assert find_large(tmp_path / "b.tif", images) is None
        assert find_large(tmp_path / "absent.tif", images) is None


def test_small_images_are_not_large(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB[1:], **TILES)
    for images in (PHOTOGRAPHS, AsStored(3)):
        assert find_large(tmp_path / "a.tif", images) is None


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_images_as_they_are_stored(dtype, tmp_path):
    data = PIXELS.astype(dtype) * (100 if dtype != "uint8" else 1)
    tifffile.imwrite(tmp_path / "a.tif", data, **TILES, compression="zlib")
    np.save(tmp_path / "a.npy", np.moveaxis(data, 2, 0))
    for name in ("a.tif", "a.npy"):
        whole = AsStored(4).read(tmp_path / name)
        image = find_large(tmp_path / name, AsStored(4, whole.dtype.name))
        assert image.shape == whole.shape
        window = image.read(slice(9, 150), slice(100, 144))
        assert window.dtype == image.dtype == whole.dtype
        np.testing.assert_array_equal(window, whole[9:150, 100:144])
        assert find_large(tmp_path / name, AsStored(3)) is None
        assert find_large(tmp_path / name, AsStored(4, "float64")) is None


def test_what_is_no_number_is_named(tmp_path):
    data = np.zeros((192, 144, 4), "float32")
    data[150, 3, 2] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", data, **TILES)
    image = find_large(tmp_path / "a.tif", AsStored(4))
    assert not image.read(slice(0, 150), slice(0, 144)).any()
    with pytest.raises(UserError, match=r"a\.tif.*1 of its numbers are NaN"):
        image.read(slice(150, 151), slice(0, 144))


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("strip", [1, 7, 64, 192])
def test_strips_are_decoded_once(strip, planes, tmp_path, monkeypatch):
    options = dict(compression="zlib", rowsperstrip=strip, photometric="rgb")
    data = np.moveaxis(RGB, 2, 0) if planes else RGB
    tifffile.imwrite(
        tmp_path / "a.tif", data, planarconfig="separate" if planes else None, **options
    )
    image = find_large(tmp_path / "a.tif", AsStored(3))
    decoded = []

    def touched(*args):
        decoded.extend(real(*args))
        return real(*args)

    real = tiff._touched
    monkeypatch.setattr(tiff, "_touched", touched)
    bands = Bands(image)
    # As parts are looked at: with what lies around them.
    for rows in (slice(0, 60), slice(20, 110), slice(70, 160), slice(120, 192)):
        for columns in (slice(0, 70), slice(40, 110), slice(60, 144)):
            np.testing.assert_array_equal(bands.read(rows, columns), RGB[rows, columns])
    assert sorted(decoded) == [*range(-(-192 // strip) * (3 if planes else 1))]
    np.testing.assert_array_equal(bands.read(slice(0, 9), slice(0, 9)), RGB[:9, :9])


def test_tiles_are_read_as_they_are_wanted(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, **TILES, compression="zlib")
    image = find_large(tmp_path / "a.tif", AsStored(3))
    assert image.rows_at_once is None
    window = Bands(image).read(slice(3, 90), slice(100, 120))
    np.testing.assert_array_equal(window, RGB[3:90, 100:120])
