"""The state of a search on another machine, from the nested runs of its trials."""

from __future__ import annotations

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.objective import Objective
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Condition, RunField
from mlctl.domain.tags import (
    DURATION_TAG,
    ERROR_TAG,
    KIND_TAG,
    REASON_TAG,
    SEARCH_EPOCHS_TAG,
    SEARCH_TRIALS_TAG,
    STATE_TAG,
    TRIAL_TAG,
)
from mlctl.domain.tune import FAILED, INTERRUPTED, RUNNING, RunningTrial, SearchSnapshot, Trial
from mlctl.services.runs.metrics import model_metric, objective_of

FINAL_PREFIX = "final-"  # in the names of final models, which are not trials


def read_search(store: TrackingStore, run: Run, previous: SearchSnapshot | None) -> SearchSnapshot | None:
    """Return the state of a search, or None if the run is not a search.

    Trials that ended in the `previous` state are not read again.
    """
    objective = objective_of(run)
    if run.tags.get(KIND_TAG) != "search" or objective is None:
        return None
    known = {trial.run_id: trial for trial in previous.ended_trials} if previous else {}
    running: list[RunningTrial] = []
    ended: list[Trial] = []
    rows = run.data.splits.get("validation", 0) if run.data else 0
    is_nested = Condition(RunField("tag", "mlflow.parentRunId"), "=", run.run_id)
    trial_runs = store.search_runs([is_nested], experiment=run.experiment)
    for trial_run in sorted(trial_runs, key=lambda nested: nested.tags[TRIAL_TAG]):
        name = trial_run.tags[TRIAL_TAG]
        trial = known.get(trial_run.run_id)
        if trial is not None and trial.state != INTERRUPTED:
            ended.append(trial)
        elif trial_run.status == "RUNNING":
            epoch, value = _last_epoch(store, trial_run, objective)
            epochs = int(trial_run.params.get("epochs") or run.tags.get(SEARCH_EPOCHS_TAG) or 0)
            running.append(RunningTrial(trial=name, epoch=epoch, epochs=epochs, value=value))
        elif not name.startswith(FINAL_PREFIX):
            epochs, _ = _last_epoch(store, trial_run, objective)
            ended.append(_ended_trial(name, trial_run, objective, epochs, rows=rows))
    return SearchSnapshot(
        objective=objective,
        total=int(run.tags.get(SEARCH_TRIALS_TAG, 0)),
        running=tuple(running),
        ended_trials=tuple(ended),
    )


def _last_epoch(store: TrackingStore, run: Run, objective: Objective) -> tuple[int, float | None]:
    """Return the number of the last epoch, and its value of the objective."""
    if objective.metric not in run.metrics:
        return (0, None)
    points = store.get_metric_history(run.run_id, objective.metric)
    return points[-1] if points else (0, None)


def _ended_trial(name: str, run: Run, objective: Objective, epochs: int, *, rows: int) -> Trial:
    state = run.tags.get(STATE_TAG, FAILED if run.status == "FAILED" else RUNNING)
    return Trial(
        trial=name,
        run_id=run.run_id,
        state=state,
        params=run.params,
        score=None if state == FAILED else run.metrics.get(model_metric(objective.metric)),
        val_loss=run.metrics.get("best_val_loss"),
        rows=rows,
        epochs=epochs,
        duration_s=float(run.tags.get(DURATION_TAG, 0)),
        reason=run.tags.get(ERROR_TAG) or run.tags.get(REASON_TAG, ""),
    )
