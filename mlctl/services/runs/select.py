"""RUN on the command line: finding the one run that it selects.

- An id, or a unique prefix of one.
- A run name: the newest run of this name.
- `last`: the run that was started last.
- `best`: the best run by the objective of the newest run that has one, in its experiment.
- `best:METRIC`: the best run by this metric; `best:-METRIC` reverses the direction.

A metric is compared by what the saved model reached (`best_METRIC`) if a run has it. If it is the objective of the
newest run that has one, it has that direction. Else losses and errors are minimized, and other metrics are maximized.
Only finished runs can be the best: a failed one may have no working model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Condition, RunField, SortKey
from mlctl.domain.tags import OBJECTIVE_TAG, TRIAL_TAG
from mlctl.errors import NotFoundError, UsageError, did_you_mean
from mlctl.services.runs.metrics import model_metric, objective_for, objective_of

FINISHED = Condition(RunField("attribute", "status"), "=", "FINISHED")
HAS_OBJECTIVE = Condition(RunField("tag", OBJECTIVE_TAG), "like", "%:%")
ID_PREFIX = re.compile(r"[0-9a-f]{3,32}")
NO_RUNS = ("there are no runs yet", "train the first one: mlctl train digits")
MAX_LISTED = 5
NOTES = logging.getLogger("mlctl.notes")  # what a command did that the user did not write; the CLI shows it


def find_run(store: TrackingStore, selector: str, experiment: str | None = None) -> Run:
    """Return the run that `selector` selects, in one experiment or in all.

    Raises NotFoundError if there is none, UsageError if several ids have the prefix.
    """
    if not store.exists:
        raise NotFoundError(*NO_RUNS)
    if selector == "last":
        if (run := _newest(store, [], experiment)) is None:
            raise NotFoundError(*NO_RUNS)
        return run
    if selector == "best" or selector.startswith("best:"):
        return _best(store, selector.partition(":")[2], experiment)
    return _by_name_or_id(store, selector, experiment)


def find_runs(store: TrackingStore, selectors: Sequence[str], experiment: str | None) -> list[Run]:
    """Return the runs that several selectors select, each once; raises as `find_run` does."""
    runs = (find_run(store, selector, experiment) for selector in selectors)
    return list({run.run_id: run for run in runs}.values())


def _by_name_or_id(store: TrackingStore, selector: str, experiment: str | None) -> Run:
    lowered = selector.lower()
    if re.fullmatch(r"[0-9a-f]{32}", lowered):
        return store.get_run(lowered)
    has_name = Condition(RunField("attribute", "run_name"), "=", selector)
    for run in store.search_runs([has_name], experiment=experiment, expected=10):
        if run.run_name == selector:
            return run
    if ID_PREFIX.fullmatch(lowered):
        has_prefix = Condition(RunField("attribute", "run_id"), "like", f"{lowered}%")
        count = MAX_LISTED + 1
        runs = list(islice(store.search_runs([has_prefix], experiment=experiment, expected=count), count))
        if len(runs) > 1:
            listed = ", ".join(f"{run.run_id[:12]} ({run.run_name})" for run in runs[:MAX_LISTED])
            raise UsageError(
                f"several run ids start with {selector}: {listed}{', …' if len(runs) > MAX_LISTED else ''}",
                "write more characters of the id",
            )
        if runs:
            return runs[0]
    newest = islice(store.search_runs(experiment=experiment, expected=100), 100)
    suggestion = did_you_mean(selector, [*{run.run_name for run in newest}, "last", "best"])
    raise NotFoundError(f"there is no run {selector!r}", suggestion or "to list all runs: mlctl runs list")


def _best(store: TrackingStore, metric: str, experiment: str | None) -> Run:
    newest = _newest(store, [HAS_OBJECTIVE], experiment)
    if metric:
        is_reversed = metric.startswith("-")
        objective = objective_for(metric.lstrip("-"), [newest])
        objective = replace(objective, maximize=objective.maximize != is_reversed)
    else:
        newest_objective = objective_of(newest) if newest else None
        if newest is None or newest_objective is None:
            problem = (
                "no run has an objective"
                if newest is None
                else f"run {newest.run_name} has an invalid objective"
            )
            raise NotFoundError(problem, "name a metric: best:val_accuracy")
        objective, experiment = newest_objective, newest.experiment
    for name in dict.fromkeys((model_metric(objective.metric), objective.metric)):
        order = [SortKey(RunField("metric", name), objective.maximize)]
        for run in store.search_runs([FINISHED], order=order, experiment=experiment, expected=1):
            if TRIAL_TAG in run.tags:  # only the parent run of a search has the model
                continue
            if (value := run.metrics.get(name)) is not None and value == value:
                extreme = "highest" if objective.maximize else "lowest"
                score = objective.metric.removeprefix("best_")
                place = experiment or "all experiments"
                NOTES.info(
                    f"best: {run.run_name} ({run.run_id[:8]}), {extreme} {score} in {place} ({value:,.6g})"
                )
                return run
            break
    raise NotFoundError(
        f"no finished run has the metric {objective.metric!r}"
        + (f" in experiment {experiment}" if experiment else ""),
        "to see the metrics: mlctl runs list",
    )


def _newest(store: TrackingStore, conditions: Sequence[Condition], experiment: str | None) -> Run | None:
    """Return the newest run that is not a trial of a search."""
    runs = store.search_runs(conditions, experiment=experiment, expected=1)
    return next((run for run in runs if TRIAL_TAG not in run.tags), None)
