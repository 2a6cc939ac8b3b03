"""A recipe's settings, overridden by what the caller gives."""

from dataclasses import fields
from importlib import import_module

from fcn_keras.errors import UserError
from fcn_keras.training.settings import Settings

# The embedded set's, anyone's own data, and the reference's experiments.
RECIPES = (
    "shapes",
    "folder",
    "small",
    "voc-fcn32s",
    "voc-fcn16s",
    "voc-fcn8s",
    "voc-fcn8s-atonce",
    "voc-fcn-alexnet",
    "voc-modern",
    "siftflow-fcn32s",
    "siftflow-fcn16s",
    "siftflow-fcn8s",
    "siftflow-modern",
    "nyud-fcn32s-color",
    "nyud-fcn32s-hha",
    "nyud-fcn32s-color-hha",
    "nyud-modern",
    "pascalcontext-fcn32s",
    "pascalcontext-fcn16s",
    "pascalcontext-fcn8s",
    "pascalcontext-modern",
)


def resolve(recipe: str | None = None, **overrides) -> Settings:
    """Settles the settings of a run: a recipe's, overridden by what the caller gives.

    Args:
        recipe: one of `RECIPES`; if not given, the data set's own: `shapes` for the embedded
            set, `folder` for a folder.
        **overrides: fields of `Settings`.

    Returns:
        A `Settings`.

    Raises:
        UserError: if a setting is unknown, or its value not allowed.

    Example:

    >>> resolve("small", dataset="my_photos", epochs=10).width
    0.25
    """
    unknown = set(overrides) - {field.name for field in fields(Settings)}
    if unknown:
        raise UserError(f"Unknown setting: {', '.join(sorted(unknown))}.")
    dataset = overrides.get("dataset", Settings.dataset)
    recipe = recipe or ("shapes" if dataset == "shapes" else "folder")
    if recipe not in RECIPES:
        raise UserError(f"`recipe` must be one of {', '.join(RECIPES)}. Received: {recipe!r}.")
    values = import_module(f"fcn_keras.recipes.{recipe.replace('-', '_')}").SETTINGS
    return Settings(**{**values, **overrides, "recipe": recipe})
