"""The threshold that suits validation rows best: probabilities stay as they are, only labels change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlctl.domain.outputs import DEFAULT_THRESHOLD
from mlctl.domain.threshold import ThresholdRule
from mlctl.scores import class_probabilities, compute_scores

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class ChosenThreshold:
    """A threshold, and what the labels of the validation rows score with it.

    Attributes:
        value: Probability above which a row is of the positive class.
        scores: accuracy, precision, recall and f1 of the validation rows; none if it was not chosen on rows.
        note: One line for people.
    """

    value: float
    scores: Mapping[str, float]
    note: str


def choose_threshold(
    rule: ThresholdRule, targets: Array, predictions: Array, positive: str, *, of_folds: bool = False
) -> ChosenThreshold:
    """Return the threshold of a rule, for class numbers (n,) and predictions (n,), (n, 1) or (n, 2).

    Of thresholds that are equally good, it is the one in the middle of the widest gap between probabilities that holds
    the best value nearest to 0.5. `of_folds` says that these are the rows on which cross-validation is scored.
    """
    probabilities = class_probabilities(predictions)[:, 1]
    value = rule.value if not rule.needs_rows else _best(rule, targets == 1, probabilities)
    scores = compute_scores(targets, probabilities[:, np.newaxis], 2, value)
    if not rule.needs_rows:
        return ChosenThreshold(value=value, scores=scores, note=f"{positive} is answered above {value:.3g}")
    before = compute_scores(targets, probabilities[:, np.newaxis], 2)
    kind = "rows of the folds" if of_folds else "validation rows"
    warning = "; slightly optimistic, because the folds are scored on the same rows" if of_folds else ""
    return ChosenThreshold(
        value=value,
        scores=scores,
        note=(
            f"{positive} is answered above {value:.3g}, chosen on {len(targets):,} {kind}: "
            f"precision {scores['precision']:.3f}, recall {scores['recall']:.3f}, f1 {scores['f1']:.3f}"
            f" (above {DEFAULT_THRESHOLD}: {before['precision']:.3f}, {before['recall']:.3f}, {before['f1']:.3f}){warning}"
        ),
    )


def _best(rule: ThresholdRule, is_positive: Array, probabilities: Array) -> float:
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    # after each group of equal probabilities, all rows before it are answered with yes
    ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    hits = np.concatenate(([0], np.cumsum(is_positive[order])[ends]))
    answered = np.concatenate(([0], ends + 1))
    alarms, missed = answered - hits, hits[-1] - hits
    negatives = max(1, len(ranked) - int(hits[-1]))
    if rule.kind == "f1":
        values = 2 * hits / np.maximum(1, answered + hits[-1])
    elif rule.kind == "balanced":
        values = (hits / max(1, int(hits[-1])) + 1 - alarms / negatives) / 2
    else:
        values = -(rule.value * missed + alarms)
    bounds = np.concatenate(([1.0], ranked[ends], [0.0]))
    thresholds = (bounds[:-1] + bounds[1:]) / 2
    best = np.flatnonzero(values >= values.max() - 1e-12)
    return float(thresholds[best[np.abs(thresholds[best] - DEFAULT_THRESHOLD).argmin()]])
