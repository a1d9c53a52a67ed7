"""Folding the trials of a search, and the models of an automl run, into the run that they belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Condition, RunField
from mlctl.domain.tags import KIND_TAG, SCRIPT_TAG, TRIAL_TAG
from mlctl.services.runs.search_snapshot import FINAL_PREFIX

IS_NESTED = Condition(RunField("tag", "mlflow.parentRunId"), "like", "%")
STARTED = RunField("attribute", "started")
CLOCK_TOLERANCE_S = 3600.0  # the machines of a cluster may disagree


@dataclass(frozen=True)
class FoldedRuns:
    """Runs without the trials that were folded into one of them; `trials` counts those that were read."""

    runs: tuple[Run, ...]
    has_more: bool
    trials: Mapping[str, int]


def is_trial(run: Run) -> bool:
    """Whether a run is a trial of a search, one of its final models, or a model of an automl run."""
    return TRIAL_TAG in run.tags and run.parent_run_id is not None


def fold(
    candidates: Iterable[Run], limit: int, listed_parents: Callable[[Sequence[str]], set[str]]
) -> FoldedRuns:
    """Return at most `limit` runs (0: all), without trials whose parent is listed, too.

    Candidates are read only as far as they are needed. `listed_parents` returns which of these ids belong to runs
    that the list would have further down; it is called once at most.
    """
    read: list[Run] = []
    own = 0
    for run in candidates:
        read.append(run)
        own += not is_trial(run)
        if limit and own > limit:
            break
    parents = {run.run_id for run in read}
    unknown = {str(run.parent_run_id) for run in read if is_trial(run)} - parents
    if unknown:
        parents |= listed_parents(sorted(unknown))
    rows = [run for run in read if not (is_trial(run) and run.parent_run_id in parents)]
    shown = rows[:limit] if limit else rows
    return FoldedRuns(tuple(shown), len(rows) > len(shown), _count(read))


def unfold(candidates: Iterable[Run], limit: int) -> FoldedRuns:
    """Return at most `limit` runs (0: all), trials among them."""
    read: list[Run] = []
    for run in candidates:
        read.append(run)
        if limit and len(read) > limit:
            break
    shown = read[:limit] if limit else read
    return FoldedRuns(tuple(shown), len(read) > len(shown), {})


def trials_below_parents(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Return the runs with the trials of each search below it, in the order of their names."""
    listed = {run.run_id for run in runs}
    trials: dict[str, list[Run]] = {}
    for run in runs:
        if is_trial(run) and run.parent_run_id in listed:
            trials.setdefault(str(run.parent_run_id), []).append(run)
    moved = {run.run_id for below in trials.values() for run in below}
    ordered: list[Run] = []
    for run in runs:
        if run.run_id not in moved:
            ordered += [run, *sorted(trials.get(run.run_id, ()), key=lambda trial: trial.run_name)]
    return tuple(ordered)


def count_trials(store: TrackingStore, runs: Sequence[Run], experiment: str | None) -> Mapping[str, int]:
    """Return the number of trials of each search and automl run among `runs`, by one search in the store."""
    parents = [run for run in runs if run.tags.keys() & {KIND_TAG, SCRIPT_TAG}]  # a script may search, too
    if not parents:
        return {}
    starts = [run.started_at.timestamp() for run in parents if run.started_at]
    started = Condition(STARTED, ">=", min(starts, default=0.0) - CLOCK_TOLERANCE_S)
    counts = _count(store.search_runs([IS_NESTED, started], experiment=experiment))
    return {run.run_id: counts[run.run_id] for run in parents}


def _count(runs: Iterable[Run]) -> Counter[str]:
    return Counter(
        str(run.parent_run_id)
        for run in runs
        if is_trial(run) and not run.tags[TRIAL_TAG].startswith(FINAL_PREFIX)
    )
