"""What a Keras backend other than TensorFlow can train; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from mlctl.adapters.system import extras
from mlctl.data.files.images import ImageFiles
from mlctl.data.sparse_bags import SparseBags
from mlctl.data.trees import leaves
from mlctl.errors import ConfigurationError, UsageError
from mlctl.recipes.keras_import import JAX, TENSORFLOW, TORCH
from mlctl.recipes.recipe import has_phases
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.training.request import TrainRequest

CHECKED_ROWS = 2


def check_backend(request: TrainRequest, prepared: PreparedData, workers: int = 1) -> None:
    """Raise UsageError if the request's backend, or several workers, cannot train this recipe on this data.

    Raises ConfigurationError if the backend is not installed.
    """
    backend = request.backend
    if backend == TENSORFLOW:
        return
    if backend == TORCH and find_spec(TORCH) is None:  # no extra: its wheels are large
        raise ConfigurationError("KERAS_BACKEND is torch, which is not installed", "run: pip install torch")
    if backend == JAX:
        extras.require_extra(JAX, JAX, "the Keras backend jax")
    for reason in _obstacles(request, prepared):
        raise UsageError(
            f"{backend} cannot train {prepared.recipe.name}: {reason}",
            "train it on TensorFlow: unset KERAS_BACKEND, and omit --workers",
        )
    batch_size = int(prepared.values.batch_size)
    if batch_size % workers:
        raise UsageError(
            f"{workers} workers cannot share batches of {batch_size} rows",
            f"choose a multiple: --batch-size {-(-batch_size // workers) * workers}",
        )


def _obstacles(request: TrainRequest, prepared: PreparedData) -> Iterator[str]:
    recipe, train = prepared.recipe, prepared.data.train
    if request.folds:
        yield "--folds trains on TensorFlow"
    if has_phases(recipe):
        yield "it has phases, which mlctl trains on TensorFlow"
    for leaf in leaves(train.inputs):
        if isinstance(leaf, SparseBags):
            yield "its bags of words are sparse, which only TensorFlow computes"
        if isinstance(leaf, ImageFiles):
            yield "its images are files, which TensorFlow reads"
    if train.is_stream:
        yield "its data is a stream, which TensorFlow reads"
    for leaf in leaves(prepared.encoded(train.take(np.arange(min(CHECKED_ROWS, len(train)))))):
        if _is_text(leaf):
            yield "its model takes strings, which only TensorFlow computes"


def _is_text(leaf: Any) -> bool:
    return np.asarray(leaf).dtype.kind in "OSU"
