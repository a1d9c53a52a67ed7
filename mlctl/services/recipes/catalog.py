"""Listing, showing and copying recipes."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlctl.domain.recipes import RecipeDetail, RecipeList
from mlctl.errors import RefusedError
from mlctl.recipes import find, listed
from mlctl.recipes.declare import info


def list_recipes() -> RecipeList:
    """Return every recipe that is installed."""
    return RecipeList(tuple(listed()))


def show(name: str) -> RecipeDetail:
    """Return a recipe with all that can be set on it."""
    recipe = find(name)
    declared = recipe.declared()
    return RecipeDetail(
        name=recipe.name,
        summary=(type(recipe).__doc__ or "").partition("\n")[0],
        origin=type(recipe).__module__,
        objective=str(recipe.objective),
        hyperparameters=tuple(info(key, one) for key, one in declared.items() if not one.data),
        options=tuple(info(key, one) for key, one in declared.items() if one.data),
        source=str(recipe.source_file()),
    )


def copy(name: str, to: Path) -> Path:
    """Copy a recipe's file to begin one's own; refuses to overwrite."""
    if to.is_dir():
        to = to / f"{name}.py"
    if to.exists():
        raise RefusedError(f"{to} is there already", "choose another name, or take it away first")
    source = find(name).source_file()
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, to)
    return to
