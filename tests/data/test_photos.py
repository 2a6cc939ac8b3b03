"""Photographs as people have them: how they were held, of how many bits, damaged, of any kind."""

import importlib.util
import io
import struct
import warnings

import numpy as np
import pytest
from helpers import fuzz_images
from helpers.photos import PILLOW, UPRIGHT
from helpers.png import png_bytes
from PIL import Image

from fcn_keras.data.files.images import IMAGE_SUFFIXES, read_image, read_size
from fcn_keras.data.tfds.adapters import Adapter
from fcn_keras.data.tfds.split import AdaptedSplit
from fcn_keras.errors import UserError


def noise(height=11, width=17, channels=3, dtype="uint8", top=None):
    shape = (height, width, channels) if channels else (height, width)
    top = np.iinfo(dtype).max + 1 if top is None else top
    return np.random.default_rng(0).integers(0, top, shape, dtype=dtype)


def png(array):
    """A PNG of 16 bits, which Pillow cannot write in colours."""
    height, width, channels = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return png_bytes(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows)


def tiff(array, bits, sample_format=1, order="<", data=None, more=()):
    """A TIFF of one strip, without compression."""
    height, width = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    data = array.astype(array.dtype.newbyteorder(order)).tobytes() if data is None else data
    entries = {256: width, 257: height, 259: 1, 262: 2 if channels == 3 else 1, 277: channels}
    entries |= {278: height, 279: len(data), 273: 8, 339: sample_format, **dict(more)}
    bits_at = 8 + len(data)
    after = struct.pack(f"{order}3H", bits, bits, bits) if channels == 3 else b""
    rows = {tag: struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in entries.items()}
    short = struct.pack(f"{order}H", bits)
    rows[258] = struct.pack(f"{order}HHI", 258, 3, channels)
    rows[258] += struct.pack(f"{order}I", bits_at) if after else short + b"\0\0"
    head = b"II*\0" if order == "<" else b"MM\0*"
    ifd = struct.pack(f"{order}H", len(rows)) + b"".join(rows[tag] for tag in sorted(rows))
    return head + struct.pack(f"{order}I", bits_at + len(after)) + data + after + ifd + bytes(4)


def packed_12(array):
    bits = "".join(f"{value:012b}" for row in array for value in row)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def read(tmp_path, data, name="a.bin"):
    path = tmp_path / name
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(path)
        assert read_size(path) == image.shape[:2]
    return image


def encoded(image, format, **options):
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, format, **options)
    return file.getvalue()


# How the camera was held


def entry(tag, kind, count, value):
    return struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")


def exif(*entries, data=b""):
    """EXIF data whose entries are followed by `data`, at 8 + 2 + 12 * entries + 4."""
    head = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries))
    return head + b"".join(entries) + bytes(4) + data


SIX = entry(0x112, 3, 1, struct.pack("<H", 6))
AT_38 = struct.pack("<I", 38)

# EXIF data in which there is one entry that Pillow reads, and cannot write.
ODD_ENTRIES = {
    "a negative resolution": exif(SIX, entry(0x11A, 10, 1, AT_38), data=struct.pack("<ii", -1, 0)),
    "a resolution in words": exif(SIX, entry(0x11A, 2, 3, b"72\0")),
    "a maker in numbers": exif(entry(0x10F, 5, 1, AT_38), SIX, data=struct.pack("<II", 72, 1)),
    "a negative width": exif(entry(0x100, 9, 1, struct.pack("<i", -5)), SIX),
    "a width in words": exif(entry(0x100, 2, 3, b"17\0"), SIX),
    "the orientation twice": exif(SIX, entry(0x112, 3, 1, struct.pack("<H", 3))),
    "two orientations in one": exif(entry(0x112, 3, 2, struct.pack("<HH", 6, 3))),
    "data beyond the end": exif(SIX, entry(0x11A, 5, 1, struct.pack("<I", 10**6))),
}


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
@pytest.mark.parametrize("data", ODD_ENTRIES.values(), ids=ODD_ENTRIES)
def test_other_entries_do_not_matter(tmp_path, data, format):
    if data == ODD_ENTRIES["the orientation twice"] and PILLOW < 13:
        pytest.skip("before Pillow 13 the last of two counts")
    file = encoded(noise(), format, exif=data, lossless=True)
    np.testing.assert_array_equal(read(tmp_path, file), UPRIGHT[6](noise()))


@pytest.mark.parametrize(
    "data",
    [
        b"Exif\0\0no TIFF header",
        b"Exif\0\0II",
        b"Exif\0\0II+\0\x08\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\xff",
    ],
)
def test_exif_that_cannot_be_parsed_is_none(tmp_path, data):
    for format in ("PNG", "JPEG"):
        image = read(tmp_path, encoded(noise(), format, exif=data))
        np.testing.assert_array_equal(image, read(tmp_path, encoded(noise(), format)))


def test_rules_that_other_threads_make_meanwhile(tmp_path, monkeypatch):
    """What lies first in the list then is not taken for this package's own rule."""
    add = warnings.filterwarnings

    def meanwhile(*args, **options):
        add(*args, **options)
        warnings.simplefilter("error")  # another thread, a moment later

    odd = encoded(noise(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\xff")
    with monkeypatch.context() as patched:
        patched.setattr(warnings, "filterwarnings", meanwhile)
        read(tmp_path, encoded(noise(), "PNG"))
    read(tmp_path, odd)


def test_a_rule_that_was_left_behind(tmp_path):
    """The rule is made anew where it is in the list, but another one counts first."""
    odd = encoded(noise(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\xff")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error")
        read(tmp_path, odd)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_of_tiff(tmp_path, orientation):
    for data in (
        tiff(noise(), 8, more={274: orientation}.items()),
        tiff(noise(), 8, order=">", more={274: orientation}.items()),
        encoded(noise(), "TIFF", tiffinfo={700: b'<x tiff:Orientation="%d">' % orientation}),
        encoded(noise(), "TIFF", tiffinfo={274: orientation}, compression="tiff_lzw"),
    ):
        np.testing.assert_array_equal(read(tmp_path, data), UPRIGHT[orientation](noise()))


# More than 8 bits

DEEP_GREY, DEEP = noise(12, 16, 0, "uint16"), noise(12, 16, 3, "uint16")
FOUR = noise(12, 16, 4, "uint16")
TWELVE = noise(12, 16, 0, "uint16", top=4096)


@pytest.mark.parametrize(
    "data, expected",
    [
        (encoded(DEEP_GREY, "PNG"), DEEP_GREY >> 8),
        (png(DEEP), DEEP >> 8),
        (png(FOUR), FOUR[..., :3] >> 8),
        (png(FOUR[..., :2]), FOUR[..., :1] >> 8),
        (tiff(DEEP_GREY, 16), DEEP_GREY >> 8),
        (tiff(DEEP_GREY, 16, order=">"), DEEP_GREY >> 8),
        (encoded(DEEP_GREY, "TIFF", compression="tiff_lzw"), DEEP_GREY >> 8),
        (tiff(DEEP, 16), DEEP >> 8),
        (tiff(DEEP, 16, order=">"), DEEP >> 8),
        (tiff(TWELVE, 12, data=packed_12(TWELVE)), TWELVE >> 4),
        (tiff(TWELVE // 64, 12, data=packed_12(TWELVE // 64)), TWELVE // 64 >> 4),
        (b"P5 16 12 65535\n" + DEEP_GREY.astype(">u2").tobytes(), DEEP_GREY >> 8),
        (b"P6 16 12 65535\n" + DEEP.astype(">u2").tobytes(), DEEP >> 8),
        (png(DEEP // 256 * 0), DEEP * 0),
        (encoded(DEEP_GREY * 0, "PNG"), DEEP_GREY * 0),
    ],
)
def test_the_upper_8_bits_are_kept(tmp_path, data, expected):
    expected = expected if expected.ndim == 3 else expected[..., None]
    np.testing.assert_array_equal(read(tmp_path, data), np.broadcast_to(expected, (12, 16, 3)))


FLOATS = noise(12, 16, 0).astype("float32")


@pytest.mark.parametrize(
    "data, reason",
    [
        (tiff(FLOATS, 32, 3), "numbers with a fraction: scale them to 0..255"),
        (encoded(FLOATS, "TIFF"), "numbers with a fraction"),
        (b"Pf 16 12 -1\n" + FLOATS.tobytes(), "numbers with a fraction"),
        (tiff(noise(12, 16, 0, "int32"), 32, 2), "numbers of 32 bits or with a sign"),
        (tiff(noise(12, 16, 0, "uint32"), 32, 1), "numbers of 32 bits or with a sign"),
        (tiff(noise(12, 16, 0, "int16"), 16, 2), "numbers of 32 bits or with a sign"),
        (encoded(TWELVE, "PNG"), "16 bits, and uses no more than 12 of them.*scale its values"),
        (tiff(TWELVE, 16), "uses no more than 12"),
        (encoded(TWELVE // 16, "PNG"), "uses no more than 8"),
        (png(noise(dtype="uint16", top=4096)), "uses no more than 12"),
        (png(noise(dtype="uint16", top=200)), "uses no more than 8"),
        (tiff(noise(dtype="uint16", top=200), 16), "uses no more than 8"),
        (tiff(noise(dtype="uint16", top=200), 16, order=">"), "uses no more than 8"),
        (b"P6 16 12 65535\n" + (DEEP // 16).astype(">u2").tobytes(), "uses no more than 12"),
    ],
)
def test_what_has_no_upper_8_bits_is_refused(tmp_path, data, reason):
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"a.bin: cannot be read as an image .*{reason}"):
        read_image(path)
    # The photographs of other data sets are read by the same rule.
    adapter = Adapter("image", "mask", ["a"], [(0, 0, 0)], np.zeros(1))
    split = AdaptedSplit([{"image": data, "mask": np.zeros((12, 16))}], "set train", "", adapter)
    with pytest.raises(UserError, match=f"set train 0: cannot be read as an image .*{reason}"):
        split[0]


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"]
)
def test_every_mode_becomes_rgb(tmp_path, mode):
    if mode == "YCbCr" and PILLOW < 13:
        pytest.skip("before version 13 Pillow cannot read what it writes")
    photo = Image.fromarray(noise())
    image = photo.convert("P").convert("PA") if mode == "PA" else photo
    if mode == "LAB":
        image = Image.merge("LAB", photo.split())
    elif mode != "PA":
        image = photo.convert(mode)
    found = read(tmp_path, encoded(image, "TIFF"))
    with Image.open(tmp_path / "a.bin") as opened:
        expected = opened.convert("RGBA" if mode in ("PA", "LA") else "RGB")
    np.testing.assert_array_equal(found, np.asarray(expected)[..., :3])


# Files of all kinds


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_ending_is_read(tmp_path, suffix):
    format = {".pnm": "PPM", ".j2k": "JPEG2000"}.get(suffix)
    if suffix in (".heic", ".heif"):
        pytest.importorskip("pillow_heif").register_heif_opener()
    image = Image.fromarray(noise()).convert("L" if suffix == ".pgm" else "RGB")
    image.save(tmp_path / f"a{suffix}", format)
    assert read_image(tmp_path / f"a{suffix}").shape == (11, 17, 3)
    assert read_size(tmp_path / f"a{suffix}") == (11, 17)


def test_heic_says_what_it_needs(tmp_path):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic")
    what = "" if importlib.util.find_spec("pillow_heif") else ".*fcn_keras.heif."
    with pytest.raises(UserError, match=f"a.heic: cannot be read as an image{what}"):
        read_image(path)


def test_a_header_that_can_but_be_wrong(tmp_path):
    data = encoded(noise(), "JPEG2000", no_jp2=True)
    size = data.index(struct.pack(">II", 17, 11))
    path = tmp_path / "a.j2k"
    path.write_bytes(data[:size] + struct.pack(">II", 10_000, 9_000) + data[size + 8 :])
    with pytest.raises(UserError, match="tells of 10000 x 9000 pixels, of which .* hold nothing"):
        read_image(path)


def test_altered_files():
    """See `helpers.fuzz_images`, which reads 20 000."""
    shown = []
    assert fuzz_images.main(300, show=shown.append) == 0, shown
