"""How a camera was held, and how colours are stored: the graph and `read_image` side by side."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from helpers.exported import decoder, encoded, photo
from helpers.photos import PILLOW, UPRIGHT
from helpers.png import png_chunk
from PIL import Image

from fcn_keras.data.files.images import read_image
from fcn_keras.errors import UserError
from fcn_keras.exporters.formats import MAX_PIXELS

PHOTO = Image.fromarray(photo(21, 34))
JPEG, PNG = encoded(PHOTO, "JPEG"), encoded(PHOTO, "PNG")

TAG = 0x0112
SHORT, LONG = 3, 4


def tiff(*entries, order="<", start=8, data=b"", count=None, head=None):
    """EXIF data: entries are tag, type, count, and what stands in the last four bytes."""
    head = head or {"<": b"II*\0", ">": b"MM\0*"}[order]
    found = head + struct.pack(f"{order}I", start) + bytes(max(start - 8, 0))
    found += struct.pack(f"{order}H", len(entries) if count is None else count)
    for tag, kind, number, value in entries:
        value = value if isinstance(value, bytes) else struct.pack(f"{order}I", value)
        found += struct.pack(f"{order}HHI", tag, kind, number) + value.ljust(4, b"\0")
    return found + bytes(4) + data


def short(value, order="<"):
    return TAG, SHORT, 1, struct.pack(f"{order}H", value)


def away(kind, form, *values, order="<"):
    """One entry whose value stands behind the list."""
    return tiff((TAG, kind, 1, 26), order=order, data=struct.pack(order + form, *values))


SIX = short(6)
TEXT = (0x010E, 2, 12, 38)  # its data behind the list of two entries

BY_BOTH_ORDERS = {
    f"{name}, {'Intel' if order == '<' else 'Motorola'}": (data(order), expected)
    for order in "<>"
    for name, (data, expected) in {
        **{f"SHORT {n}": (lambda o, n=n: tiff(short(n, o), order=o), n) for n in range(1, 9)},
        **{f"SHORT {n}": (lambda o, n=n: tiff(short(n, o), order=o), 1) for n in (0, 9, 300, 1536)},
        "LONG": (lambda o: tiff((TAG, LONG, 1, 6), order=o), 6),
        "LONG beyond": (lambda o: tiff((TAG, LONG, 1, 1 << 16 | 6), order=o), 1),
        "BYTE": (lambda o: tiff((TAG, 1, 1, b"\6"), order=o), 1),
        "ASCII": (lambda o: tiff((TAG, 2, 2, b"6\0"), order=o), 1),
        "SBYTE": (lambda o: tiff((TAG, 6, 1, b"\6"), order=o), 6),
        "UNDEFINED": (lambda o: tiff((TAG, 7, 1, b"\6"), order=o), 1),
        "SSHORT": (lambda o: tiff((TAG, 8, 1, struct.pack(o + "h", 6)), order=o), 6),
        "SSHORT below": (lambda o: tiff((TAG, 8, 1, struct.pack(o + "h", -6)), order=o), 1),
        "SLONG": (lambda o: tiff((TAG, 9, 1, 6), order=o), 6),
        "FLOAT": (lambda o: tiff((TAG, 11, 1, struct.pack(o + "f", 6)), order=o), 6),
        "FLOAT between": (lambda o: tiff((TAG, 11, 1, struct.pack(o + "f", 6.5)), order=o), 1),
        "IFD": (lambda o: tiff((TAG, 13, 1, 6), order=o), 6),
        "unknown type": (lambda o: tiff((TAG, 14, 1, 6), order=o), 1),
        "type 99": (lambda o: tiff((TAG, 99, 1, 6), order=o), 1),
        "RATIONAL": (lambda o: away(5, "II", 6, 1, order=o), 6),
        "RATIONAL to be reduced": (lambda o: away(5, "II", 12, 2, order=o), 6),
        "RATIONAL between": (lambda o: away(5, "II", 13, 2, order=o), 1),
        "RATIONAL by 0": (lambda o: away(5, "II", 6, 0, order=o), 1),
        "SRATIONAL": (lambda o: away(10, "ii", -6, -1, order=o), 6),
        "DOUBLE": (lambda o: away(12, "d", 6, order=o), 6),
        "LONG8": (lambda o: away(16, "Q", 6, order=o), 6),
        "no value": (lambda o: tiff((TAG, SHORT, 0, 6), order=o), 1),
        "two values": (lambda o: tiff((TAG, SHORT, 2, struct.pack(o + "HH", 6, 3)), order=o), 6),
        "three values": (
            lambda o: tiff((TAG, SHORT, 3, 26), order=o, data=struct.pack(o + "HHH", 6, 3, 3)),
            6,
        ),
        "values beyond the end": (lambda o: tiff((TAG, SHORT, 9, 26), order=o), 1),
        "list at 26": (lambda o: tiff(short(6, o), order=o, start=26), 6),
        "list in the head": (
            lambda o: struct.pack(o + "2sHIHHII", b"MM" if o == ">" else b"II", 42, 6, 0, 0, 0, 0),
            1,
        ),
        "among others": (
            lambda o: tiff(TEXT, short(6, o), (0x0131, 2, 3, b"me\0"), order=o, data=b"x" * 40),
            6,
        ),
        "last of 90": (
            lambda o: tiff(*((0x9000 + i, LONG, 1, i) for i in range(89)), short(6, o), order=o),
            6,
        ),
    }.items()
}

OTHERWISE = {
    "list beyond the end": (tiff(SIX)[:4] + struct.pack("<I", 5000) + tiff(SIX)[8:], 1),
    "list at the very end": (tiff(SIX)[:4] + struct.pack("<I", 26) + tiff(SIX)[8:27], 1),
    "the first of two": (tiff(SIX, short(3)), 6),
    "the first that can be read": (tiff((TAG, 99, 1, 3), (TAG, SHORT, 0, 3), SIX), 6),
    "what claims more than there is": (tiff((0x010E, 2, 1 << 20, 8), SIX), 6),
    "behind what lies beyond the end": (tiff((0x010E, 2, 30, 30), SIX), 1),
    "before what lies beyond the end": (tiff(SIX, (0x0131, 2, 30, 30)), 6),
    "fewer entries than said": (tiff(SIX, count=9), 6),
    "more entries than said": (tiff(TEXT, SIX, count=1), 1),
    "cut after the entry": (tiff(SIX)[:22], 6),
    "cut in the entry": (tiff(SIX)[:21], 1),
    "cut in the head": (tiff(SIX)[:7], 1),
    "nothing": (b"", 1),
    "no TIFF": (b"no TIFF at all, but some text", 1),
    "MM*": (tiff(short(6, ">"), order=">", head=b"MM*\0"), 6),
    "II with zero first": (tiff(SIX, head=b"II\0*"), 6),
    "big TIFF, Motorola": (tiff(short(6, ">"), order=">", head=b"MM\0+"), 6),
    "big TIFF, Intel": (tiff(SIX, head=b"II+\0"), 1),
    "the head twice": (b"Exif\0\0" + tiff(SIX), 6),
    "the head thrice": (b"Exif\0\0Exif\0\0" + tiff(SIX), 1),
}


OF_PILLOW_13 = ("the first of two", "what claims more than there is", "the head thrice")


def app(number, *contents):
    return b"".join(
        bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(each) + 2) + each for each in contents
    )


def jpeg(*segments):
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def before(marker, segment):
    place = JPEG.index(marker)
    return JPEG[:place] + segment + JPEG[place:]


EXIF = b"Exif\0\0" + tiff(SIX)
XMP = b"http://ns.adobe.com/xap/1.0/\0"
NO_TAG = b"Exif\0\0" + tiff(TEXT, data=b"x" * 40)
COMMENT = b"\xff\xfe\0\x0cExif\0\0II*\0"

JPEGS = {
    "XMP as an attribute": (jpeg(app(1, XMP + b'<a tiff:Orientation="6"/>')), 6),
    "XMP as an element": (jpeg(app(1, XMP + b"<tiff:Orientation>8</tiff:Orientation>")), 8),
    "XMP in single quotes": (jpeg(app(1, XMP + b"<a tiff:Orientation='6'/>")), 1),
    "XMP with two": (jpeg(app(1, XMP + b'tiff:Orientation=6 tiff:Orientation="3" ="8"')), 3),
    "XMP out of range": (jpeg(app(1, XMP + b'tiff:Orientation="9"')), 1),
    "XMP twice": (jpeg(app(1, XMP + b'tiff:Orientation="6"', XMP + b'tiff:Orientation="3"')), 3),
    "an empty XMP last": (jpeg(app(1, XMP + b'tiff:Orientation="6"', XMP)), 1),
    "EXIF before XMP": (jpeg(app(1, XMP + b'tiff:Orientation="3"', EXIF)), 6),
    "EXIF without it, and XMP": (jpeg(app(1, NO_TAG, XMP + b'tiff:Orientation="3"')), 3),
    "nonsense as EXIF, and XMP": (
        jpeg(app(1, b"Exif\0\0nonsense", XMP + b'tiff:Orientation="3"')),
        1,
    ),
    "empty EXIF, and XMP": (jpeg(app(1, b"Exif\0\0", XMP + b'tiff:Orientation="3"')), 3),
    "EXIF that has another value": (
        jpeg(app(1, b"Exif\0\0" + tiff((TAG, 1, 1, b"\6")), XMP + b'tiff:Orientation="3"')),
        1,
    ),
    "EXIF in two parts": (jpeg(app(1, EXIF[:20], b"Exif\0\0" + EXIF[20:])), 6),
    "EXIF twice": (jpeg(app(1, EXIF, b"Exif\0\0" + tiff(short(3)))), 6),
    "other APP1 between": (jpeg(app(1, EXIF[:20], b"other", b"Exif\0\0" + EXIF[20:])), 6),
    "EXIF in APP2": (jpeg(app(2, EXIF)), 1),
    "EXIF of another name": (jpeg(app(1, b"Exif\0\1" + EXIF[6:])), 1),
    "a comment like EXIF": (jpeg(COMMENT + bytes(8), app(1, b"Exif\0\0" + tiff(short(3)))), None),
    "a comment before": (jpeg(b"\xff\xfe\0\x0aExif\0\0II", app(1, EXIF)), 6),
    "a large profile before": (
        jpeg(app(2, *[b"ICC_PROFILE\0\1\2" + bytes(65000)] * 2), app(1, EXIF)),
        6,
    ),
    "a picture within before": (jpeg(app(13, b"Photoshop 3.0\0" + JPEG[:900]), app(1, EXIF)), 6),
    "filled up with FF": (jpeg(b"\xff\xff\xff", app(1, EXIF)), 6),
    "zeros before": (jpeg(app(2, b"any"), bytes(9), app(1, EXIF)), 6),
    "behind the tables": (before(b"\xff\xc0", app(1, EXIF)), 6),
    "behind the frame": (before(b"\xff\xc4", app(1, EXIF)), 6),
    "right before the scan": (before(b"\xff\xda", app(1, EXIF)), 6),
    "behind the pixels": (JPEG[:-2] + app(1, EXIF) + JPEG[-2:], 1),
    "bytes behind": (jpeg(app(1, EXIF)) + b"Exif\0\0" + tiff(short(3)), 6),
    "no JFIF": (JPEG[:2] + app(1, EXIF) + JPEG[20:], 6),
} | {
    name: (jpeg(app(1, b"Exif\0\0" + data)), n)
    for name, (data, n) in (BY_BOTH_ORDERS | OTHERWISE).items()
}


def png(*chunks, behind=False):
    place = PNG.index(b"IEND" if behind else b"IDAT") - 4
    return PNG[:place] + b"".join(png_chunk(*each) for each in chunks) + PNG[place:]


def profile(data, end=b"\n"):
    return b"\nexif\n%8d\n" % len(data) + data.hex().encode() + end


RAW, PNG_XMP = b"Raw profile type exif\0", b"XML:com.adobe.xmp\0"
TOLD = b'<a tiff:Orientation="3"/>'

PNGS = {
    "eXIf": (png((b"eXIf", tiff(SIX))), 6),
    "eXIf, Motorola": (png((b"eXIf", tiff(short(6, ">"), order=">"))), 6),
    "eXIf with its head": (png((b"eXIf", EXIF)), 6),
    "eXIf with nonsense": (png((b"eXIf", b"nonsense")), 1),
    "eXIf behind the pixels": (png((b"eXIf", tiff(SIX)), behind=True), 6),
    "eXIf twice": (png((b"eXIf", tiff(short(3))), (b"eXIf", tiff(SIX))), 6),
    "profile": (png((b"tEXt", RAW + profile(EXIF))), 6),
    "profile of capitals": (png((b"tEXt", RAW + profile(EXIF).upper())), 6),
    "packed profile": (png((b"zTXt", RAW + b"\0" + zlib.compress(profile(EXIF)))), 6),
    "profile behind the pixels": (png((b"tEXt", RAW + profile(EXIF)), behind=True), 6),
    "profile in lines": (png((b"tEXt", RAW + profile(EXIF)[:60] + b"\n" + profile(EXIF)[60:])), 6),
    "profile with nonsense": (png((b"tEXt", RAW + b"\nexif\n 9\nnonsense\n")), 1),
    "profile of odd length": (png((b"tEXt", RAW + profile(EXIF, b"0\n"))), 1),
    "profile without lines": (png((b"tEXt", RAW + EXIF.hex().encode())), 1),
    "profile with blanks": (png((b"tEXt", RAW + profile(EXIF, b" \n"))), None),
    "eXIf before a profile": (png((b"eXIf", tiff(short(3))), (b"tEXt", RAW + profile(EXIF))), 3),
    "XMP": (png((b"iTXt", PNG_XMP + b"\0\0\0\0" + TOLD)), 3),
    "XMP with a language": (png((b"iTXt", PNG_XMP + b"\0\0en\0XMP\0" + TOLD)), 3),
    "packed XMP": (png((b"iTXt", PNG_XMP + b"\1\0\0\0" + zlib.compress(TOLD))), 3),
    "XMP as plain text": (png((b"tEXt", PNG_XMP + TOLD)), 3),
    "XMP as packed text": (png((b"zTXt", PNG_XMP + b"\0" + zlib.compress(TOLD))), 3),
    "XMP twice": (png(*[(b"iTXt", PNG_XMP + b"\0\0\0\0" + TOLD)] * 2), None),
    "eXIf before XMP": (png((b"iTXt", PNG_XMP + b"\0\0\0\0" + TOLD), (b"eXIf", tiff(SIX))), 6),
    "eXIf without it, and XMP": (
        png((b"eXIf", NO_TAG), (b"iTXt", PNG_XMP + b"\0\0\0\0" + TOLD)),
        3,
    ),
    "exif as text": (png((b"tEXt", b"exif\0" + tiff(SIX))), 6),
    "exif as packed text": (png((b"zTXt", b"exif\0\0" + zlib.compress(tiff(SIX)))), None),
    "a text that names it": (png((b"tEXt", b"Comment\0eXIf exif\0 XML:com.adobe.xmp")), 1),
    "in an animation": (
        encoded(PHOTO, "PNG", save_all=True, append_images=[PHOTO.rotate(180)], exif=EXIF),
        6,
    ),
    "bytes behind": (png((b"eXIf", tiff(SIX))) + b"more", 6),
}


@pytest.fixture(scope="module")
def decode():
    return decoder(MAX_PIXELS)


@pytest.mark.parametrize(
    "kind, name",
    [*(("JPEG", name) for name in JPEGS), *(("PNG", name) for name in PNGS)],
)
def test_orientation(decode, kind, name):
    """By hand: how the camera was held; None where the graph may refuse what Pillow reads."""
    data, expected = (JPEGS if kind == "JPEG" else PNGS)[name]
    found = read_image(io.BytesIO(data), name)
    if name in OF_PILLOW_13 and PILLOW < 13:
        pytest.skip("the graph takes it as Pillow does since version 13")
    if expected is None:
        image = decode(data)
        assert image is None or np.array_equal(image, found)
    else:
        stored = read_image(io.BytesIO(JPEG if kind == "JPEG" else PNG), name)
        np.testing.assert_array_equal(found, UPRIGHT[expected](stored))
        np.testing.assert_array_equal(decode(data), found)


def adobe(data, transform):
    """Sets what Adobe's marker says of the colours; or takes it away."""
    start = data.index(b"\xff\xee") if b"\xff\xee" in data else 2
    rest = data[start + 16 :] if b"\xff\xee" in data else data[2:]
    marker = b"" if transform is None else b"\xff\xee\0\x0eAdobe\0d\0\0\0\0" + bytes([transform])
    return data[:start] + marker + rest


def by_opencv(factor):
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, cv2.IMWRITE_JPEG_QUALITY, 90]
    return cv2.imencode(".jpg", photo(37, 53), options)[1].tobytes()


CMYK = Image.merge("CMYK", [Image.fromarray(photo(37, 53, seed)[..., 0]) for seed in range(4)])

COLORS = {
    "grey": encoded(PHOTO.convert("L"), "JPEG"),
    "grey, Adobe": adobe(encoded(PHOTO.convert("L"), "JPEG"), 0),
    "RGB": encoded(PHOTO, "JPEG", keep_rgb=True),
    "multi-picture": encoded(PHOTO, "MPO", save_all=True, append_images=[PHOTO]),
    **{f"Adobe {n}": adobe(JPEG, n) for n in (0, 1, 2, 7)},
    **{f"no JFIF, Adobe {n}": adobe(JPEG[:2] + JPEG[20:], n) for n in (0, 1, 2, None)},
    **{
        f"{name}, subsampled": by_opencv(factor)
        for name, factor in (
            ("4:1:1", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
            ("4:2:0", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
            ("4:2:2", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
            ("4:4:0", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440),
            ("4:4:4", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        )
    },
    **{
        f"four, {options}, Adobe {n}": adobe(encoded(CMYK, "JPEG", **options), n)
        for options in (
            {},
            {"quality": 100},
            {"quality": 10, "subsampling": 2},
            {"progressive": True},
            {"subsampling": 1, "exif": EXIF},
        )
        for n in (0, 1, 2, None)
    },
}


@pytest.mark.parametrize("name", COLORS)
def test_colors(decode, name):
    data = COLORS[name]
    np.testing.assert_array_equal(decode(data), read_image(io.BytesIO(data), name))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_progressive_files_without_all_their_scans(decode, mode):
    """Each version of libjpeg makes up what is missing in another way."""
    data = encoded(CMYK.convert(mode), "JPEG", progressive=True)
    scans = data.split(b"\xff\xda")
    assert len(scans) > 6
    for lost in range(1, len(scans)):
        left = b"\xff\xda".join(scans[:lost]) + b"\xff\xd9"
        assert read_image(io.BytesIO(left), mode).shape if lost > 1 else True
        assert decode(left) is None
    np.testing.assert_array_equal(decode(data), read_image(io.BytesIO(data), mode))


def deep(values):
    return tf.io.encode_png(values).numpy()  # Pillow cannot write colours of 16 bits


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "top, good", [(65536, True), (4097, True), (4096, False), (200, False), (1, True)]
)
def test_16_bits(decode, channels, top, good):
    values = np.random.default_rng(0).integers(0, top, (11, 13, channels), dtype="uint16")
    values[0, 0] = top - 1
    if channels in (2, 4):
        values[..., -1] = 65535
    data = deep(values)
    if good:
        image = read_image(io.BytesIO(data), "it")
        np.testing.assert_array_equal(decode(data), image)
        np.testing.assert_array_equal(image[..., 0], values[..., 0] >> 8)
    else:
        with pytest.raises(UserError, match="it: .*16 bits"):
            read_image(io.BytesIO(data), "it")
        assert decode(data) is None
