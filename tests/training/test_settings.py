import json
import math
import re
from dataclasses import asdict, fields, replace

import pytest

from fcn_keras.data.dataset import Dataset
from fcn_keras.data.files.readers import AsStored
from fcn_keras.errors import UserError
from fcn_keras.models.variants import VARIANTS
from fcn_keras.recipes.common.resolving import RECIPES, resolve
from fcn_keras.training.run import Run
from fcn_keras.training.settings import CHOICES, Settings

INF, NAN = math.inf, math.nan


# Defaults


def test_embedded_set_has_its_own_recipe():
    settings = resolve()
    assert settings == resolve(dataset="shapes") == resolve("shapes")
    assert (settings.recipe, settings.dataset, settings.variant) == ("shapes", "shapes", "fcn8s")
    # Narrow and random: minutes on a CPU, and nothing to download.
    assert settings.weights == "none"
    assert settings.width < 1


def test_a_folder_gets_a_network_for_any_machine():
    settings = resolve(dataset="my/photos")
    assert settings == resolve("light", dataset="my/photos")
    assert (settings.backbone, settings.weights) == ("mobilenet_v2", "imagenet")
    [line] = settings.narrowed()
    assert "mobilenet_v2" in line and "VGG16" in line and "--recipe folder" in line


def test_the_paper_s_network_is_asked_for_or_comes_with_the_paper_s_data():
    for settings in (resolve("folder", dataset="my/photos"), resolve(dataset="voc2012_sbd")):
        assert (settings.recipe, settings.backbone) == ("folder", "vgg16")
        assert (settings.weights, settings.width, settings.geometry) == ("imagenet", 1.0, "paper")
        assert settings.narrowed() == []


def test_small_is_for_any_data():
    for dataset in ("shapes", "my/photos"):
        settings = resolve("small", dataset=dataset)
        assert (settings.recipe, settings.dataset) == ("small", dataset)
        assert settings.weights == "none" and settings.width < 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes(recipe):
    settings = resolve(recipe)
    assert settings.recipe == recipe
    assert asdict(settings).keys() == {field.name for field in fields(Settings)}
    for name, allowed in CHOICES.items():
        assert getattr(settings, name) in allowed


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_recipe_takes_every_variant(recipe, variant):
    assert resolve(recipe, variant=variant).variant == variant


# Overrides


@pytest.mark.parametrize("recipe", [None, *RECIPES])
def test_overrides_win(recipe):
    given = {
        "dataset": "elsewhere",
        "weights": "a.keras",
        "width": 0.5,
        "crop_size": (64, 80),
        "epochs": 3,
        "flip": False,
        "learning_rate": 0.1,
        "optimizer": "sgd",
        "loss": "cross_entropy",
        "accumulate": 2,
    }
    settings = resolve(recipe, **given)
    assert {name: getattr(settings, name) for name in given} == given


def test_the_rest_is_the_recipes():
    changed = asdict(resolve("small", epochs=3))
    plain = asdict(resolve("small"))
    assert {name for name in plain if plain[name] != changed[name]} == {"epochs"}


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        resolve().epochs = 3


@pytest.mark.parametrize(
    "values",
    [
        {"scale_min": 2.0, "scale_max": 2.0},
        {"dropout": 0.0, "momentum": 0.0, "warmup": 0.0, "weight_decay": 0.0, "color": 0.0},
        {"steps": 7},
        {"seed": 2**32 - 1},
        {"crop_size": (1, 1)},
        {"batch_size": 1, "validate_every": 100},
        {"crop_size": None, "batch_size": 1},
        {"optimizer": "caffe_sgd", "accumulate": 20},
        {"input_mean": (1, 2.5, 3)},
        {"input_mean": (1, 2, 3, 4)},
        {"input_mean": (1, 2, 3, 4, 5, 6)},
        {"output_stride": 8},
    ],
)
def test_limits_are_allowed(values):
    settings = resolve(**values)
    assert {name: getattr(settings, name) for name in values} == values


# Mistakes


@pytest.mark.parametrize("name", ["learning_rte", "lr", "batch-size", "devices"])
def test_unknown_setting(name):
    with pytest.raises(UserError, match=f"Unknown setting: {name}"):
        resolve(**{name: 1})


def test_unknown_recipe():
    with pytest.raises(
        UserError, match="`recipe` must be one of shapes, light, folder, small.*'paper'"
    ):
        resolve("paper")


@pytest.mark.parametrize("name", CHOICES)
def test_values_of_a_choice(name):
    wrong = "nonsense" if isinstance(CHOICES[name][0], str) else 7
    with pytest.raises(UserError) as error:
        resolve(**{name: wrong})
    message = str(error.value)
    assert f"`{name}`" in message and repr(wrong) in message
    for value in CHOICES[name]:
        assert str(value) in message


WRONG = [
    ("epochs", 0),
    ("epochs", -1),
    ("epochs", 2.5),
    ("epochs", "ten"),
    ("steps", -1),
    ("batch_size", 0),
    ("batch_size", 1.5),
    ("validate_every", 0),
    ("seed", -1),
    ("seed", 2**32),  # NumPy takes seeds of 32 bits
    ("learning_rate", 0.0),
    ("learning_rate", -1e-3),
    ("learning_rate", NAN),
    ("learning_rate", INF),
    ("width", 0.0),
    ("width", -1.0),
    ("width", INF),
    ("dropout", -0.1),
    ("dropout", 1.0),
    ("momentum", -0.1),
    ("momentum", 1.0),
    ("weight_decay", -1e-4),
    ("weight_decay", NAN),
    ("warmup", -0.1),
    ("warmup", 1.0),
    ("color", -0.1),
    ("color", NAN),
    ("scale_min", 0.0),
    ("scale_min", -1.0),
    ("scale_min", 5.0),  # above scale_max
    ("scale_max", 0.1),
    ("scale_max", NAN),
    ("scale_max", INF),
    ("flip", "no"),
    ("crop_size", (0, 32)),
    ("crop_size", (32, -1)),
    ("crop_size", (32,)),
    ("crop_size", (32, 32, 3)),
    ("crop_size", 32),
    ("crop_size", (32.5, 32)),
    ("crop_size", None),  # whole images differ in size: one at a time
    ("accumulate", 0),
    ("accumulate", 1.5),
    ("input_mean", 104.0),
    ("input_mean", (1.0, 2.0)),
    ("input_mean", (1.0, 2.0, NAN)),
    ("output_stride", 4),
    ("replacement", 1),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_values(name, value):
    field = "batch_size" if (name, value) == ("crop_size", None) else name
    with pytest.raises(UserError, match=f"`{field}`") as error:
        resolve("small", **{name: value})
    message = str(error.value)
    assert "\n" not in message
    received = resolve("small").batch_size if field != name else value
    assert re.search(r"Received: .*" + re.escape(str(received)), message)


@pytest.mark.parametrize("name", ["batch_size", "scale_min", "scale_max"])
def test_whole_images_come_one_at_a_time_and_unscaled(name):
    values = {"batch_size": 1, "scale_min": 1.0, "scale_max": 1.0}
    assert resolve("small", crop_size=None, **values).crop_size is None
    wrong = 0.5 if name == "scale_min" else 2
    with pytest.raises(UserError, match=f"`{name}` must be 1 where whole images"):
        resolve("small", crop_size=None, **{**values, name: wrong})


IDLE = [
    ("momentum", 0.5, {"optimizer": "adam"}),
    ("momentum", 0.5, {"optimizer": "adamw"}),
    ("weight_decay", 1e-4, {"optimizer": "adam"}),
    ("weight_decay", 1e-4, {"optimizer": "sgd"}),
    ("warmup", 0.1, {"schedule": "constant"}),
    ("normalization", "sum", {"loss": "dice"}),
    ("normalization", "image", {"loss": "lovasz+0.5*ohem"}),
]


@pytest.mark.parametrize(("name", "value", "others"), IDLE)
def test_what_would_do_nothing(name, value, others, tmp_path):
    """It is refused where it is given; a recipe may have it, and so may a run of before."""
    others = {"class_weights": "none", **others}
    with pytest.raises(UserError, match=f"`{name}` is for .*do nothing. Received: {value!r}"):
        resolve("small", **{name: value}, **others)
    settings = resolve("small", **others)
    run, dataset = Run(tmp_path), Dataset(name="x", classes=("a", "b"), colors=(), splits={})
    run.start(replace(settings, **{name: value}), dataset)
    run.check(settings, dataset)
    used = {"optimizer": "caffe_sgd", "schedule": "poly", "loss": "cross_entropy+dice"}
    assert getattr(resolve("voc-fcn8s", **used, **{name: value}), name) == value


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"heads": {"sem": ("a", "b"), "geo": ("c", "d")}}, {}),
        ({}, {"heads": {"sem": ("a", "b"), "geo": ("c", "d")}}),
        ({"stored": AsStored(3, "uint16")}, {}),
        ({}, {"stored": AsStored(3, "uint16")}),
    ],
)
def test_a_data_set_that_has_changed(tmp_path, before, now):
    same = dict(name="x", classes=("a", "b"), colors=(), splits={})
    settings, run = resolve("small"), Run(tmp_path)
    run.start(settings, Dataset(**same, **before))
    [name] = {**before, **now}
    with pytest.raises(UserError, match=f"other settings: {name} was "):
        run.check(settings, Dataset(**same, **now))
    run.check(settings, Dataset(**same, **before))


# Written and read back


@pytest.mark.parametrize("recipe", RECIPES)
def test_config_round_trip(recipe):
    settings = resolve(recipe)
    values = settings.config()
    assert values == json.loads(json.dumps(values))
    for name in ("crop_size", "input_mean"):
        value = getattr(settings, name)
        assert values[name] == (value and list(value))
        values[name] = value
    assert Settings(**values) == settings


@pytest.mark.parametrize(
    "given, upsampling, learns",
    [
        ({}, "bilinear", False),
        ({"learn_upsampling": True}, "learned", True),
        ({"learn_upsampling": False}, "bilinear", False),
        ({"upsampling": "learned"}, "learned", True),
        ({"upsampling": "nonlinear"}, "nonlinear", True),
    ],
)
def test_upsampling_and_its_older_name(given, upsampling, learns, tmp_path):
    """Both are in `config.json`; an older one, or an older command, has the older name alone."""
    settings = resolve("small", **given)
    assert (settings.upsampling, settings.learn_upsampling) == (upsampling, learns)
    config = settings.config()
    assert (config["upsampling"], config["learn_upsampling"]) == (upsampling, learns)
    dataset = Dataset(name="x", classes=("a", "b"), colors=(), splits={})
    run = Run(tmp_path)
    run.start(settings, dataset)
    if upsampling != "nonlinear":
        whole = json.loads((tmp_path / "config.json").read_text())
        del whole["settings"]["upsampling"]
        (tmp_path / "config.json").write_text(json.dumps(whole))
    run.check(settings, dataset)
    for other in ("bilinear", "learned", "nonlinear"):
        if other != upsampling:
            with pytest.raises(UserError, match=f"upsampling was '{upsampling}' and is now"):
                run.check(resolve("small", upsampling=other), dataset)


def test_upsampling_against_its_older_name():
    with pytest.raises(UserError, match="`learn_upsampling` .*with 'nonlinear'. Received: False"):
        resolve("small", upsampling="nonlinear", learn_upsampling=False)


def test_text_has_a_line_for_every_setting():
    lines = str(resolve()).splitlines()
    assert [line.split()[0] for line in lines] == [field.name for field in fields(Settings)]


def test_what_is_less_than_the_paper_is_said():
    narrowed = " ".join(resolve("small").narrowed())
    assert "--width 1" in narrowed
    assert "--weights imagenet" in narrowed
    assert "--geometry paper" in narrowed
    full = resolve("small", width=1.0, geometry="paper", init_from="runs/fcn16s")
    assert full.narrowed() == []
