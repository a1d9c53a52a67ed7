"""What a Keras backend other than TensorFlow can train; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from mlctl.adapters.system import extras
from mlctl.data.dataset import needs_dense
from mlctl.data.sparse_bags import SparseBags
from mlctl.data.trees import leaves
from mlctl.errors import ConfigurationError, UsageError
from mlctl.recipes.keras_import import JAX, TENSORFLOW, TORCH
from mlctl.recipes.recipe import SPARSE_BAGS, Recipe, has_phases
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.training.request import TrainRequest

CHECKED_ROWS = 2


def check_backend(request: TrainRequest, recipe: Recipe) -> None:
    """Raise UsageError if the request's backend cannot train this recipe, whatever its data.

    Raises ConfigurationError if the backend is not installed.
    """
    backend = request.backend
    if backend == TENSORFLOW:
        return
    if backend == TORCH and find_spec(TORCH) is None:  # no extra: its wheels are large
        raise ConfigurationError("KERAS_BACKEND is torch, which is not installed", "run: pip install torch")
    if backend == JAX:
        extras.require_extra(JAX, JAX, "the Keras backend jax")
    if request.folds:
        raise _refusal(request, recipe, "--folds trains on TensorFlow")
    if has_phases(recipe):
        raise _refusal(request, recipe, "it has phases, which mlctl trains on TensorFlow")
    if recipe.needs_tensorflow:
        raise _refusal(request, recipe, recipe.needs_tensorflow)


def check_data(request: TrainRequest, prepared: PreparedData, workers: int = 1) -> None:
    """Raise UsageError if the request's backend, or several workers, cannot train a recipe on this data."""
    if request.backend == TENSORFLOW:
        return
    for reason in _obstacles(prepared):
        raise _refusal(request, prepared.recipe, reason)
    batch_size = int(prepared.values.batch_size)
    if batch_size % workers:
        raise UsageError(
            f"{workers} workers cannot share batches of {batch_size} rows",
            f"choose a multiple: --batch-size {-(-batch_size // workers) * workers}",
        )


def _refusal(request: TrainRequest, recipe: Recipe, reason: str) -> UsageError:
    return UsageError(
        f"{request.backend} cannot train {recipe.name}: {reason}",
        "train it on TensorFlow: unset KERAS_BACKEND, and omit --workers",
    )


def _obstacles(prepared: PreparedData) -> Iterator[str]:
    train = prepared.data.train
    for leaf in leaves(train.inputs):
        if isinstance(leaf, SparseBags):
            yield SPARSE_BAGS
    if train.is_stream:
        yield "its data is a stream, which TensorFlow reads"
    for leaf in leaves(prepared.encoded(train.take(np.arange(min(CHECKED_ROWS, len(train)))))):
        if _is_text(leaf):
            yield "its model takes strings, which only TensorFlow computes"


def _is_text(leaf: Any) -> bool:
    return not needs_dense(leaf) and np.asarray(leaf).dtype.kind in "OSU"
