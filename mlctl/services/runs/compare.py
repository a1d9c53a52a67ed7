"""Comparison of two runs: only what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import IntervalPairs, Run
from mlctl.domain.run_queries import RunDiff
from mlctl.domain.tags import GIT_PREFIX, PRECISION_TAG, RECIPE_TAG
from mlctl.services.runs.environment import read_environment
from mlctl.services.runs.fields import as_number
from mlctl.services.runs.metrics import has_model_metrics, is_model_metric, objective_for
from mlctl.services.runs.select import find_run

CODE_PREFIXES = (GIT_PREFIX, RECIPE_TAG, "mlflow.source.git.commit", "mlflow.source.name")
MAX_NUMBER_LENGTH = 25  # a longer text is a digest or an id that only looks like a number
NEITHER_BETTER_NOR_WORSE = {"best_epoch", "learning_rate"}


def diff_runs(tracking_uri: str, a: str, b: str, experiment: str | None = None) -> RunDiff:
    """Return what differs between the runs that `a` and `b` select."""
    store = TrackingStore(tracking_uri)
    run_a, run_b = find_run(store, a, experiment), find_run(store, b, experiment)
    metrics = differences(run_a.metrics, run_b.metrics)
    verdicts = {name: verdict(name, *values, run=run_a) for name, values in metrics.items()}
    return RunDiff(
        a=run_a,
        b=run_b,
        params=differences(run_a.params, run_b.params),
        metrics=metrics,
        intervals=interval_pairs(metrics, run_a.intervals, run_b.intervals),
        verdicts={name: text for name, text in verdicts.items() if text},
        data=differences(_data(run_a), _data(run_b)),
        code=differences(_tags(run_a, CODE_PREFIXES), _tags(run_b, CODE_PREFIXES)),
        environment=differences(_environment(store, run_a), _environment(store, run_b)),
    )


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return name -> (value in a, value in b) for values that differ; a missing value is None.

    NaN equals NaN, and the parameter 1e-2 equals 0.01.
    """
    return {
        name: (a.get(name), b.get(name)) for name in {**a, **b} if not _are_equal(a.get(name), b.get(name))
    }


def interval_pairs(
    metrics: Iterable[str], a: Mapping[str, tuple[float, float]], b: Mapping[str, tuple[float, float]]
) -> IntervalPairs:
    """Return name -> (interval in a, interval in b) for the metrics that have one."""
    return {name: (a.get(name), b.get(name)) for name in metrics if name in a or name in b}


def verdict(metric: str, a: float | None, b: float | None, *, run: Run) -> str:
    """Return whether value b is "better" or "worse" than a, or "" if this is not clear.

    The objective of `run` decides if it has this metric, else the metric's name.
    """
    # values of the last epoch say nothing about the saved model if that has metrics of its own
    is_last_epoch = not is_model_metric(metric) and has_model_metrics(run)
    if metric in NEITHER_BETTER_NOR_WORSE or is_last_epoch or a is None or b is None:
        return ""
    return "better" if objective_for(metric, [run]).is_better(b, a) else "worse"


def _are_equal(x: Any, y: Any) -> bool:
    if x == y or (x != x and y != y):
        return True
    if not isinstance(x, str) or not isinstance(y, str):
        return False
    a, b = as_number(x), as_number(y)
    return a is not None and a == b and len(x) <= MAX_NUMBER_LENGTH and len(y) <= MAX_NUMBER_LENGTH


def _data(run: Run) -> dict[str, Any]:
    return {key: value for key, value in asdict(run.data).items() if value} if run.data else {}


def _environment(store: TrackingStore, run: Run) -> dict[str, str]:
    return {**read_environment(store, run), **_tags(run, (PRECISION_TAG,))}


def _tags(run: Run, prefixes: tuple[str, ...]) -> dict[str, str]:
    return {key.removeprefix("mlctl."): value for key, value in run.tags.items() if key.startswith(prefixes)}
