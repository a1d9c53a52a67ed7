"""mlctl recipes check: every step of a training on 64 rows, before an hour is spent on all of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mlctl.adapters.keras import runtime
from mlctl.data.dataset import needs_dense
from mlctl.domain.progress import ProgressListener
from mlctl.domain.project import CheckedRecipe, CheckedStep
from mlctl.errors import BadDataError
from mlctl.recipes import ResolvedRecipe, resolve
from mlctl.services.recipes.prepare import PreparedData, check_values, prepare, recipe_errors
from mlctl.settings import Settings

ROWS = 64
TOLERANCE = 1e-4  # between two encodings of the same row

Result = tuple[str, str]  # a step's name, and what it yields in words


def check(
    settings: Settings,
    source: str,
    overrides: Mapping[str, Any],
    *,
    data: str | None = None,
    listener: ProgressListener,
) -> CheckedRecipe:
    """Load, encode, build, train one step, save, load back and serve; return the result of each step.

    Raises what the first failing step raises: BadDataError that names the recipe's line if the recipe is wrong.
    """
    steps: list[CheckedStep] = []
    started = time.perf_counter()
    resolved = resolve(source)
    recipe = resolved.recipe
    for name, result in _steps(settings, resolved, overrides, data=data, listener=listener):
        now = time.perf_counter()
        steps.append(CheckedStep(name, result, now - started))
        listener.message(f"{name}: {result}")
        started = now
    return CheckedRecipe(recipe.name, str(recipe.source_file()), tuple(steps))


def _steps(
    settings: Settings,
    resolved: ResolvedRecipe,
    overrides: Mapping[str, Any],
    *,
    data: str | None,
    listener: ProgressListener,
) -> Iterator[Result]:
    values = check_values(resolved, overrides)
    yield "find", f"{resolved.recipe.name}, {len(values)} values"
    prepared = prepare(settings, resolved, values, data=data, listener=listener)
    rows = " / ".join(f"{count:,} {name}" for name, count in prepared.data.splits.items())
    yield "load", f"{rows} rows, {prepared.data.task}"
    _check_targets(prepared)
    prepared = _first_rows(prepared)
    encoded = prepared.encoded(prepared.data.train)
    _check_encoded(prepared, encoded)
    yield "encode", f"{type(encoded).__name__} {tuple(prepared.data.input_shape)} per row"
    runtime.import_keras()
    with runtime.fast_imports():
        from mlctl.services.training.dry_run import dry_run
    yield from dry_run(prepared)


def _first_rows(prepared: PreparedData) -> PreparedData:
    data, rows = prepared.data, np.arange(ROWS)
    return dataclasses.replace(
        prepared,
        data=dataclasses.replace(
            data,
            train=data.train.take(rows[: len(data.train)]),
            validation=data.validation.take(rows[: len(data.validation)]),
        ),
    )


def _check_targets(prepared: PreparedData) -> None:
    """Raise BadDataError if targets are not one finite number per row, or class numbers are out of range."""
    data = prepared.data
    for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        if split is None:
            continue
        targets = split.targets
        subject = f"{prepared.recipe.source_file()}: load() returns {name} targets"
        if not isinstance(targets, np.ndarray) or targets.ndim != 1:
            raise BadDataError(
                f"{subject} that are not an array of shape (rows,)", "return one target per row"
            )
        if len(split.inputs) != len(targets):
            raise BadDataError(
                f"{subject} for {len(targets)} rows, but {len(split.inputs)} inputs", "return as many of each"
            )
        if data.classes and not (targets.min() >= 0 and targets.max() < len(data.classes)):
            raise BadDataError(
                f"{subject} from {targets.min()} to {targets.max()} for {len(data.classes)} classes",
                "number the classes from 0",
            )
        if not np.isfinite(targets.astype(np.float64)).all():
            raise BadDataError(f"{subject} that are NaN or infinite", "remove such rows")


def _check_encoded(prepared: PreparedData, encoded: Any) -> None:
    """Raise BadDataError unless inputs are finite numbers, the same for a row alone as among others."""
    if needs_dense(encoded):
        return
    file = prepared.recipe.source_file()
    if not isinstance(encoded, np.ndarray) or encoded.dtype.kind not in "fiu":
        raise BadDataError(
            f"{file}: the encoder does not return an array of numbers",
            "let encoder() return one of mlctl.recipes.encoders, or None if inputs are numbers",
        )
    if encoded.dtype.kind == "f" and not np.isfinite(encoded).all():
        raise BadDataError(f"{file}: encoded inputs hold NaN or infinity", "fill gaps in the encoder")
    with recipe_errors(prepared.recipe, "encoding one row"):
        alone = prepared.encoded(prepared.data.train.take(np.array([1])))
    if alone.shape[1:] != encoded.shape[1:] or np.abs(alone[0] - encoded[1]).max() > TOLERANCE:
        raise BadDataError(
            f"{file}: a row is encoded differently alone than among others",
            "fit the encoder once, in encoder(), and not for each request",
        )
