"""Scores brought to the image's size: bilinear, learned, by stacks of deconvolutions and ReLUs."""

import json
import zipfile
from fractions import Fraction

import keras
import numpy as np
import pytest
from helpers.networks import photo, photo_for, scatter_scores, small
from scipy.signal import convolve2d

from fcn_keras import CaffeSGD, UserError, expand_classes
from fcn_keras.cpu.products import with_own_products
from fcn_keras.inference.tiling import Tiling
from fcn_keras.models.bilinear import Bilinear, bilinear_kernel
from fcn_keras.models.classifier_trunk import ClassifierTrunk
from fcn_keras.models.geometry import IMAGE, Grid, bilinear_window
from fcn_keras.models.head import Head
from fcn_keras.models.layers import Feature
from fcn_keras.models.upsampling import UPSAMPLINGS, upsampling_of, windows
from fcn_keras.models.variants import ALEXNET, COLOR_HHA

NARROW = 1 / 64

# Even windows on the image's pixels, and odd ones, as two families of trunks have them.
EVEN, ODD = Fraction(1, 2), Fraction(0)

SCORES = ("score_fr", "score_pool4", "score_pool3")


def nonlinear(variant="fcn8s", num_classes=3, **options):
    options = {"geometry": "same", "width": NARROW} | options
    return small(variant, num_classes, upsampling="nonlinear", **options)


def head_alone(upsampling, factor=8, half=EVEN, classes=3):
    """The upsampling of a map of scores whose cells look at the middle of theirs, and a model."""
    grid = Grid(Fraction(factor), Fraction(factor, 2) - half)
    scores = keras.Input((None, None, classes))
    up = Head(classes, upsampling).upsample(Feature(scores, grid), factor, "up", IMAGE)
    return keras.Model(scores, up.tensor), up.grid


def random_scores(height=6, width=5, classes=3, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (1, height, width, classes)).astype("float32")


# Where scores come to lie


def even_classifier():
    """Strides 2 to 32 by poolings, as in VGG: the middles of cells lie between pixels."""
    x = image = keras.Input((64, 64, 3))
    for _ in range(5):
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2)(x)
    return keras.Model(image, x, name="even")


def odd_classifier():
    """Strides 2 to 32 by convolutions that begin with the first pixel."""
    x = image = keras.Input((64, 64, 3))
    for _ in range(5):
        x = keras.layers.ZeroPadding2D(1)(x)
        x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    return keras.Model(image, x, name="odd")


def network_on(make, variant, upsampling):
    """A network on a classifier, and the grids of the maps it scores, on the image."""
    options = dict(backbone=make(), preprocessing="none", width=1.0)
    trunk = ClassifierTrunk(options["backbone"], variant)
    before = trunk.padding[0]
    grids = [(int(place.grid.stride), place.grid.shift - before) for place in trunk.maps.values()]
    return small(variant, 3, upsampling=upsampling, **options), grids


def network_in(geometry, variant, upsampling):
    shifts = {"paper": (12.5, -91.5, -95.5), "same": (15.5, 7.5, 3.5)}[geometry]
    model = small(variant, 3, geometry=geometry, width=1 / 32, upsampling=upsampling)
    return model, list(zip((32, 16, 8), shifts, strict=True))


def places_and_gains(model, grids, size):
    """What becomes of scores that hold where their cell looks (y, x), and a one."""
    layers = [model.get_layer(name) for name in SCORES[: len(grids)]]
    heads = keras.Model([model.input, *(layer.input for layer in layers)], model.output)
    image = np.zeros((1, *size, 3), "float32")
    maps = keras.Model(model.input, [layer.input for layer in layers])(image)
    places = []
    for layer, (stride, shift), found in zip(layers, grids, keras.tree.flatten(maps), strict=True):
        kernel, bias = (np.zeros_like(weight) for weight in layer.get_weights())
        kernel[0, 0, :3] = np.eye(3) / len(layers)
        layer.set_weights([kernel, bias])
        y, x = (stride * np.arange(n) + float(shift) for n in found.shape[1:3])
        place = np.zeros(found.shape, "float32")
        place[0, ..., 0], place[0, ..., 1], place[0, ..., 2] = y[:, None], x, 1
        places.append(place)
    return np.asarray(heads([image, *places]))[0]


NETWORKS = [
    *((network_in, "paper", variant) for variant in ("fcn32s", "fcn8s")),
    *((network_in, "same", variant) for variant in ("fcn16s", "fcn8s")),
    *((network_on, even_classifier, variant) for variant in ("fcn32s", "fcn8s")),
    *((network_on, odd_classifier, variant) for variant in ("fcn32s", "fcn16s", "fcn8s")),
]
QUICK = [
    *(("nonlinear", NETWORKS[1]), ("learned", NETWORKS[2]), ("nonlinear", NETWORKS[4])),
    ("nonlinear", NETWORKS[-1]),
]


@pytest.mark.parametrize(
    "upsampling, make, how, variant",
    [
        pytest.param(each, *network, marks=() if (each, network) in QUICK else pytest.mark.slow)
        for each in UPSAMPLINGS
        for network in NETWORKS
    ],
)
def test_scores_lie_over_the_pixels_they_belong_to(upsampling, make, how, variant):
    """Upsampling keeps a ramp wherever all cells that it takes are there: where ones add to one."""
    model, grids = make(how, variant, upsampling)
    grids = grids[: {"fcn32s": 1, "fcn16s": 2}.get(variant, 3)]
    for size in ((131, 160), (161, 130)):
        found = places_and_gains(model, grids, size)
        assert found.shape == (*size, 3)
        inside = np.abs(found[..., 2] - 1) < 1e-6
        assert inside[64:-64, 64:-64].all()
        expected = np.moveaxis(np.mgrid[: size[0], : size[1]], 0, -1)
        assert np.abs(found[inside][:, :2] - expected[inside]).max() < 2e-4
        # Every pixel has some score.
        assert (found[..., 2] > 0).all()


@pytest.mark.parametrize(
    "variant, options",
    [
        pytest.param("fcn8s-atonce", {"geometry": "paper"}, marks=pytest.mark.slow),
        ("fcn32s", {"output_stride": 16}),
        pytest.param("fcn32s", {"output_stride": 8, "geometry": "paper"}, marks=pytest.mark.slow),
        (ALEXNET, {"geometry": "paper"}),
        pytest.param(COLOR_HHA, {}, marks=pytest.mark.slow),
        ("fcn8s", {"geometry": "paper", "backbone": even_classifier}),
        ("fcn8s", {"geometry": "paper", "backbone": odd_classifier}),
    ],
)
def test_any_network_and_size(variant, options):
    if "backbone" in options:
        backbone = dict(backbone=options["backbone"](), preprocessing="none", width=1.0)
        options = options | backbone
    model = scatter_scores(nonlinear(variant, **options))
    for size in ((1, 1), (37, 53)):
        scores = np.asarray(model(photo_for(model, *size)))
        assert scores.shape == (1, *size, 3)
        assert np.isfinite(scores).all() and scores.any()


@pytest.mark.parametrize("half", [EVEN, ODD])
@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_a_stack_covers_what_one_window_covers(factor, half):
    grid = Grid(Fraction(factor), Fraction(factor, 2) - half)
    one = bilinear_window(grid, factor, IMAGE)
    for cells in (1, 2, 7):
        size, onto = cells, grid
        for window in windows(grid, factor, IMAGE, "nonlinear"):
            size, onto = window.size(size), window.grid(onto)
        first, whole_first = onto.offset_over(IMAGE), one.grid(grid).offset_over(IMAGE)
        assert first >= whole_first
        assert size - first >= one.size(cells) - whole_first
        if half == ODD:
            assert (first, size) == (whole_first, one.size(cells))


# What it starts as


@pytest.mark.parametrize("half", [EVEN, ODD])
@pytest.mark.parametrize("factor", [2, 8, 32])
def test_it_starts_as_bilinear_steps(factor, half):
    scores = random_scores()
    model, _ = head_alone("nonlinear", factor, half)
    kernel = bilinear_kernel(4 if half == EVEN else 3).astype("float64")
    expected = []
    for number in range(3):
        x = scores[0, ..., number].astype("float64")
        for _ in range(int(np.log2(factor))):
            apart = np.zeros([2 * n - 1 for n in x.shape])
            apart[::2, ::2] = x
            x = convolve2d(apart, kernel)
        expected.append(x)
    np.testing.assert_allclose(model(scores)[0], np.stack(expected, axis=-1), atol=1e-5)
    if half == ODD:
        np.testing.assert_allclose(
            model(scores), head_alone("bilinear", factor, half)[0](scores), atol=1e-5
        )


def test_names_and_what_learns():
    model = nonlinear("fcn8s", {"sem": 4, "geo": 2})
    up = [layer for layer in model.layers if layer.name.startswith("up")]
    shapes = {layer.name: [tuple(w.shape) for w in layer.weights] for layer in up}
    assert shapes == {
        f"{name}_{head}": [(4, 4, out * classes, into * classes)] + [(2 * classes,)] * (out == 2)
        for head, classes in (("sem", 4), ("geo", 2))
        for name, out, into in (
            *(("upscore2", 1, 1), ("upscore_pool4", 1, 1)),
            *(("upscore8_1", 2, 1), ("upscore8_2", 2, 2), ("upscore8", 1, 2)),
        )
    }
    assert all(layer.trainable for layer in up)
    assert not any(layer.trainable for layer in small("fcn8s").layers if layer.name[:2] == "up")
    optimizer = CaffeSGD()
    optimizer.build(model.trainable_variables)
    factors = {
        variable.path: pair
        for variable, pair in zip(model.trainable_variables, optimizer.each_factors, strict=True)
    }
    assert factors["upscore8_1_sem/bias"] == (2, 0) and factors["upscore8_1_sem/kernel"] == (1, 1)


def head_gradients(model, image):
    """The gradient of a cross-entropy on random labels, by variable of the head."""
    import tensorflow as tf

    labels = np.random.default_rng(0).integers(0, model.output_shape[-1], image.shape[:3])
    head = [v for v in model.trainable_variables if v.path.startswith(("score", "up"))]
    with tf.GradientTape() as tape:
        logits = model(image)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        mean = tf.reduce_mean(loss)
    gradients = tape.gradient(mean, [variable.value for variable in head])
    return float(mean), {
        variable.path: np.asarray(gradient)
        for variable, gradient in zip(head, gradients, strict=True)
    }


def test_what_scores_can_learn_from_the_start():
    model, image = nonlinear(num_classes=4, width=1 / 32), photo(37, 53)
    loss, gradients = head_gradients(model, image)
    assert loss == pytest.approx(np.log(4), abs=0.01)  # all but undecided, as in the paper
    assert len(gradients) == 6 + 2 + 5 and all(g.any() for g in gradients.values())
    # As much as with bilinear kernels, which pass all of it.
    _, plain = head_gradients(small("fcn8s", 4, geometry="same", width=1 / 32), image)
    for name in SCORES:
        lengths = [np.linalg.norm(each[f"{name}/bias"]) for each in (gradients, plain)]
        assert 0.5 < lengths[0] / lengths[1] < 2
    # From zero, where a ReLU passes nothing, they would learn nothing.
    for name in SCORES:
        layer = model.get_layer(name)
        layer.set_weights([0 * weight for weight in layer.get_weights()])
    _, gradients = head_gradients(model, image)
    assert not any(gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("upsampling", ["learned", "nonlinear"])
def test_what_it_becomes(upsampling):
    """f(a + b) = f(a) + f(b) - f(0) holds at the start, and then for linear upsampling alone."""
    model, _ = head_alone(upsampling)
    a, b = random_scores(seed=1), random_scores(seed=2)

    def bend():
        together, apart = model(a + b) + model(0 * a), model(a) + model(b)
        return float(np.abs(together - apart).max() / np.abs(apart).max())

    assert bend() < 1e-5
    # The largest score wins more than it does: a sharper edge.
    targets = np.asarray(model(a))
    model.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=True)
    losses = [model.train_on_batch(a, np.sign(targets)) for _ in range(8)]
    assert losses[-1] < losses[0]
    assert bend() > 0.02 if upsampling == "nonlinear" else bend() < 1e-5


# Files, more classes, exports, parts


def test_saved_networks(tmp_path):
    """They need nothing of this package, and are taken for no other upsampling."""
    model, image = scatter_scores(nonlinear("fcn32s")), photo(37, 53)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert "fcn_keras" not in archive.read("config.json").decode()
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(image), model(image))
    options = dict(geometry="same", width=NARROW, weights=tmp_path / "model.keras")
    again = small("fcn32s", upsampling="nonlinear", **options)
    np.testing.assert_array_equal(again(image), model(image))
    steps = "only one of them has upscore_1, upscore_2, upscore_3, upscore_4"
    with pytest.raises(UserError, match=steps):
        small("fcn32s", **options)


def test_a_learned_kernel_of_a_dilated_network_is_filled(tmp_path):
    """It has another kernel than the one of stride 32, which it starts from without it."""
    options = dict(geometry="same", width=NARROW, upsampling="learned")
    model = small("fcn32s", output_stride=16, **options)
    model.get_layer("upscore").set_weights([np.full((32, 32, 3, 3), 0.5)])
    model.save(tmp_path / "dilated.keras")
    again = small("fcn32s", output_stride=16, weights=tmp_path / "dilated.keras", **options)
    assert (np.asarray(again.get_layer("upscore").kernel) == 0.5).all()


def test_more_classes():
    model, image = scatter_scores(nonlinear()), photo(37, 53)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.startswith("up"):
            layer.set_weights([w + rng.normal(0, 0.02, w.shape) for w in layer.get_weights()])
    grown = expand_classes(model, 5)
    np.testing.assert_array_equal(grown(image)[..., :3], model(image))
    kernel, bias = grown.get_layer("upscore8_2").get_weights()
    assert kernel.shape == (4, 4, 10, 10) and not bias[6:].any()
    np.testing.assert_array_equal(
        kernel[:, :, 6:, 6:], np.asarray(Bilinear(2)((4, 4, 4, 4)))
    )  # by themselves, and those of old classes touch none of them
    assert not kernel[:, :, :6, 6:].any() and not kernel[:, :, 6:, :6].any()
    # New classes are scored nearly at zero, and can be learned.
    assert 0 < np.abs(grown(image)[..., 3:]).max() < 0.1
    _, gradients = head_gradients(grown, image)
    for name in SCORES:
        assert gradients[f"{name}/kernel"][..., 3:].any()


def test_no_layer_with_a_relu_or_a_bias_is_interpolated():
    model, image = scatter_scores(nonlinear()), photo(37, 53)
    step = model.get_layer("upscore8_2")
    kernel, bias = step.get_weights()
    step.set_weights([np.asarray(Bilinear()(kernel.shape)), bias + 0.5])
    faster = with_own_products(model)
    kinds = [type(layer).__name__ for layer in faster.layers]
    # Those of upscore2 and upscore_pool4, each with the crop behind it.
    assert kinds.count("InterpolatedCrop") == 2 and "Interpolation" not in kinds
    left = {
        layer.name for layer in faster.layers if isinstance(layer, keras.layers.Conv2DTranspose)
    }
    assert left == {"upscore8_1", "upscore8_2", "upscore8"}
    np.testing.assert_allclose(faster(image), model(image), atol=1e-4)


def test_parts_equal_the_whole():
    model, image = scatter_scores(nonlinear()), photo(16, 640)[0]
    whole = np.asarray(model(image[None]))[0]
    tiling = Tiling(model, 60)
    assert 2 * tiling.reach + 60 < 640
    parts = tiling.map(model, image, np.empty_like(whole))
    np.testing.assert_allclose(parts, whole, atol=1e-4 * np.ptp(whole))


# The argument and its older name


@pytest.mark.parametrize(
    "upsampling, learn, found",
    [
        *((None, None, "bilinear"), ("", None, "bilinear"), ("learned", None, "learned")),
        *((None, True, "learned"), (None, False, "bilinear"), (None, np.bool_(True), "learned")),
        *(("learned", True, "learned"), ("bilinear", False, "bilinear")),
        *(("nonlinear", None, "nonlinear"), ("nonlinear", True, "nonlinear")),
    ],
)
def test_the_older_name(upsampling, learn, found):
    assert upsampling_of(upsampling, learn) == found


@pytest.mark.parametrize(
    "upsampling, learn, message",
    [
        ("cubic", None, "`upsampling` must be one of bilinear, learned, nonlinear.*'cubic'"),
        *(
            (upsampling, learn, f"`learn_upsampling` .*with '{upsampling}'. Received: {learn}")
            for upsampling, learn in (("bilinear", True), ("learned", False), ("nonlinear", False))
        ),
    ],
)
def test_contradictions(upsampling, learn, message):
    with pytest.raises(UserError, match=message):
        small("fcn8s", upsampling=upsampling, learn_upsampling=learn)


def test_cost_on_the_command_line(run_command):
    arguments = ("bench", "cost", "--variant", "fcn16s", "--size", "32x32", "--json")
    code, out, _ = run_command(*arguments, "--upsampling", "nonlinear")
    told = json.loads(out)
    assert code == 0 and (told["upsampling"], told["learn_upsampling"]) == ("nonlinear", True)
    assert [x["name"] for x in told["layers"] if x["name"].startswith("upscore16")] == [
        *(f"upscore16_{number}" for number in (1, 2, 3)),
        "upscore16",
    ]
    assert json.loads(run_command(*arguments, "--learn-upsampling")[1])["upsampling"] == "learned"
    code, _, err = run_command(*arguments, "--upsampling", "bilinear", "--learn-upsampling")
    assert code == 2 and "`learn_upsampling`" in err
