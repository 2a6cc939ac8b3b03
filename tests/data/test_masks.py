"""Label maps as programs write them: read as a person sees them, or refused with the reason."""

import numpy as np
import pytest
from helpers.png import packed_rows, png_bytes
from PIL import Image

from fcn_keras.data.files.masks import open_mask, read_mask
from fcn_keras.errors import LabelError

IDS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [0, 2, 2, 1]], "uint8")
BLACK, RED, GREEN, BLUE, WHITE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
COLORS = [BLACK, RED, GREEN]
VOIDED = [[0, 1, 255]]


def grey(ids=IDS, mode=None):
    image = Image.fromarray(np.asarray(ids, "uint8"))
    return image.convert(mode) if mode else image


def picture(colors, ids=IDS):
    return Image.fromarray(np.array(colors, "uint8")[ids])


def indexed(colors, ids=IDS):
    """Entries of a palette in the given order; `ids` are the entries."""
    image = grey(ids)
    image.putpalette(bytes(sum(map(list, colors), [])))
    return image


def opaque(image, alpha=255):
    image = image.copy()
    image.putalpha(Image.new("L", image.size, alpha))
    return image


def transparent_ground(colors=COLORS):
    image = picture(colors).convert("RGBA")
    image.putalpha(grey((IDS > 0) * 255))
    return image


BIG_ENDIAN = Image.frombytes("I;16B", IDS.shape[::-1], IDS.astype(">u2").tobytes())

# What it is, how it is made, the ending, the colours given, and the class ids in it.
READ = [
    ("grey", grey(), ".png", (), IDS),
    ("grey with colours", grey(), ".png", COLORS, IDS),
    ("grey and alpha, opaque", opaque(grey()), ".png", (), IDS),
    ("ids three times", Image.merge("RGB", [grey()] * 3), ".png", (), IDS),
    ("ids three times, with colours", Image.merge("RGB", [grey()] * 3), ".png", COLORS, IDS),
    ("ids three times, opaque", opaque(Image.merge("RGB", [grey()] * 3)), ".png", (), IDS),
    ("a bit", grey(IDS > 0).point(lambda v: 255 * v, "1"), ".png", (), IDS > 0),
    ("16 bits", Image.fromarray(IDS.astype("uint16")), ".png", (), IDS),
    ("16 bits, TIFF", Image.fromarray(IDS.astype("uint16")), ".tif", (), IDS),
    ("16 bits, the other byte order", BIG_ENDIAN, ".tif", (), IDS),
    ("16 bits with a sign", Image.fromarray(IDS.astype("int16").astype("int32")), ".tif", (), IDS),
    ("32 bits", Image.fromarray(IDS.astype("int32")), ".tif", (), IDS),
    ("whole floats", Image.fromarray(IDS.astype("float32")), ".tif", (), IDS),
    ("TIFF", grey(), ".tif", (), IDS),
    ("GIF", grey(), ".gif", (), IDS),
    ("BMP", grey(), ".bmp", (), IDS),
    ("WebP, ids three times", Image.merge("RGB", [grey()] * 3), ".webp", (), IDS),
    ("colours", picture(COLORS), ".png", COLORS, IDS),
    ("colours, opaque", opaque(picture(COLORS)), ".png", COLORS, IDS),
    ("colours, TIFF", picture(COLORS), ".tif", COLORS, IDS),
    ("colours, BMP", picture(COLORS), ".bmp", COLORS, IDS),
    ("colours, WebP", picture(COLORS), ".webp", COLORS, IDS),
    ("indexed", indexed(COLORS), ".png", (), IDS),
    ("indexed, in the colours' order", indexed(COLORS), ".png", COLORS, IDS),
    ("indexed, another order", indexed([GREEN, BLACK, RED]), ".png", COLORS, (IDS + 2) % 3),
    ("indexed by quantize", picture(COLORS).quantize(3), ".png", COLORS, IDS),
    ("indexed GIF of colours", picture(COLORS), ".gif", COLORS, IDS),
    ("indexed, one colour twice", indexed([BLACK, RED, RED]), ".png", COLORS, IDS > 0),
    ("indexed, other colours", indexed([BLUE, WHITE, (9, 9, 8)]), ".png", COLORS, IDS),
    ("indexed, greys as numbers", indexed([(i,) * 3 for i in range(256)]), ".png", COLORS, IDS),
    ("indexed, strange entries that no pixel uses", indexed([*COLORS, BLUE]), ".png", COLORS, IDS),
    ("indexed, void beside", indexed([*COLORS] * 85 + [BLUE], VOIDED), ".png", COLORS, VOIDED),
    ("indexed, 255 a class", indexed([RED] * 255 + [BLACK], VOIDED), ".png", COLORS, [[1, 1, 0]]),
    ("indexed, void and others", indexed([BLUE, WHITE] * 128, VOIDED), ".png", COLORS, VOIDED),
    ("black and white, grey", grey((IDS > 0) * 255), ".png", [BLACK, WHITE], IDS > 0),
    ("black and white, RGB", picture([BLACK, WHITE, WHITE]), ".png", [BLACK, WHITE], IDS > 0),
    ("white alone", grey(IDS * 0 + 255), ".png", [BLACK, WHITE], IDS * 0 + 1),
    ("void beside grey ids", grey([[0, 1, 255]]), ".png", [BLACK, RED], [[0, 1, 255]]),
    ("a grey class, in ids", grey(), ".png", [(128, 128, 128), RED, GREEN], IDS),
]  # fmt: skip


@pytest.mark.parametrize("what, image, ending, colors, ids", READ, ids=[row[0] for row in READ])
def test_masks_that_are_read(tmp_path, what, image, ending, colors, ids):
    path = tmp_path / f"mask{ending}"
    image.save(path, **({"lossless": True} if ending == ".webp" else {}))
    mask = read_mask(path, colors)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.asarray(ids))


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), "uint8"))

# What it is, how it is made, the colours given, and the reason.
REFUSED = [
    ("transparent ground", transparent_ground(), COLORS, "transparent.*33.3%"),
    ("half transparent", opaque(picture(COLORS), 128), COLORS, "transparent.*100.0%"),
    ("grey, transparent", opaque(grey(), 0), (), "transparent"),
    ("colours, none given", picture(COLORS), (), r"`colors` .* would tell.*\[255, 0, 0\]"),
    ("photograph", NOISE, (), r"it has 1600 of them, as JPEG"),
    ("a colour of no class", picture([BLACK, RED, BLUE]), COLORS, r"row 1, column 1 \(4 such"),
    ("white beside black", picture([BLACK, WHITE, WHITE]), COLORS, r"no class.*\(255, 255, 255"),
    ("mixed colours", NOISE, COLORS, "1599 more: JPEG, or resizing"),
    ("indexed, one strange entry", indexed([BLACK, RED, BLUE]), COLORS, r"1 \(255.*\(2 \(0, 0,"),
    ("greys that are ids and colours", grey([[0, 1]]), [(1, 1, 1), BLACK], "greys 0..1.*`values`"),
    ("two classes of one colour", picture(COLORS), [BLACK, RED, RED], "two classes have one"),
    ("printer's colours", picture(COLORS).convert("CMYK"), COLORS, "mode CMYK"),
    ("beyond 255", Image.fromarray(np.full((2, 2), 256, "uint16")), (), "This one holds 256"),
    ("below 0", Image.fromarray(np.full((2, 2), -1, "int32")), (), "This one holds -1"),
    ("fractions", Image.fromarray(np.full((2, 2), 0.5, "float32")), (), "whole numbers"),
    ("not a number", Image.fromarray(np.full((2, 2), np.nan, "float32")), (), "whole numbers"),
]  # fmt: skip


@pytest.mark.parametrize("what, image, colors, reason", REFUSED, ids=[row[0] for row in REFUSED])
def test_masks_that_are_refused(tmp_path, what, image, colors, reason):
    ending = ".tif" if image.mode in ("CMYK", "I", "F") else ".png"
    path = tmp_path / f"mask{ending}"
    image.save(path)
    with pytest.raises(LabelError, match=reason) as error:
        read_mask(path, colors)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_transparent_grey_that_no_pixel_has(tmp_path, bits):
    """PNG may name a grey that is to be seen through; the others stay numbers."""
    highest = 2**bits - 1
    ids = np.minimum(IDS, 1) * np.uint8(highest)
    transparent = (b"tRNS", (1).to_bytes(2))
    data = png_bytes(4, 3, bits, 0, packed_rows(ids, bits), [transparent])
    (tmp_path / "mask.png").write_bytes(data)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), ids)


def test_pictures_of_16_bits_are_refused(tmp_path):
    """Pillow would drop the lower 8 bits, in which class ids are."""
    cv2 = pytest.importorskip("cv2")
    for name in ("mask.png", "mask.tif"):
        cv2.imwrite(str(tmp_path / name), np.dstack([IDS] * 3).astype("uint16"))
        with pytest.raises(LabelError, match="16 bits in each channel"):
            read_mask(tmp_path / name)


def test_several_pictures_in_a_file_are_refused(tmp_path):
    for ending in (".tif", ".gif"):
        path = tmp_path / f"mask{ending}"
        grey().save(path, save_all=True, append_images=[grey(2 - IDS)])
        with pytest.raises(LabelError, match="holds 2 pictures"):
            read_mask(path)


@pytest.mark.parametrize(
    "image, colors, form, by",
    [
        (grey(), COLORS, "grey", "value"),
        (grey(IDS * 0), COLORS, "grey", "either"),
        (grey((IDS > 0) * 255), [BLACK, WHITE], "grey", "color"),
        (indexed(COLORS), (), "indexed", "value"),
        (indexed(COLORS), COLORS, "indexed", "either"),
        (indexed([RED, BLACK, GREEN]), COLORS, "indexed", "color"),
        (indexed([BLUE, WHITE, (9, 9, 8)]), COLORS, "indexed", "value"),
        (picture(COLORS), COLORS, "picture", "color"),
        (Image.merge("RGB", [grey()] * 3), COLORS, "picture", "value"),
        (picture([BLACK] * 3), COLORS, "picture", "either"),
    ],
)
def test_how_masks_are_read(tmp_path, image, colors, form, by):
    """What is told of each, so that masks which contradict each other are found."""
    image.save(tmp_path / "mask.png")
    assert open_mask(tmp_path / "mask.png", colors)[1:3] == (form, by)
