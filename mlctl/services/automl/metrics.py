"""Metrics that models are ranked by: names, directions and values."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlctl.domain.automl import CLASS_METRICS, NORMALIZED_RMSE, REGRESSION_METRICS
from mlctl.domain.objective import Objective, lower_is_better
from mlctl.errors import UsageError, did_you_mean
from mlctl.scores import class_probabilities, compute_scores, probability_scores

# these metrics change in steps and hardly tell two blends apart, so that weights minimize the log loss instead
BALANCED_ERROR = "balanced"
STEP_METRICS = ("accuracy", "precision", "recall", "f1")

Array = np.ndarray[Any, Any]


def check_metric(metric: str) -> None:
    """Raise UsageError if there is no metric of this name."""
    names = REGRESSION_METRICS + CLASS_METRICS
    if metric not in names:
        raise UsageError(
            f"there is no metric {metric!r}", did_you_mean(metric, names) or f"metrics: {', '.join(names)}"
        )


def choose_objective(metric: str | None, recipe_objective: Objective, classes: int) -> Objective:
    """Return the objective: of `metric` if it is set, else the recipe's own if it fits the task.

    Raises UsageError if `metric` does not fit the task.
    """
    available = CLASS_METRICS if classes else REGRESSION_METRICS
    name = metric or recipe_objective.metric.removeprefix("val_")
    if metric is None and name not in available:
        name = "log_loss" if classes else "mae"
    if name not in available:
        task = f"{classes} classes" if classes else "numbers"
        raise UsageError(f"{name} does not measure {task}", f"metrics: {', '.join(available)}")
    return Objective(f"val_{name}", not lower_is_better(name))


def measure(targets: Array, predictions: Array, classes: int, target_range: float) -> dict[str, float]:
    """Return every metric of predictions (n, k) for targets (n,).

    `target_range` is the range of all known targets. A regression's NORMALIZED_RMSE is RMSE / `target_range`.
    """
    values = compute_scores(targets, predictions, classes)
    if not classes:
        return {**values, NORMALIZED_RMSE: values["rmse"] / target_range}
    return {**values, **probability_scores(targets, class_probabilities(predictions))}


def quick_error(metric: str, targets: Array, predictions: Array, classes: int) -> float:
    """Return an error (lower is better) that ranks predictions (n, k) as the metric does; for blend weights.

    BALANCED_ERROR is the geometric mean of absolute and squared error, as both count where the user set neither.
    """
    if not classes:
        errors = predictions[:, 0] - targets
        if metric == "mae":
            return float(np.abs(errors).mean())
        squared = float(np.square(errors).mean())
        return float(np.abs(errors).mean() * np.sqrt(squared)) if metric == BALANCED_ERROR else squared
    if metric == "log_loss" or metric in STEP_METRICS:
        correct = class_probabilities(predictions)[np.arange(len(targets)), targets]
        return float(-np.log(np.clip(correct, 1e-15, 1.0)).mean())
    return -measure(targets, predictions, classes, 1.0).get(metric, 0.0)
