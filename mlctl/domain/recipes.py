"""Lists and details of recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# the recipes that read a user's own data, each with what `mlctl train` takes for it
OWN_DATA_RECIPES = {"tabular": "FILE.csv --target COLUMN", "images": "FOLDER", "texts": "FOLDER"}


@dataclass(frozen=True)
class RecipeInfo:
    """A recipe in a list; finding it does not load it."""

    name: str
    summary: str
    origin: str


@dataclass(frozen=True)
class RecipeList:
    """All installed recipes."""

    recipes: tuple[RecipeInfo, ...]


@dataclass(frozen=True, kw_only=True)
class HyperparameterInfo:
    """One hyperparameter or data option of a recipe.

    Attributes:
        allowed: Its valid values in words.
        when: Condition under which it counts; "" if it always does.
    """

    name: str
    default: Any
    allowed: str
    help: str
    when: str = ""


@dataclass(frozen=True, kw_only=True)
class RecipeDetail:
    """A recipe with all values that can be set; `source` is its file."""

    name: str
    summary: str
    origin: str
    objective: str
    hyperparameters: tuple[HyperparameterInfo, ...]
    options: tuple[HyperparameterInfo, ...]
    source: str
