"""The checks of a built model before it is trained, so that no hour is lost."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from mlctl.adapters.keras.train_step import find_stateful, fixed_batch_size
from mlctl.adapters.models.code import check_savable
from mlctl.adapters.models.served_model import to_arrays
from mlctl.errors import BadDataError
from mlctl.recipes import Recipe
from mlctl.services.recipes.prepare import PreparedData, recipe_errors

CHECKED_ROWS = 2


def check_model(prepared: PreparedData, model: Any) -> None:
    """Raise BadDataError if a model is not compiled, cannot be saved and loaded, or is stateful.

    A recipe that serves another model than the trained one may train a model that cannot be saved.
    """
    recipe = prepared.recipe
    if model is None or not getattr(model, "compiled", False):
        raise BadDataError(
            f"{recipe.source_file()}: build() must return a compiled model", "end it with model.compile(…)"
        )
    if type(recipe).serving is not Recipe.serving:
        return
    if (layer := find_stateful(model)) is not None:
        raise BadDataError(
            f"{recipe.source_file()}: layer {layer} is stateful: its answers would depend on earlier requests,"
            " so the model cannot be served",
            "build it with stateful=False, or return such a copy from the recipe's serving()",
        )
    state = random.getstate()  # Keras draws seeds of rebuilt layers from it
    try:
        with recipe_errors(recipe, "saving its model"):
            train, count = prepared.data.train, fixed_batch_size(model) or CHECKED_ROWS
            rows = prepared.encoded(train.take(np.arange(count) % len(train)))
            check_savable(model, to_arrays(rows))
    finally:
        random.setstate(state)
