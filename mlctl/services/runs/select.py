"""RUN: from what is typed to one run.

An id or a unique prefix of one, a run's name (the newest of that name), `last` (started last), `best` (by the
objective of the newest run that has one, in its experiment) or `best:METRIC`. A metric is judged by what the
kept model reached, `best_METRIC`, wherever a run has it; losses and errors are minimised, and `best:-METRIC`
turns it round. Only a finished run can be the best: a failed one may have no model that works.
"""

from __future__ import annotations

import re

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.objective import Objective, lower_is_better
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Condition, Field, SortKey
from mlctl.domain.tune import TRIAL_TAG
from mlctl.errors import NotFoundError, UsageError, did_you_mean
from mlctl.services.runs.fields import take

FINISHED = Condition(Field("attribute", "status"), "=", "FINISHED")
HEX = re.compile(r"[0-9a-f]{3,32}")


def find(store: TrackingStore, selector: str, experiment: str | None = None) -> Run:
    """Return the run that `selector` names, of one experiment or of all.

    Raises NotFoundError where there is none, UsageError where a prefix fits several.
    """
    if not store.exists:
        raise NotFoundError("there are no runs here yet", "mlctl train digits makes the first")
    if selector == "last":
        return _first(
            store, [], [], experiment, "there are no runs here yet", "mlctl train digits makes the first"
        )
    if selector == "best" or selector.startswith("best:"):
        return _best(store, selector.partition(":")[2], experiment)
    return _named(store, selector, experiment)


def parse_objective(text: str) -> Objective | None:
    """Return the objective of a tag such as max:val_f1, or None where it is none."""
    way, _, metric = text.partition(":")
    return Objective(metric, way == "max") if way in {"max", "min"} and metric else None


def kept(metric: str) -> str:
    """Return the name under which the kept model's own value of a metric is."""
    return metric if metric.startswith(("best_", "test_")) else f"best_{metric}"


def _named(store: TrackingStore, selector: str, experiment: str | None) -> Run:
    lowered = selector.lower()
    if re.fullmatch(r"[0-9a-f]{32}", lowered):
        return store.run(lowered)
    by_name = Condition(Field("attribute", "run_name"), "=", selector)
    for run in store.search([by_name], experiment=experiment, expected=10):
        if run.run_name == selector:
            return run
    if HEX.fullmatch(lowered):
        by_prefix = Condition(Field("attribute", "run_id"), "like", f"{lowered}%")
        found = take(store.search([by_prefix], experiment=experiment, expected=6), 6)
        if len(found) > 1:
            shown = ", ".join(f"{run.run_id[:12]} ({run.run_name})" for run in found[:5])
            raise UsageError(
                f"{selector} begins the id of several runs: {shown}{', …' if len(found) > 5 else ''}",
                "give more of it",
            )
        if found:
            return found[0]
    names = {run.run_name for run in take(store.search(experiment=experiment, expected=100), 100)}
    near = did_you_mean(selector, [*names, "last", "best"])
    raise NotFoundError(f"there is no run {selector!r}", near or "mlctl runs list shows what is there")


def _best(store: TrackingStore, metric: str, experiment: str | None) -> Run:
    if metric:
        turned = metric.startswith("-")
        metric = metric.lstrip("-")
        objective = Objective(metric, maximize=lower_is_better(metric) == turned)
    else:
        has_one = Condition(Field("tag", "mlctl.objective"), "like", "%:%")
        newest = _first(
            store, [has_one], [], experiment,
            "no run here says what it tried to reach", "name a metric: best:val_accuracy",
        )  # fmt: skip
        found = parse_objective(newest.tags.get("mlctl.objective", ""))
        if found is None:
            raise NotFoundError(
                f"run {newest.run_name} has no objective that can be read", "name a metric: best:val_accuracy"
            )
        objective, experiment = found, newest.experiment
    for name in dict.fromkeys((kept(objective.metric), objective.metric)):
        field = Field("metric", name)
        ordered = store.search([FINISHED], [SortKey(field, objective.maximize)], experiment, expected=1)
        for run in ordered:
            if TRIAL_TAG in run.tags:  # it has no model: that of the best is in its search's own run
                continue
            if (value := run.metrics.get(name)) is not None and value == value:
                return run
            break
    raise NotFoundError(
        f"no finished run has {objective.metric!r}" + (f" in experiment {experiment}" if experiment else ""),
        "mlctl runs list shows which metrics there are",
    )


def _first(
    store: TrackingStore,
    conditions: list[Condition],
    order: list[SortKey],
    experiment: str | None,
    wrong: str,
    hint: str,
) -> Run:
    for run in store.search(conditions, order, experiment, expected=1):
        if TRIAL_TAG not in run.tags:  # what was begun is the search, and it has the model
            return run
    raise NotFoundError(wrong, hint)
