"""mlctl recipes check: every step of a training on 64 rows, before an hour is spent on all of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mlctl.adapters.keras import runtime
from mlctl.data.dataset import Split
from mlctl.domain.progress import ProgressListener
from mlctl.domain.project import CheckedRecipe, CheckedStep
from mlctl.errors import MlctlError
from mlctl.recipes import ResolvedRecipe, resolve
from mlctl.services.recipes.notes import announce_notes
from mlctl.services.recipes.prepare import PreparedData, check_values, prepare
from mlctl.settings import Settings

ROWS = 64

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
    try:
        for name, result in _steps(settings, resolved, overrides, data=data, listener=listener):
            now = time.perf_counter()
            steps.append(CheckedStep(name, result, now - started))
            listener.stage(f"checking the recipe: {name} works")
            started = now
    except MlctlError:
        if steps:
            listener.message(f"these steps work: {', '.join(step.step for step in steps)}")
        raise
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
    announce_notes(resolved.recipe, values, overrides, listener)
    yield "find", f"{resolved.recipe.name}, {len(values)} values"
    prepared = prepare(settings, resolved, values, data=data, listener=listener)
    prepared.require_measurable_objective()
    rows = " / ".join(f"{count:,} {name}" for name, count in prepared.data.splits.items())
    yield "load", f"{rows} rows, {prepared.data.task}"
    prepared = _first_rows(prepared)
    yield "encode", f"{_in_words(prepared)} per row"
    runtime.import_keras()
    with runtime.fast_imports():
        from mlctl.services.training.dry_run import dry_run
    yield from dry_run(prepared)


def _first_rows(prepared: PreparedData) -> PreparedData:
    data = prepared.data
    few = dataclasses.replace(
        data,
        train=_take_first(data.train),
        validation=data.validation and _take_first(data.validation),
        test=data.test and _take_first(data.test),
    )
    return dataclasses.replace(prepared, data=few)


def _take_first(split: Split) -> Split:
    return split.take(np.arange(min(ROWS, len(split))))


def _in_words(prepared: PreparedData) -> str:
    """Return the type and the shape of an encoded row: "float32 (8,)", or those of each named input."""
    encoded, shape = prepared.encoded(prepared.data.train), prepared.data.input_shape
    named = encoded.items() if isinstance(encoded, dict) else enumerate(encoded)
    if not isinstance(encoded, (dict, tuple)):
        return f"{getattr(encoded, 'dtype', type(encoded).__name__)} {shape}"
    return ", ".join(f"{name} {part.dtype} {shape[name]}" for name, part in named)
