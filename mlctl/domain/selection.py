"""The best of several epochs, trials or models: the objective decides, and val_loss decides near-ties.

A score of few rows is not exact: of 289 validation rows, two epochs that differ by one row are equally good as far as
anybody can tell. The validation loss also uses how sure the model is of each row, and tells them apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlctl.domain.objective import HIGHER_IS_BETTER, LOWER_IS_BETTER, Objective
from mlctl.domain.progress import Epoch

PROPORTIONS = frozenset({"accuracy", "acc", "precision", "recall", "f1", "auc"})  # words in names of metrics
LOSSES = ("val_loss", "val_log_loss")  # the latter of models that Keras does not train


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What decides between candidates.

    Attributes:
        score: Value of the objective; NaN if it was not measured.
        val_loss: Validation loss of the same epoch or model; NaN if it was not measured.
        rows: Number of rows that the score is measured on; 0 if it is unknown, or a row has more than one answer.
    """

    score: float
    val_loss: float = math.nan
    rows: int = 0

    @classmethod
    def of(cls, metrics: Mapping[str, float], objective: Objective, rows: int) -> Scored:
        """Return what the metrics of an epoch say."""
        losses = [metrics[name] for name in LOSSES if name in metrics]
        return cls(
            score=metrics.get(objective.metric, math.nan),
            val_loss=losses[0] if losses else math.nan,
            rows=rows,
        )


def standard_error(metric: str, score: float, rows: int) -> float:
    """Return the standard error of a validation score that is a proportion of rows; 0.0 for any other metric.

    A proportion p of n independent rows has the standard error sqrt(p * (1 - p) / n). This is 0 for p = 1, though a
    score of 1 on few rows is not certain either. Two successes and two failures are therefore added, as Agresti and
    Coull propose ("Approximate is better than exact for interval estimation of binomial proportions", The American
    Statistician 52, 1998): sqrt(q * (1 - q) / (n + 4)) with q = (p * n + 2) / (n + 4). Precision, recall, F1 and AUC
    depend on fewer rows than accuracy, so theirs is at least about as large.

    To take the better-behaved candidate of those within one standard error of the best is the "one standard error
    rule" of Breiman, Friedman, Olshen and Stone, Classification and Regression Trees (1984), section 3.4.3; see also
    Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2nd edition), section 7.10.
    """
    if rows <= 0 or not metric.startswith("val_") or not 0.0 <= score <= 1.0 or not is_proportion(metric):
        return 0.0
    share = (score * rows + 2) / (rows + 4)
    return math.sqrt(share * (1.0 - share) / (rows + 4))


def is_proportion(metric: str) -> bool:
    """Whether the last known word of a metric's name is that of a proportion of rows, as in `val_top_5_accuracy`."""
    words = re.split(r"[-_ /.]", metric.lower())
    known = [word for word in words if word in LOWER_IS_BETTER or word in HIGHER_IS_BETTER]
    return bool(known) and known[-1] in PROPORTIONS


def choose(candidates: Sequence[Scored], objective: Objective, top: float = math.nan) -> int:
    """Return the position of the best candidate.

    Of those whose score is within one standard error of the best score (`Objective.tolerance` of them), the one with
    the lowest validation loss is the best. If losses are equal or unknown, the score decides, and then the order. `top` is a score that a candidate
    reached that is no longer available.
    """
    for candidate in candidates:
        if objective.is_better(candidate.score, top):
            top = candidate.score
    all_rows = [candidate.rows for candidate in candidates]
    error = standard_error(objective.metric, top, max(all_rows) if all(all_rows) else 0)
    tolerance = objective.tolerance * error

    def rank(position: int) -> tuple[bool, float, float]:
        candidate = candidates[position]
        distance = abs(candidate.score - top)
        if math.isnan(distance):  # not measured, or both are infinite
            distance = 0.0 if candidate.score == top else math.inf
        is_tied = distance <= tolerance
        loss = candidate.val_loss if is_tied and not math.isnan(candidate.val_loss) else math.inf
        return not is_tied, loss, distance

    return min(range(len(candidates)), key=rank)


def is_preferred(candidate: Scored, kept: Scored, objective: Objective, top: float = math.nan) -> bool:
    """Whether a new candidate replaces the one that is kept; `top` is the best score so far.

    What is kept is always within one standard error of the best score so far.
    """
    return choose([kept, candidate], objective, top) == 1


def best_epoch(epochs: Iterable[Epoch], objective: Objective) -> Epoch | None:
    """Return the epoch that a training keeps, of those that measure the objective; None if there is none.

    A training keeps the weights of one epoch: one that was passed over is not considered again.
    """
    kept: Epoch | None = None
    top = math.nan
    for epoch in epochs:
        if objective.metric not in epoch.metrics:
            continue
        found = Scored.of(epoch.metrics, objective, epoch.validation_rows)
        if kept is None or is_preferred(
            found, Scored.of(kept.metrics, objective, kept.validation_rows), objective, top
        ):
            kept = epoch
        if objective.is_better(found.score, top):
            top = found.score
    return kept


def describe_near_tie(epochs: Sequence[Epoch], kept: Epoch, objective: Objective) -> str:
    """Return why the kept epoch is not the one with the best score; "" if it is."""
    metric, top = objective.metric, kept
    if metric not in kept.metrics:
        return ""
    for epoch in epochs:
        if metric in epoch.metrics and objective.is_better(epoch.metrics[metric], top.metrics[metric]):
            top = epoch
    if top is kept:
        return ""
    error = standard_error(metric, top.metrics[metric], kept.validation_rows)
    errors = "one standard error" if objective.tolerance == 1 else f"{objective.tolerance:g} standard errors"
    return (
        f"epoch {kept.number} is kept for its val_loss: epoch {top.number} has {metric} {top.metrics[metric]:.4g}, "
        f"which is within {errors} ({error:.2g} for {kept.validation_rows:,} rows)"
    )
