"""The phases of a recipe's training: `Recipe.phases`, checked, or a single phase of all epochs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from mlctl.adapters.keras.phases import TrainingPhase
from mlctl.data.dataset import Dataset
from mlctl.errors import BadDataError
from mlctl.recipes import Recipe, Values
from mlctl.recipes.declare import (
    is_chosen,
    plain_values,
    read_names,
    with_epochs,
    with_own_reads,
    with_schedule_epochs,
)
from mlctl.recipes.recipe import Phase, has_phases
from mlctl.services.recipes.user_code import recipe_errors
from mlctl.services.training.run_setup import RunSetup

StartPhase = Callable[[Any, Values, Dataset], None]


def recipe_phases(recipe: Recipe, values: Values, data: Dataset) -> tuple[TrainingPhase, ...]:
    """Return the phases of a training; raises BadDataError for what is no phase.

    If the user has set a number of epochs that `phases` does not read, the phases are cut there, or the last one
    is longer.
    """
    if not has_phases(recipe):
        return (TrainingPhase(epochs=values.epochs),)
    own_reads = with_own_reads(values)
    with recipe_errors(recipe, "making its phases"):
        phases = tuple(recipe.phases(own_reads, data) or ())
    if not phases:
        return (TrainingPhase(epochs=values.epochs),)
    _check(recipe, phases)
    if is_chosen(values, "epochs") and "epochs" not in read_names(own_reads):
        phases = first_epochs(phases, plain_values(values)["epochs"])
    epochs = sum(phase.epochs for phase in phases)
    values = with_epochs(values, epochs)
    made = []
    for phase in phases:
        start = phase.start and partial(
            _start,
            phase.start,
            recipe=recipe,
            phase=phase,
            values=with_schedule_epochs(values, epochs),
            data=data,
        )
        made.append(TrainingPhase(epochs=phase.epochs, name=phase.name, start=start))
        epochs -= phase.epochs
    return tuple(made)


def phase_values(values: Values, phases: Sequence[TrainingPhase]) -> Values:
    """Return the values with the epochs of all phases."""
    return with_epochs(values, sum(phase.epochs for phase in phases)) if phases[0].name else values


def _check(recipe: Recipe, phases: Sequence[Phase]) -> None:
    for number, phase in enumerate(phases, 1):
        if not isinstance(phase, Phase) or not phase.name:
            raise BadDataError(
                f"{recipe.source_file()}: phases() must return a list of Phase(name=…, epochs=…, start=…), "
                f"found {phase!r}",
                "import it: from mlctl.recipes import Phase",
            )
        if not isinstance(phase.epochs, int) or phase.epochs < 1:
            raise BadDataError(
                f"{recipe.source_file()}: phase {number}, {phase.name!r}, has {phase.epochs!r} epochs",
                "give each phase a whole number of epochs, at least 1",
            )


def in_phases(setup: RunSetup, phases: Sequence[TrainingPhase]) -> RunSetup:
    """Return the setup with all epochs of the phases, and their names among the recorded parameters."""
    if not phases[0].name:
        return setup
    prepared = setup.prepared
    values = phase_values(prepared.values, phases)
    params = {"phases": ", ".join(f"{phase.name} {phase.epochs}" for phase in phases)}
    extra = {**prepared.data.extra, "params": {**prepared.data.extra.get("params", {}), **params}}
    data = dataclasses.replace(prepared.data, extra=extra)
    return dataclasses.replace(setup, prepared=dataclasses.replace(prepared, values=values, data=data))


AnyPhase = TypeVar("AnyPhase", Phase, TrainingPhase)


def first_epochs(phases: Sequence[AnyPhase], epochs: int) -> tuple[AnyPhase, ...]:
    """Return the phases of the first `epochs` epochs; the last phase is longer if they have fewer."""
    kept: list[AnyPhase] = []
    for phase in phases:
        if epochs > 0:
            kept.append(dataclasses.replace(phase, epochs=min(phase.epochs, epochs)))
            epochs -= phase.epochs
    if epochs > 0:
        kept[-1] = dataclasses.replace(kept[-1], epochs=kept[-1].epochs + epochs)
    return tuple(kept)


def _start(
    start: StartPhase, model: Any, *, recipe: Recipe, phase: Phase, values: Values, data: Dataset
) -> None:
    with recipe_errors(recipe, f"starting phase {phase.name!r}"), model.distribute_strategy.scope():
        start(model, values, data)
    if not getattr(model, "compiled", False):
        raise BadDataError(
            f"{recipe.source_file()}: the model is not compiled in phase {phase.name!r}",
            "end start(model, hp, data) with model.compile(…)",
        )
