"""What a task's predictions are worth: scikit-learn's definitions, under the names that runs carry."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def scores(targets: Array, predictions: Array, classes: int) -> dict[str, float]:
    """Score predictions (n, k) or (n, 1) against targets (n,).

    Returns accuracy, precision, recall, f1 for two classes (positive: 1, at one half), accuracy and the
    macro means for more, and mae, rmse, r2 for a regression (`classes` 0), in the target's unit.
    """
    from sklearn import metrics

    if not classes:
        values = predictions[:, 0].astype(np.float64)
        return {
            "mae": float(metrics.mean_absolute_error(targets, values)),
            "rmse": float(metrics.root_mean_squared_error(targets, values)),
            "r2": float(metrics.r2_score(targets, values)),
        }
    labels = labels_of(predictions)
    average = "binary" if classes == 2 else "macro"
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        targets, labels, average=average, zero_division=0
    )
    accuracy = float(np.mean(labels == targets))
    return {"accuracy": accuracy, "precision": float(precision), "recall": float(recall), "f1": float(f1)}


def labels_of(predictions: Array) -> Array:
    """Return the class number of each row of probabilities: the likeliest, or 1 above one half."""
    if predictions.shape[1] == 1:
        return (predictions[:, 0] > 0.5).astype(np.int64)
    return np.asarray(predictions.argmax(axis=1), dtype=np.int64)
