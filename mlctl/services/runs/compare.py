"""Comparing two runs: only what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.objective import Objective, lower_is_better
from mlctl.domain.run import Run
from mlctl.domain.run_queries import RunDiff
from mlctl.services.runs.fields import as_number
from mlctl.services.runs.listing import KEPT
from mlctl.services.runs.select import find, kept, parse_objective

ENVIRONMENT = ("mlctl.version.", "mlctl.machine.", "mlctl.precision")
CODE = ("mlctl.git.", "mlctl.recipe", "mlflow.source.git.commit", "mlflow.source.name")
LONGEST_NUMBER = 25  # a longer text is a digest or an id that merely looks like a number
NOT_JUDGED = {"best_epoch", "learning_rate"}


def diff(tracking_uri: str, a: str, b: str, experiment: str | None = None) -> RunDiff:
    """Return what differs between the runs that `a` and `b` select."""
    store = TrackingStore(tracking_uri)
    left, right = find(store, a, experiment), find(store, b, experiment)
    metrics = differing(left.metrics, right.metrics)
    return RunDiff(
        left,
        right,
        params=differing(left.params, right.params),
        metrics=metrics,
        verdicts={name: said for name, pair in metrics.items() if (said := verdict(name, pair, left))},
        data=differing(_data(left), _data(right)),
        code=differing(_tags(left, CODE), _tags(right, CODE)),
        environment=differing(_tags(left, ENVIRONMENT), _tags(right, ENVIRONMENT)),
    )


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return name -> (of a, of b) where they differ; what one lacks is None.

    NaN equals NaN, and the parameter 1e-2 equals 0.01.
    """
    return {name: (a.get(name), b.get(name)) for name in {**a, **b} if not _same(a.get(name), b.get(name))}


def verdict(metric: str, pair: tuple[float | None, float | None], run: Run) -> str:
    """Return whether the second value is "better" or "worse"; "" where it cannot be said."""
    a, b = pair
    # the last epoch of a run says nothing about the model that was kept, where that has its own figures
    last_only = not metric.startswith(KEPT) and any(name.startswith(KEPT) for name in run.metrics)
    if metric in NOT_JUDGED or last_only or a is None or b is None:
        return ""
    aim = parse_objective(run.tags.get("mlctl.objective", ""))
    known = aim is not None and metric in {aim.metric, kept(aim.metric)}
    maximize = aim.maximize if aim and known else not lower_is_better(metric)
    return "better" if Objective(metric, maximize).better(b, a) else "worse"


def _same(x: Any, y: Any) -> bool:
    if x == y or (x != x and y != y):
        return True
    if not isinstance(x, str) or not isinstance(y, str):
        return False
    a, b = as_number(x), as_number(y)
    return a is not None and a == b and len(x) <= LONGEST_NUMBER and len(y) <= LONGEST_NUMBER


def _data(run: Run) -> dict[str, Any]:
    return {key: value for key, value in asdict(run.data).items() if value} if run.data else {}


def _tags(run: Run, beginnings: tuple[str, ...]) -> dict[str, str]:
    return {
        key.removeprefix("mlctl."): value for key, value in run.tags.items() if key.startswith(beginnings)
    }
