import numpy as np
import pytest

from fcn_keras.data.palette import palette_for, voc_palette


def test_voc_palette():
    palette = voc_palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 8: (64, 0, 0)}
    known |= {15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    for label, color in known.items():
        assert tuple(palette[label]) == color
    assert len(np.unique(palette, axis=0)) == 256
    np.testing.assert_array_equal(voc_palette(21), palette[:21])


def test_palette_for():
    palette = palette_for([(1, 2, 3), (255, 0, 9)])
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    assert palette[:2].tolist() == [[1, 2, 3], [255, 0, 9]]
    np.testing.assert_array_equal(palette[2:], voc_palette()[2:])
    assert tuple(palette_for([(0, 0, 0)] * 255)[255]) == (224, 224, 192)
    np.testing.assert_array_equal(palette_for([]), voc_palette())


@pytest.mark.parametrize(
    "colors", [[(0, 0, 256)], [(-1, 0, 0)], [(0.5, 0.5, 0.5)], [(0, 0)], [(0, 0, 0)] * 256]
)
def test_palette_for_refuses(colors):
    with pytest.raises(ValueError):
        palette_for(colors)
