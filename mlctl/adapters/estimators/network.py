"""The recipe's own network as a model family: built by the recipe, trained by the loop of `mlctl train`."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.estimators.encoded_table import EncodedTable
from mlctl.adapters.estimators.fitted import FittedEstimator, OnRound
from mlctl.adapters.estimators.network_values import leaves_rows_out, network_values
from mlctl.adapters.estimators.spec import ModelSpec
from mlctl.adapters.keras import runtime
from mlctl.adapters.keras.fit import make_training_loop
from mlctl.adapters.keras.outputs import infer_outputs
from mlctl.adapters.keras.training_loop import TrainingProgress
from mlctl.adapters.models import onnx_graphs
from mlctl.adapters.models.keras_export import export_keras
from mlctl.data.dataset import Split
from mlctl.data.sparse_bags import SparseBags
from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch, NullProgress
from mlctl.errors import ChildFailedError

PATIENCE = 16  # epochs without a better one that end a training
BATCH_ROWS, SPARSE_BATCH_ROWS = 4096, 256  # that a model answers together
CHECKED_ROWS = 64  # that check an exported model
REFIT_EPOCHS_FACTOR = 1.2  # a fit to more rows takes more epochs than the best epoch of the first fit

Array = np.ndarray[Any, Any]


class _OutOfTime(Exception):
    """There is no time for another epoch."""


class _DeadlineListener(NullProgress):
    """Ends an epoch before its last step when time is up; the first epoch gets the same time once more."""

    def __init__(self, progress: TrainingProgress, deadline: float) -> None:
        self._progress, self._deadline = progress, deadline
        self._first_epoch_deadline = deadline + max(0.0, deadline - time.monotonic())

    def step(self, epoch: int, done: int, steps: int, loss: Callable[[], float]) -> None:
        """Raise _OutOfTime if the deadline has passed."""
        if time.monotonic() > (self._deadline if self._progress.best else self._first_epoch_deadline):
            raise _OutOfTime


def fit_network(
    spec: ModelSpec, table: EncodedTable, *, deadline: float, on_round: OnRound, rounds: int = 0
) -> FittedEstimator:
    """Train the network and keep its best epoch, or train exactly `rounds` epochs and keep the last one.

    A network that leaves rows out is trained on training and validation rows, and `held_out` are its answers to them.

    Raises ChildFailedError if not one epoch ends in time.
    """
    seed = table.seed + int(spec.params.get("seed", 0))
    columns = list(table.features.network)

    def inputs_of(rows: Any) -> Any:
        return _as_bags(rows) if table.is_sparse else np.ascontiguousarray(rows[:, columns])

    inputs, validation = inputs_of(table.train), inputs_of(table.validation)
    data = dataclasses.replace(table.data, input_shape=(len(columns),))
    values = network_values(spec, table)
    epochs = rounds or values.epochs
    runtime.start_session(seed, runtime.FLOAT32)
    model = table.recipe.build(values, data)
    objective = _stopping_objective(table)
    progress = TrainingProgress(Objective("loss", maximize=False) if rounds else objective)
    loop = make_training_loop(
        model,
        Split(inputs, data.train.targets, data.train.weights),
        validation=None if rounds else Split(validation, data.validation.targets, data.validation.weights),
        outputs=infer_outputs(model, data),
        class_weight=data.class_weight,
        batch_size=values.batch_size,
        seed=seed,
        listener=NullProgress() if rounds else _DeadlineListener(progress, deadline),
        epochs=epochs,
    )

    def on_epoch_end(epoch: Epoch) -> None:
        on_round(epoch.number)
        if time.monotonic() > deadline and not rounds:
            raise _OutOfTime

    with contextlib.suppress(_OutOfTime):
        loop.run(progress, epochs=epochs, patience=None if rounds else PATIENCE, on_epoch_end=on_epoch_end)
    if progress.best is None:
        raise ChildFailedError("time was up before the first epoch ended", "raise --timeout")
    if not rounds:
        model.set_weights(progress.best_weights)
    held_out = None
    if leaves_rows_out(spec, table) and not rounds and loop.validation is not None:
        # the loop validates all rows, each by the members that leave it out
        held_out = loop.predictor.predict(loop.validation.inputs)
    served = table.recipe.serving(model, data)

    def export() -> bytes:
        with tempfile.TemporaryDirectory(prefix="mlctl-network-") as folder:
            path = Path(folder) / "model.onnx"
            if reason := export_keras(served, _dense(inputs_of(table.train[:CHECKED_ROWS])), path):
                raise ChildFailedError(
                    f"the network cannot be exported to ONNX: {reason}", "leave it out of --families"
                )
            return onnx_graphs.from_keras_export(path, table.features.width, columns)

    def predict(rows: Array) -> Array:
        return _answers(served, inputs_of(rows))

    # a cosine schedule spans all epochs and is best at its end
    cosine = values["schedule"] == "cosine"
    refit_epochs = values.epochs if cosine else math.ceil(REFIT_EPOCHS_FACTOR * progress.best.number)
    return FittedEstimator(predict, export, rounds or refit_epochs, held_out)


def _stopping_objective(table: EncodedTable) -> Objective:
    """Return what chooses the best epoch: the metric that models are ranked by, if it is smooth enough."""
    name = table.objective.metric.removeprefix("val_")
    if table.classes:
        return Objective("val_loss", maximize=False)
    return Objective(f"val_{name}" if name in {"mae", "rmse"} else "val_rmse", maximize=False)


def _answers(model: Any, rows: Any) -> Array:
    """Return a model's answers to encoded rows (n, k), in batches that bound the memory."""
    size = SPARSE_BATCH_ROWS if isinstance(rows, SparseBags) else BATCH_ROWS
    batches = (np.arange(start, min(start + size, len(rows))) for start in range(0, len(rows), size))
    parts = [np.asarray(model(_dense(rows, batch), training=False)) for batch in batches]
    return np.concatenate(parts) if parts else np.zeros((0, 1))


def _as_bags(rows: Any) -> SparseBags:
    """Return a sparse matrix as the rows that the training loop takes."""
    ids = rows.indices.astype(np.uint16 if rows.shape[1] <= 1 << 16 else np.uint32)
    return SparseBags(ids, rows.indptr.astype(np.int64), rows.shape[1], rows.data.astype(np.float32))


def _dense(rows: Any, batch: Array | None = None) -> Array:
    """Return rows as a dense matrix: all of them, or those of a batch."""
    if isinstance(rows, SparseBags):
        return (rows if batch is None else rows.take(batch)).dense()
    return np.asarray(rows if batch is None else rows[batch])
