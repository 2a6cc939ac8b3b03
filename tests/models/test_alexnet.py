"""FCN-AlexNet: CaffeNet's layers, as Caffe and the reference's prototxt have them."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.networks import outputs_of, photo, scatter_scores, small

from fcn_keras import FCNAlexNet, PixelCrossEntropy, UserError, build
from fcn_keras.models.geometry import IMAGE, Pool
from fcn_keras.models.layers import Feature, normalize_responses, pool
from fcn_keras.training.caffe_sgd import CaffeSGD
from fcn_keras.training.task import SegmentationTask

# Weights and biases of each layer at 21 classes, and the deconvolution's kernel.
PARAMETERS = {
    "conv1": 34_944,
    "conv2": 307_456,
    "conv3": 885_120,
    "conv4": 663_936,
    "conv5": 442_624,
    "fc6": 37_752_832,
    "fc7": 16_781_312,
    "score_fr": 86_037,
    "upscore": 1_750_329,
}
ORDER = [
    *("image", "normalize", "conv1", "pool1", "norm1", "conv2", "pool2", "norm2"),
    *("conv3", "conv4", "conv5", "pool5", "fc6", "drop6", "fc7", "drop7"),
    *("score_fr", "upscore", "score"),
]
# Cells along an axis of 500 and 375 pixels.
SIZES = {
    "conv1": (173, 142),
    "pool1": (86, 71),
    "pool2": (43, 35),
    "pool5": (21, 17),
    "fc6": (16, 12),
    "upscore": (543, 415),
}


def test_the_published_network():
    model = FCNAlexNet(weights=None)
    counts = {layer.name: layer.count_params() for layer in model.layers if layer.weights}
    assert counts == PARAMETERS
    assert model.count_params() == sum(PARAMETERS.values()) == 58_704_590
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == 56_954_261
    groups = {name: model.get_layer(name).groups for name in PARAMETERS if name[:4] == "conv"}
    assert groups == {"conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2}
    assert model.get_layer("upscore").kernel_size == (63, 63)
    assert model.name == "fcn-alexnet"


def test_order_of_the_layers():
    names = [layer.name for layer in small("fcn-alexnet").layers]
    assert [name for name in names if name in ORDER] == ORDER


def test_sizes_of_the_layers():
    model = small("fcn-alexnet", width=1 / 48, elide_padding=False)
    for name, found in outputs_of(model, photo(500, 375), *SIZES, "score").items():
        assert found.shape[1:3] == SIZES.get(name, (500, 375)), name


@pytest.mark.parametrize("width, channels", [(1, 256), (1 / 48, 6), (1 / 1000, 2), (0.11, 28)])
def test_two_groups_need_an_even_number(width, channels):
    if width < 1:
        assert small("fcn-alexnet", width=width).get_layer("conv2").filters == channels
    assert channels % 2 == 0


# Layers against their formulas


def lrn(x):
    """Caffe's normalisation across channels, number by number."""
    size, alpha, beta, k = 5, 1e-4, 0.75, 1.0
    y = np.empty_like(x)
    channels = x.shape[-1]
    for c in range(channels):
        first, last = max(0, c - size // 2), min(channels, c + size // 2 + 1)
        total = sum(x[..., i] ** 2 for i in range(first, last))
        y[..., c] = x[..., c] / (k + alpha / size * total) ** beta
    return y


def normalization(channels, dtype="float32"):
    x = keras.Input((None, None, channels), dtype=dtype)
    return keras.Model(x, normalize_responses(Feature(x, IMAGE), "norm").tensor)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 12])
def test_response_normalization(channels):
    x = np.random.default_rng(0).uniform(0, 500, (2, 3, 4, channels))
    expected = lrn(x)
    assert (expected < 0.9 * x).mean() > 0.5  # it does something to numbers of this size
    np.testing.assert_allclose(normalization(channels)(x.astype("float32")), expected, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_response_normalization_in_half_precision(policy):
    """The square of 300 is too large for float16."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = normalization(8, policy.removeprefix("mixed_"))
    finally:
        keras.config.set_dtype_policy(before)
    x = np.random.default_rng(0).uniform(300, 5000, (1, 3, 3, 8)).astype("float16")
    found = np.asarray(keras.ops.cast(model(x), "float32"))
    # The layer takes x in the policy's type before anything is squared.
    seen = np.asarray(keras.ops.cast(keras.ops.cast(x, policy.removeprefix("mixed_")), "float64"))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, lrn(seen), rtol=1e-2)


def caffe_pool(x, kernel, stride):
    """Maximum over windows that are cut at the edge; the number of windows rounds up."""
    rows, columns = (math.ceil((n - kernel) / stride) + 1 for n in x.shape[1:3])
    y = np.empty((len(x), rows, columns, x.shape[-1]))
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            y[:, row, column] = x[:, top : top + kernel, left : left + kernel].max(axis=(1, 2))
    return y


@pytest.mark.parametrize("kernel", [2, 3])
def test_pooling_rounds_up(kernel):
    x = keras.Input((None, None, 2))
    model = keras.Model(x, pool(Feature(x, IMAGE), Pool(kernel, 2), "pool").tensor)
    rng = np.random.default_rng(0)
    for height in range(3, 14):
        image = rng.uniform(0, 1, (1, height, 16 - height, 2)).astype("float32")
        np.testing.assert_array_equal(model(image), caffe_pool(image, kernel, 2))


def test_convolutions_in_groups_see_their_half():
    model = small("fcn-alexnet")
    conv = model.get_layer("conv2")
    channels = conv.input.shape[-1]
    x = np.random.default_rng(0).normal(size=(1, 6, 6, channels)).astype("float32")
    kernel, bias = conv.get_weights()
    assert kernel.shape == (5, 5, channels // 2, conv.filters)
    bias = np.random.default_rng(1).normal(size=bias.shape).astype("float32")
    conv.set_weights([kernel, bias])
    window = x[0, :5, 1:6]
    half, expected = channels // 2, []
    for out in range(conv.filters):
        part = window[..., :half] if out < conv.filters // 2 else window[..., half:]
        expected.append(max(0, np.sum(part * kernel[..., out]) + bias[out]))
    found = np.asarray(conv(x))[0, 2, 3]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# Scores


def test_scores_lie_over_the_pixels_they_belong_to():
    """Cell `i` of the scores looks at `32 * i + 13`: 1 / 32 * x - 0.40625 in the reference."""
    model = small("fcn-alexnet", num_classes=2)
    heads = keras.Model([model.input, model.get_layer("drop7").output], model.output)
    conv = model.get_layer("score_fr")
    kernel, bias = conv.get_weights()
    kernel[:] = 0
    kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = 1
    conv.set_weights([kernel, bias])
    for size in [(131, 200), (160, 97), (64, 33)]:
        image = np.zeros((1, *size, 3), "float32")
        place = np.zeros_like(outputs_of(model, image, "drop7")["drop7"])
        y, x = (32 * (np.arange(n) + 0.40625) for n in place.shape[1:3])
        place[0, ..., 0], place[0, ..., 1] = y[:, None], x
        found = np.asarray(heads([image, place]))[0]
        expected = np.moveaxis(np.mgrid[: size[0], : size[1]], 0, -1)
        # Nearer to the border there is one cell only.
        inside = tuple(
            slice(13, min(n, int(line[-1]) + 1)) for n, line in zip(size, (y, x), strict=True)
        )
        assert all(part.stop - part.start > 15 for part in inside)
        assert np.abs(found[inside] - expected[inside]).max() < 1e-4, size


def test_one_shape_or_any():
    free = scatter_scores(small("fcn-alexnet"))
    fixed = small("fcn-alexnet", input_shape=(45, 70, 3))
    fixed.set_weights(free.get_weights())
    np.testing.assert_allclose(fixed(photo(45, 70)), free(photo(45, 70)), atol=1e-4)


def test_scores_under_mixed_precision():
    plain = scatter_scores(small("fcn-alexnet"))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = small("fcn-alexnet")
    finally:
        keras.config.set_dtype_policy(before)
    mixed.set_weights(plain.get_weights())
    logits, expected = (np.asarray(model(photo(45, 70))) for model in (mixed, plain))
    assert logits.dtype == np.float32
    assert np.abs(logits - expected).max() < 0.05 * np.ptp(expected)


# Training


@pytest.mark.parametrize("eagerly", [True, False])
def test_trains_on_a_cpu(eagerly):
    """Gradients of grouped convolutions are the part that TensorFlow lacks here and there."""
    keras.utils.set_random_seed(0)
    model = small("fcn-alexnet", num_classes=2, dropout=0.0)
    scatter_scores(model)
    task = SegmentationTask(model)
    task.compile(CaffeSGD(0.01, 0.9, 5e-4), run_eagerly=eagerly, jit_compile=False)
    images = photo(24, 32)
    labels = (images[..., :1] > 128).astype("uint8")
    before = {w.path: w.numpy() for w in model.trainable_weights}
    kernel = model.get_layer("upscore").get_weights()[0]
    data = tf.data.Dataset.from_tensors((images, labels)).repeat(4)
    losses = []
    for _ in range(4):
        losses += task.fit(data.take(1), verbose=0, shuffle=False).history["loss"]
    assert losses[-1] < losses[0]
    moved = {w.path: np.abs(w.numpy() - before[w.path]).max() for w in model.trainable_weights}
    assert all(np.isfinite(change) and change > 0 for change in moved.values()), moved
    np.testing.assert_array_equal(model.get_layer("upscore").get_weights()[0], kernel)


def test_trains_in_plain_keras(tmp_path):
    small("fcn-alexnet", num_classes=2).save(tmp_path / "net.keras")
    model = keras.models.load_model(tmp_path / "net.keras")
    model.compile(CaffeSGD(0.01, 0.9), PixelCrossEntropy(), jit_compile=False)
    labels = np.zeros((1, 24, 32, 1), "uint8")
    assert float(model.train_on_batch(photo(24, 32), labels)) == pytest.approx(np.log(2), rel=1e-5)
    assert float(model.train_on_batch(photo(24, 32), labels)) < 0.99 * np.log(2)


def test_imagenet_weights_are_caffes():
    with pytest.raises(UserError, match=r"bvlc_reference_caffenet\.caffemodel"):
        build("fcn-alexnet")
