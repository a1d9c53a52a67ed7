"""ROC and precision-recall curves of probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class ProbabilityCurve:
    """Both curves, whose points belong to the same thresholds, from none to all rows being answered with yes.

    Attributes:
        auc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve, by steps.
        false_positives: Share of the rows that are not true, and are answered with yes.
        recall: Share of the rows that are true, and are answered with yes; the ROC curve's true positives.
        precision: Share of the rows answered with yes that are true.
    """

    auc: float
    average_precision: float
    false_positives: Array
    recall: Array
    precision: Array


def probability_curve(is_true: Array, probability: Array) -> ProbabilityCurve:
    """Return the curves of probabilities (n,) of something that holds in some rows, and not in others."""
    from sklearn import metrics  # a report that is only read needs none

    false_positives, recall, _ = metrics.roc_curve(is_true, probability, drop_intermediate=False)
    precision, _, _ = metrics.precision_recall_curve(is_true, probability)
    precision = precision[::-1]  # from the highest threshold on, as the ROC curve
    precision[0] = precision[1]  # without an answer, there is none; scikit-learn says 1
    return ProbabilityCurve(
        auc=float(metrics.auc(false_positives, recall)),
        average_precision=float(metrics.average_precision_score(is_true, probability)),
        false_positives=false_positives,
        recall=recall,
        precision=precision,
    )
