"""The model folder of a run: written, loaded back as any client would, and checked against the model in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.models import save as model_folder
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.data.dataset import Dataset, Split
from mlctl.errors import BadDataError
from mlctl.recipes import Recipe

METRIC_TOLERANCE, ANSWER_TOLERANCE = 1e-3, 1e-4  # logged against in-memory; answers relative to their scale
CHECKED_ROWS = 64

Array = np.ndarray[Any, Any]


def saved_and_checked(
    recorder: Recorder,
    save: Callable[[Path], object],
    answers_of: Callable[[Any], Array],
    wanted: Array,
    measured: Callable[[Array], Mapping[str, float]],
) -> Array:
    """Write the run's model folder by `save`, and return the answers of the model loaded back from it.

    Raises BadDataError where they, or what is `measured` on them, differ from those `wanted`.
    """
    # the sender may be at a model that a killed process left, so that one is replaced at a stroke
    made = recorder.journal.model.with_name("model.part")
    shutil.rmtree(made, ignore_errors=True)
    save(made)
    found = answers_of(model_folder.load(made))
    _demand_agreement(measured(wanted), measured(found), wanted, found)
    shutil.rmtree(recorder.journal.model, ignore_errors=True)
    made.rename(recorder.journal.model)
    return found


def few(split: Split) -> Split:
    """Return the rows by which a saved model is tried, and of which one becomes its input example."""
    return split.take(np.arange(min(CHECKED_ROWS, len(split))))


def about(recipe: Recipe, data: Dataset) -> dict[str, Any]:
    """Return what a client must know of a model's answers."""
    return {"recipe": recipe.name, "task": data.task, "classes": list(data.classes), "unit": data.unit}


def gaps_of(data: Dataset) -> tuple[str, ...]:
    """Return a table's columns that had gaps in training, and may have them in a request."""
    rows = data.train.inputs
    return tuple(rows.columns[rows.isna().any()]) if data.is_table else ()


def _demand_agreement(
    wanted: Mapping[str, float], found: Mapping[str, float], answers: Array, again: Array
) -> None:
    hint = "the encoder may depend on something that is not saved; mlctl recipes check FILE looks closer"
    for name, value in wanted.items():
        if abs(value - found[name]) > METRIC_TOLERANCE * max(1.0, abs(value)):
            raise BadDataError(
                f"the logged model has {name} {found[name]:.6g} where the trained one has {value:.6g}", hint
            )
    apart = float(np.abs(answers - again).max() / max(1.0, float(np.abs(answers).max())))
    if apart > ANSWER_TOLERANCE:
        raise BadDataError(f"the logged model's answers differ by {apart:.2g} from the trained one's", hint)
