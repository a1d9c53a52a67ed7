"""Scores of predictions: scikit-learn's metrics, under the names that runs use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def compute_scores(targets: Array, predictions: Array, classes: int) -> dict[str, float]:
    """Return the scores of predictions (n, k) or (n, 1) against targets (n,).

    Two classes: accuracy, precision, recall and f1, where class 1 is positive from a probability above 0.5.
    More classes: accuracy, and macro averages of the others.
    Regression (`classes` is 0): mae and rmse in the unit of the target, and r2.
    """
    from sklearn import metrics

    if not classes:
        values = predictions[:, 0].astype(np.float64)
        return {
            "mae": float(metrics.mean_absolute_error(targets, values)),
            "rmse": float(metrics.root_mean_squared_error(targets, values)),
            "r2": float(metrics.r2_score(targets, values)),
        }
    labels = predicted_labels(predictions)
    average = "binary" if classes == 2 else "macro"
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        targets, labels, average=average, zero_division=0
    )
    accuracy = float(np.mean(labels == targets))
    return {"accuracy": accuracy, "precision": float(precision), "recall": float(recall), "f1": float(f1)}


def predicted_labels(predictions: Array) -> Array:
    """Return the class number of each row: the most probable class, or 1 if the only probability is above 0.5."""
    if predictions.shape[1] == 1:
        return (predictions[:, 0] > 0.5).astype(np.int64)
    return np.asarray(predictions.argmax(axis=1), dtype=np.int64)


def probability_scores(targets: Array, probabilities: Array) -> dict[str, float]:
    """Return log_loss and auc of probabilities (n, classes) that sum to 1 in each row, for class numbers (n,).

    For more than two classes, auc is the mean over one-vs-rest areas. It is left out if a class has no target.
    """
    from sklearn import metrics

    classes = probabilities.shape[1]
    values = {"log_loss": float(metrics.log_loss(targets, probabilities, labels=range(classes)))}
    if len(np.unique(targets)) == classes:
        positive = probabilities[:, 1] if classes == 2 else probabilities
        values["auc"] = float(metrics.roc_auc_score(targets, positive, multi_class="ovr"))
    return values


def classification_report(targets: Array, predictions: Array, classes: Sequence[str]) -> str:
    """Return scikit-learn's table of the precision, recall and F1 of each class."""
    from sklearn import metrics

    report: str = metrics.classification_report(
        targets,
        predicted_labels(predictions),
        labels=list(range(len(classes))),
        target_names=list(classes),
        digits=4,
        zero_division=0,
    )
    return report
