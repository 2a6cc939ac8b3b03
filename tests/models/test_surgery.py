import keras
import numpy as np
import pytest
from helpers.classifiers import tiny
from keras import layers

from fcn_keras import convolutionalize
from fcn_keras.errors import UserError
from fcn_keras.models.surgery import dense_to_conv
from fcn_keras.models.weights.copying import copy_weights


def images(*size, count=2, seed=0):
    """Smooth, so that features differ from place to place, with some noise on top."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 4, 4, 3))
    smooth = np.asarray(keras.ops.image.resize(coarse, size, interpolation="bilinear"))
    return (smooth + rng.normal(0, 10, smooth.shape)).astype("float32")


def scatter_weights(model, seed=0):
    """Gives every weight a random value, biases and moving averages too, that start as 0 or 1."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        for weight in layer.weights:
            fan_in = max(1, int(np.prod(weight.shape[:-1])))
            value = rng.normal(0, (2 / fan_in) ** 0.5, weight.shape)
            if len(weight.shape) == 1:
                value = 1 + rng.uniform(-0.3, 0.3, weight.shape)
            weight.assign(value)


def assert_close(found, expected, rel=1e-5):
    """Equal up to a share of the largest number: rounding grows with what is summed."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.ptp(expected) > 0
    assert np.abs(found - expected).max() <= rel * np.abs(expected).max()


def slide(classifier, first, feature_map):
    """The classifier's own head, from its layer `first` on, at each window of a larger map."""
    head = keras.Model(classifier.get_layer(first).input, classifier.output)
    _, height, width, channels = head.input_shape
    rows, columns = feature_map.shape[0] - height + 1, feature_map.shape[1] - width + 1
    cut = [feature_map[y : y + height, x : x + width] for y in range(rows) for x in range(columns)]
    return np.reshape(head(np.array(cut)), (rows, columns, -1))


def map_into(heatmap, layer, image):
    """What the first layer of a heatmap network's head reads, for one image."""
    return np.asarray(keras.Model(heatmap.input, heatmap.get_layer(layer).input)(image))[0]


def flatten_classifier(activation="softmax"):
    """Dense layers with and without bias, and what stands between them in old networks."""
    image = keras.Input((20, 26, 3))
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="conv")(image)
    x = layers.MaxPooling2D(2, name="pool")(x)  # 5 x 6
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(16, activation="relu", name="fc1")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    x = layers.Dense(12, use_bias=False, name="fc2")(x)
    x = layers.Activation("tanh", name="tanh")(x)
    x = layers.Dense(4, activation=activation, name="predictions")(x)
    model = keras.Model(image, x, name="small")
    scatter_weights(model)
    return model


def gap_classifier(*head, keepdims=False):
    """Global average pooling, the given layers, and a dense one."""
    image = keras.Input((16, 24, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu", name="conv")(image)
    x = layers.GlobalAveragePooling2D(keepdims=keepdims, name="gap")(x)
    for layer in (*head, layers.Dense(5, name="logits")):
        x = layer(x)
    model = keras.Model(image, x)
    scatter_weights(model)
    return model


@pytest.fixture(scope="module")
def vgg():
    keras.utils.set_random_seed(0)
    model = keras.applications.VGG16(weights=None, classifier_activation=None)
    # Keras starts biases at zero, where a forgotten one would not be seen.
    rng = np.random.default_rng(0)
    for name in ("fc1", "fc2", "predictions"):
        bias = model.get_layer(name).bias
        bias.assign(rng.normal(0, 1, bias.shape))
    return model


def test_dense_to_conv():
    """A dense layer on a flattened map is the same sum as the convolution on the map."""
    rng = np.random.default_rng(0)
    feature_map, kernel = rng.random((2, 3, 5)), rng.random((30, 7))
    conv = dense_to_conv(kernel, 2, 3)
    assert conv.shape == (2, 3, 5, 7)
    expected = feature_map.reshape(1, 30) @ kernel
    np.testing.assert_allclose(np.einsum("hwc,hwcu->u", feature_map, conv)[None], expected)
    assert dense_to_conv(kernel).shape == (1, 1, 30, 7)


def test_dense_to_conv_of_another_map():
    with pytest.raises(ValueError, match="30 inputs.*4x2"):
        dense_to_conv(np.zeros((30, 7)), 4, 2)


@pytest.fixture(scope="module")
def vgg_heatmap(vgg):
    return convolutionalize(vgg)


def test_vgg_on_its_own_size(vgg, vgg_heatmap):
    image = images(224, 224, count=1)
    assert_close(vgg_heatmap(image)[:, 0, 0], vgg(image))
    assert vgg_heatmap.output_shape == (None, None, None, 1000)
    assert vgg_heatmap.name == "vgg16_heatmap"
    assert vgg_heatmap.count_params() == vgg.count_params()


def test_vgg_on_a_larger_image(vgg, vgg_heatmap):
    image = images(256, 288, count=1, seed=1)
    pool5 = map_into(vgg_heatmap, "fc1", image)
    assert pool5.shape == (8, 9, 512)
    expected = slide(vgg, "flatten", pool5)
    assert expected.shape == (2, 3, 1000)
    assert_close(vgg_heatmap(image)[0], expected)


@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_flatten_and_dense(activation):
    heatmap = convolutionalize(flatten_classifier(activation))
    assert heatmap.get_layer("fc1").kernel.shape == (5, 6, 6, 16)
    assert heatmap.get_layer("fc2").kernel.shape == (1, 1, 16, 12)
    logits = flatten_classifier(None)  # the same weights, without the activation
    image = images(20, 26)
    assert_close(heatmap(image)[:, 0, 0], logits(image))
    larger = images(28, 38, count=1, seed=1)
    expected = slide(logits, "flatten", map_into(heatmap, "fc1", larger))
    assert expected.shape == (3, 4, 4)
    assert_close(heatmap(larger)[0], expected)


@pytest.mark.parametrize("keepdims", [False, True])
def test_global_average_pooling(keepdims):
    classifier = gap_classifier(layers.Dropout(0.5), keepdims=keepdims)
    heatmap = convolutionalize(classifier)
    image = images(16, 24)
    assert_close(heatmap(image)[:, 0, 0], np.reshape(classifier(image), (2, 5)))
    larger = images(24, 32, count=1, seed=1)
    expected = slide(classifier, "gap", map_into(heatmap, "gap", larger))
    assert expected.shape == (3, 3, 5)
    assert_close(heatmap(larger)[0], expected)


def test_mobilenet():
    keras.utils.set_random_seed(0)
    classifier = keras.applications.MobileNetV2(
        weights=None, input_shape=(96, 96, 3), classifier_activation=None
    )
    rng = np.random.default_rng(0)
    bias = classifier.get_layer("predictions").bias
    image = images(96, 96) / 127.5 - 1
    # The random start's logits are tiny; biases of their size can be told from zero.
    bias.assign(rng.normal(0, np.std(classifier(image)), bias.shape))
    heatmap = convolutionalize(classifier)
    assert_close(heatmap(image)[:, 0, 0], classifier(image))
    larger = images(160, 128, count=1, seed=1) / 127.5 - 1
    pooling = classifier.layers[-2].name  # numbered by what was built before
    expected = slide(classifier, pooling, map_into(heatmap, pooling, larger))
    assert expected.shape == (3, 2, 1000)
    assert_close(heatmap(larger)[0], expected)


def test_global_average_pooling_inside_the_trunk():
    """Squeeze-and-excitation blocks average too: the head begins at the last pooling."""
    image = keras.Input((16, 24, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(image)
    squeezed = layers.GlobalAveragePooling2D()(x)
    squeezed = layers.Dense(8, activation="sigmoid")(squeezed)
    x = layers.Multiply()([x, layers.Reshape((1, 1, 8))(squeezed)])
    x = layers.GlobalAveragePooling2D()(x)
    classifier = keras.Model(image, layers.Dense(5)(x))
    scatter_weights(classifier)
    image = images(16, 24)
    assert_close(convolutionalize(classifier)(image)[:, 0, 0], classifier(image))


def test_batch_normalization_in_the_head():
    classifier = gap_classifier(layers.BatchNormalization(), layers.Activation("relu"))
    image = images(16, 24)
    assert_close(convolutionalize(classifier)(image)[:, 0, 0], classifier(image))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_probabilities_inside_the_head_stay(activation):
    """Only what stands at the very end turns logits into probabilities."""
    classifier = gap_classifier(layers.Dense(6), layers.Activation(activation))
    image = images(16, 24)
    assert_close(convolutionalize(classifier)(image)[:, 0, 0], classifier(image))


@pytest.mark.parametrize(
    "last", [layers.Activation("softmax"), layers.Activation("sigmoid"), layers.Softmax()]
)
def test_probabilities_at_the_end_are_left_out(last):
    classifier = gap_classifier()
    probabilities = keras.Model(classifier.input, last(classifier.output))
    image = images(16, 24)
    assert_close(convolutionalize(probabilities)(image)[:, 0, 0], classifier(image))


def test_trunk_is_shared_and_head_copied():
    classifier = flatten_classifier()
    heatmap = convolutionalize(classifier, name="mine")
    assert heatmap.name == "mine"
    assert heatmap.get_layer("conv") is classifier.get_layer("conv")
    assert heatmap.get_layer("fc1") is not classifier.get_layer("fc1")
    # The classifier is as it was, and a second network can be made of it.
    image = images(20, 26)
    np.testing.assert_array_equal(classifier(image), flatten_classifier()(image))
    assert_close(convolutionalize(classifier)(image), heatmap(image))


def test_heatmap_network_can_be_saved(tmp_path):
    heatmap = convolutionalize(flatten_classifier())
    heatmap.save(tmp_path / "heatmap.keras")
    again = keras.models.load_model(tmp_path / "heatmap.keras")
    image = images(32, 40)
    assert_close(again(image), heatmap(image), rel=1e-6)


def pooled_to_a_map():
    """As the heads of MobileNet and MobileNetV3: a mean that keeps its place, and convolutions."""
    x = image = keras.Input((48, 48, 3))
    x = layers.Conv2D(6, 3, 2, activation="relu")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Conv2D(6, 1, activation="sigmoid")(gate)])
    x = layers.GlobalAveragePooling2D(keepdims=True)(layers.Conv2D(8, 3, 2)(x))
    x = layers.Conv2D(7, 1, activation="relu", name="hidden")(x)
    x = layers.Conv2D(5, 1, name="logits")(layers.Dropout(0.1)(x))
    return keras.Model(image, layers.Softmax()(layers.Reshape((5,))(x)))


@pytest.mark.parametrize("make", [tiny, pooled_to_a_map])
def test_heads_of_light_classifiers(make):
    classifier = make()
    scatter_weights(classifier)
    side = classifier.input_shape[1]
    heatmap = convolutionalize(classifier)
    image = images(side, side) / 255
    found = heatmap(image)
    assert found.shape[:3] == (2, 1, 1)
    # A softmax tells logits apart but for what is added to all of them.
    probabilities = np.asarray(classifier(image))
    assert np.ptp(probabilities) > 0.01
    assert_close(keras.ops.softmax(found[:, 0, 0]), probabilities)
    assert min(heatmap(images(side + 32, side + 64)).shape[1:3]) > 1


def softmax_within():
    image = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D(keepdims=True)(layers.Conv2D(4, 3)(image))
    return keras.Model(image, layers.Conv2D(2, 1, activation="softmax", name="last")(x))


def test_a_softmax_that_cannot_be_left_out():
    with pytest.raises(ValueError, match="its softmax in a layer of its own.*ending in last"):
        convolutionalize(softmax_within())


def headless():
    return keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), include_top=False, name="headless"
    )


def pooled_headless():
    image = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    return keras.Model(image, x, name="headless")


def dense_before_pooling():
    image = keras.Input((16, 16, 3))
    x = layers.Flatten()(layers.Dense(4)(image))
    return keras.Model(image, x, name="headless")


@pytest.mark.parametrize("make", [headless, pooled_headless, dense_before_pooling])
def test_models_without_a_head(make):
    with pytest.raises(ValueError, match="must end in Flatten or Global.*headless"):
        convolutionalize(make())


def test_classifier_of_free_size():
    image = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    with pytest.raises(ValueError, match=r"fixed size.*\(None, None, None, 3\)"):
        convolutionalize(keras.Model(image, layers.Dense(2)(x)))


def dense_model(name, **units):
    """A model of one dense layer after another, by name."""
    x = image = keras.Input((3,))
    for layer, count in units.items():
        x = layers.Dense(count, name=layer)(x)
    model = keras.Model(image, x, name=name)
    scatter_weights(model, seed=len(name))
    return model


def weights_of(model):
    return {w.path: w.numpy() for w in model.weights}


def test_copy_weights_by_name():
    source, target = dense_model("one", a=4, b=5), dense_model("another", a=4, b=5)
    copy_weights(source, target, {"a": "a", "b": "b"})
    for name in ("a", "b"):
        for found, expected in zip(
            target.get_layer(name).get_weights(), source.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


def test_copy_weights_of_named_layers_only():
    source, target = dense_model("one", a=4, b=5), dense_model("another", x=4, y=5)
    before = target.get_layer("y").get_weights()
    copy_weights(source, target, {"a": "x"})
    np.testing.assert_array_equal(
        target.get_layer("x").get_weights()[0], source.get_layer("a").get_weights()[0]
    )
    np.testing.assert_array_equal(target.get_layer("y").get_weights()[0], before[0])


def test_source_may_have_more_layers():
    source, target = dense_model("one", a=4, b=5), dense_model("another", a=4)
    copy_weights(source, target, {"a": "a"})
    np.testing.assert_array_equal(
        target.get_layer("a").get_weights()[1], source.get_layer("a").get_weights()[1]
    )


def test_copy_weights_lists_every_misfit_and_copies_nothing():
    source = dense_model("source", a=4, b=5, c=6)
    target = dense_model("target", a=4, b=7, c=6, d=2)
    before = weights_of(target)
    with pytest.raises(ValueError) as error:
        copy_weights(source, target, {name: name for name in "abcd"})
    message = str(error.value)
    assert "source" in message
    assert "b has shapes [(4, 5), (5,)], not [(4, 7), (7,)]" in message
    assert "c has shapes [(5, 6), (6,)], not [(7, 6), (6,)]" in message
    assert "d is missing" in message
    assert message.count("has shapes") == 2  # `a` fits
    for path, value in weights_of(target).items():
        np.testing.assert_array_equal(value, before[path])


def test_copy_weights_to_another_number_of_weights():
    source = dense_model("source", a=4)
    image = keras.Input((3,))
    target = keras.Model(image, layers.Dense(4, use_bias=False, name="a")(image))
    with pytest.raises(ValueError, match="a has shapes"):
        copy_weights(source, target, {"a": "a"})


@pytest.mark.parametrize("pooled", [False, True])
def test_a_sequence_of_layers(pooled):
    end = layers.GlobalAveragePooling2D() if pooled else layers.Flatten()
    image = keras.Input((16, 20, 3))
    sequence = [layers.Conv2D(4, 3, padding="same", activation="relu"), layers.MaxPooling2D(2), end]
    classifier = keras.Sequential([image, *sequence, layers.Dense(3)], name="short")
    heatmap = convolutionalize(classifier)
    assert heatmap.name == "short_heatmap"
    images = np.random.default_rng(0).normal(size=(2, 16, 24, 3)).astype("float32")
    found = np.asarray(heatmap(images))
    assert found.shape == (2, 1, 3, 3)
    np.testing.assert_allclose(
        heatmap(images[:, :, :20])[:, 0, 0], classifier(images[:, :, :20]), atol=1e-5
    )
    with pytest.raises(UserError, match="begin it with `keras.Input"):
        convolutionalize(keras.Sequential(sequence))
