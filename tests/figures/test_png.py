import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fcn_keras.figures import png
from fcn_keras.figures.png import write_png


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5), (90, 121)])
@pytest.mark.parametrize("many", [1, 1 << 18])
@pytest.mark.parametrize("runs", [True, False])
def test_others_read_what_is_written(tmp_path, monkeypatch, size, many, runs):
    """Whether rows are compressed one by one or together."""
    monkeypatch.setattr(png, "_BYTES", many)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    pixels[size[0] // 2 :, size[1] // 3 :] = (0, 255, 7)
    write_png(tmp_path / "a.png", pixels, runs)
    content = (tmp_path / "a.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(picture), pixels)
    np.testing.assert_array_equal(tf.io.decode_png(content), pixels)  # libpng: checks all sums


def test_pixels_may_lie_anywhere(tmp_path):
    """A grey picture's channels are one; others are cut from larger ones."""
    noise = np.random.default_rng(1).integers(0, 256, (40, 50, 4), np.uint8)
    for pixels in (np.broadcast_to(noise[..., :1], (40, 50, 3)), noise[::-2, 3:, :3]):
        write_png(tmp_path / "a.png", pixels)
        with Image.open(tmp_path / "a.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_size_is_near_pillows(tmp_path):
    y, x = np.mgrid[:200, :300]
    waves = (
        120 + 60 * np.sin(y / 31) * np.cos(x / 47) + np.random.default_rng(2).normal(size=y.shape)
    )
    pixels = np.stack([waves, waves[::-1], 0 * waves], axis=-1).astype(np.uint8)
    write_png(tmp_path / "a.png", pixels)
    usual = io.BytesIO()
    Image.fromarray(pixels).save(usual, "PNG", compress_level=1)
    assert (tmp_path / "a.png").stat().st_size < 1.25 * usual.tell()
