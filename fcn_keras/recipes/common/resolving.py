"""Which recipes there are, and what each says of a run's settings."""

from dataclasses import fields
from importlib import import_module
from pathlib import Path

from fcn_keras.data.catalog import is_path
from fcn_keras.errors import UserError
from fcn_keras.models.backbones import VGG16
from fcn_keras.training.setting_checks import idle
from fcn_keras.training.settings import Settings

# Before the experiments: a first run, anyone's own images, and those without a GPU.
_FIRST = ("shapes", "light", "folder", "small")

# Each file in the folder `recipes` is one, with a hyphen for every underscore.
RECIPES = tuple(
    sorted(
        (file.stem.replace("_", "-") for file in Path(__file__).parents[1].glob("[!_]*.py")),
        key=lambda recipe: ([recipe != first for first in _FIRST], recipe),
    )
)

# What a recipe says of these is meant for its own backbone.
_OF_THE_BACKBONE = ("geometry", "width", "input_mean", "freeze", "freeze_epochs")


def _recipe_of(dataset):
    if is_path(dataset):
        return "light"
    return "shapes" if dataset == "shapes" else "folder"


def resolve(recipe: str | None = None, **overrides) -> Settings:
    """Returns the settings of a run: a recipe's, overridden by what the caller gives.

    Args:
        recipe: one of `RECIPES`; if not given, the data set's own: `shapes` for the embedded
            set, `light` for a folder, `folder` for any other.
        **overrides: fields of `fcn_keras.training.settings.Settings`, which says what each is, in
            which unit.

    Returns:
        The `Settings`, for `fcn_keras.train`.

    Raises:
        UserError: if there is no such recipe or setting, or a value is not allowed, or is given
            and would do nothing.

    Example:

    >>> resolve("small", dataset="my_photos", epochs=10).width
    0.25
    """
    unknown = set(overrides) - {field.name for field in fields(Settings)}
    if unknown:
        raise UserError(f"Unknown setting: {', '.join(sorted(unknown))}.")
    dataset = overrides.get("dataset", Settings.dataset)
    recipe = recipe or _recipe_of(str(dataset))
    if recipe not in RECIPES:
        raise UserError(f"`recipe` must be one of {', '.join(RECIPES)}. Received: {recipe!r}.")
    values = import_module(f"fcn_keras.recipes.{recipe.replace('-', '_')}").SETTINGS
    own = values.get("backbone", VGG16)
    if overrides.get("backbone", own) != own:
        values = {name: value for name, value in values.items() if name not in _OF_THE_BACKBONE}
    if "epochs" in overrides:  # which a recipe's number of steps would overrule
        values = {name: value for name, value in values.items() if name != "steps"}
    if overrides.get("learn_upsampling") is not None:  # the older name
        values = {name: value for name, value in values.items() if name != "upsampling"}
    settings = Settings(**{**values, **overrides, "recipe": recipe})
    for name, what_for in idle(settings).items():
        if overrides.get(name):
            raise UserError(
                f"`{name}` is for {what_for}, and would do nothing. Received: {overrides[name]!r}."
            )
    return settings
