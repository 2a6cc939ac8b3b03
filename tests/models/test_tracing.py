"""Where the maps of a classifier lie: as probing finds them, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.classifiers import classifier_of, conv, coordinates_behind, make_positive, seen, tiny
from keras import layers

from fcn_keras import UserError, build
from fcn_keras.models.classifier_trunk import ClassifierTrunk
from fcn_keras.models.geometry import IMAGE
from fcn_keras.models.layers import Feature
from fcn_keras.models.tracing import Trace

HEADS = {"fcn32s": ["score_fr"], "fcn16s": ["score_fr", "score_pool4"]}
HEADS["fcn8s"] = [*HEADS["fcn16s"], "score_pool3"]
KEYS = {"score_fr": "fc7", "score_pool4": "pool4", "score_pool3": "pool3"}


def halving(times=5, kernel=3, **options):
    return [conv(kernel, 2, **options) for _ in range(times)]


def inception(x):
    """Branches of 1x7 and 7x1 kernels without padding, of a pooling, and of a dilated kernel."""
    tall = conv((7, 1), padding="valid")(conv((1, 7), padding="valid")(x))
    pooled = layers.AveragePooling2D(7, 1)(x)
    wide = conv(3, padding="valid", dilation_rate=3)(x)
    return layers.Concatenate()([tall, pooled, wide])


def residual(x):
    y = layers.SeparableConv2D(x.shape[-1], 5, padding="same")(x)
    return layers.Add()([layers.BatchNormalization()(y), x])


def squeezed(x):
    scale = layers.Dense(x.shape[-1], "sigmoid")(layers.GlobalAveragePooling2D()(x))
    return layers.Multiply()([x, layers.Reshape((1, 1, x.shape[-1]))(scale)])


def nested(x):
    inner = classifier_of(x.shape[1:], conv(3, 2), residual)
    return keras.Sequential([keras.Input(x.shape[1:]), inner, layers.ReLU()])(x)


def max_pooled(x):
    return layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))


def either_way(x):
    """A stride along the rows, then one along the columns."""
    return conv((1, 2), (1, 2), "valid")(conv((2, 1), (2, 1), "valid")(x))


CLASSIFIERS = {
    "same": classifier_of(64, *halving()),
    "same, of any size": classifier_of(None, *halving(), residual),
    "kernels of 5": classifier_of(64, *halving(kernel=5)),
    "even kernels": classifier_of(64, *halving(kernel=4)),
    "valid": classifier_of(95, *halving(padding="valid")),
    "patches": classifier_of(64, *halving(kernel=2, padding="valid")),
    "patches, a remainder": classifier_of(70, *halving(kernel=2, padding="valid")),
    "asymmetrical padding": tiny(),
    "padded poolings": classifier_of(64, conv(7, 2), *[max_pooled] * 4),
    "pooled means": classifier_of(
        128, conv(), *[layers.AveragePooling2D(2) for _ in range(5)], conv(3, padding="valid")
    ),
    "joined branches": classifier_of(
        203, *halving(3, padding="valid"), inception, *halving(2, padding="valid")
    ),
    "cropped": classifier_of(96, layers.Cropping2D(((3, 1), (3, 1))), *halving(kernel=2)),
    "models within": classifier_of(64, conv(3, 2), nested, nested, conv(3, 2), max_pooled),
    "strides of both axes in turn": classifier_of(64, *[either_way] * 5),
    "strides of 4": classifier_of(64, conv(5, 4), *halving(3)),
    "a sequence": keras.Sequential([keras.Input((64, 64, 3)), *halving(), layers.Flatten()]),
    "squeezed": classifier_of(64, *halving(3), squeezed, *halving(2), squeezed),
}


QUICK = ("joined branches",)


@pytest.fixture(
    scope="module",
    params=[
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in CLASSIFIERS
    ],
)
def classifier(request):
    return CLASSIFIERS[request.param]


def maps_of(classifier, variant="fcn8s"):
    """A trunk, and a model of its maps of an image of any size."""
    trunk = ClassifierTrunk(classifier, variant)
    image = keras.Input((None, None, 3))
    maps = trunk.build(Feature(image, IMAGE))
    return trunk, maps, make_positive(keras.Model(image, {k: x.tensor for k, x in maps.items()}))


# The two axes differ in size, and neither is a multiple of any stride.
@pytest.mark.parametrize("axis, size", [(0, (395, 157)), (1, (155, 427))])
def test_grids_are_those_that_probing_finds(classifier, axis, size):
    _, maps, model = maps_of(classifier)
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            layer.kernel.assign(0 * layer.kernel)  # what sees the whole image, cut off
    for name, (tensor, grid) in maps.items():
        inner = keras.Model(model.input, model.output[name])
        middle = inner(np.zeros((1, *size, 3), "float32")).shape[1 + axis] // 2
        first, last = seen(inner, (1e-3, 0.1, size, "float32"), middle, axis)
        assert 0 < first and last < size[axis] - 1
        assert (first + last) / 2 == grid.stride * middle + grid.shift, name
        if np.isfinite(float(grid.field)):
            assert last - first + 1 == grid.field, name
        assert tensor.shape[-1] > 0


def test_squeeze_and_excitation_sees_all_of_the_image():
    trunk = ClassifierTrunk(CLASSIFIERS["squeezed"], "fcn8s")
    assert {name: place.grid.field for name, place in trunk.maps.items()} == dict.fromkeys(
        ("fc7", "pool4", "pool3"), float("inf")
    )


@pytest.mark.parametrize(
    "variant", [pytest.param("fcn32s", marks=pytest.mark.slow), "fcn16s", "fcn8s"]
)
def test_coordinates_come_out_as_they_went_in(classifier, variant):
    model = build(variant, 2, backbone=classifier, preprocessing="none")
    trunk = ClassifierTrunk(classifier, variant)
    grids = {
        head: (int(trunk.maps[KEYS[head]].grid.stride), trunk.maps[KEYS[head]].grid.shift)
        for head in HEADS[variant]
    }
    grids = {head: (stride, shift - trunk.padding[0]) for head, (stride, shift) in grids.items()}
    scores_of = coordinates_behind(model, grids)
    for size in [(1, 1), (2, 3), (31, 33), (37, 53), (64, 97), (130, 96)]:
        scores, inside = scores_of(size)
        assert scores.shape == (*size, 2)
        expected = np.moveaxis(np.mgrid[: size[0], : size[1]], 0, -1)
        assert np.abs(scores[inside] - expected[inside]).max(initial=0) < 1e-4
    assert inside[0].stop - inside[0].start > 40


def test_every_pixel_counts_at_every_size(classifier):
    """One more than a period of the coarsest stride; rows and columns of other remainders."""
    model = build("fcn32s", 1, backbone=classifier, preprocessing="none")
    make_positive(model)
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            layer.kernel.assign(0 * layer.kernel)
    run = tf.function(model, input_signature=[tf.TensorSpec((1, None, None, 3), tf.float32)])
    for height in (1, 31, 46, 64):
        width = (height * 7) % 33 + 1
        rng = np.random.default_rng(height)
        image = tf.constant(rng.uniform(0.01, 0.02, (1, height, width, 3)), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(image)
            scores = run(image)
        assert scores.shape == (1, height, width, 1)
        assert (scores.numpy() > 0).all()
        gradient = tape.gradient(scores, image).numpy()
        if not any(isinstance(layer, layers.MaxPooling2D) for layer in model.layers):
            assert (np.abs(gradient).max(axis=-1) > 0).all(), (height, width)


def test_maps_lie_where_they_do_whatever_the_size(classifier):
    """A part of an image, from its first pixel on, has the cells that see this part alone."""
    trunk, maps, model = maps_of(classifier)
    if any(not np.isfinite(float(grid.field)) for _, grid in maps.values()):
        pytest.skip("a cell sees the whole image")
    rng = np.random.default_rng(0)
    image = rng.uniform(1, 2, (1, 333, 340, 3)).astype("float32")
    whole = model(image)
    for size in [(301, 318), (332, 289)]:
        part = model(image[:, : size[0], : size[1]])
        for name, (_, (stride, shift, field)) in (
            (name, (x, (x.grid.stride, x.grid.shift, x.grid.field))) for name, x in maps.items()
        ):
            rows, columns = (int((n - 1 - (field - 1) / 2 - shift) // stride) + 1 for n in size)
            assert rows > 0 and columns > 0
            np.testing.assert_allclose(
                part[name][:, :rows, :columns], whole[name][:, :rows, :columns], rtol=1e-4
            )


def test_steps_tell_what_is_made_of_what():
    model = classifier_of(64, *halving(2), residual, name="small")
    trace = Trace(model)
    names = [step.layer.name for step in trace.steps]
    assert len(names) == 5
    cuts = [step.layer.name for step in trace.cuts()]
    assert cuts == [*names[:2], names[-1]]
    assert [int(step.place.grid.stride) for step in trace.steps] == [2, 4, 4, 4, 4]


# What is refused


class Shifted(layers.Conv2D):
    def call(self, x):
        return super().call(keras.ops.roll(x, 3, axis=1))


class Mine(layers.Layer):
    def call(self, x):
        return 2 * x


class Unopened(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.conv = conv()

    def call(self, x):
        return self.conv(x)


@pytest.mark.parametrize(
    "layer, message",
    [
        (Mine(name="odd"), r"the layer odd \(Mine\)"),
        (Shifted(4, 3, padding="same", name="odd"), r"the layer odd \(Shifted\)"),
        (Unopened(name="odd"), r"the layer odd \(Unopened\)"),
        (layers.Lambda(lambda x: 2 * x, name="odd"), r"the layer odd \(Lambda\)"),
        (layers.PReLU(name="odd"), r"the layer odd \(PReLU\)"),
        (layers.PReLU(shared_axes=[1], name="odd"), r"the layer odd \(PReLU\)"),
        (layers.UpSampling2D(name="odd"), r"the layer odd \(UpSampling2D\)"),
        (layers.Conv2DTranspose(4, 2, 2, name="odd"), r"the layer odd \(Conv2DTranspose\)"),
        (layers.GroupNormalization(1, name="odd"), r"the layer odd \(GroupNormalization\)"),
        (
            layers.LayerNormalization(axis=(1, 2, 3), name="odd"),
            r"the layer odd \(LayerNormalization\)",
        ),
        (layers.Softmax(axis=(1, 2), name="odd"), r"the layer odd \(Softmax\)"),
        (layers.RandomFlip(name="odd"), r"the layer odd \(RandomFlip\)"),
        (conv(data_format="channels_first", name="odd"), r"the layer odd \(Conv2D\)"),
        (lambda x: layers.Concatenate(1, name="odd")([x, x]), r"the layer odd \(Concatenate\)"),
        (lambda x: keras.ops.flip(x, axis=2), r"\(Flip\)"),
        (lambda x: keras.ops.split(x, 3, axis=-1)[0], r"\(Split\)"),
        (lambda x: x[:, 1:], r"\(GetItem\)"),
    ],
)
def test_layers_that_are_not_known_are_refused_by_name(layer, message):
    with pytest.raises(UserError, match=f"`backbone` has .*{message}, of which it is not known"):
        Trace(classifier_of(64, layer, *halving()))


@pytest.mark.parametrize("layer", [layers.PReLU(shared_axes=[1, 2]), layers.Softmax()])
def test_what_works_on_each_place_is_known(layer):
    assert Trace(classifier_of(64, layer)).steps[0].place.grid == IMAGE


def test_numbers_for_each_place_are_refused():
    def positions(x):
        code = layers.Dense(256)(layers.GlobalAveragePooling2D()(x))
        return layers.Add(name="add_positions")([x, layers.Reshape((8, 8, 4))(code)])

    with pytest.raises(UserError, match="add_positions joins a map with numbers for each place"):
        Trace(classifier_of(64, *halving(3), positions))


@pytest.mark.parametrize(
    "one, other, message",
    [
        ([conv(3, 2, name="a")], [conv(2, 2, name="b")], "a and b, which lie 1/4 of a cell apart"),
        ([conv(3, 2, name="a")], [conv(5, 2, "valid"), layers.ZeroPadding2D(1, name="b")], "1/2"),
        (
            [conv(3, channels=3, name="a")],
            [layers.ZeroPadding2D(((1, 0), (0, 0))), layers.Cropping2D(((0, 1), (0, 0)), name="b")],
            "a and b, which lie 1 of a cell apart",
        ),
        (
            [conv(3, 2, name="a"), layers.ZeroPadding2D(((0, 32), (0, 32)), name="pad")],
            [conv(3, name="b")],
            "pad and b, which have strides 2 and 1",
        ),
    ],
)
def test_maps_that_lie_apart_are_not_joined(one, other, message):
    def join(x):
        y = x
        for step in one:
            x = step(x)
        for step in other:
            y = step(y)
        return layers.Add(name="both")([x, y])

    with pytest.raises(UserError, match=f"its layer both joins maps of .*{message}"):
        Trace(classifier_of(64, join))


@pytest.mark.parametrize(
    "classifier, variant, message",
    [
        (classifier_of(64, *halving(4)), "fcn8s", "maps of stride 32.*those of stride 2, 4, 8, 16"),
        (classifier_of(64, *halving(4)), "fcn32s", "of fcn32s must have maps of stride 32"),
        (classifier_of(64, conv(3, 16), conv(3, 2)), "fcn8s", "of stride 8. .*of stride 16, 32"),
        (classifier_of(64, *halving(4), conv(3, (2, 1))), "fcn8s", "maps of stride 32"),
        (
            classifier_of(63, layers.ZeroPadding2D(((1, 0), (0, 1))), *halving()),
            "fcn8s",
            r"looks at row 32 \* i \+ 30 of an image, and at column 32 \* i \+ 31",
        ),
    ],
)
def test_classifiers_without_such_maps_are_refused(classifier, variant, message):
    with pytest.raises(UserError, match=message):
        ClassifierTrunk(classifier, variant)
