"""What models are compared by: every metric's name and direction, and its value."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlctl.domain.objective import Objective, lower_is_better
from mlctl.errors import UsageError, did_you_mean
from mlctl.scores import scores

NORMALIZED = "normalized_root_mean_squared_error"
OF_NUMBERS = ("mae", "rmse", NORMALIZED, "r2")
OF_CLASSES = ("accuracy", "precision", "recall", "f1", "auc", "log_loss")
# a step at a class's border tells little of which blend is better; what they say of certainty does
SMOOTH = {"accuracy": "log_loss", "precision": "log_loss", "recall": "log_loss", "f1": "log_loss"}

Array = np.ndarray[Any, Any]


def check(metric: str) -> None:
    """Raise UsageError for a name that is no metric's."""
    known = OF_NUMBERS + OF_CLASSES
    if metric not in known:
        raise UsageError(
            f"there is no metric {metric!r}", did_you_mean(metric, known) or f"there are: {', '.join(known)}"
        )


def objective(metric: str | None, recipes: Objective, classes: int) -> Objective:
    """Return what is optimised: the metric asked for, or the recipe's own; raises UsageError where it cannot be."""
    fitting = OF_CLASSES if classes else OF_NUMBERS
    chosen = metric or recipes.metric.removeprefix("val_")
    if metric is None and chosen not in fitting:
        chosen = "log_loss" if classes else "mae"
    if chosen not in fitting:
        kind = f"{classes} classes" if classes else "numbers"
        raise UsageError(f"{chosen} does not measure {kind}", f"there are: {', '.join(fitting)}")
    return Objective(f"val_{chosen}", not lower_is_better(chosen))


def measured(targets: Array, answers: Array, classes: int, span: float) -> dict[str, float]:
    """Return every metric of answers (n, k); `span` is the range of all known targets, of a regression."""
    from sklearn import metrics

    found = scores(targets, answers, classes)
    if not classes:
        return {**found, NORMALIZED: found["rmse"] / span}
    shares = _shares(answers)
    found["log_loss"] = float(metrics.log_loss(targets, shares, labels=range(shares.shape[1])))
    if len(np.unique(targets)) == shares.shape[1]:  # else there is no area to speak of
        found["auc"] = float(
            metrics.roc_auc_score(targets, shares[:, 1] if classes == 2 else shares, multi_class="ovr")
        )
    return found


def value(metric: str, targets: Array, answers: Array, classes: int) -> float:
    """Return one metric the quick way, as an error: less is better; for the weights of a blend."""
    if not classes:
        apart = answers[:, 0] - targets
        return float(np.abs(apart).mean()) if metric == "mae" else float(np.square(apart).mean())
    if SMOOTH.get(metric, metric) == "log_loss":
        own = _shares(answers)[np.arange(len(targets)), targets]
        return float(-np.log(np.clip(own, 1e-15, 1.0)).mean())
    return -measured(targets, answers, classes, 1.0).get(metric, 0.0)


def _shares(answers: Array) -> Array:
    """Return probabilities (n, classes) that sum to 1, of (n, 1) for the positive class, too."""
    shares = np.clip(answers.astype(np.float64), 1e-7, 1.0)
    if shares.shape[1] == 1:
        shares = np.concatenate((1 - np.minimum(shares, 1 - 1e-7), shares), axis=1)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
