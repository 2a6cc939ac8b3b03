import io
import re
import resource
import struct
import time
import warnings
import zlib

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from helpers.photos import UPRIGHT
from helpers.png import packed_rows, png_bytes
from PIL import Image, ImageOps

from fcn_keras.data.files.images import read_image, read_size
from fcn_keras.data.files.masks import read_mask
from fcn_keras.errors import LabelError, UserError


def noise(height=11, width=17, channels=3, dtype="uint8"):
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def smooth(height=40, width=60):
    """A picture that JPEG keeps to within a few grey levels."""
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * x, 6 * y, 128 + x - y], axis=-1).astype("uint8")


def save(path, array_or_image, **options):
    image = array_or_image
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, **options)
    return path


def png(path, width, height, bits, color_type, rows, chunks=()):
    path.write_bytes(png_bytes(width, height, bits, color_type, rows, chunks))
    return path


def assert_one_line_about(error, path):
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


# Images


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_rgb_to_the_bit(tmp_path, suffix):
    array = noise()
    image = read_image(save(tmp_path / f"a{suffix}", array))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, array)


def test_lossless_webp(tmp_path):
    array = noise()
    path = save(tmp_path / "a.webp", array, lossless=True, exact=True)
    np.testing.assert_array_equal(read_image(path), array)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg(tmp_path, options):
    path = save(tmp_path / "a.jpg", smooth(), quality=95, **options)
    image = read_image(path)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(image, np.asarray(opened))
    assert np.abs(image.astype(int) - smooth()).max() < 16


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_grey_is_repeated(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", noise(channels=0), quality=100)
    image = read_image(path)
    assert image.shape == (11, 17, 3)
    assert np.abs(image.astype(int) - noise(channels=0)[:, :, None]).max() <= (suffix == ".jpg") * 3


def test_palette_becomes_colors(tmp_path):
    colors = noise(1, 16)[0]
    ids = noise(channels=0) % 16
    picture = Image.fromarray(ids)
    picture.putpalette(colors.tobytes())
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", picture)), colors[ids])


@pytest.mark.parametrize("transparency", [0, 3, bytes([0, 128, 255])])
def test_palette_with_transparency(tmp_path, transparency):
    # No warning either: Pillow warns where such a palette is converted to RGB in one step.
    colors = noise(1, 16)[0]
    ids = noise(channels=0) % 16
    picture = Image.fromarray(ids)
    picture.putpalette(colors.tobytes())
    path = save(tmp_path / "a.png", picture, transparency=transparency)
    np.testing.assert_array_equal(read_image(path), colors[ids])


def test_alpha_is_left_out(tmp_path):
    array = noise(channels=4)
    path = save(tmp_path / "a.png", array)
    np.testing.assert_array_equal(read_image(path), array[:, :, :3])


def test_grey_with_alpha(tmp_path):
    array = noise(channels=2)
    path = save(tmp_path / "a.png", array)
    with Image.open(path) as picture:
        assert picture.mode == "LA"
    np.testing.assert_array_equal(read_image(path), np.repeat(array[:, :, :1], 3, axis=2))


def test_cmyk_jpeg(tmp_path):
    # Cyan, magenta, yellow, black, and no ink at all, in fields that JPEG's blocks fit into.
    inks = np.array(
        [[255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255], [0, 0, 0, 0]], "uint8"
    )
    colors = np.array(
        [[0, 255, 255], [255, 0, 255], [255, 255, 0], [0, 0, 0], [255, 255, 255]], "uint8"
    )
    picture = Image.frombytes("CMYK", (80, 16), np.tile(inks.repeat(16, 0), (16, 1)).tobytes())
    image = read_image(save(tmp_path / "a.jpg", picture, quality=95))
    assert image.shape == (16, 80, 3)
    assert np.abs(image[8, 8::16].astype(int) - colors).max() < 12


def test_deep_grey_keeps_the_upper_bits(tmp_path):
    array = noise(channels=0, dtype="uint16")
    image = read_image(save(tmp_path / "a.png", array))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.repeat((array >> 8)[:, :, None], 3, axis=2))


def test_deep_colors_keep_the_upper_bits(tmp_path):
    array = noise(dtype="uint16")
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    image = read_image(png(tmp_path / "a.png", 17, 11, 16, 2, rows))
    np.testing.assert_array_equal(image, array >> 8)


def test_one_bit_is_black_and_white(tmp_path):
    array = noise(channels=0) > 127
    image = read_image(save(tmp_path / "a.png", array))
    np.testing.assert_array_equal(image, np.repeat(255 * array[:, :, None].astype("uint8"), 3, 2))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp"])
def test_one_pixel(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", np.full((1, 1, 3), 200, "uint8"))
    image = read_image(path)
    assert image.shape == (1, 1, 3)
    assert np.abs(image.astype(int) - 200).max() <= 3
    assert read_size(path) == (1, 1)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_first_frame_of_an_animation(tmp_path, suffix):
    frames = [Image.new("RGB", (9, 5), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(
        tmp_path / f"a{suffix}", frames[0], save_all=True, append_images=frames[1:], **options
    )
    with Image.open(path) as picture:
        assert picture.n_frames == 3
    image = read_image(path)
    assert image.shape == (5, 9, 3)
    assert (image == (255, 0, 0)).all()


def gif(path, canvas, frame, offset, transparent):
    """An animation whose first frame, of blue, is smaller than the canvas; colour 0 is red."""
    palette = [(255, 0, 0), (0, 0, 255), (0, 255, 0), (0, 0, 0)]
    frames = []
    for color in (1, 2):
        picture = Image.fromarray(np.full(frame[::-1], color, "uint8"))
        picture.putpalette(np.array(palette, "uint8").tobytes())
        frames.append(picture)
    file = io.BytesIO()
    options = {"transparency": 3} if transparent else {}
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], optimize=False, **options)
    data = bytearray(file.getvalue())
    data[6:10] = struct.pack("<HH", *canvas)
    image = data.index(b"," + bytes(4) + struct.pack("<HH", *frame))
    data[image + 1 : image + 5] = struct.pack("<HH", *offset)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("transparent", [False, True])
def test_first_frame_smaller_than_the_canvas(tmp_path, transparent):
    """The picture is as large as the canvas, and the frame lies where it says."""
    path = gif(tmp_path / "a.gif", (17, 11), (5, 4), (3, 2), transparent)
    image = read_image(path)
    assert image.shape == (11, 17, 3) and read_size(path) == (11, 17)
    blue = (image == (0, 0, 255)).all(-1)
    assert blue[2:6, 3:8].all() and blue.sum() == 20
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGBA"))[:, :, :3]
    np.testing.assert_array_equal(image, expected)


def webp(path, canvas, frame, offset):
    """The same as WebP: the frame is blue, and the canvas has no colour of its own."""

    def chunk(name, data):
        return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    def three(*values):
        return b"".join(value.to_bytes(3, "little") for value in values)

    file = io.BytesIO()
    Image.new("RGB", frame, (0, 0, 255)).save(file, "WEBP", lossless=True)
    still = file.getvalue()[12:]
    place = three(offset[0] // 2, offset[1] // 2, frame[0] - 1, frame[1] - 1, 100)
    chunks = [
        chunk(b"VP8X", bytes([0b10010, 0, 0, 0]) + three(canvas[0] - 1, canvas[1] - 1)),
        chunk(b"ANIM", bytes(6)),
        *[chunk(b"ANMF", place + b"\0" + still)] * 2,
    ]
    path.write_bytes(chunk(b"RIFF", b"WEBP" + b"".join(chunks)))
    return path


def test_first_frame_of_webp_smaller_than_the_canvas(tmp_path):
    path = webp(tmp_path / "a.webp", (17, 11), (5, 4), (4, 2))
    with Image.open(path) as opened:
        assert opened.n_frames == 2
        expected = np.asarray(opened.convert("RGBA"))[:, :, :3]
    image = read_image(path)
    assert image.shape == (11, 17, 3) and read_size(path) == (11, 17)
    blue = (image == (0, 0, 255)).all(-1)
    assert blue[2:6, 4:9].all() and blue.sum() == 20
    np.testing.assert_array_equal(image, expected)


def test_one_bit_bitmap(tmp_path):
    array = noise(channels=0) > 127
    path = save(tmp_path / "a.bmp", array)
    assert path.read_bytes()[28] == 1  # bits a pixel
    np.testing.assert_array_equal(read_image(path), np.repeat(255 * array[:, :, None], 3, 2))
    # Two colours of its own: blue (as BGR0) in place of black.
    data = bytearray(path.read_bytes())
    data[54:58] = 255, 0, 0, 0
    path.write_bytes(data)
    expected = np.where(array[:, :, None], [255, 255, 255], [0, 0, 255])
    np.testing.assert_array_equal(read_image(path), expected)


def test_path_as_text(tmp_path):
    path = save(tmp_path / "a.png", noise())
    np.testing.assert_array_equal(read_image(str(path)), noise())


# EXIF: how the camera was held


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path, orientation):
    path = save(tmp_path / "a.png", noise(), exif=exif(orientation))
    image = read_image(path)
    np.testing.assert_array_equal(image, UPRIGHT[orientation](noise()))
    assert read_size(path) == image.shape[:2]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_as_pillow_sees_it(tmp_path, suffix, orientation):
    path = save(tmp_path / f"a{suffix}", smooth(), exif=exif(orientation))
    image = read_image(path)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(image, np.asarray(ImageOps.exif_transpose(picture)))
    assert read_size(path) == image.shape[:2]


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_exif_orientation_that_there_is_not(tmp_path, orientation):
    path = save(tmp_path / "a.png", noise(), exif=exif(orientation))
    np.testing.assert_array_equal(read_image(path), noise())
    assert read_size(path) == (11, 17)


def test_exif_orientation_in_a_text_chunk(tmp_path):
    """As ImageMagick writes it, in hexadecimal."""
    data = exif(6).tobytes()
    text = b"\nexif\n%8d\n%s\n" % (len(data), data.hex().encode())
    chunk = b"Raw profile type exif\0\0" + zlib.compress(text)
    rows = b"".join(b"\0" + row.tobytes() for row in noise())
    for chunks in ([(b"zTXt", chunk)], [(b"tEXt", b"Software\0ours"), (b"zTXt", chunk)]):
        path = png(tmp_path / "a.png", 17, 11, 8, 2, rows, chunks)
        image = read_image(path)
        np.testing.assert_array_equal(image, UPRIGHT[6](noise()))
        assert read_size(path) == image.shape[:2]


def test_exif_orientation_of_deep_grey(tmp_path):
    array = noise(channels=0, dtype="uint16")
    path = save(tmp_path / "a.png", array, exif=exif(6))
    np.testing.assert_array_equal(read_image(path)[:, :, 0], UPRIGHT[6](array >> 8))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_unreadable_exif(tmp_path, suffix):
    """Damaged EXIF data is either passed over or refused by name, but no fault."""
    path = save(tmp_path / f"a{suffix}", noise(), exif=b"Exif\0\0no TIFF header")
    for read in (read_image, read_size):
        try:
            assert read(path)[:2] == (11, 17) if read is read_size else read(path).any()
        except UserError as error:
            assert str(path) in str(error)


# Files that are broken, or no images


def truncated(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".gif", ".webp"])
def test_truncated(tmp_path, suffix, read):
    path = truncated(save(tmp_path / f"a{suffix}", noise(40, 60)))
    with pytest.raises(UserError) as error:
        read(path)
    assert_one_line_about(error, path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_anywhere_is_no_fault(tmp_path, suffix):
    """Cut off at whatever byte, a file is refused by name, or nothing but its end is missing."""
    whole = save(tmp_path / f"whole{suffix}", noise(), exif=exif(6))
    expected, data = read_image(whole), whole.read_bytes()
    path = tmp_path / f"a{suffix}"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        for read in (read_image, read_size):
            try:
                result = read(path)
            except UserError as error:
                assert str(path) in str(error)
            else:
                # The header alone tells the size; before EXIF data was read it may lie.
                if read is read_image:
                    np.testing.assert_array_equal(result, expected, f"{length} bytes")


@pytest.mark.parametrize("read", [read_image, read_mask, read_size])
@pytest.mark.parametrize("content", [b"", b"not an image\n", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_no_image(tmp_path, content, read):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as an image") as error:
        read(path)
    assert_one_line_about(error, path)


@pytest.mark.parametrize("read", [read_image, read_mask, read_size])
def test_no_file(tmp_path, read):
    for path in (tmp_path / "missing.png", tmp_path):
        with pytest.raises(UserError, match="cannot be read as an image") as error:
            read(path)
        assert_one_line_about(error, path)


@pytest.mark.parametrize("read", [read_image, read_mask, read_size])
def test_decompression_bomb(tmp_path, read):
    path = png(tmp_path / "a.png", 30000, 30000, 8, 0, bytes(100))
    with pytest.raises(UserError, match="cannot be read as an image") as error:
        read(path)
    assert_one_line_about(error, path)


@pytest.mark.parametrize("read", [read_image, read_mask, read_size])
@pytest.mark.parametrize("color_type", [0, 2, 3, 6])
def test_decompression_bomb_is_not_begun(tmp_path, read, color_type):
    """Neither time nor memory goes into a picture of 900 million pixels: 0.9 GB at the least."""
    palette = [(b"PLTE", bytes(6))] if color_type == 3 else []
    rows = zlib.compress(bytes(30001 * 300))
    path = png(tmp_path / "a.png", 30000, 30000, 8, color_type, rows, palette)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(UserError, match="cannot be read as an image"):
        read(path)
    assert time.process_time() - start < 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize("read", [read_image, read_mask, read_size])
def test_damaged_chunk(tmp_path, read):
    # The header chunk's length: the chunk seems to end too early.
    path = save(tmp_path / "a.png", noise(channels=0))
    data = bytearray(path.read_bytes())
    data[11] = 3
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        read(path)
    assert_one_line_about(error, path)


@pytest.mark.parametrize("name", ["whole.png", "whole.gif", "truncated.png", "truncated.jpg"])
def test_files_are_closed(tmp_path, name):
    path = save(tmp_path / name, noise(40, 60))
    if name.startswith("truncated"):
        truncated(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for read in (read_image, read_mask, read_size):
            try:
                read(path)
            except UserError:
                pass
    assert not [str(warning.message) for warning in caught]


# Masks


def palette_mask(ids):
    picture = Image.fromarray(ids)
    picture.putpalette(noise(1, 256).tobytes())
    return picture


def test_palette_indices_are_kept(tmp_path):
    ids = np.arange(256, dtype=np.uint8).reshape(8, 32)
    path = save(tmp_path / "a.png", palette_mask(ids))
    with Image.open(path) as picture:
        assert picture.mode == "P"
    mask = read_mask(path)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, ids)


def test_grey_values_are_kept(tmp_path):
    ids = np.arange(256, dtype=np.uint8).reshape(8, 32)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", ids)), ids)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palette_masks_of_few_bits(tmp_path, bits):
    ids = noise(7, 13, 0) % 2**bits
    path = save(tmp_path / "a.png", palette_mask(ids), bits=bits)
    assert path.read_bytes()[24] == bits  # what the header says
    np.testing.assert_array_equal(read_mask(path), ids)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_masks_of_few_bits(tmp_path, bits):
    """Ids are what the file stores, not those grey levels stretched to 0..255."""
    ids = noise(7, 13, 0) % 2**bits
    path = png(tmp_path / "a.png", 13, 7, bits, 0, packed_rows(ids, bits))
    np.testing.assert_array_equal(read_mask(path), ids)


def test_palette_mask_with_transparency(tmp_path):
    ids = noise(channels=0) % 4
    for transparency in (0, bytes([0, 255, 255])):
        path = save(tmp_path / "a.png", palette_mask(ids), transparency=transparency)
        np.testing.assert_array_equal(read_mask(path), ids)


def test_deep_mask(tmp_path):
    ids = noise(channels=0).astype("uint16")
    mask = read_mask(save(tmp_path / "a.png", ids))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, ids)


def test_deep_mask_of_too_large_values(tmp_path):
    path = save(tmp_path / "a.png", np.array([[0, 3, 1003]], "uint16"))
    with pytest.raises(UserError, match="up to 255.*1003") as error:
        read_mask(path)
    assert_one_line_about(error, path)


COLORS = [(0, 0, 0), (128, 64, 0), (255, 255, 255), (0, 64, 128), (1, 0, 0), (0, 1, 0), (0, 0, 1)]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colored_mask(tmp_path, mode):
    """Colours that differ in one channel only, or in their order, are told apart."""
    ids = noise(channels=0) % 7
    picture = Image.fromarray(np.array(COLORS, "uint8")[ids]).convert(mode)
    path = save(tmp_path / "a.png", picture)
    mask = read_mask(path, COLORS)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, ids)
    values = [7, 255, 0, 9, 255, 3, 4]
    np.testing.assert_array_equal(read_mask(path, COLORS, values), np.array(values)[ids])


def test_colored_mask_of_other_colors(tmp_path):
    ids = noise(channels=0) % 5
    picture = np.array(COLORS, "uint8")[ids]
    picture[3, 4] = 2, 0, 0
    path = save(tmp_path / "a.png", picture)
    with pytest.raises(LabelError, match=r"\(2, 0, 0\) at row 3, column 4") as error:
        read_mask(path, COLORS)
    assert_one_line_about(error, path)
    # Beyond the highest code there is, too.
    path = save(tmp_path / "b.png", np.full((2, 2, 3), 255, "uint8"))
    with pytest.raises(LabelError, match="stand for no class"):
        read_mask(path, COLORS[:2])


def test_colored_mask_of_a_color_that_two_classes_have(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((2, 2, 3), "uint8"))
    with pytest.raises(LabelError, match="two classes have one"):
        read_mask(path, [(0, 0, 0), (1, 1, 1), (0, 0, 0)])


def test_colored_mask_seen_through(tmp_path):
    """What half a colour stands for cannot be said."""
    picture = np.zeros((2, 2, 4), "uint8")
    picture[..., 3] = 255, 254
    with pytest.raises(LabelError, match="must not be transparent"):
        read_mask(save(tmp_path / "a.png", picture), COLORS)


def test_indices_count_also_where_colors_are_given(tmp_path):
    ids = noise(channels=0) % 5
    np.testing.assert_array_equal(
        read_mask(save(tmp_path / "a.png", palette_mask(ids)), COLORS), ids
    )


# Masks in MATLAB files


def save_hdf5(path, **variables):
    """As MATLAB 7.3 writes it: HDF5 behind a header of 512 bytes, columns as rows."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            data = np.frombuffer(value.encode(), "uint8")[None] if isinstance(value, str) else value
            file[name] = np.asarray(data).T.astype(
                "uint16" if isinstance(value, str) else data.dtype
            )
            kind = b"char" if isinstance(value, str) else str(data.dtype).encode()
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")


def save_v5(path, **variables):
    scipy.io.savemat(path, variables)


def save_compressed(path, **variables):
    scipy.io.savemat(path, variables, do_compression=True)


def save_v4(path, **variables):
    scipy.io.savemat(path, variables, format="4")


WRITERS = [save_v5, save_compressed, save_hdf5]


@pytest.mark.parametrize("write", [*WRITERS, save_v4])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
def test_matrix(tmp_path, write, dtype):
    ids = noise(channels=0)
    write(tmp_path / "a.mat", S=ids.astype(dtype))
    mask = read_mask(tmp_path / "a.mat")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, ids)


@pytest.mark.parametrize("write", WRITERS)
def test_matrix_among_other_things(tmp_path, write):
    """A number, a text, fractions, and an array of three dimensions are no label maps."""
    ids = noise(channels=0)
    others = {"n": np.array([[3.0]]), "name": "some", "p": ids / 7, "rgb": noise()}
    write(tmp_path / "a.mat", S=ids, **others)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.mat"), ids)
    write(tmp_path / "a.mat", S=ids, T=ids + 1, **others)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.mat", key="S"), ids)
    with pytest.raises(LabelError, match=r"one matrix.*`mask_key`.*It holds S, T") as error:
        read_mask(tmp_path / "a.mat")
    assert_one_line_about(error, tmp_path / "a.mat")
    for key in ("U", "name", "p", "rgb", "S.x"):
        with pytest.raises(LabelError, match=f"a matrix '{re.escape(key)}'"):
            read_mask(tmp_path / "a.mat", key=key)


def test_matrix_within_a_structure(tmp_path):
    """As in SBD's files."""
    ids = noise(channels=0)
    edges = scipy.sparse.csc_matrix(ids % 2)
    save_v5(tmp_path / "a.mat", GTcls={"Boundaries": edges, "Segmentation": ids})
    np.testing.assert_array_equal(read_mask(tmp_path / "a.mat", key="GTcls.Segmentation"), ids)
    with h5py.File(tmp_path / "b.mat", "w") as file:
        file["GTcls/Segmentation"] = ids.T
    np.testing.assert_array_equal(read_mask(tmp_path / "b.mat", key="GTcls.Segmentation"), ids)
    for name in "ab":
        for key in (None, "GTcls", "GTcls.Boundaries", "GTcls.None"):
            with pytest.raises(LabelError):
                read_mask(tmp_path / f"{name}.mat", key=key)


@pytest.mark.parametrize("write", WRITERS)
def test_matrix_of_one_pixel(tmp_path, write):
    write(tmp_path / "a.mat", S=np.array([[3]], "uint8"))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.mat"), [[3]])


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("value", [-1, 256, 459])
def test_matrix_of_other_values(tmp_path, write, value):
    write(tmp_path / "a.mat", S=np.array([[0, 1], [2, value]], "int16"))
    with pytest.raises(LabelError, match=f"0 up to 255. This one holds {value}"):
        read_mask(tmp_path / "a.mat")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_matrix_of_no_whole_numbers(tmp_path, value):
    save_v5(tmp_path / "a.mat", S=np.array([[0, 1], [2, value]]))
    with pytest.raises(LabelError, match="It holds none"):
        read_mask(tmp_path / "a.mat")


@pytest.mark.parametrize("write", WRITERS)
def test_truncated_matrix(tmp_path, write):
    path = tmp_path / "a.mat"
    write(path, S=noise(100, 100, 0))
    for share in (0, 0.01, 0.3, 0.9):
        write(path, S=noise(100, 100, 0))
        with pytest.raises(UserError, match="cannot be read as a MATLAB file") as error:
            read_mask(truncated(path, share))
        assert_one_line_about(error, path)


def test_no_matlab_file(tmp_path):
    path = tmp_path / "a.mat"
    for make in (lambda: None, path.mkdir, lambda: (path.rmdir(), path.write_text("no"))):
        make()
        with pytest.raises(UserError, match="cannot be read as a MATLAB file") as error:
            read_mask(path)
        assert_one_line_about(error, path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colored_mask_is_refused(tmp_path, mode):
    path = save(tmp_path / "a.png", Image.fromarray(noise()).convert(mode))
    with pytest.raises(UserError, match="holds colours .*`colors`") as error:
        read_mask(path)
    assert_one_line_about(error, path)


# Sizes


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp"])
def test_size_is_height_then_width(tmp_path, suffix):
    assert read_size(save(tmp_path / f"a{suffix}", noise(11, 17))) == (11, 17)


def test_size_where_exif_comes_last(tmp_path):
    """PNG allows the EXIF data behind the pixels."""
    path = save(tmp_path / "a.png", noise(), exif=exif(6))
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    stop = start + 12 + int.from_bytes(data[start : start + 4])
    path.write_bytes(data[:start] + data[stop:-12] + data[start:stop] + data[-12:])
    image = read_image(path)
    np.testing.assert_array_equal(image, UPRIGHT[6](noise()))
    assert read_size(path) == image.shape[:2]


def test_size_is_read_without_decoding(tmp_path, monkeypatch):
    """Also of PNGs with text in them, which is no EXIF data."""
    rows = b"".join(b"\0" + row.tobytes() for row in noise())
    chunks = [(b"tEXt", b"Software\0ours"), (b"iTXt", b"Title\0\0\0\0\0a"), (b"tIME", bytes(7))]
    path = png(tmp_path / "a.png", 17, 11, 8, 2, rows, chunks)
    np.testing.assert_array_equal(read_image(path), noise())

    def load(image):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    assert read_size(path) == (11, 17)
    assert read_size(save(tmp_path / "b.png", noise(), exif=exif(6))) == (17, 11)
