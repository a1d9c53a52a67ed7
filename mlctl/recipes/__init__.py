"""What can be trained: data, encoder, model, hyperparameters and objective, one file each."""

from mlctl.recipes.declare import Values, choice, hyperparameter, maximize, minimize, option
from mlctl.recipes.recipe import Recipe, find, listed, names

__all__ = [
    "Recipe", "Values", "choice", "find", "hyperparameter", "listed", "maximize", "minimize", "names",
    "option",
]  # fmt: skip
