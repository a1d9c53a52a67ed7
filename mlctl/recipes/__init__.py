"""What can be trained: data, encoder, model, hyperparameters and objective, one file for each recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlctl.recipes.declare import Values, choice, hyperparameter, maximize, minimize, option
from mlctl.recipes.lookup import ResolvedRecipe, find, list_recipes, names, resolve
from mlctl.recipes.recipe import Phase, Recipe

if TYPE_CHECKING:
    from mlctl.data.dataset import Dataset, Split

__all__ = [
    "Dataset",
    "Phase",
    "Recipe",
    "ResolvedRecipe",
    "Split",
    "Values",
    "choice",
    "find",
    "hyperparameter",
    "list_recipes",
    "maximize",
    "minimize",
    "names",
    "option",
    "resolve",
]


def __getattr__(name: str) -> Any:
    """Import Dataset and Split when they are used: they need numpy, which a list of recipes does not."""
    if name in {"Dataset", "Split"}:
        from mlctl.data import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
