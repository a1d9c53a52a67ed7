"""The trials of a search as its runs tell of them, for whoever watches from elsewhere."""

from __future__ import annotations

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.objective import Objective
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Condition, Field
from mlctl.domain.tune import FAILED, INTERRUPTED, RUNNING, TRIAL_TAG, RunningTrial, SearchSnapshot, Trial
from mlctl.services.runs.select import parse_objective

FINAL = "final-"  # what a finalist's name begins with; it is no trial of the search


def search_now(store: TrackingStore, run: Run, known: SearchSnapshot | None) -> SearchSnapshot | None:
    """Return how a search stands, None for a run that is none; `known` spares asking for what has ended."""
    objective = parse_objective(run.tags.get("mlctl.objective", ""))
    if run.tags.get("mlctl.kind") != "search" or objective is None:
        return None
    before = {one.run_id: one for one in known.ended if one.state != INTERRUPTED} if known else {}
    running: list[RunningTrial] = []
    ended: list[Trial] = []
    nested = Condition(Field("tag", "mlflow.parentRunId"), "=", run.run_id)
    for one in sorted(store.search([nested], experiment=run.experiment), key=lambda one: one.tags[TRIAL_TAG]):
        name = one.tags[TRIAL_TAG]
        if one.run_id in before:
            ended.append(before[one.run_id])
        elif one.status == "RUNNING":
            epoch, value = _last(store, one, objective)
            epochs = int(one.params.get("epochs") or run.tags.get("mlctl.search.epochs") or 0)
            running.append(RunningTrial(name, epoch, epochs, value))
        elif not name.startswith(FINAL):
            ended.append(_trial(name, one, objective, _last(store, one, objective)[0]))
    return SearchSnapshot(
        objective, int(run.tags.get("mlctl.search.trials", 0)), tuple(running), tuple(ended)
    )


def _last(store: TrackingStore, trial: Run, objective: Objective) -> tuple[int, float | None]:
    points = store.history(trial.run_id, objective.metric) if objective.metric in trial.metrics else ()
    return points[-1] if points else (0, None)


def _trial(name: str, run: Run, objective: Objective, epochs: int) -> Trial:
    tags = run.tags
    state = tags.get("mlctl.state", FAILED if run.status == "FAILED" else RUNNING)
    return Trial(
        name, run.run_id, state, run.params, None if state == FAILED else run.metrics.get(f"best_{objective.metric}"),
        epochs, float(tags.get("mlctl.duration_s", 0)), tags.get("mlctl.error") or tags.get("mlctl.why", ""),
    )  # fmt: skip
