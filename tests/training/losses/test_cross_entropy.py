import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras import PixelCrossEntropy
from fcn_keras.training.losses.cross_entropy import pixel_cross_entropy
from fcn_keras.training.settings import NORMALIZATIONS

CLASSES = 4
VOID = 255


def batch(seed=0, void=True):
    """Logits and labels of three images; a part of the first and all of the second are void."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((3, 5, 7, CLASSES)).astype("float32")
    labels = rng.integers(0, CLASSES, (3, 5, 7)).astype("uint8")
    if void:
        labels[0, :2] = VOID
        labels[1] = VOID
    return labels, logits


def cross_entropies(labels, logits, ignore_label=VOID):
    """The formula, pixel by pixel, in float64; 0 for void."""
    loss = np.zeros(labels.shape)
    for place in np.ndindex(labels.shape):
        if labels[place] != ignore_label:
            line = logits[place].astype("float64")
            loss[place] = np.log(np.exp(line).sum()) - line[labels[place]]
    return loss


def test_cross_entropy_of_each_pixel():
    labels, logits = batch()
    loss, valid = pixel_cross_entropy(labels, logits)
    np.testing.assert_allclose(loss, cross_entropies(labels, logits), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(valid, labels != VOID)


@pytest.mark.parametrize(
    "normalization, divisor",
    # Of 3 images of 35 pixels, 14 pixels of one and the whole of another are void.
    [("sum", 1), ("valid_pixels", 21 + 35), ("image", 2)],
)
def test_normalization(normalization, divisor):
    labels, logits = batch()
    loss = PixelCrossEntropy(normalization=normalization)(labels, logits)
    expected = cross_entropies(labels, logits).sum() / divisor
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_valid_pixels_is_the_default_normalization():
    labels, logits = batch()
    expected = PixelCrossEntropy(normalization="valid_pixels")(labels, logits)
    assert float(PixelCrossEntropy()(labels, logits)) == float(expected)


def test_unknown_normalization():
    with pytest.raises(ValueError, match="sum, valid_pixels, image.*'mean'"):
        PixelCrossEntropy(normalization="mean")


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_class_weights(normalization):
    labels, logits = batch()
    weights = [0.5, 2.0, 0.0, 3.0]
    plain = PixelCrossEntropy(normalization=normalization)
    weighted = PixelCrossEntropy(normalization=normalization, class_weights=weights)
    losses = cross_entropies(labels, logits)
    per_pixel = np.array([*weights, *[0] * (256 - CLASSES)])[labels]
    # What is divided by stays the number of pixels or images.
    expected = float(plain(labels, logits)) * (losses * per_pixel).sum() / losses.sum()
    assert float(weighted(labels, logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_labels_with_and_without_a_channel(dtype):
    labels, logits = batch()
    labels = labels.astype(dtype)
    loss = PixelCrossEntropy()
    assert float(loss(labels[..., None], logits)) == float(loss(labels, logits))


@pytest.mark.parametrize("ignore_label", [-1, 0, 3, 200])
def test_other_void_labels(ignore_label):
    labels, logits = batch(void=False)
    labels = labels.astype("int32")
    labels[0, 0] = ignore_label
    loss = PixelCrossEntropy(ignore_label, "sum")(labels, logits)
    expected = cross_entropies(labels, logits, ignore_label).sum()
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_logits_at_void_do_not_count():
    labels, logits = batch()
    other = np.where((labels == VOID)[..., None], 50 - logits, logits)
    loss = PixelCrossEntropy()
    assert float(loss(labels, other)) == float(loss(labels, logits))


def test_pixels_of_different_images_weigh_alike():
    """The loss of a batch is that of all its pixels, not a mean of its images' means."""
    labels, logits = batch()
    loss = PixelCrossEntropy()
    together = float(loss(labels, logits)) * (21 + 35)
    apart = float(loss(labels[:1], logits[:1])) * 21 + float(loss(labels[2:], logits[2:])) * 35
    assert together == pytest.approx(apart, rel=1e-5)


@pytest.mark.parametrize(
    "height, width, classes, published", [(500, 375, 21, 570_848), (480, 640, 40, 1_133_224)]
)
def test_first_loss_of_the_reference(height, width, classes, published):
    """Scores start at zero: every class is as likely, and the loss is ln(C) at every pixel."""
    labels = np.zeros((1, height, width), "uint8")
    loss = PixelCrossEntropy(normalization="sum")(
        labels, np.zeros((1, height, width, classes), "float32")
    )
    assert float(loss) == pytest.approx(published, abs=1)
    assert float(loss) == pytest.approx(math.log(classes) * height * width, rel=1e-6)


def test_first_loss_leaves_void_out():
    labels, logits = batch()
    loss = PixelCrossEntropy(normalization="sum")(labels, np.zeros_like(logits))
    assert float(loss) == pytest.approx(math.log(CLASSES) * (21 + 35), rel=1e-6)


@pytest.mark.parametrize("normalization, divisor", [("sum", 1), ("valid_pixels", 56), ("image", 2)])
def test_gradient(normalization, divisor):
    labels, logits = batch()
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = PixelCrossEntropy(normalization=normalization)(labels, variable)
    gradient = np.asarray(tape.gradient(loss, variable))

    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    softmax = exponents / exponents.sum(-1, keepdims=True)
    valid = labels != VOID
    onehot = np.eye(CLASSES)[np.where(valid, labels, 0)]
    expected = np.where(valid[..., None], softmax - onehot, 0) / divisor
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    assert not gradient[~valid].any()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 3.0, 4.0]])
def test_batch_without_a_pixel_that_counts(normalization, class_weights):
    labels, logits = batch()
    labels[:] = VOID
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = PixelCrossEntropy(normalization=normalization, class_weights=class_weights)(
            labels, variable
        )
    assert float(loss) == 0
    np.testing.assert_array_equal(tape.gradient(loss, variable), np.zeros_like(logits))


def test_big_logits_do_not_overflow():
    labels = np.zeros((1, 1, 2), "uint8")
    logits = np.array([[[[1e4, -1e4], [-1e4, 1e4]]]], "float32")
    loss, _ = pixel_cross_entropy(labels, logits)
    np.testing.assert_allclose(loss, [[[0, 2e4]]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_logits_are_widened(dtype):
    """A sum over 1e5 pixels would be infinite in float16, and each of them coarse in bfloat16."""
    labels = np.zeros((1, 400, 250), "uint8")
    logits = tf.zeros((1, 400, 250, 8), dtype)
    of_pixels, _ = pixel_cross_entropy(labels, logits)
    assert of_pixels.dtype == tf.float32
    np.testing.assert_allclose(of_pixels, math.log(8), rtol=1e-6)
    loss = PixelCrossEntropy(normalization="sum")(labels, logits)
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(1e5 * math.log(8), rel=1e-5)


def test_the_same_inside_a_compiled_function():
    labels, logits = batch()
    loss = PixelCrossEntropy(normalization="image", class_weights=[1.0, 2.0, 3.0, 4.0])
    # Free sizes, as in training on images of different sizes.
    compiled = tf.function(
        loss,
        input_signature=[
            tf.TensorSpec((None, None, None), tf.uint8),
            tf.TensorSpec((None, None, None, CLASSES), tf.float32),
        ],
    )
    assert float(compiled(labels, logits)) == pytest.approx(float(loss(labels, logits)), rel=1e-6)


def color_model():
    return keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])


def color_data():
    """The label is 1 where red is above one half; one column is void."""
    images = np.random.default_rng(0).random((6, 8, 8, 3)).astype("float32")
    labels = (images[..., :1] > 0.5).astype("uint8")
    labels[:, :, 3] = VOID
    return images, labels


def test_training():
    keras.utils.set_random_seed(0)
    images, labels = color_data()
    model = color_model()
    model.compile(keras.optimizers.Adam(0.1), PixelCrossEntropy())
    before = model.evaluate(images, labels, batch_size=6, verbose=0)
    model.fit(images, labels, batch_size=3, epochs=15, verbose=0)
    after = model.evaluate(images, labels, batch_size=6, verbose=0)
    expected = cross_entropies(labels[..., 0], np.asarray(model(images))).sum() / (6 * 8 * 7)
    assert after == pytest.approx(expected, rel=1e-5)
    assert after < before / 2


def test_config():
    loss = PixelCrossEntropy(7, "image", [1.0, 2.0, 3.0, 4.0], name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is PixelCrossEntropy
    assert again.get_config() == loss.get_config()
    labels, logits = batch()
    labels[labels == VOID] = 7
    assert float(again(labels, logits)) == float(loss(labels, logits))


def test_compiled_model_keeps_its_loss(tmp_path):
    images, labels = color_data()
    model = color_model()
    model.compile("sgd", PixelCrossEntropy(normalization="sum"))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(images, labels, verbose=0) == model.evaluate(images, labels, verbose=0)
