"""One file per experiment: what it stands for, its command, its cost, and its settings."""

from dataclasses import fields
from importlib import import_module

from fcn_keras.errors import UserError
from fcn_keras.names import RECIPES
from fcn_keras.settings import Settings


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
