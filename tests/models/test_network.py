import json
import os
import subprocess
import sys
import zipfile
from fractions import Fraction
from itertools import product

import keras
import numpy as np
import pytest
from helpers.networks import (
    DECONVS,
    FIELDS,
    GEOMETRIES,
    HEADS,
    NETWORKS,
    SHIFTS,
    SIZES,
    STRIDES,
    TRUNK,
    VGG,
    WIDTH,
    outputs_of,
    parameters,
    photo,
    photo_for,
    scatter_scores,
    small,
)

from fcn_keras import FCN8s, FCN16s, FCN32s, UserError
from fcn_keras.exporters.convert import convert
from fcn_keras.models.architecture import vgg16_layers
from fcn_keras.models.geometry import IMAGE
from fcn_keras.models.layers import Feature
from fcn_keras.models.trunks import build_trunk
from fcn_keras.models.variants import ALEXNET, COLOR_D, COLOR_HHA, HHA, VARIANTS, channels_of
from fcn_keras.models.weights.imagenet import IMAGENET_FILE, IMAGENET_MD5, IMAGENET_URL

PUBLISHED_PARAMETERS = {"fcn32s": 136_152_917, "fcn16s": 134_815_994, "fcn8s": 134_489_759}


@pytest.mark.parametrize("variant", PUBLISHED_PARAMETERS)
def test_published_parameters_follow_from_the_layers(variant):
    assert parameters(variant, 21, 1) == PUBLISHED_PARAMETERS[variant]


@pytest.mark.parametrize("variant", VGG)
@pytest.mark.parametrize("classes, width", [(21, WIDTH), (3, 1 / 8)])
def test_parameters(variant, classes, width):
    model = small(variant, classes, width=width)
    assert model.count_params() == parameters(variant, classes, width)


@pytest.mark.parametrize(
    "make, variant",
    [
        (FCN8s, "fcn8s"),
        pytest.param(FCN16s, "fcn16s", marks=pytest.mark.slow),
        pytest.param(FCN32s, "fcn32s", marks=pytest.mark.slow),
    ],
)
def test_parameters_of_the_full_network(make, variant):
    model = make(num_classes=21, weights=None)
    assert model.count_params() == PUBLISHED_PARAMETERS[variant]
    assert model.name == variant
    # Bilinear kernels are fixed: what learns is the rest.
    fixed = sum(21**2 * DECONVS[name][0] ** 2 for name in HEADS[variant] if name in DECONVS)
    learned = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert learned == PUBLISHED_PARAMETERS[variant] - fixed


@pytest.mark.parametrize("variant", VGG)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_layer_names(variant, geometry):
    names = [layer.name for layer in small(variant, geometry=geometry).layers]
    assert [name for name in names if name in TRUNK] == TRUNK
    heads = {name for names in HEADS.values() for name in names}
    assert {name for name in names if name in heads} == set(HEADS[variant])
    assert names[0] == "image"
    assert names[-1] == "score"


@pytest.mark.parametrize("make, variant", [(FCN32s, "fcn32s"), (FCN16s, "fcn16s")])
def test_builders(make, variant):
    model = make(5, weights=None, width=WIDTH)
    assert model.name == variant
    assert model.output_shape == (None, None, None, 5)
    assert make(5, weights=None, width=WIDTH, name="mine").name == "mine"


@pytest.mark.parametrize(
    "variant, geometry",
    [pair for pair in product(VARIANTS, GEOMETRIES) if pair != (ALEXNET, "same")],
)
def test_scores_have_the_size_of_the_image(variant, geometry):
    model = scatter_scores(small(variant, geometry=geometry))
    for size in SIZES:
        logits = np.asarray(model(photo_for(model, *size)))
        assert logits.shape == (1, *size, 3)
        assert logits.dtype == np.float32
        assert np.isfinite(logits).all() and logits.any()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_images_of_a_batch_do_not_mix(geometry):
    model = scatter_scores(small(geometry=geometry))
    images = photo(40, 61, count=3)
    together = np.asarray(model(images))
    for i in range(3):
        np.testing.assert_allclose(together[i], model(images[i : i + 1])[0], atol=1e-4)


def test_input_of_fixed_size():
    free = scatter_scores(small())
    fixed = small(input_shape=(45, 70, 3))
    assert fixed.input_shape == (None, 45, 70, 3)
    fixed.set_weights(free.get_weights())
    image = photo(45, 70)
    np.testing.assert_allclose(fixed(image), free(image), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_bytes_and_other_numbers_give_the_same(dtype):
    model = scatter_scores(small())
    image = photo(37, 53)
    np.testing.assert_array_equal(model(image), model(image.astype(dtype)))


def test_bytes_and_floats_give_the_same_when_compiled():
    model = scatter_scores(small("fcn32s"))
    image = photo(37, 53)
    np.testing.assert_array_equal(
        model.predict(image, verbose=0), model.predict(image.astype("float32"), verbose=0)
    )


@pytest.fixture
def use_policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_float32_scores_under_mixed_precision(policy, geometry, use_policy):
    plain = scatter_scores(small(geometry=geometry))
    use_policy(policy)
    mixed = small(geometry=geometry)
    mixed.set_weights(plain.get_weights())
    assert mixed.get_layer("conv3_1").compute_dtype == policy.removeprefix("mixed_")
    image = photo(45, 70)
    logits, expected = np.asarray(mixed(image)), np.asarray(plain(image))
    assert logits.dtype == np.float32
    assert mixed.output.dtype == "float32"
    assert all(w.dtype == "float32" for w in mixed.weights)
    assert np.abs(logits - expected).max() < 0.05 * np.ptp(expected)


def test_image_is_normalized_in_float32(use_policy):
    """In bfloat16 the grey levels 201 and 202 are one number."""
    use_policy("mixed_bfloat16")
    model = small(input_mean=(1.5, 2.5, 3.5), input_std=4.0)
    rgb = np.array([[[[201, 202, 203]]]], "uint8")
    normalized = outputs_of(model, rgb, "normalize")["normalize"]
    assert normalized.dtype == np.float32
    # Blue comes first, and the mean is given in that order.
    expected = [(203 - 1.5) / 4, (202 - 2.5) / 4, (201 - 3.5) / 4]
    np.testing.assert_allclose(normalized[0, 0, 0], expected, rtol=1e-6)


def test_preprocessing_of_a_random_start():
    model = small()
    rgb = np.array([[[[10, 20, 30]]]], "uint8")
    normalized = outputs_of(model, rgb, "normalize")["normalize"]
    expected = [(30 - 103.939) / 64, (20 - 116.779) / 64, (10 - 123.68) / 64]
    np.testing.assert_allclose(normalized[0, 0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_grids_of_the_trunk(geometry):
    image = keras.Input((None, None, 3))
    trunk = build_trunk(vgg16_layers(geometry, width=WIDTH), Feature(image, IMAGE))
    for name, found in (
        ("pool3", trunk["pool3"]),
        ("pool4", trunk["pool4"]),
        ("drop7", trunk["fc7"]),
    ):
        assert found.grid.stride == STRIDES[name]
        assert found.grid.shift == Fraction(SHIFTS[geometry][name])
        assert found.grid.field == FIELDS[name]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_cells_see_what_their_grid_says(geometry):
    """One bright column lights up exactly the cells whose receptive field it crosses."""
    model = small("fcn8s", geometry=geometry, width=1 / 512, input_mean=(0, 0, 0), input_std=1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, bias = layer.get_weights()
            # Averages times 3: nothing is negative, nothing cancels, nothing gets too small.
            layer.set_weights([np.full(kernel.shape, 3 / kernel[..., 0].size), 0 * bias])
    for column in (0, 1, 100, 101, 350, 499):
        image = np.zeros((1, 40, 500, 3), "uint8")
        image[:, :, column] = 255
        for name, found in outputs_of(model, image, *FIELDS).items():
            lit = found.max(axis=(0, 1, 3)) > 0
            middle = STRIDES[name] * np.arange(lit.size) + SHIFTS[geometry][name]
            sees = np.abs(column - middle) <= (FIELDS[name] - 1) / 2
            np.testing.assert_array_equal(lit, sees, f"{name}, column {column}")
            assert sees.any() and not sees.all()


# How much of the score each skip brings.
SHARES = {
    "fcn32s": [{"score_fr": 1}],
    "fcn16s": [{"score_fr": 1}, {"score_pool4": 1}, {"score_fr": 0.25, "score_pool4": 0.75}],
    "fcn8s": [
        {"score_fr": 1},
        {"score_pool4": 1},
        {"score_pool3": 1},
        {"score_fr": 0.5, "score_pool4": 0.25, "score_pool3": 0.25},
    ],
}
SHARES["fcn8s-atonce"] = SHARES["fcn8s"]
SHARES[HHA] = SHARES["fcn32s"]


@pytest.mark.parametrize("variant", VGG)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_scores_lie_over_the_pixels_they_belong_to(variant, geometry):
    """Scores that hold the place a cell looks at come out as the coordinates of the pixels.

    Bilinear interpolation keeps a ramp. So every crop of every skip has to be right to the cell,
    or the coordinates are off by as much.
    """
    model = small(variant, num_classes=2, geometry=geometry)
    inputs = [model.get_layer(name).output for name in STRIDES]
    heads = keras.Model([model.input, *inputs], model.output)
    for size, shares in product([(131, 200), (160, 97)], SHARES[variant]):
        image = np.zeros((1, *size, 3), "float32")
        places = []
        for name, found in outputs_of(model, image, *STRIDES).items():
            y, x = (STRIDES[name] * np.arange(n) + SHIFTS[geometry][name] for n in found.shape[1:3])
            place = np.zeros_like(found)
            place[0, ..., 0], place[0, ..., 1] = y[:, None], x
            places.append(place)
        for layer in model.layers:
            if layer.name in ("score_fr", "score_pool4", "score_pool3"):
                kernel, bias = (np.zeros_like(w) for w in layer.get_weights())
                share = shares.get(layer.name, 0)
                if variant == "fcn8s-atonce":
                    share /= {"score_pool4": 0.01, "score_pool3": 0.0001}.get(layer.name, 1)
                kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = share
                layer.set_weights([kernel, bias])
        found = np.asarray(heads([image, *places]))[0]
        expected = np.moveaxis(np.mgrid[: size[0], : size[1]], 0, -1)
        # Nearer to the border some of the upsampled cells lie outside of the map; how many
        # pixels that are follows, at the top and on the left, from the kernels.
        border = {"fcn32s": 13, HHA: 13, "fcn16s": 21}.get(variant, 25)
        border = 40 if geometry == "same" else border
        inside = tuple(slice(border, n - border) for n in size)
        assert np.abs(found[inside] - expected[inside]).max() < 1e-4, (size, shares)


def test_at_once_scales():
    model = small("fcn8s-atonce")
    image = photo(45, 70)
    found = outputs_of(model, image, "pool4", "scale_pool4", "pool3", "scale_pool3")
    assert found["pool4"].any() and found["pool3"].any()
    np.testing.assert_allclose(found["scale_pool4"], 0.01 * found["pool4"], rtol=1e-6)
    np.testing.assert_allclose(found["scale_pool3"], 0.0001 * found["pool3"], rtol=1e-6)


@pytest.mark.parametrize("variant", VGG)
def test_first_scores_are_zero(variant):
    model = small(variant)
    assert not np.asarray(model(photo(45, 70))).any()
    assert outputs_of(model, photo(45, 70), "drop7")["drop7"].any()


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("variant", VGG)
def test_upsampling_is_bilinear_and_learns_on_demand(variant, learn):
    model = small(variant, learn_upsampling=learn)
    learning = {w.path.split("/")[0] for w in model.trainable_weights}
    for name in DECONVS.keys() & set(HEADS[variant]):
        assert (name in learning) == learn
        (kernel,) = model.get_layer(name).get_weights()
        size = DECONVS[name][0]
        line = 1 - np.abs(np.arange(size) - (size - 1) / 2) / (size / 2)
        expected = np.outer(line, line)[:, :, None, None] * np.eye(3)
        np.testing.assert_allclose(kernel, expected, rtol=1e-6)
    convs = {name for name in [*TRUNK, *HEADS[variant]] if name.startswith(("conv", "fc", "score"))}
    assert convs <= learning


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_start_keeps_the_size_of_its_numbers(geometry, seed):
    """Through 16 layers without normalization they neither die out nor explode."""
    keras.utils.set_random_seed(seed)
    model = small("fcn32s", width=1 / 8, geometry=geometry)
    names = ["normalize", *(n for n in TRUNK if n.startswith(("conv", "fc")))]
    outputs = outputs_of(model, photo(160, 192, seed=seed), *names)
    spreads = {name: float(np.std(output)) for name, output in outputs.items()}
    assert 0.05 < spreads["fc6"] < 20  # what fc7 reads
    assert all(0.05 < spread < 20 for spread in spreads.values()), spreads


@pytest.mark.slow
def test_random_start_trains():
    keras.utils.set_random_seed(0)
    model = small("fcn8s", num_classes=2, geometry="same")
    # Dark and bright images, in halves.
    images = photo(32, 32, count=4) // 2 + np.array([0, 127, 0, 127], "uint8")[:, None, None, None]
    labels = np.broadcast_to(np.array([0, 1, 0, 1])[:, None, None, None], (4, 32, 32, 1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Compiling would take longer than the few steps do.
    model.compile(keras.optimizers.Adam(3e-3), loss, run_eagerly=True)
    losses = [float(model.train_on_batch(images, labels)) for _ in range(12)]
    assert losses[0] == pytest.approx(np.log(2), rel=1e-3)  # scores start at zero
    assert losses[-1] < 0.5 * losses[0]


# --- files -----------------------------------------------------------------------------------

LOAD_AND_SAVE_LOGITS = """
import sys
sys.modules["fcn_keras"] = None  # importing it fails, installed or not
import keras
import numpy as np

images = np.load("images.npz")
for name in sys.argv[1:]:
    model = keras.models.load_model(f"{name}.keras", safe_mode=True)
    assert not model.compiled
    fit = [key for key in images if images[key].shape[-1] == model.input_shape[-1]]
    np.savez(f"{name}.npz", **{key: model(images[key]) for key in fit})
"""


def test_saved_networks_need_no_package(tmp_path):
    """Plain Keras opens the file, in its safe mode, and gives the same scores."""
    images = {f"size{i}": photo(*size) for i, size in enumerate([(37, 53), (1, 7), (97, 130)])}
    images |= {
        f"{variant}{i}": photo(*size, channels=channels_of(variant))
        for variant in (COLOR_D, COLOR_HHA)
        for i, size in enumerate([(37, 53), (1, 7)])
    }
    np.savez(tmp_path / "images.npz", **images)
    models = {}
    for variant, geometry in NETWORKS:
        learn = variant == "fcn16s"
        models[variant] = scatter_scores(small(variant, geometry=geometry, learn_upsampling=learn))
        models[variant].save(tmp_path / f"{variant}.keras")

    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AND_SAVE_LOGITS, *models],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for name, model in models.items():
        found = np.load(tmp_path / f"{name}.npz")
        assert len(found.files) == (2 if name in (COLOR_D, COLOR_HHA) else 3)
        for key in found.files:
            np.testing.assert_allclose(found[key], model(images[key]), atol=1e-5, err_msg=name)


def classes_in(config):
    """Every class that a saved model's config names, as `module.name`."""
    if isinstance(config, dict):
        if "class_name" in config and config.get("module"):
            yield f"{config['module']}.{config['class_name']}"
        if config.get("registered_name"):
            yield config["registered_name"]
        config = list(config.values())
    if isinstance(config, list):
        for item in config:
            yield from classes_in(item)


@pytest.mark.parametrize("variant", VARIANTS)
def test_saved_networks_name_stock_classes_only(variant, tmp_path):
    small(variant).save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    found = set(classes_in(config))
    assert "keras.layers.Conv2DTranspose" in found
    assert not [name for name in found if "fcn_keras" in name]
    assert "fcn_keras" not in json.dumps(config)


@pytest.mark.parametrize("variant, geometry", NETWORKS)
def test_weights_of_a_keras_file(variant, geometry, tmp_path):
    path = tmp_path / "trained.keras"
    mean = (90.0, 100.0, 110.0, 120.0, 130.0, 140.0)[: channels_of(variant)]
    options = dict(input_mean=mean, input_std=50.0)
    trained = scatter_scores(small(variant, geometry=geometry, **options))
    trained.save(path)
    # The preprocessing comes with the weights.
    model = small(variant, geometry=geometry, weights=path)
    image = photo_for(model, 45, 70)
    np.testing.assert_allclose(model(image), trained(image), atol=1e-5)


def test_weights_of_a_keras_file_with_another_choice_of_what_learns(tmp_path):
    path = tmp_path / "trained.keras"
    trained = scatter_scores(small("fcn16s"))
    trained.save(path)
    model = small("fcn16s", weights=str(path), learn_upsampling=True)
    image = photo(45, 70)
    np.testing.assert_allclose(model(image), trained(image), atol=1e-5)
    assert len(model.trainable_weights) == len(trained.trainable_weights) + 2


@pytest.mark.parametrize("variant", ["fcn32s", "fcn8s-atonce", ALEXNET, COLOR_D, COLOR_HHA])
def test_weights_of_a_converted_file(variant, tmp_path):
    mean = (90.0, 100.0, 110.0, 120.0, 130.0, 140.0)[: channels_of(variant)]
    trained = scatter_scores(small(variant, input_mean=mean, input_std=50.0))
    trained.save(tmp_path / "trained.keras")
    convert(tmp_path / "trained.keras", tmp_path / "converted.weights.h5")
    model = small(variant, weights=tmp_path / "converted.weights.h5")
    image = photo_for(model, 45, 70)
    np.testing.assert_allclose(model(image), trained(image), atol=1e-5)


def test_weights_of_a_file_that_plain_keras_wrote(tmp_path):
    """It tells no preprocessing: that of the published weights is taken, or what is given."""
    trained = scatter_scores(small(input_std=1.0))
    trained.save_weights(tmp_path / "plain.weights.h5")
    image = photo(45, 70)
    model = small(weights=tmp_path / "plain.weights.h5")
    np.testing.assert_allclose(model(image), trained(image), rtol=1e-5, atol=1e-3)
    other = small(weights=tmp_path / "plain.weights.h5", input_std=64.0)
    assert not np.allclose(other(image), trained(image), atol=0.1)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_given_preprocessing_wins_over_that_of_the_file(ending, tmp_path):
    trained = small(input_mean=(90.0, 100.0, 110.0), input_std=50.0)
    trained.save(tmp_path / "trained.keras")
    if ending == ".weights.h5":
        convert(tmp_path / "trained.keras", tmp_path / "trained.weights.h5")
    model = small(weights=tmp_path / f"trained{ending}", input_mean=(1.0, 2.0, 3.0))
    normalized = outputs_of(model, np.zeros((1, 1, 1, 3)), "normalize")["normalize"]
    np.testing.assert_allclose(normalized[0, 0, 0], [-1 / 50, -2 / 50, -3 / 50], rtol=1e-6)


def small_vgg16(**options):
    """What `keras.applications.VGG16` builds, with fewer channels."""
    x = image = keras.Input((224, 224, 3))
    for block, (channels, convs) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 1):
        for i in range(1, convs + 1):
            x = keras.layers.Conv2D(
                int(channels * WIDTH),
                3,
                padding="same",
                activation="relu",
                bias_initializer="random_normal",
                name=f"block{block}_conv{i}",
            )(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = keras.layers.Dense(
            int(4096 * WIDTH), activation="relu", bias_initializer="random_normal", name=name
        )(x)
    x = keras.layers.Dense(10, activation="softmax", name="predictions")(x)
    return keras.Model(image, x, name="vgg16")


def assert_classifies_like(model, classifier):
    """With fc6 padded by 3, the cell in the middle of a 224x224 image is the classifier."""
    image = photo(224, 224)
    prepared = keras.applications.vgg16.preprocess_input(image.astype("float32"))
    found = outputs_of(model, image, "fc6", "fc7")
    expected = outputs_of(classifier, prepared, "fc1", "fc2")
    for conv, dense in (("fc6", "fc1"), ("fc7", "fc2")):
        wanted = expected[dense][0]
        assert wanted.any()
        np.testing.assert_allclose(found[conv][0, 3, 3], wanted, atol=1e-4 * wanted.max())


def test_weights_of_the_classifier(tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    classifier = small_vgg16()
    path = tmp_path / "classifier.h5"
    path.touch()
    opened = []
    monkeypatch.setattr(
        keras.applications, "VGG16", lambda weights: opened.append(weights) or classifier
    )
    model = small("fcn8s", geometry="same", weights=path)
    assert opened == [str(path)]
    assert_classifies_like(model, classifier)
    assert not np.asarray(model(photo(37, 53))).any()  # scores still start from zero
    published = small("fcn32s", geometry="paper", weights=path)
    np.testing.assert_array_equal(
        published.get_layer("fc7").kernel[0, 0], classifier.get_layer("fc2").kernel
    )


@pytest.mark.slow
def test_weights_of_the_full_classifier(tmp_path):
    keras.utils.set_random_seed(0)
    classifier = keras.applications.VGG16(weights=None)
    path = tmp_path / "classifier.h5"
    classifier.save(path)  # Keras' older format, in which the published weights are
    assert_classifies_like(FCN32s(weights=path, geometry="same"), classifier)


@pytest.mark.parametrize(
    "reason",
    [
        # What Keras says without a network, and after half a download.
        f"URL fetch failure on {IMAGENET_URL}: None -- [Errno -2] Name or service not known",
        "Incomplete or corrupted file detected. The md5 file hash does not match the provided "
        f"value of {IMAGENET_MD5}.",
    ],
)
def test_imagenet_weights_without_network(reason, tmp_path, monkeypatch):
    def get_file(*args, **options):
        raise Exception(reason)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(UserError) as error:
        FCN8s()
    message = str(error.value)
    assert reason in message
    # What to download, how to check it, where to put it, and what to do without it.
    assert IMAGENET_URL in message
    assert IMAGENET_MD5 in message
    assert str(tmp_path / "models" / IMAGENET_FILE) in message
    assert "small" in message
    assert "\n" not in message


# --- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variant, options, message",
    [
        ("fcn4s", {}, "`variant`.*fcn32s, fcn16s, fcn8s, fcn8s-atonce.*'fcn4s'"),
        ("fcn8s", {"geometry": "valid"}, "`geometry`.*paper, same.*'valid'"),
        ("fcn8s", {"num_classes": 0}, "`num_classes`.*at least 1.*0"),
        ("fcn8s", {"width": 0}, "`width`.*above 0.*0"),
        ("fcn8s", {"width": -0.5}, "`width`.*above 0.*-0.5"),
        ("fcn8s", {"width": float("nan")}, "`width`.*above 0.*nan"),
        ("fcn8s", {"input_shape": (None, None, 1)}, r"`input_shape`.*\(H, W, 3\).*1\)"),
        (COLOR_HHA, {"input_shape": (None, None, 3)}, r"`input_shape`.*\(H, W, 6\).*3\)"),
        (ALEXNET, {"geometry": "same"}, "`geometry`.*fcn-alexnet.*'paper'.*'same'"),
        (ALEXNET, {"weights": "imagenet"}, "VGG16.*bvlc_reference_caffenet.caffemodel"),
        ("fcn32s", {"output_stride": 4}, "`output_stride`.*32, 16, 8.*4"),
        ("fcn32s", {"num_classes": {}}, "`num_classes`.*at least one head"),
        ("fcn32s", {"num_classes": {"a": 2, "b": 0}}, "`num_classes`.*at least 1.*0"),
        ("fcn32s", {"input_mean": (1, 2)}, r"`input_mean`.*3 numbers.*\(1.0, 2.0\)"),
        (COLOR_HHA, {"input_mean": (1, 2, 3)}, r"`input_mean`.*6 numbers.*\(1.0, 2.0, 3.0\)"),
        (COLOR_D, {"input_mean": (1, 2, 3)}, r"`input_mean`.*4 numbers.*\(1.0, 2.0, 3.0\)"),
        (COLOR_D, {"input_std": (1, 2)}, r"`input_std`.*one number, or 4.*\(1, 2\)"),
        (COLOR_D, {"input_std": (1, 2, 3, 0)}, r"`input_std`.*above 0.*0.0"),
        (COLOR_HHA, {"input_std": (1,) * 6}, r"`input_std` must be one number. Received"),
        ("fcn8s", {"input_shape": (None, None)}, r"`input_shape`.*\(H, W, 3\).*None, None\)"),
        ("fcn8s", {"weights": "imagenet", "width": 0.5}, "width=1.*width=0.5.*weights=None"),
        ("fcn8s", {"weights": "coco"}, "'imagenet', None, or the path.*'coco'.*no file"),
        ("fcn8s", {"weights": "/nowhere/best.keras"}, "/nowhere/best.keras.*no file"),
    ],
)
def test_arguments_out_of_range(variant, options, message):
    with pytest.raises(UserError, match=message):
        small(variant, **options)


def test_weights_of_another_ending(tmp_path):
    path = tmp_path / "weights.txt"
    path.touch()
    with pytest.raises(UserError, match=r"\.keras, \.weights\.h5, \.h5.*\.npz.*weights\.txt"):
        small(weights=path)


def test_directory_as_weights(tmp_path):
    with pytest.raises(UserError, match="no file"):
        small(weights=tmp_path)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5"])
def test_broken_files_as_weights(ending, tmp_path):
    path = tmp_path / f"broken{ending}"
    path.write_text("not a network")
    with pytest.raises(UserError, match=f"broken{ending}"):
        small("fcn32s", weights=path)


def test_another_model_as_weights(tmp_path):
    image = keras.Input((8, 8, 3))
    other = keras.Model(image, keras.layers.Conv2D(2, 3, name="conv1_1")(image), name="other")
    other.save(tmp_path / "other.keras")
    with pytest.raises(UserError, match="other"):
        small("fcn32s", weights=tmp_path / "other.keras")


MISFITS = [
    # What the file holds, what is built, and what does not fit.
    (("fcn32s", {}), ("fcn8s", {}), ["upscore2", "score_pool4", "score_pool3", "upscore8"]),
    (("fcn8s", {}), ("fcn32s", {}), ["upscore"]),
    (("fcn8s", {"num_classes": 4}), ("fcn8s", {}), ["score_fr", "score_pool4", "upscore8"]),
    (("fcn8s", {"width": 1 / 32}), ("fcn8s", {}), ["conv1_1", "fc7", "score_fr"]),
    # Trained with its skips scaled down, or not: the same shapes, and other scores.
    (("fcn8s-atonce", {}), ("fcn8s", {}), ["scale_pool"]),
    (("fcn8s", {}), ("fcn8s-atonce", {}), ["scale_pool"]),
    ((ALEXNET, {}), ("fcn32s", {}), ["conv1_1"]),
    (("fcn32s", {}), (COLOR_D, {}), ["source.keras", "3 channels", "4"]),
    (("fcn32s", {}), (COLOR_HHA, {}), ["source.keras", "3 channels", "6"]),
    (("fcn32s", {"num_classes": {"a": 3}}), ("fcn32s", {}), ["score_fr", "upscore"]),
]


@pytest.mark.parametrize("source, target, faults", MISFITS)
def test_weights_of_another_network(source, target, faults, tmp_path):
    small(source[0], **source[1]).save(tmp_path / "source.keras")
    with pytest.raises(UserError) as error:
        small(target[0], weights=tmp_path / "source.keras", **target[1])
    for name in faults:
        assert name in str(error.value)


@pytest.mark.parametrize("source, target", [misfit[:2] for misfit in MISFITS[:4]])
def test_converted_weights_of_another_network(source, target, tmp_path):
    small(source[0], **source[1]).save_weights(tmp_path / "source.weights.h5")
    with pytest.raises(UserError, match=r"source\.weights\.h5") as error:
        small(target[0], weights=tmp_path / "source.weights.h5", **target[1])
    assert len(str(error.value)) < 1000  # not the numbers of a kernel


def test_narrow_network_from_the_classifier(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.applications, "VGG16", lambda weights: small_vgg16())
    path = tmp_path / "classifier.h5"
    path.touch()
    with pytest.raises(UserError, match="conv1_1 has shapes.*fc7 has shapes"):
        small("fcn32s", weights=path, width=1 / 32)
