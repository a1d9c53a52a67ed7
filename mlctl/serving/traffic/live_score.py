"""Scores of answers whose truth is known, in training and live, with a 95 % interval.

A proportion, such as the accuracy, has the interval of Agresti and Coull; a mean error that of Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.domain.drift import LiveScore
from mlctl.serving.traffic.features import Array, as_text, class_names, is_missing, measure

Z = 1.959964  # of a 95 % interval
HIGHER_IS_BETTER = {"accuracy": True, "mae": False}
FEWEST_TRUTHS = 5


def score(entry: Mapping[str, Any], answers: Any, truths: Sequence[Any]) -> dict[str, float]:
    """Return the score of an output's answers, {} if it has none; `entry` is the output's in the profile."""
    found = _row_scores(entry, answers, truths)
    return {} if found is None else {found[0]: float(found[1].mean())}


def live_score(entry: Mapping[str, Any], answers: Any, truths: Sequence[Any]) -> LiveScore | None:
    """Return the live score with its interval, beside that of the training; None with too few truths."""
    found = _row_scores(entry, answers, truths)
    if found is None or len(found[1]) < FEWEST_TRUTHS:
        return None
    metric, rows = found
    low, high = _proportion(rows) if metric == "accuracy" else _mean(rows)
    trained = entry.get("scores", {}).get(metric)
    is_better = trained is not None and (trained > high if HIGHER_IS_BETTER[metric] else trained < low)
    name = f"{entry['name']}_{metric}" if entry["name"] else metric
    return LiveScore(
        metric=name,
        value=float(rows.mean()),
        low=low,
        high=high,
        rows=len(rows),
        trained=trained,
        has_dropped=is_better,
    )


def name_truths(entry: Mapping[str, Any], targets: Any) -> list[Any]:
    """Return targets as a client gives them as truth: class names in place of class numbers."""
    values = np.asarray(targets)
    if entry["kind"] != "label" or values.dtype.kind not in "iu":
        return list(values.tolist())
    names = class_names(entry, int(values.max(initial=0)) + 1)
    return [names[number] if number >= 0 else None for number in values.ravel().tolist()]


def _row_scores(entry: Mapping[str, Any], answers: Any, truths: Sequence[Any]) -> tuple[str, Array] | None:
    """Return the metric and what each row with a truth adds to it."""
    kept = [place for place, truth in enumerate(truths) if not is_missing(truth)]
    try:
        if entry["kind"] == "label":
            labels = measure("label", np.asarray(answers)[kept], entry)[""]
            given = [_class_name(entry, truths[place]) for place in kept]
            return "accuracy", np.array(
                [label == truth for label, truth in zip(labels, given, strict=True)], float
            )
        if entry["kind"] == "number":
            values = np.asarray(answers, np.float64).ravel()[kept]
            return "mae", np.abs(values - np.array([float(truths[place]) for place in kept]))
    except (ValueError, TypeError, IndexError):  # truths of another form
        return None
    return None


def _class_name(entry: Mapping[str, Any], truth: Any) -> str:
    """Return the class that a truth names; a number is its place if no class is called so."""
    name, classes = as_text(truth), entry.get("classes", ())
    if name in classes or isinstance(truth, (str, bool, float)) or not 0 <= truth < len(classes):
        return name
    return str(classes[truth])


def _proportion(rows: Array) -> tuple[float, float]:
    """Return the interval of a proportion (Agresti and Coull, 1998)."""
    count = len(rows) + Z**2
    share = (float(rows.sum()) + Z**2 / 2) / count
    width = Z * math.sqrt(share * (1 - share) / count)
    return max(0.0, share - width), min(1.0, share + width)


def _mean(rows: Array) -> tuple[float, float]:
    from scipy.special import stdtrit

    width = float(stdtrit(len(rows) - 1, 0.975)) * float(rows.std(ddof=1)) / math.sqrt(len(rows))
    return float(rows.mean()) - width, float(rows.mean()) + width
