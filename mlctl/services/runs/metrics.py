"""The metrics of the saved model of a run, and the objective of a run.

A metric such as `val_f1` has one value per epoch. What the saved model reached is logged once, as `best_val_f1` and
`test_f1`.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlctl.domain.objective import Objective, lower_is_better
from mlctl.domain.run import Run, RunScore
from mlctl.domain.tags import OBJECTIVE_TAG

MODEL_METRIC_PREFIXES = ("best_", "test_", "folds_")


def is_model_metric(name: str) -> bool:
    """Whether a metric is of the saved model, and not of an epoch."""
    return name.startswith(MODEL_METRIC_PREFIXES)


def has_model_metrics(run: Run) -> bool:
    """Whether a run has metrics of its saved model; runs of other programs have none."""
    return any(map(is_model_metric, run.metrics))


def epoch_metrics(names: Iterable[str]) -> list[str]:
    """Return the metrics that have a value per epoch."""
    return [name for name in names if not is_model_metric(name)]


def model_metric(metric: str) -> str:
    """Return the name under which the saved model's value of a metric is logged."""
    return metric if is_model_metric(metric) else f"best_{metric}"


def objective_of(run: Run) -> Objective | None:
    """Return the objective of a run, or None if its tag is missing or invalid."""
    direction, _, metric = run.tags.get(OBJECTIVE_TAG, "").partition(":")
    return Objective(metric, direction == "max") if direction in {"max", "min"} and metric else None


def objective_for(metric: str, runs: Iterable[Run | None]) -> Objective:
    """Return a metric with its direction: that of the runs' objective if it is the same score, else as its name says.

    `val_wer`, `best_val_wer` and `test_wer` are the same score.
    """
    score = _score_of(metric)
    for run in runs:
        objective = objective_of(run) if run is not None else None
        if objective is not None and _score_of(objective.metric) == score:
            return Objective(metric, objective.maximize)
    return Objective(metric, not lower_is_better(metric))


def score_of(run: Run | None) -> RunScore | None:
    """Return the score of a run: its objective, else the metric of another program that says most about it.

    A run without a saved model has the value of its last epoch.
    """
    if run is None:
        return None
    objective = objective_of(run)
    metric = objective.metric if objective else _most_telling(run.metrics)
    if metric is None:
        return None
    source = model_metric(metric) if model_metric(metric) in run.metrics else metric
    test = f"test_{_score_of(metric)}"
    if test not in run.metrics or test == source:
        test = min((name for name in run.metrics if name.startswith("test_")), key=_loss_last, default="")
    is_shown_already = test == source
    return RunScore(
        name=metric,
        metric=source,
        value=run.metrics.get(source),
        test_metric="" if is_shown_already else test,
        test_value=None if is_shown_already else run.metrics.get(test),
        test_interval=None if is_shown_already else run.intervals.get(test),
    )


def _most_telling(names: Iterable[str]) -> str | None:
    """Return the metric of a run without an objective that says most: of validation or test, and no loss."""
    prefixes = ("val_", "best_", "test_")
    candidates = [name for name in names if name not in {"best_epoch", "epoch", "learning_rate"}]
    return min(candidates, key=lambda name: (not name.startswith(prefixes), *_loss_last(name)), default=None)


def _loss_last(name: str) -> tuple[bool, str]:
    return (_score_of(name) == "loss", name)


def _score_of(metric: str) -> str:
    for prefix in ("best_", "test_", "val_"):
        metric = metric.removeprefix(prefix)
    return metric
