"""mlctl tune --dry-run: what a search would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlctl.adapters.keras import runtime
from mlctl.domain.hyperband import count_trials, take_trials
from mlctl.domain.tune import SearchPlan
from mlctl.services.tuning.request import TuneJob
from mlctl.services.tuning.space import size

SHOWN_TRIALS = 3


def make_plan(job: TuneJob) -> SearchPlan:
    """Return what a search would do, with its first trials."""
    request, trials, brackets = job.request, job.max_trials, job.brackets
    notes = []
    if "epochs" not in job.fixed:
        notes.append("epochs are searched: the total number of epochs is the largest possible")
    epochs = trials * request.executions * job.max_epochs
    if brackets:
        all_trials = count_trials(brackets)
        if trials < all_trials:
            notes.append(f"all brackets have {all_trials} trials: remove --trials to run them")
        brackets = take_trials(brackets, trials)
        epochs = sum(rung.total_epochs for bracket in brackets for rung in bracket)
    return SearchPlan(
        recipe=job.recipe.name,
        algorithm=request.algorithm,
        objective=job.objective,
        dimensions=job.dimensions,
        fixed=job.fixed,
        size=size(job.dimensions),
        trials=trials,
        first_trials=tuple(_first_trials(job)),
        epochs=epochs,
        notes=tuple(notes),
        brackets=brackets,
    )


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
