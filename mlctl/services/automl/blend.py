"""Weights of a blend, from what each model answers for the validation rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlctl.services.automl.metrics import value

PICKS, MOST = 40, 12
LEAST = 0.04  # a smaller share costs more to serve than it gives

Array = np.ndarray[Any, Any]


def weights(answers: Mapping[str, Array], targets: Array, metric: str, classes: int) -> dict[str, float]:
    """Return the share of each model in the blend, by picking, with replacement, whoever helps most.

    `answers` are (n, k) by model; shares sum to 1, and models without one are left out.
    """
    alone = {name: value(metric, targets, found, classes) for name, found in answers.items()}
    able = sorted((name for name in alone if np.isfinite(alone[name])), key=alone.__getitem__)[:MOST]
    counts = dict.fromkeys(able, 0)
    total = np.zeros_like(answers[able[0]], dtype=np.float64)
    for number in range(1, PICKS + 1):
        worth = {name: value(metric, targets, (total + answers[name]) / number, classes) for name in able}
        best = min(able, key=worth.__getitem__)
        counts[best] += 1
        total += answers[best]
    kept = {name: count for name, count in counts.items() if count >= LEAST * PICKS}
    whole = sum(kept.values())
    return {name: count / whole for name, count in kept.items()}
