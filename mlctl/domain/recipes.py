"""What lists and details of recipes show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RecipeInfo:
    """A recipe as a list shows it, found without loading it."""

    name: str
    summary: str
    origin: str


@dataclass(frozen=True)
class RecipeList:
    """Every recipe that is installed."""

    recipes: tuple[RecipeInfo, ...]


@dataclass(frozen=True)
class HyperparameterInfo:
    """One hyperparameter or data option of a recipe, with its bounds in words."""

    name: str
    default: Any
    allowed: str
    help: str


@dataclass(frozen=True)
class RecipeDetail:
    """A recipe with all that can be set on it."""

    name: str
    summary: str
    origin: str
    objective: str
    hyperparameters: tuple[HyperparameterInfo, ...]
    options: tuple[HyperparameterInfo, ...]
    source: str
