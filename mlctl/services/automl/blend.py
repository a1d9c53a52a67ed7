"""Weights of a blend of models, from their predictions for the rows that models are scored on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlctl.adapters.models.onnx_graphs import apply_temperature
from mlctl.services.automl.metrics import quick_error

SELECTION_STEPS, MAX_MODELS = 40, 12
MIN_WEIGHT = 0.04  # a smaller weight costs more serving time than it gains
MIN_CALIBRATION_GAIN = 0.002  # of the log loss; a smaller one may be chance
TEMPERATURES = np.geomspace(0.5, 2.0, 41)
PRIOR_ROWS = 300  # so many rows say that the probabilities are right: few rows cannot tell

Array = np.ndarray[Any, Any]


def blend_weights(
    predictions: Mapping[str, Array], targets: Array, metric: str, classes: int
) -> dict[str, float]:
    """Return the weight of each model in a blend, by greedy ensemble selection with replacement.

    The method is that of Caruana et al., "Ensemble selection from libraries of models" (ICML 2004): each step
    adds the model that lowers the error of the mean most.

    Args:
        predictions: (n, k) by model name.
        targets: (n,) targets of the same rows.
        metric: name without `val_`.
        classes: number of classes; 0 for a regression.

    Returns:
        Weights that sum to 1. Models without a weight are left out.
    """
    errors = {name: quick_error(metric, targets, values, classes) for name, values in predictions.items()}
    finite = (name for name in errors if np.isfinite(errors[name]))
    names = sorted(finite, key=errors.__getitem__)[:MAX_MODELS]
    counts = dict.fromkeys(names, 0)
    total = np.zeros_like(predictions[names[0]], dtype=np.float64)
    for step in range(1, SELECTION_STEPS + 1):
        blended = {
            name: quick_error(metric, targets, (total + predictions[name]) / step, classes) for name in names
        }
        best = min(names, key=blended.__getitem__)
        counts[best] += 1
        total += predictions[best]
    selected = {name: count for name, count in counts.items() if count >= MIN_WEIGHT * SELECTION_STEPS}
    selections = sum(selected.values())
    return {name: count / selections for name, count in selected.items()}


def fit_temperature(probabilities: Array, targets: Array, classes: int) -> float:
    """Return the temperature with the lowest log loss of a blend's probabilities (n, k); 1.0 if it gains little."""
    losses = [
        quick_error("log_loss", targets, apply_temperature(probabilities, temperature), classes)
        for temperature in TEMPERATURES
    ]
    best = int(np.argmin(losses))
    before = quick_error("log_loss", targets, probabilities, classes)
    gains = losses[best] < before * (1 - MIN_CALIBRATION_GAIN)
    drawn = TEMPERATURES[best] ** (len(targets) / (len(targets) + PRIOR_ROWS))
    return round(float(drawn), 4) if gains else 1.0
