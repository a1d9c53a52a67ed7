"""The recipe's own network as one family: built by the recipe, trained by the loop that `mlctl train` runs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.adapters.keras import programs, runtime
from mlctl.adapters.keras.training_loop import Epoch, Loop, TrainingProgress
from mlctl.adapters.models import onnx_graphs, save
from mlctl.domain.objective import Objective
from mlctl.domain.progress import NullProgress
from mlctl.errors import ChildFailedError
from mlctl.scores import scores

if TYPE_CHECKING:
    from mlctl.services.automl.fitting import Made, Tick
    from mlctl.services.automl.models import Spec
    from mlctl.services.automl.table import Table

Array = np.ndarray[Any, Any]


class _TimeIsUp(Exception):
    """There is no time for another epoch."""


class _Watch(NullProgress):
    """Ends an epoch in its middle when time is up; the first may take as long again."""

    def __init__(self, progress: TrainingProgress, until: float) -> None:
        self.progress, self.until = progress, until
        self.last = until + max(0.0, until - time.monotonic())

    def step(self, epoch: int, done: int, steps: int) -> None:
        """Look at the clock."""
        if time.monotonic() > (self.until if self.progress.best else self.last):
            raise _TimeIsUp


def fit(spec: Spec, table: Table, until: float, tick: Tick, rounds: int) -> Made:
    """Train the network and keep its best epoch; with `rounds`, so many epochs and the last one."""
    own = dict(spec.params)
    seed = table.seed + int(own.pop("seed", 0))
    columns = list(table.features.network)
    inputs, validation = (np.ascontiguousarray(rows[:, columns]) for rows in (table.train, table.validation))
    data = dataclasses.replace(table.data, input_shape=(len(columns),))
    values = table.recipe.values({**own, **({"epochs": rounds} if rounds else {})}).on(len(inputs))
    runtime.begin(seed, runtime.FLOAT32)
    model = table.recipe.build(values, data)
    classes = table.classes
    targets, wanted = (
        programs.targets_for(model, split.targets, classes) for split in (data.train, data.validation)
    )
    program = programs.program_for(model, inputs, targets, values.batch_size)
    held_out = None if rounds else (validation, wanted)
    progress = TrainingProgress(Objective("loss", maximize=False) if rounds else table.recipe.objective)
    loop = Loop(
        model, program, programs.predictor_for(model, inputs), held_out,
        lambda found: scores(data.validation.targets, found, classes), seed,
        NullProgress() if rounds else _Watch(progress, until),
    )  # fmt: skip

    def ended(epoch: Epoch) -> None:
        tick(epoch.number, None)
        if time.monotonic() > until and not rounds:
            raise _TimeIsUp

    with contextlib.suppress(_TimeIsUp):
        loop.run(progress, values.epochs, None, ended)
    if progress.best is None:
        raise ChildFailedError("no epoch was trained", "give it more time: --timeout")
    if not rounds:
        model.set_weights(progress.best_weights)
    best = progress.best.number

    def graph() -> bytes:
        with tempfile.TemporaryDirectory(prefix="mlctl-network-") as folder:
            path = Path(folder) / "model.onnx"
            if not save.exported(model, inputs[:64], path):
                raise ChildFailedError("it cannot be exported to ONNX", "leave it out: --families")
            return onnx_graphs.of_exported(path, table.features.width, columns)

    def answer(rows: Array) -> Array:
        return np.asarray(model(np.ascontiguousarray(rows[:, columns]), training=False))

    # a schedule is laid out over all epochs, and its end is its best; elsewhere more rows want a little more
    again = values.epochs if values["schedule"] == "cosine" else math.ceil(1.2 * best)
    return answer, graph, rounds or again
