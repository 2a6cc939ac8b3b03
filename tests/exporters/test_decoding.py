"""Image files decoded in a graph, compared with how `read_image` reads them."""

import struct

import numpy as np
import pytest
import tensorflow as tf
from helpers.exported import decoder, encoded, photo
from helpers.fuzz_images import altered, originals
from PIL import Image

from fcn_keras.data.files.images import read_image
from fcn_keras.exporters.decoding import decode_image
from fcn_keras.exporters.formats import MAX_PIXELS


@pytest.fixture(scope="module")
def skipping():
    return decoder(63)


@pytest.fixture(scope="module")
def decode():
    return decoder(MAX_PIXELS)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF"])
def test_max_pixels(skipping, format):
    for shape, good in (((9, 7), True), ((7, 9), True), ((8, 8), False), ((64, 1), False)):
        image = Image.fromarray(photo(*shape))
        data = encoded(image.quantize(40) if format == "GIF" else image, format)
        image = skipping(data)
        assert image.shape[:2] == shape if good else image is None


def test_in_a_stream_of_files(tmp_path):
    """Outside of an export: in tf.data, and by hand, where what is skipped there fails."""
    data = encoded(Image.fromarray(photo(9, 7)), "JPEG")
    [image] = tf.data.Dataset.from_tensors(data).map(decode_image)
    np.testing.assert_array_equal(image, as_read(data, tmp_path))
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 62 pixels"):
        decode_image(data, 62)


@pytest.mark.parametrize("name", ["JPEG", "JPEG-progressive", "PNG", "BMP", "BMP-palette", "GIF"])
def test_files_cut_anywhere(skipping, tmp_path, name):
    """What `read_image` refuses is skipped, and what is not skipped is right."""
    image = Image.fromarray(photo(9, 7))
    if name in ("GIF", "BMP-palette"):
        image = image.quantize(20)
    data = encoded(image, name.partition("-")[0], progressive=True)
    if name == "JPEG":
        data = encoded(image, name)
    skipped = 0
    for end in range(0, len(data), 3):
        found = skipping(data[:end])
        if found is None:
            skipped += 1
        else:
            np.testing.assert_array_equal(found, as_read(data[:end], tmp_path))
    assert skipped > 0.9 * len(data) / 3
    np.testing.assert_array_equal(skipping(data), as_read(data, tmp_path))


def with_orientation(orientation, byte_order):
    exif = Image.Exif()
    exif.endian = byte_order
    exif[0x010E] = "a description, which is a tag before the one that matters"
    exif[0x0112] = orientation
    return exif


def small_frame(gif, screen=(90, 70), corner=(11, 5)):
    """Sets width and height of a GIF's screen, and left and top of its first frame."""
    frame = gif.index(b"\x2c\0\0\0\0")
    corner, screen = (struct.pack("<HH", *pair) for pair in (corner, screen))
    return gif[:6] + screen + gif[10 : frame + 1] + corner + gif[frame + 5 :]


def upside_down(bmp):
    return bmp[:22] + struct.pack("<i", -struct.unpack("<i", bmp[22:26])[0]) + bmp[26:]


def in_words(image):
    """A BMP of 32 bits that says in which of them each colour lies."""
    height, width, _ = image.shape
    pixels = np.dstack([image[::-1, :, ::-1], np.zeros((height, width), "uint8")]).tobytes()
    start = 14 + 40 + 12
    head = b"BM" + struct.pack(
        "<IIIIiihhI", start + len(pixels), 0, start, 40, width, height, 1, 32, 3
    )
    masks = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    return head + struct.pack("<IiiII", len(pixels), 0, 0, 0, 0) + masks + pixels


PHOTO = Image.fromarray(photo(37, 53))
ALPHA = Image.fromarray(np.dstack([photo(37, 53), photo(37, 53, 1)[:, :, 0]]))
PALETTE = PHOTO.quantize(40)
DEEP = photo(37, 53)[:, :, 0] * np.uint16(256) + photo(37, 53)[:, :, 1]

ENCODINGS = {
    f"JPEG-{quality}-{subsampling}-{progressive}": encoded(
        PHOTO, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive == "prog"
    )
    for quality in (20, 75, 100)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0")
    for progressive in ("base", "prog")
} | {
    "JPEG-grey": encoded(PHOTO.convert("L"), "JPEG"),
    "JPEG-CMYK": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "JPEG-1x1": encoded(photo(1, 1), "JPEG"),
    "JPEG-and-more-behind": encoded(PHOTO, "JPEG") + b"more",
    "PNG-RGB": encoded(PHOTO, "PNG"),
    "PNG-grey": encoded(PHOTO.convert("L"), "PNG"),
    "PNG-one-bit": encoded(PHOTO.convert("1"), "PNG"),
    "PNG-palette": encoded(PALETTE, "PNG"),
    "PNG-palette-4-bits": encoded(PHOTO.quantize(9), "PNG"),
    "PNG-palette-alpha": encoded(PALETTE, "PNG", transparency=3),
    "PNG-alpha": encoded(ALPHA, "PNG"),
    "PNG-grey-alpha": encoded(ALPHA.convert("LA"), "PNG"),
    "PNG-16-bit-grey": encoded(DEEP, "PNG"),
    "GIF": encoded(PALETTE, "GIF"),
    "GIF-animated": encoded(PALETTE, "GIF", save_all=True, append_images=[PALETTE.rotate(180)]),
    "GIF-transparent": encoded(PALETTE, "GIF", transparency=3),
    "GIF-small-frame": small_frame(encoded(PALETTE, "GIF", transparency=3, interlace=0)),
    "GIF-small-frame-opaque": small_frame(encoded(PALETTE, "GIF")),
    "GIF-frame-beyond-the-screen": small_frame(encoded(PALETTE, "GIF"), screen=(20, 30)),
    "PNG-turned": encoded(PHOTO, "PNG", exif=with_orientation(6, ">")),
    "BMP": encoded(PHOTO, "BMP"),
    "BMP-upside-down": upside_down(encoded(PHOTO, "BMP")),
    "BMP-in-words": in_words(photo(37, 53)),
    "BMP-grey": encoded(PHOTO.convert("L"), "BMP"),
    "BMP-alpha": encoded(ALPHA, "BMP"),
}


def as_read(data, tmp_path):
    (tmp_path / "image").write_bytes(data)
    return read_image(tmp_path / "image")


@pytest.mark.parametrize("name", ENCODINGS)
def test_it_sees_what_read_image_sees(decode, tmp_path, name):
    image = decode(ENCODINGS[name])
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, as_read(ENCODINGS[name], tmp_path))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_it_sees_the_upper_half_of_16_bits(decode, tmp_path, channels):
    deep = np.random.default_rng(0).integers(0, 1 << 16, (11, 13, channels), dtype="uint16")
    data = tf.io.encode_png(deep).numpy()  # Pillow cannot write these
    np.testing.assert_array_equal(decode(data), as_read(data, tmp_path))


@pytest.mark.parametrize("colors", [2, 9, 40])
def test_it_shows_a_bmp_with_a_palette_in_its_colors_or_refuses(decode, tmp_path, colors):
    data = encoded(PHOTO.convert("1") if colors == 2 else PHOTO.quantize(colors), "BMP")
    image = decode(data)
    if image is not None:
        np.testing.assert_array_equal(image, as_read(data, tmp_path))


@pytest.mark.parametrize(
    "place, value",
    [(10, 0), (10, 53), (14, 12), (14, 1 << 30), (46, 3), (46, 1 << 16), (46, -1), (10, 1 << 30)],
)
def test_a_bmp_with_a_palette_that_contradicts_itself_is_skipped(decode, place, value):
    data = encoded(PALETTE, "BMP")
    assert decode(data) is not None
    assert decode(data[:place] + struct.pack("<i", value) + data[place + 4 :]) is None


@pytest.mark.parametrize("number", [8432, 13904])
def test_damaged_files_are_seen_as_read_image_sees_them_or_skipped(decode, tmp_path, number):
    """With "Adobe" in a table of a JPEG, and pixels that begin in the head of a BMP."""
    name, data = altered(number, originals())
    assert name == {8432: "cmyk.jpg", 13904: "palette.bmp"}[number]
    image = decode(data)
    if image is not None:
        np.testing.assert_array_equal(image, as_read(data, tmp_path))


@pytest.mark.parametrize("filling", [b"\1", b"\0\0", b"\0" * 300])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_it_does_not_mind_a_filled_up_bmp(decode, tmp_path, mode, filling):
    image = Image.fromarray(photo(7, 13)).quantize(99) if mode == "P" else None
    image = image or Image.fromarray(photo(7, 13)).convert(mode)
    data = encoded(image, "BMP") + filling
    (tmp_path / "a.bmp").write_bytes(data)
    np.testing.assert_array_equal(decode(data), read_image(tmp_path / "a.bmp"))


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_turns_photos_upright(decode, tmp_path, orientation, byte_order):
    data = encoded(PHOTO, "JPEG", exif=with_orientation(orientation, byte_order))
    np.testing.assert_array_equal(decode(data), as_read(data, tmp_path))
