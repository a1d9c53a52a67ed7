"""mlctl tune --dry-run: what a search would do."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from mlctl.adapters.keras import runtime
from mlctl.domain.hyperband import count_trials, take_trials
from mlctl.domain.script_flags import trial_arguments
from mlctl.domain.tune import SearchPlan
from mlctl.recipes.recipe import has_phases
from mlctl.services.tuning.request import RecipeJob, ScriptJob, TuneJob
from mlctl.services.tuning.script_space import fixed_arguments
from mlctl.services.tuning.space import size

SHOWN_TRIALS = 3


def make_plan(job: TuneJob) -> SearchPlan:
    """Return what a search would do, with its first trials."""
    request, trials, brackets = job.request, job.max_trials, job.brackets
    notes = []
    if isinstance(job, RecipeJob) and "epochs" not in job.fixed:
        notes.append("epochs are searched: the total number of epochs is the largest possible")
    if isinstance(job, RecipeJob) and has_phases(job.recipe):
        notes.append("the recipe has phases: their epochs count, which are known once the data is loaded")
    epochs = trials * request.executions * job.max_epochs
    if brackets:
        all_trials = count_trials(brackets)
        if trials < all_trials:
            notes.append(f"all brackets have {all_trials} trials: remove --trials to run them")
        brackets = take_trials(brackets, trials)
        epochs = sum(rung.total_epochs for bracket in brackets for rung in bracket)
    first_trials = _first_trials(job)
    return SearchPlan(
        recipe=job.name,
        algorithm=request.algorithm,
        objective=job.objective,
        dimensions=job.dimensions,
        fixed={**fixed_arguments(job.script.arguments), **job.fixed}
        if isinstance(job, ScriptJob)
        else job.fixed,
        size=size(job.dimensions),
        trials=trials,
        first_trials=tuple(first_trials),
        commands=tuple(_command(job, number, values) for number, values in enumerate(first_trials, 1))
        if isinstance(job, ScriptJob)
        else (),
        epochs=epochs,
        notes=tuple(notes),
        brackets=brackets,
    )


def _command(job: ScriptJob, number: int, values: Mapping[str, Any]) -> str:
    """Return the command line of a trial of a script."""
    arguments = trial_arguments(
        job.script.arguments,
        job.values_of_trial(values),
        style=job.request.flag_style,
        trial=f"{number:04d}",
    )
    return shlex.join([*job.script.command, *arguments])


def _first_trials(job: TuneJob) -> list[Mapping[str, Any]]:
    """Return the values of the first trials that the oracle chooses."""
    runtime.import_keras()
    from mlctl.adapters.search.oracles import Oracle

    request = job.request
    oracle = Oracle(
        request.algorithm,
        job.dimensions,
        job.objective,
        trials=request.trials,
        seed=request.seed,
        epochs=job.max_epochs,
    )
    first: list[Mapping[str, Any]] = []
    while len(first) < SHOWN_TRIALS and not isinstance(answer := oracle.ask(), str):
        first.append(answer[1])
    return first
