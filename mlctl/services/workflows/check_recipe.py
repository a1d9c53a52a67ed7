"""mlctl recipes check: every step of a training on 64 rows, before an hour is spent on all of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlctl.adapters.keras import runtime
from mlctl.data.dataset import is_packed
from mlctl.domain.progress import ProgressListener
from mlctl.domain.project import CheckedRecipe, CheckedStep
from mlctl.errors import BadDataError
from mlctl.services.recipes import prepare
from mlctl.services.recipes.prepare import PreparedData, recipe_errors
from mlctl.settings import Settings

ROWS = 64
SAME = 1e-4  # what two ways to the same answer may differ by, relative to its scale


class Checking:
    """The steps of one recipe, each timed; any of them raises BadDataError that names the recipe's line."""

    def __init__(self, listener: ProgressListener) -> None:
        self.listener = listener
        self.steps: list[CheckedStep] = []
        self._began = time.perf_counter()

    def done(self, step: str, made: str) -> None:
        """Note a step that works."""
        now = time.perf_counter()
        self.steps.append(CheckedStep(step, made, now - self._began))
        self.listener.message(f"{step}: {made}")
        self._began = now


def check(
    settings: Settings, source: str, given: Mapping[str, Any], data: str | None, listener: ProgressListener
) -> CheckedRecipe:
    """Load, encode, build, take a step, save, load back and serve; return what each step made.

    Raises what the first step that fails raises: BadDataError that names the recipe's line where it is its own.
    """
    checking = Checking(listener)
    recipe, values = prepare.recipe_values(source, given)
    checking.done("find", f"{recipe.name}, {len(values)} values")
    prepared = prepare.prepare(settings, recipe, values, data, None, listener)
    rows = " / ".join(f"{count:,} {name}" for name, count in prepared.data.splits.items())
    checking.done("load", f"{rows} rows, {prepared.data.task}")
    _check_targets(prepared)
    prepared = _few(prepared)
    encoded = prepared.encoded(prepared.data.train)
    _check_encoded(prepared, encoded)
    checking.done("encode", f"{type(encoded).__name__} {tuple(prepared.data.input_shape)} a row")
    runtime.import_keras()
    with runtime.frugal_imports():
        from mlctl.services.training.dry_run import dry_run

    dry_run(prepared, checking, ROWS, SAME)
    return CheckedRecipe(recipe.name, str(recipe.source_file()), tuple(checking.steps))


def _few(prepared: PreparedData) -> PreparedData:
    data, few = prepared.data, np.arange(ROWS)
    train, validation = (
        data.train.take(few[: len(data.train)]),
        data.validation.take(few[: len(data.validation)]),
    )
    return dataclasses.replace(prepared, data=dataclasses.replace(data, train=train, validation=validation))


def _check_targets(prepared: PreparedData) -> None:
    data, where = prepared.data, prepared.recipe.source_file()
    for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        if split is None:
            continue
        targets = split.targets
        said = f"{where}: load() returns {name} targets"
        if not isinstance(targets, np.ndarray) or targets.ndim != 1:
            raise BadDataError(f"{said} that are no array of shape (rows,)", "return one target a row")
        if len(split.inputs) != len(targets):
            raise BadDataError(
                f"{said} for {len(targets)} rows, and {len(split.inputs)} inputs", "return as many of each"
            )
        if data.classes and not (targets.min() >= 0 and targets.max() < len(data.classes)):
            raise BadDataError(
                f"{said} from {targets.min()} to {targets.max()} for {len(data.classes)} classes",
                "number the classes from 0",
            )
        if not np.isfinite(targets.astype(np.float64)).all():
            raise BadDataError(f"{said} with gaps or infinities", "leave such rows out")


def _check_encoded(prepared: PreparedData, encoded: Any) -> None:
    """Demand finite numbers, and the same of a row alone as among others."""
    if is_packed(encoded):
        return
    where = prepared.recipe.source_file()
    if not isinstance(encoded, np.ndarray) or encoded.dtype.kind not in "fiu":
        raise BadDataError(f"{where}: the encoder makes no array of numbers", "let encoder() return one of "
                           "mlctl.recipes.encoders, or None where inputs are numbers")  # fmt: skip
    if encoded.dtype.kind == "f" and not np.isfinite(encoded).all():
        raise BadDataError(f"{where}: encoded inputs hold NaN or infinity", "fill gaps in the encoder")
    with recipe_errors(prepared.recipe, "encoding one row"):
        alone = prepared.encoded(prepared.data.train.take(np.array([1])))
    if alone.shape[1:] != encoded.shape[1:] or np.abs(alone[0] - encoded[1]).max() > SAME:
        raise BadDataError(
            f"{where}: a row is encoded otherwise alone than among others",
            "learn what an encoder needs once, when it is made",
        )
