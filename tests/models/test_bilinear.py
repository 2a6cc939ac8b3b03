import keras
import numpy as np
import pytest

from fcn_keras import Bilinear
from fcn_keras.models.bilinear import bilinear_kernel, interpolate

# (kernel, stride) of upsampling layers: 2s for even and 2s - 1 for odd kernels.
UPSAMPLINGS = [(3, 2), (4, 2), (6, 3), (10, 5), (16, 8), (32, 16), (63, 32), (64, 32)]


def kernel_by_formula(size):
    """Weight 1 at the centre, falling off linearly to either side; entry by entry."""
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 == 1 else factor - 0.5
    kernel = np.empty((size, size))
    for row in range(size):
        for column in range(size):
            across = 1 - abs(column - centre) / factor
            kernel[row, column] = (1 - abs(row - centre) / factor) * across
    return kernel


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 10, 16, 32, 63, 64])
def test_kernel_against_formula(size):
    kernel = bilinear_kernel(size)
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, kernel_by_formula(size), rtol=1e-6)


@pytest.mark.parametrize(
    "size, line",
    [
        (3, [0.5, 1, 0.5]),
        (4, [0.25, 0.75, 0.75, 0.25]),
        (16, [0.0625, 0.1875, 0.3125]),
        (32, [0.03125, 0.09375, 0.15625]),
        (63, [0.03125, 0.0625, 0.09375]),
        (64, [0.015625, 0.046875, 0.078125]),
    ],
)
def test_published_numbers(size, line):
    kernel = bilinear_kernel(size)
    # The first row is the line times its own first weight.
    np.testing.assert_array_equal(kernel[0, : len(line)], np.float32(line) * np.float32(line[0]))
    np.testing.assert_array_equal(kernel, kernel.T)
    np.testing.assert_array_equal(kernel, kernel[::-1, ::-1])


@pytest.mark.parametrize("size, stride", UPSAMPLINGS)
def test_gain_is_one(size, stride):
    """Each output pixel of the interior is a sum of weights that are `stride` apart."""
    kernel = bilinear_kernel(size)
    for row in range(stride):
        for column in range(stride):
            assert kernel[row::stride, column::stride].sum() == pytest.approx(1, abs=1e-6)


def test_odd_kernel_keeps_the_value_at_its_centre():
    assert bilinear_kernel(63)[31, 31] == 1


def test_kernel_of_no_size():
    with pytest.raises(ValueError, match="size=0"):
        bilinear_kernel(0)


@pytest.mark.parametrize("size, stride", UPSAMPLINGS)
def test_ramp_stays_a_ramp(size, stride):
    cells = (5, 7)
    row, column = np.mgrid[: cells[0], : cells[1]].astype("float32")
    layer = keras.layers.Conv2DTranspose(
        2, size, strides=stride, use_bias=False, kernel_initializer=Bilinear()
    )
    big = np.asarray(layer(np.stack([row, column], -1)[None]))[0]
    # Output `o` lies at this place between the cells; between the first and the last of them
    # every value is interpolated.
    places = [(np.arange(n) - (size - 1) / 2) / stride for n in big.shape[:2]]
    inside = [(p >= 0) & (p <= n - 1) for p, n in zip(places, cells, strict=True)]
    assert [keep.sum() for keep in inside] == [
        stride * (n - 1) + size % 2 for n in cells
    ]  # odd kernels hit the cells themselves
    expected = np.stack(np.meshgrid(*places, indexing="ij"), -1)
    cut = np.ix_(*inside)
    np.testing.assert_allclose(big[cut], expected[cut], atol=1e-5)


def test_channels_do_not_mix():
    kernel = np.asarray(Bilinear()((4, 4, 3, 3)))
    for out in range(3):
        for into in range(3):
            expected = bilinear_kernel(4) if out == into else np.zeros((4, 4))
            np.testing.assert_array_equal(kernel[:, :, out, into], expected)


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 3, 8, 32])
@pytest.mark.parametrize("cells", [(1, 1), (3, 5)])
def test_interpolation_is_the_transposed_convolution(cells, stride, odd):
    size = 2 * stride - odd
    layer = keras.layers.Conv2DTranspose(
        4, size, strides=stride, use_bias=False, kernel_initializer=Bilinear()
    )
    x = np.random.default_rng(0).normal(size=(2, *cells, 4)).astype("float32")
    expected = keras.ops.convert_to_numpy(layer(x))
    found = keras.ops.convert_to_numpy(interpolate(keras.ops.convert_to_tensor(x), stride, size))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 3, 8])
def test_a_part_of_what_is_interpolated(stride, odd):
    size = 2 * stride - odd
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 2)).astype("float32")
    whole = keras.ops.convert_to_numpy(interpolate(x, stride, size))
    for top in range(whole.shape[1]):
        for left, rows, columns in ((0, 1, None), (top, whole.shape[1] - top, 2), (1, None, 5)):
            left, columns = min(left, whole.shape[2] - 1), columns and min(columns, 3)
            if columns and left + columns > whole.shape[2]:
                continue
            found = interpolate(x, stride, size, (top, rows), (left, columns))
            expected = whole[:, top:][:, :rows, left:][:, :, :columns]
            np.testing.assert_allclose(
                keras.ops.convert_to_numpy(found), expected, rtol=0, atol=1e-6
            )


def test_dtype():
    assert Bilinear()((2, 2, 1, 1)).dtype == keras.config.floatx()
    assert keras.backend.standardize_dtype(Bilinear()((2, 2, 1, 1), "bfloat16").dtype) == "bfloat16"


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (4, 4, 2, 3), (4, 4, 3, 1)])
def test_kernels_that_cannot_be_filled(shape):
    with pytest.raises(ValueError) as error:
        Bilinear()(shape)
    assert f"shape={shape}" in str(error.value)


def test_layer_with_other_channels_cannot_be_built():
    layer = keras.layers.Conv2DTranspose(5, 4, strides=2, kernel_initializer=Bilinear())
    with pytest.raises(ValueError, match="as many channels out as in"):
        layer.build((None, 8, 8, 3))


def test_serialization():
    again = keras.initializers.deserialize(keras.initializers.serialize(Bilinear()))
    assert type(again) is Bilinear
    np.testing.assert_array_equal(again((6, 6, 2, 2)), Bilinear()((6, 6, 2, 2)))


def test_layer_config():
    layer = keras.layers.Conv2DTranspose(2, 4, strides=2, kernel_initializer=Bilinear())
    again = keras.layers.Conv2DTranspose.from_config(layer.get_config())
    again.build((None, 3, 3, 2))
    np.testing.assert_array_equal(again.kernel, Bilinear()((4, 4, 2, 2)))
