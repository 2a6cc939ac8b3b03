"""What images are on average, channel by channel."""

import numpy as np
import pytest

from fcn_keras.data.dataset import Example
from fcn_keras.data.statistics import channel_statistics


def split_of(images, labels=None):
    labels = labels or [np.zeros((*image.shape[:2], 1), "uint8") for image in images]
    return [Example(*pair, str(i)) for i, pair in enumerate(zip(images, labels, strict=True))]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("offset", [0, 200])
def test_all_pixels_count_once(dtype, offset):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 50, (h, h + 3, 2)) + [offset, 7] for h in (5, 11, 20)]
    found = channel_statistics(split_of([image.astype(dtype) for image in images]))
    pixels = np.concatenate([image.reshape(-1, 2) for image in images])
    assert found.dtype == dtype
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(axis=0), rtol=1e-10)


def test_large_numbers_keep_their_digits():
    rng = np.random.default_rng(0)
    images = [(1e6 + rng.normal(size=(40, 40, 1))).astype("float32") for _ in range(3)]
    found = channel_statistics(split_of(images))
    pixels = np.concatenate(images).astype("float64")
    np.testing.assert_allclose(found.std, [pixels.std()], rtol=1e-9)


@pytest.mark.parametrize("count", range(1, 24))
def test_a_channel_that_is_always_the_same(count):
    """Such as the opacity of photographs: what is left of sums must not be divided by."""
    images = [np.full((8, 8, 2), (255, 7), "uint8") for _ in range(count)]
    found = channel_statistics(split_of(images))
    np.testing.assert_allclose(found.mean, (255, 7), rtol=1e-12)
    assert found.std == (1.0, 1.0)


def test_void_pixels_do_not_count():
    """What stands for nothing in a raster is void in its mask."""
    rng = np.random.default_rng(0)
    images = [rng.normal(1000, 100, (20, 20, 2)).astype("float32") for _ in range(3)]
    labels = [(rng.random((20, 20, 1)) < 0.3).astype("uint8") * 255 for _ in range(3)]
    right = channel_statistics(split_of([image.copy() for image in images], labels))
    for image, label in zip(images, labels, strict=True):
        image[label[..., 0] == 255] = -9999
    found = channel_statistics(split_of(images, labels))
    assert found == right and 950 < found.mean[0] < 1050 and 80 < found.std[0] < 120
    labels[1][:] = 255  # an image without a label
    assert np.isfinite(channel_statistics(split_of(images, labels)).mean).all()
