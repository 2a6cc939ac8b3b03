"""Strides taken out of the trunk: the same numbers, and those between them."""

from math import ceil

import keras
import numpy as np
import pytest
from helpers.networks import outputs_of, photo, scatter_scores, small
from keras import ops

from fcn_keras import UserError
from fcn_keras.models.geometry import IMAGE, DensePool
from fcn_keras.models.layers import Feature, pool
from fcn_keras.models.variants import FCN32S, VARIANTS

STRIDES = (16, 8)
GEOMETRIES = ("paper", "same")
# How many cells fc6 has more on either side, without which the scores would not reach pixel 0.
BORDER = {16: 0, 8: 1}
# What cell 0 of fc7 looks at, where nothing is dilated.
SHIFT = {"paper": 12.5, "same": 15.5}


@pytest.fixture(
    scope="module", params=[("fcn32s", "paper"), ("fcn32s", "same"), ("fcn32s-hha", "paper")]
)
def strided(request):
    variant, geometry = request.param
    return scatter_scores(small(variant, 2, geometry=geometry, width=1 / 32)), geometry


def dilated(strided, stride):
    """The same network with strides taken out, its weights taken one by one."""
    model, geometry = strided
    new = small(model.name, 2, geometry=geometry, width=1 / 32, output_stride=stride)
    for layer in new.layers:
        if layer.weights and layer.name != "upscore":
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return new


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("size", [(60, 97), (131, 64), (1, 33)])
def test_the_same_where_both_look(strided, stride, size):
    every, first = 32 // stride, BORDER[stride]
    image = photo(*size)
    model = dilated(strided, stride)
    for name in ("fc7", "score_fr"):
        coarse = outputs_of(strided[0], image, name)[name]
        dense = outputs_of(model, image, name)[name]
        found = dense[:, first::every, first::every]
        found = found[:, : coarse.shape[1], : coarse.shape[2]]
        assert found.shape == coarse.shape and np.ptp(coarse) > 0
        np.testing.assert_allclose(found, coarse, rtol=0, atol=2e-6 * np.abs(coarse).max())


# Shift and stitch: what is dilated against what is shifted, pooled and interleaved.


def convolved(model, x, names):
    """Convolutions of a network as they are where nothing is dilated."""
    for name in names:
        kernel, bias = model.get_layer(name).get_weights()
        padding = "same" if name.startswith("conv") else "valid"
        x = ops.relu(ops.conv(x, kernel, padding=padding) + bias)
    return x


def strided_tail(model, x, fc6_pad):
    """From the map behind pool5 to the scores."""
    x = ops.pad(x, [[0, 0], [fc6_pad] * 2, [fc6_pad] * 2, [0, 0]])
    x = convolved(model, x, ["fc6", "fc7"])
    kernel, bias = model.get_layer("score_fr").get_weights()
    return ops.convert_to_numpy(ops.conv(x, kernel) + bias)


def stitched(model, x, fc6_pad, block):
    """Scores of every shift of a map, from `pool<block>` on, put between each other."""
    parts = {}
    for i in (0, 1):
        for j in (0, 1):
            pooled = ops.max_pool(x[:, i:, j:], 2, 2, padding="same")
            if block == 5:
                parts[i, j] = strided_tail(model, pooled, fc6_pad)
            else:
                pooled = convolved(model, pooled, [f"conv5_{k}" for k in (1, 2, 3)])
                parts[i, j] = stitched(model, pooled, fc6_pad, 5)
    rows = parts[0, 0].shape[1] + parts[1, 0].shape[1]
    columns = parts[0, 0].shape[2] + parts[0, 1].shape[2]
    whole = np.full((len(x), rows, columns, parts[0, 0].shape[-1]), np.nan, "float32")
    for (i, j), part in parts.items():
        whole[:, i::2, j::2] = part
    assert np.isfinite(whole).all()
    return whole


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("size", [(60, 97), (133, 72)])
def test_shift_and_stitch(strided, stride, size):
    _, geometry = strided
    model, image = dilated(strided, stride), photo(*size)
    block = {16: 5, 8: 4}[stride]
    found = outputs_of(model, image, f"conv{block}_3", "score_fr")
    expected = stitched(model, found[f"conv{block}_3"], {"paper": 0, "same": 3}[geometry], block)
    first = BORDER[stride]
    cut = slice(first, -first or None)
    scores = found["score_fr"][:, cut, cut]
    assert scores.shape == expected.shape
    np.testing.assert_allclose(scores, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_dense_pooling(dilation):
    """The maximum of each cell and those a dilation further, as far as there are any."""
    x = keras.Input((None, None, 2))
    feature = pool(Feature(x, IMAGE), DensePool(dilation=dilation), "pool")
    model = keras.Model(x, feature.tensor)
    for size in [(1, 9), (3, 4), (8, 5)]:
        image = np.random.default_rng(0).uniform(0, 1, (1, *size, 2)).astype("float32")
        expected = np.empty_like(image)
        for row in range(size[0]):
            for column in range(size[1]):
                window = image[:, row::dilation, column::dilation][:, :2, :2]
                expected[:, row, column] = window.max(axis=(1, 2))
        np.testing.assert_array_equal(model(image), expected)
    assert (feature.grid.stride, feature.grid.shift) == (1, dilation / 2)


# Upsampling


def test_scores_lie_over_the_pixels_they_belong_to(strided):
    geometry = strided[1]
    for stride in STRIDES:
        model = dilated(strided, stride)
        heads = keras.Model([model.input, model.get_layer("drop7").output], model.output)
        conv = model.get_layer("score_fr")
        kernel, bias = (np.zeros_like(w) for w in conv.get_weights())
        kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = 1
        conv.set_weights([kernel, bias])
        size = (131, 90)
        image = np.zeros((1, *size, 3), "float32")
        place = np.zeros_like(outputs_of(model, image, "drop7")["drop7"])
        y, x = (
            stride * (np.arange(n) - BORDER[stride]) + SHIFT[geometry] for n in place.shape[1:3]
        )
        place[0, ..., 0], place[0, ..., 1] = y[:, None], x
        found = np.asarray(heads([image, place]))[0]
        expected = np.moveaxis(np.mgrid[: size[0], : size[1]], 0, -1)
        inside = (slice(ceil(y[0]), int(y[-1]) + 1), slice(ceil(x[0]), int(x[-1]) + 1))
        assert all(part.stop - part.start > 40 for part in inside)
        assert np.abs(found[inside] - expected[inside]).max() < 1e-4


def pooled(n, times):
    for _ in range(times):
        n = -(-n // 2)
    return n


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("stride", STRIDES)
def test_scores_cover_every_image(stride, geometry):
    """Sizes and places written out: the upsampled map begins before pixel 0 and ends behind n."""
    dilation, halvings = 32 // stride, {16: 4, 8: 3}[stride]
    for n in range(1, 201):
        cells = pooled(n + (198 if geometry == "paper" else 0), halvings)
        fc6_pad = {"paper": 0, "same": 3}[geometry] * dilation + BORDER[stride]
        cells += 2 * fc6_pad - 6 * dilation
        assert cells >= 1
        size = stride * (cells - 1) + 2 * stride
        first = SHIFT[geometry] - BORDER[stride] * stride - (2 * stride - 1) / 2
        assert first == int(first) <= 0
        assert size + first >= n, (n, size, first)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("stride", STRIDES)
def test_scores_have_the_size_of_the_image(stride, geometry):
    model = scatter_scores(
        small("fcn32s", 2, geometry=geometry, width=1 / 64, output_stride=stride)
    )
    for size in [(1, 1), (2, 3), (7, 31), (32, 33), (64, 100), (129, 200)]:
        logits = np.asarray(model(photo(*size)))
        assert logits.shape == (1, *size, 2)
        # Each pixel is reached by a cell.
        assert (np.abs(logits).max(axis=-1) > 0).all()


@pytest.mark.parametrize("stride", STRIDES)
def test_upsampling_is_bilinear(strided, stride):
    model = dilated(strided, stride)
    (kernel,) = model.get_layer("upscore").get_weights()
    line = 1 - np.abs(np.arange(2 * stride) - (2 * stride - 1) / 2) / stride
    expected = np.outer(line, line)[:, :, None, None] * np.eye(2)
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)


# Files and mistakes


@pytest.mark.parametrize("stride", STRIDES)
def test_weights_of_a_file_that_is_not_dilated(strided, stride, tmp_path):
    model, geometry = strided
    model.save(tmp_path / "net.keras")
    options = dict(weights=tmp_path / "net.keras", geometry=geometry, width=1 / 32)
    found = small(model.name, 2, output_stride=stride, **options)
    expected = dilated(strided, stride)
    image = photo(40, 50)
    np.testing.assert_allclose(found(image), expected(image), atol=1e-5)


def test_a_dilated_network_needs_no_package(tmp_path):
    model = scatter_scores(small("fcn32s", 2, output_stride=8))
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(photo(40, 50)), model(photo(40, 50)), atol=1e-5)
    found = small("fcn32s", 2, output_stride=8, weights=tmp_path / "net.keras")
    np.testing.assert_allclose(found(photo(40, 50)), model(photo(40, 50)), atol=1e-5)


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v not in FCN32S])
@pytest.mark.parametrize("stride", STRIDES)
def test_others_cannot_be_dilated(variant, stride):
    with pytest.raises(UserError, match=f"`output_stride` of {variant} must be 32.*{stride}"):
        small(variant, output_stride=stride)
