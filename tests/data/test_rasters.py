"""Images of any number of channels, with their numbers as they are stored."""

import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from fcn_keras.data.converting import convert_folder
from fcn_keras.data.files.rasters import open_raster, read_raster
from fcn_keras.data.files.readers import AsStored
from fcn_keras.data.folders.folder import load_folder
from fcn_keras.data.inspection import inspect
from fcn_keras.errors import UserError

tifffile = pytest.importorskip("tifffile")

PIXELS = np.random.default_rng(0).integers(0, 65536, (83, 57, 4), dtype="uint16")
PLANES = np.moveaxis(PIXELS, 2, 0)

# How the same picture may lie in a file.
FORMS = {
    "plain": (PIXELS, {}),
    "the other byte first": (PIXELS, dict(byteorder=">")),
    "tiles": (PIXELS, dict(tile=(32, 16))),
    "LZW with differences": (PIXELS, dict(tile=(16, 16), compression="lzw", predictor=True)),
    "strips": (PIXELS, dict(rowsperstrip=10, compression="zlib")),
    "planes": (PLANES, dict(planarconfig="separate", photometric="minisblack")),
    "planes in tiles": (
        PLANES,
        dict(planarconfig="separate", photometric="rgb", tile=(16, 32), compression="zstd"),
    ),
    "pages": (PLANES, dict(photometric="minisblack", compression="zlib")),
    "OME": (PLANES, dict(photometric="minisblack", ome=True, metadata={"axes": "CYX"})),
    "ImageJ": (PLANES, dict(imagej=True, metadata={"axes": "CYX"})),
}


@pytest.mark.parametrize("form", FORMS)
def test_tiff(form, tmp_path):
    data, options = FORMS[form]
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    whole = read_raster(tmp_path / "a.tif", 4)
    assert whole.dtype == "uint16"
    np.testing.assert_array_equal(whole, PIXELS)
    window = read_raster(tmp_path / "a.tif", 4, slice(9, 70), slice(30, 57))
    np.testing.assert_array_equal(window, PIXELS[9:70, 30:57])


def test_tiff_of_another_program(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    shape = dict(height=83, width=57, count=4, dtype="uint16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it lies nowhere on the earth
        with rasterio.open(
            *(tmp_path / "a.tif", "w", "GTiff"), **shape, tiled=True, blockxsize=16, blockysize=32
        ) as file:
            file.write(PLANES)
            # Overviews are other pictures in the same file.
            file.build_overviews([2])
    np.testing.assert_array_equal(read_raster(tmp_path / "a.tif", 4), PIXELS)


# What numbers are stored -> what they become.
NUMBERS = {
    "uint8": "uint8",
    "uint16": "uint16",
    "bool": "uint8",
    "int16": "float32",
    "uint32": "float32",
    "float16": "float32",
    "float32": "float32",
    "float64": "float32",
}


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("form", ["H, W, C", "C, H, W"])
def test_arrays(dtype, form, tmp_path):
    pixels = (PIXELS % 120).astype(dtype)
    np.save(tmp_path / "a.npy", pixels if form == "H, W, C" else np.moveaxis(pixels, 2, 0))
    read = read_raster(tmp_path / "a.npy", 4)
    assert read.dtype == NUMBERS[dtype]
    np.testing.assert_array_equal(read, pixels)
    np.testing.assert_array_equal(
        read_raster(tmp_path / "a.npy", 4, slice(2, 5), slice(7, 9)), pixels[2:5, 7:9]
    )


def test_an_array_of_one_channel(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS[..., 0])
    np.testing.assert_array_equal(read_raster(tmp_path / "a.npy", 1), PIXELS[..., :1])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png(channels, dtype, tmp_path):
    pixels = PIXELS[..., :channels].astype(dtype)
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    # OpenCV writes blue, green, red, alpha.
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels[..., order])
    read = read_raster(tmp_path / "a.png", channels)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, pixels)


def test_photographs_lie_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(np.repeat(np.arange(48, dtype="uint8")[:, None] * 5, 80, axis=1))
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    read = read_raster(tmp_path / "a.jpg", 1)
    assert read.shape == (80, 48, 1)
    assert read[0, -1, 0] < 20 < 200 < read[0, 0, 0]


def _nan(path):
    pixels = np.zeros((3, 3, 4), "float32")
    pixels[1, 1, 2] = np.nan
    np.save(path, pixels)


def _truncated(path):
    tifffile.imwrite(path, PIXELS, compression="zlib", tile=(16, 16))
    path.write_bytes(path.read_bytes()[:-4000])


FAULTY = {
    "three.tif": (lambda path: tifffile.imwrite(path, PIXELS[..., :3]), "has 3 channels"),
    "one.png": (lambda path: Image.new("L", (3, 3)).save(path), "has 1 channel of uint8, and 4"),
    "nan.npy": (_nan, "1 of its numbers are NaN"),
    "large.npy": (lambda path: np.save(path, np.full((2, 2, 4), 1e300)), "16 of its numbers"),
    "complex.npy": (lambda path: np.save(path, np.zeros((2, 2, 4), "complex64")), "no plain num"),
    "line.npy": (lambda path: np.save(path, np.zeros(4)), r"shape \(4,\)"),
    "objects.npy": (
        lambda path: np.save(path, np.array([[None]]), allow_pickle=True),
        "cannot be read",
    ),
    "empty.tif": (lambda path: path.write_bytes(b""), "cannot be read"),
    "cut.tif": (_truncated, "cannot be read"),
    "turned.tif": (
        lambda path: tifffile.imwrite(path, PIXELS, extratags=[(274, "H", 1, 6, True)]),
        "lies turned",
    ),
    "palette.tif": (
        lambda path: Image.new("P", (9, 9)).save(path),
        "entries of a palette",
    ),
    "cmyk.jpg": (lambda path: Image.new("CMYK", (9, 9)).save(path), "mode CMYK"),
    "text.png": (lambda path: path.write_text("no image"), "cannot be read"),
    "deep.png": (
        lambda path: path.write_bytes(_deep_png()[:-900]),
        "damaged PNG",
    ),
}


def _deep_png():
    return cv2.imencode(".png", PIXELS)[1].tobytes()


@pytest.mark.parametrize("name", FAULTY)
def test_what_cannot_be_read_is_named(name, tmp_path):
    write, text = FAULTY[name]
    write(tmp_path / name)
    with pytest.raises(UserError, match=text) as error:
        read_raster(tmp_path / name, 4)
    assert str(error.value).startswith(str(tmp_path / name))


def test_a_window_decodes_no_more_than_it_touches(tmp_path):
    """Tiles beside it are not even read: they may be broken."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, compression="zlib", tile=(16, 16))
    with tifffile.TiffFile(path) as file:
        [page] = file.pages
        start, length = page.dataoffsets[0], page.databytecounts[0]
    data = bytearray(path.read_bytes())
    data[start : start + length] = bytes(length)
    path.write_bytes(data)
    with open_raster(path, 4) as raster:
        np.testing.assert_array_equal(raster.read(slice(0, 83), slice(16, 57)), PIXELS[:, 16:])
    with pytest.raises(UserError, match=r"a\.tif: cannot be read"):
        read_raster(path, 4)


@pytest.fixture
def folder(tmp_path):
    """Ten images of four channels of 16 bits, without splits."""
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for i in range(10):
        tifffile.imwrite(tmp_path / "images" / f"{i}.tif", PIXELS + np.uint16(i))
        mask = np.uint8(PIXELS[..., 3] > 30000)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
    return tmp_path


def test_a_folder(folder):
    dataset = load_folder(folder, channels=4)
    assert dataset.stored == AsStored(4, "uint16")
    for split in dataset.splits.values():
        for i in range(len(split)):
            example = split[i]
            assert example.image.dtype == "uint16" and split.size(i) == (83, 57)
            np.testing.assert_array_equal(example.image, PIXELS + np.uint16(int(example.id)))
        assert split.scan().sum() == len(split) * 83 * 57


def test_a_folder_tells_its_channels(folder):
    (folder / "dataset.json").write_text('{"channels": 4}')
    assert load_folder(folder).stored == AsStored(4, "uint16")
    with pytest.raises(UserError, match="4 channels, and 3 channels are wanted"):
        load_folder(folder, channels=3)


def test_faults_in_a_folder_are_listed(folder):
    images = folder / "images"
    assert not inspect(folder, channels=4).faults
    tifffile.imwrite(images / "3.tif", (PIXELS >> 8).astype("uint8"))
    tifffile.imwrite(images / "5.tif", PIXELS[..., :3])
    (images / "7.tif").write_bytes((images / "7.tif").read_bytes()[:9000])
    found = inspect(folder, channels=4)
    assert "images: 4 channels of uint16" in found.understood
    texts = {fault.file: fault.text for fault in found.faults}
    assert texts.keys() == {str(images / f"{i}.tif") for i in (3, 5, 7)}
    assert "holds uint8, and uint16 is wanted" in texts[str(images / "3.tif")]
    assert "has 3 channels of uint16, and 4 are wanted" in texts[str(images / "5.tif")]
    with pytest.raises(UserError, match=r"3\.tif: holds uint8"):
        load_folder(folder, channels=4).splits["train"].scan()


def test_without_channels_they_are_photographs(folder):
    split = load_folder(folder).splits["train"]
    assert split[0].image.dtype == "uint8" and split[0].image.shape == (83, 57, 3)


@pytest.mark.parametrize("dtype", [">u2", "<u2"])
def test_the_order_of_bytes_is_no_other_kind(dtype, tmp_path):
    np.save(tmp_path / "a.npy", PIXELS.astype(dtype))
    assert AsStored(4).like(tmp_path / "a.npy") == AsStored(4, "uint16")
    read = AsStored(4, "uint16").read(tmp_path / "a.npy")
    assert read.dtype == "uint16" and read.dtype.isnative
    np.testing.assert_array_equal(read, PIXELS)


def test_a_preview_is_not_the_picture(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(PIXELS[::8, ::8], subfiletype=1, photometric="rgb")
        file.write(PIXELS, photometric="rgb")
    np.testing.assert_array_equal(read_raster(tmp_path / "a.tif", 4), PIXELS)


@pytest.mark.parametrize("name", ["a.ppm", "a.jp2"])
def test_formats_of_unknown_depth_are_refused(name, tmp_path):
    assert cv2.imwrite(str(tmp_path / name), PIXELS[..., :3])
    with pytest.raises(UserError, match="may have more bits than 8"):
        read_raster(tmp_path / name, 3)


def test_whole_numbers_that_float32_does_not_hold(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS.astype("int64") + (1 << 40))
    with pytest.raises(UserError, match=r"whole numbers of up to 10995.*scale them"):
        read_raster(tmp_path / "a.npy", 4)
    np.save(tmp_path / "a.npy", PIXELS.astype("int64"))
    np.testing.assert_array_equal(read_raster(tmp_path / "a.npy", 4), PIXELS)


def test_converting_keeps_what_the_images_are(folder, tmp_path):
    (folder / "dataset.json").write_text('{"channels": 4}')
    convert_folder(folder, tmp_path / "plain")
    plain = load_folder(tmp_path / "plain")
    assert plain.stored == AsStored(4, "uint16")
    for name, split in load_folder(folder).splits.items():
        for i in range(len(split)):
            np.testing.assert_array_equal(plain.splits[name][i].image, split[i].image)


def test_what_a_file_calls_nodata_is_told(folder):
    images = folder / "images"
    for i in (3, 5):
        pixels = PIXELS.copy()
        pixels[:9, :7] = 9
        nodata = (42113, "s", 0, "9" if i == 3 else "11", True)
        tifffile.imwrite(images / f"{i}.tif", pixels, extratags=[nodata])
    found = inspect(folder, channels=4)
    assert [*map(tuple, found.warnings)] == [
        (
            "nodata",
            found.warnings[0].split,
            str(images / "3.tif"),
            "63 pixels hold 9, which it calls nodata",
        )
    ]
    assert not found.faults
