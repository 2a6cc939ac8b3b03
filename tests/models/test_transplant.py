import keras
import numpy as np
import pytest
from helpers.caffe_files import write_caffemodel
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.models.fcn import build
from fcn_keras.models.weights.published import read_weights
from fcn_keras.models.weights.transplant import is_classifier, is_scale, transplant

VARIANTS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce")


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


# Caffe's layers by their formulas, on one map of shape (C, H, W).


def convolve(x, weight, bias=None, stride=1, groups=1):
    """`weight` is `(O, I / groups, kh, kw)`."""
    outputs, inputs, height, width = weight.shape
    rows = (x.shape[1] - height) // stride + 1
    columns = (x.shape[2] - width) // stride + 1
    y = np.zeros((outputs, rows, columns))
    for out in range(outputs):
        first = out // (outputs // groups) * inputs
        for row in range(rows):
            for column in range(columns):
                top, left = row * stride, column * stride
                window = x[first : first + inputs, top : top + height, left : left + width]
                y[out, row, column] = np.sum(window * weight[out])
    return y if bias is None else y + bias.reshape(-1, 1, 1)


def deconvolve(x, weight, stride):
    """`weight` is `(I, O, kh, kw)`: each cell puts its kernel on the result."""
    inputs, outputs, height, width = weight.shape
    y = np.zeros((outputs, stride * (x.shape[1] - 1) + height, stride * (x.shape[2] - 1) + width))
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            cell = sum(x[i, row, column] * weight[i] for i in range(inputs))
            top, left = row * stride, column * stride
            y[:, top : top + height, left : left + width] += cell
    return y


def one_layer(layer, channels):
    return keras.Sequential([keras.Input((None, None, channels)), layer], name="net")


def run(model, x):
    """A network on a map with its channels first, as Caffe has them."""
    return np.asarray(model(np.transpose(x, (1, 2, 0))[None]))[0].transpose(2, 0, 1)


def assert_close(found, expected):
    assert found.shape == expected.shape and np.ptp(expected) > 0
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(groups):
    weight, bias, x = random(6, 4 // groups, 3, 2), random(6), random(4, 7, 8)
    model = one_layer(layers.Conv2D(6, (3, 2), strides=2, groups=groups, name="conv"), 4)
    transplant({"conv": [weight, bias]}, model, "a.caffemodel")
    assert_close(run(model, x), convolve(x, weight, bias, 2, groups))


def test_transposed_convolution():
    weight, x = random(3, 5, 4, 6), random(3, 4, 5)
    model = one_layer(layers.Conv2DTranspose(5, (4, 6), strides=2, use_bias=False, name="up"), 3)
    transplant({"up": [weight]}, model, "a.caffemodel")
    assert_close(run(model, x), deconvolve(x, weight, 2))


@pytest.mark.parametrize("shape", [(7, 60), (1, 1, 7, 60), (7, 3, 4, 5)])
@pytest.mark.parametrize("bias_shape", [(7,), (1, 7), (1, 1, 1, 7)])
def test_dense_layer(shape, bias_shape):
    """Caffe flattens channels, then rows, then columns."""
    weight, bias, x = random(7, 60), random(7), random(3, 4, 5)
    model = one_layer(layers.Conv2D(7, (4, 5), name="fc6"), 3)
    blobs = [weight.reshape(shape), bias.reshape(bias_shape)]
    transplant({"fc6": blobs}, model, "a.caffemodel")
    assert_close(run(model, x).ravel(), weight @ x.ravel() + bias)


@pytest.mark.parametrize("shape", [(7, 7), (1, 1, 7, 7), (7, 7, 1, 1)])
def test_dense_layer_on_one_cell(shape):
    weight, x = random(7, 7), random(7, 1, 1)
    model = one_layer(layers.Conv2D(7, 1, use_bias=False, name="fc7"), 7)
    transplant({"fc7": [weight.reshape(shape)]}, model, "a.caffemodel")
    assert_close(run(model, x).ravel(), weight @ x.ravel())


CONV = dict(layer=layers.Conv2D, filters=7, kernel_size=(4, 5))
DECONV = dict(layer=layers.Conv2DTranspose, filters=7, kernel_size=(4, 5))


@pytest.mark.parametrize(
    "kind, weight, bias",
    [
        # The same count of numbers each: shapes of other axes, or of flat ones.
        (CONV, (4, 5, 3, 7), (7,)),
        (CONV, (3, 7, 4, 5), (7,)),
        (CONV, (7, 3, 5, 4), (7,)),
        (CONV, (7, 4, 5, 3), (7,)),
        (CONV, (60, 7), (7,)),
        (CONV, (1, 1, 60, 7), (7,)),
        (CONV, (7, 60, 1, 1), (7,)),
        (CONV, (1, 7, 60, 1), (7,)),
        (CONV, (7, 1, 1, 60), (7,)),
        (CONV, (7, 3, 20), (7,)),
        (CONV, (420,), (7,)),
        (CONV, (1, 1, 1, 420), (7,)),
        (CONV, (7, 3, 4, 5), (7, 1)),
        (CONV, (7, 3, 4, 5), (7, 1, 1, 1)),
        # Other counts.
        (CONV, (8, 3, 4, 5), (7,)),
        (CONV, (7, 3, 4, 5), (1,)),
        (CONV, (7, 3, 4, 5), ()),
        (CONV, (), (7,)),
        # Transposed convolutions and groups were never dense.
        (DECONV, (7, 3, 4, 5), (7,)),
        (DECONV, (3, 140), (7,)),
        (DECONV, (7, 60), (7,)),
        (dict(CONV, filters=6, groups=3), (6, 20), (6,)),
        # Another number of blobs.
        (CONV, (7, 3, 4, 5), None),
        (dict(CONV, use_bias=False), (7, 3, 4, 5), (7,)),
    ],
)
def test_other_shapes(kind, weight, bias):
    options = dict(kind)
    model = one_layer(options.pop("layer")(name="a", **options), 3)
    before = [np.array(w) for w in model.get_weights()]
    blobs = [random(*shape) for shape in (weight, bias) if shape is not None]
    with pytest.raises(UserError) as error:
        transplant({"a": blobs}, model, "a.caffemodel")
    needs = "(3, 7, 4, 5)" if kind is DECONV else str((kind["filters"], 3 // kind.get("groups", 1),
                                                        4, 5))  # fmt: skip
    assert f"a.caffemodel: does not fit net: other shapes: a has {weight}" in str(error.value)
    assert f"needs {needs}" in str(error.value)
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_all_faults_in_one_line_and_nothing_written():
    image = keras.Input((None, None, 3))
    x = image
    for name in "abcd":
        x = layers.Conv2D(2, 1, name=name)(x)
    x = layers.Rescaling(0.5, name="scale_x")(x)
    x = layers.Rescaling(0.25, name="scale_y")(x)
    model = keras.Model(image, x, name="net")
    before = model.get_weights()
    blobs = {
        "z": [random(1)],
        "d": [random(2, 3, 1, 1), random(3)],
        "a": [random(2, 3, 1, 1), random(2)],
        "y": [random(1)],
        "scale_x": [np.float32([0.5, 0.75])],
    }
    with pytest.raises(UserError) as error:
        transplant(blobs, model, "dir/a.caffemodel")
    assert str(error.value).startswith(
        "dir/a.caffemodel: does not fit net: missing: b, c, scale_y; surplus: z, y; "
        "other shapes: d has (2, 3, 1, 1) and (3,), needs (2, 2, 1, 1) and (2,); "
        "other scales: scale_x has 0.5 to 0.75, needs 0.5. "
    )
    assert len(str(error.value).splitlines()) == 1
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


# The networks of the package.


@pytest.fixture(scope="module")
def networks():
    """Narrow networks; random weights everywhere, also where they start as zero or bilinear."""
    found = {}
    for variant in VARIANTS:
        model = build(variant, 3, weights=None, width=1 / 64)
        for i, weight in enumerate(model.weights):
            weight.assign(random(*weight.shape, seed=i))
        found[variant] = model
    return found


def caffe_layers(model):
    """What Caffe would keep of a network; the scales, too, a number for each channel."""
    found = {}
    for layer in model.layers:
        if is_scale(layer):
            found[layer.name] = ("Scale", [np.full(layer.output.shape[-1], layer.scale)])
        elif layer.weights:
            kernel, *bias = layer.get_weights()
            height, width, _, _ = kernel.shape
            blob = np.empty((*kernel.shape[:1:-1], height, width), "float32")
            for y in range(height):
                for x in range(width):
                    blob[:, :, y, x] = kernel[y, x].T
            found[layer.name] = ("Convolution", [blob, *bias])
    return found


def blobs_of(model):
    return {name: arrays for name, (_, arrays) in caffe_layers(model).items()}


def randomized(variant):
    return build(variant, 3, weights=None, width=1 / 64)


def assert_same_weights(found, expected):
    assert len(found.weights) == len(expected.weights) > 30
    for a, b in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_networks(tmp_path, networks, variant):
    layers = caffe_layers(networks[variant])
    path = write_caffemodel(tmp_path / "net.caffemodel", layers)
    model = randomized(variant)
    transplant(read_weights(path), model, path)
    assert_same_weights(model, networks[variant])


@pytest.mark.parametrize("found", VARIANTS)
@pytest.mark.parametrize("wanted", VARIANTS)
def test_file_of_another_variant(networks, found, wanted):
    if found == wanted:
        return
    with pytest.raises(UserError, match=f"does not fit {wanted}: "):
        transplant(blobs_of(networks[found]), networks[wanted], "a.caffemodel")


def test_scales_missing_and_surplus(networks):
    eight, at_once = (networks[variant] for variant in ("fcn8s", "fcn8s-atonce"))
    with pytest.raises(UserError, match="atonce: missing: scale_pool4, scale_pool3. "):
        transplant(blobs_of(eight), at_once, "a.CAFFEMODEL")
    with pytest.raises(UserError, match="fcn8s: surplus: scale_pool4, scale_pool3. "):
        transplant(blobs_of(at_once), eight, "a.caffemodel")


@pytest.mark.parametrize("source", ["a.pth", "a.pth.tar", "a.npz"])
def test_other_files_have_no_scales(networks, source):
    model = randomized("fcn8s-atonce")
    transplant(blobs_of(networks["fcn8s"]), model, source)
    for name in ("conv1_1", "score_pool3", "upscore8"):
        for found, expected in zip(
            model.get_layer(name).weights, networks["fcn8s"].get_layer(name).weights, strict=True
        ):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "arrays",
    [
        [np.float32([0.01] * 7 + [0.0100001])],
        [np.float32([0.02] * 8)],
        [np.float32([0.01] * 8), np.float32([0] * 8)],
        [np.float32([0.01] * 7 + [np.nan])],
    ],
)
@pytest.mark.parametrize("source", ["a.caffemodel", "a.npz"])
def test_scales_are_compared(networks, arrays, source):
    blobs = blobs_of(networks["fcn8s-atonce"])
    model = randomized("fcn8s-atonce")
    transplant(blobs, model, source)
    blobs["scale_pool4"] = arrays
    with pytest.raises(UserError, match="other scales: scale_pool4 has .*, needs 0.01. "):
        transplant(blobs, model, source)


# Starting from a classifier.


def classifier(model, dense=True):
    """The blobs of a classifier on the same trunk, its dense layers as they were."""
    blobs = {
        name: arrays
        for name, arrays in blobs_of(model).items()
        if not name.startswith(("score", "up", "scale"))
    }
    for name in ("fc6", "fc7") if dense else ():
        weight, bias = blobs[name]
        blobs[name] = [weight.reshape(1, 1, len(weight), -1), bias.reshape(1, 1, 1, -1)]
    return blobs | {"fc8": [random(1, 1, 1000, 64), random(1, 1, 1, 1000)]}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dense", [True, False])
def test_start_from_a_classifier(networks, variant, dense):
    model, fresh = randomized(variant), randomized(variant)
    transplant(classifier(networks[variant], dense), model, "a.caffemodel", starting=True)
    for layer in model.layers:
        head = layer.name.startswith(("score", "up"))
        expected = (fresh if head else networks[variant]).get_layer(layer.name).weights
        for found, weight in zip(layer.weights, expected, strict=True):
            np.testing.assert_array_equal(found, weight, err_msg=found.path)


def test_classifier_alone_is_no_network(networks):
    with pytest.raises(UserError, match="missing: score_fr, upscore; surplus: fc8. "):
        transplant(classifier(networks["fcn32s"]), networks["fcn32s"], "a.caffemodel")


def test_start_needs_the_whole_trunk(networks):
    blobs = classifier(networks["fcn8s"])
    del blobs["conv3_2"]
    blobs["conv6"] = [random(1)]
    blobs["fc7"][0] = random(1, 1, 5, 5)
    with pytest.raises(UserError) as error:
        transplant(blobs, networks["fcn8s"], "a.caffemodel", starting=True)
    assert "fcn8s: missing: conv3_2; surplus: conv6; other shapes: fc7 has" in str(error.value)


def test_start_from_another_scale(networks):
    """A head that is there has to fit all the same."""
    blobs = classifier(networks["fcn8s-atonce"]) | {"scale_pool4": [np.float32([0.5])]}
    with pytest.raises(UserError, match="fcn8s-atonce: other scales: scale_pool4 has"):
        transplant(blobs, networks["fcn8s-atonce"], "a.caffemodel", starting=True)


def test_is_classifier(networks):
    assert is_classifier(classifier(networks["fcn32s"]))
    assert is_classifier({"conv1": []})
    for model in networks.values():
        assert not is_classifier(blobs_of(model))


def test_network_of_another_kind():
    model = one_layer(layers.Dense(2, name="a"), 3)
    with pytest.raises(ValueError, match="convolutions alone") as error:
        transplant({"a": [random(3, 2), random(2)]}, model, "a.caffemodel")
    assert not isinstance(error.value, UserError)
