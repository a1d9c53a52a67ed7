"""The phases of a recipe's training: `Recipe.phases`, checked, or a single phase of all epochs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mlctl.adapters.keras.phases import TrainingPhase
from mlctl.data.dataset import Dataset
from mlctl.errors import BadDataError
from mlctl.recipes import Recipe, Values
from mlctl.recipes.declare import with_epochs
from mlctl.recipes.recipe import Phase
from mlctl.services.recipes.user_code import recipe_errors
from mlctl.services.training.run_setup import RunSetup

StartPhase = Callable[[Any, Values, Dataset], None]


def recipe_phases(recipe: Recipe, values: Values, data: Dataset) -> tuple[TrainingPhase, ...]:
    """Return the phases of a training; raises BadDataError for what is no phase."""
    with recipe_errors(recipe, "making its phases"):
        phases = tuple(recipe.phases(values, data) or ())
    if not phases:
        return (TrainingPhase(epochs=values.epochs),)
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
    return tuple(
        TrainingPhase(
            epochs=phase.epochs,
            name=phase.name,
            start=partial(_start, phase.start, recipe=recipe, phase=phase, values=values, data=data)
            if phase.start
            else None,
        )
        for phase in phases
    )


def in_phases(setup: RunSetup, phases: Sequence[TrainingPhase]) -> RunSetup:
    """Return the setup with all epochs of the phases, and their names among the recorded parameters."""
    if not phases[0].name:
        return setup
    prepared = setup.prepared
    values = with_epochs(prepared.values, sum(phase.epochs for phase in phases))
    params = {"phases": ", ".join(f"{phase.name} {phase.epochs}" for phase in phases)}
    extra = {**prepared.data.extra, "params": {**prepared.data.extra.get("params", {}), **params}}
    data = dataclasses.replace(prepared.data, extra=extra)
    return dataclasses.replace(setup, prepared=dataclasses.replace(prepared, values=values, data=data))


def first_epochs(phases: Sequence[TrainingPhase], epochs: int) -> tuple[TrainingPhase, ...]:
    """Return the phases of the first `epochs` epochs; the last phase is longer if they have fewer."""
    kept: list[TrainingPhase] = []
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
