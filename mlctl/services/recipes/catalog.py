"""Listing, showing and copying recipes."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlctl import recipes
from mlctl.domain.recipes import RecipeDetail, RecipeList
from mlctl.errors import RefusedError
from mlctl.recipes.declare import hyperparameter_info


def list_recipes() -> RecipeList:
    """Return every installed recipe."""
    return RecipeList(tuple(recipes.list_recipes()))


def show(name: str) -> RecipeDetail:
    """Return a recipe with everything that can be set on it."""
    recipe = recipes.find(name)
    declared = recipe.declared().items()
    return RecipeDetail(
        name=recipe.name,
        summary=(type(recipe).__doc__ or "").partition("\n")[0],
        origin=type(recipe).__module__,
        objective=str(recipe.objective),
        hyperparameters=tuple(hyperparameter_info(name, value) for name, value in declared if not value.data),
        options=tuple(hyperparameter_info(name, value) for name, value in declared if value.data),
        source=str(recipe.source_file()),
    )


def copy(name: str, target: Path) -> Path:
    """Copy a recipe's file as the start of the user's own; raises RefusedError rather than overwrite a file."""
    if target.is_dir():
        target = target / f"{name}.py"
    if target.exists():
        raise RefusedError(f"{target} already exists", "choose another name, or delete it first")
    source = recipes.find(name).source_file()
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target
