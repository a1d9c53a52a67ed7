"""95 % confidence intervals of scores: how far they may be from those of endless rows of the same kind.

- accuracy, and precision and recall of two classes: the interval of E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
  Journal of the American Statistical Association 22 (1927).
- other scores: the percentile bootstrap of B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993),
  chapter 13: the score of rows that are drawn with replacement, a thousand times with a fixed seed.

Of many rows, some are drawn, and the interval is narrowed by the root of the numbers of rows ("m out of n bootstrap":
P. Bickel, F. Götze and W. van Zwet, Statistica Sinica 7, 1997). Rows count as independent: if several rows belong to
the same customer, the true interval is wider.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mlctl.domain.outputs import Output, Outputs
from mlctl.scores import class_probabilities, predicted_labels, probability_losses

Z = 1.959964  # of 95 %
LOW, HIGH = 0.025, 0.975
DRAWS, FEWER_DRAWS = 1000, 400
MANY_ROWS, MAX_ROWS = 2000, 10_000  # from which on there are fewer draws; that are drawn from
CHUNK = 1_000_000  # counts that are held together
MAX_CLASSES = 20  # with more, the scores that average over classes have no interval

Array = np.ndarray[Any, Any]
Intervals = dict[str, tuple[float, float]]
# how often each row is drawn, (draws, rows), to scores by name, (draws,) each
Scorer = Callable[[Array], dict[str, Array]]


def score_intervals(
    outputs: Outputs, targets: Any, predictions: Any, scores: Mapping[str, float]
) -> Intervals:
    """Return the intervals of scores by name; scores that have none are left out.

    Args:
        outputs: What the model's outputs mean.
        targets: The targets as `scoring_targets` returns them.
        predictions: An array, or a dict of arrays by output name.
        scores: What `score_split` returned for them.
    """
    found: Intervals = {}
    for output in outputs:
        if output.kind not in ("classes", "values"):
            continue
        prefix = f"{output.name}_" if len(outputs) > 1 else ""
        known = targets[output.name] if isinstance(targets, Mapping) else targets
        answers = predictions[output.name] if isinstance(predictions, Mapping) else predictions
        own = {
            name.removeprefix(prefix): value
            for name, value in scores.items()
            if name.startswith(prefix) and math.isfinite(value)
        }
        intervals = _intervals(output, known, np.asarray(answers), own)
        found.update({prefix + name: interval for name, interval in intervals.items()})
    return found


def wilson_interval(share: float, rows: int) -> tuple[float, float]:
    """Return the interval of a share of independent rows."""
    middle = (share + Z * Z / (2 * rows)) / (1 + Z * Z / rows)
    half = Z / (1 + Z * Z / rows) * math.sqrt(share * (1 - share) / rows + Z * Z / (4 * rows * rows))
    return (middle - half if share > 0 else 0.0), (middle + half if share < 1 else 1.0)


def is_share_of_rows(metric: str, outputs: Outputs) -> bool:
    """Whether a model's score is a share of independent rows, so that its interval is Wilson's."""
    return metric == "accuracy" and [output.kind for output in outputs] == ["classes"]


def _intervals(output: Output, targets: Any, answers: Array, scores: Mapping[str, float]) -> Intervals:
    targets = np.asarray(targets)
    rows = len(targets)
    if rows < 2 or len(answers) != rows or not np.isfinite(answers).all():
        return {}
    chosen = np.random.default_rng(1).permutation(rows)[:MAX_ROWS] if rows > MAX_ROWS else np.arange(rows)
    if output.kind == "classes":
        if targets.ndim != 1 or targets.min() < 0:
            return {}
        targets = targets.astype(np.int64)
        score = _class_scorer(output, targets[chosen], answers[chosen])
    else:
        if targets.size != rows or answers.size != rows:
            return {}
        score = _value_scorer(
            targets.reshape(-1)[chosen].astype(np.float64), answers.reshape(-1)[chosen].astype(np.float64)
        )
    found = _bootstrap(score, len(chosen), rows, scores)
    if output.kind == "classes":
        found = {**found, **_share_intervals(output, targets, answers, scores)}
    return {name: found[name] for name in scores if name in found}


def _share_intervals(
    output: Output, targets: Array, answers: Array, scores: Mapping[str, float]
) -> Intervals:
    """Return the intervals of the scores that are shares of rows."""
    counts = {"accuracy": len(targets)}
    if len(output.classes) == 2:
        labels = predicted_labels(class_probabilities(answers), output.threshold)
        counts |= {"precision": int((labels == 1).sum()), "recall": int((targets == 1).sum())}
    return {
        name: wilson_interval(scores[name], rows) for name, rows in counts.items() if rows and name in scores
    }


def _bootstrap(score: Scorer, drawn_from: int, rows: int, scores: Mapping[str, float]) -> Intervals:
    draws: dict[str, list[Array]] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for counts in _counts(drawn_from):
            for name, values in score(counts).items():
                draws.setdefault(name, []).append(values)
        centres = score(np.ones((1, drawn_from), np.float32))
    found: Intervals = {}
    shrink = math.sqrt(drawn_from / rows)
    for name, parts in draws.items():
        values = np.concatenate(parts)
        values = values[np.isfinite(values)]  # a draw may have no row of a class
        if name not in scores or len(values) < FEWER_DRAWS / 2:
            continue
        low, high = (
            scores[name] + shrink * (float(quantile) - float(centres[name][0]))
            for quantile in np.quantile(values, (LOW, HIGH))
        )
        floor = 0.0 if float(values.min()) >= 0 else -math.inf
        found[name] = (max(floor, min(low, scores[name])), max(high, scores[name]))
    return found


def _counts(rows: int) -> Iterator[Array]:
    """Yield how often each row is drawn, (draws, rows), some draws at a time."""
    rng, left = np.random.default_rng(0), DRAWS if rows <= MANY_ROWS else FEWER_DRAWS
    while left:
        size = min(left, max(1, CHUNK // rows))
        places = rng.integers(0, rows, (size, rows)) + np.arange(size)[:, np.newaxis] * rows
        yield np.bincount(places.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float32)
        left -= size


def _value_scorer(targets: Array, answers: Array) -> Scorer:
    errors = answers - targets
    # float32 holds squares of large values badly
    scale, spread = float(np.abs(errors).max()) or 1.0, float(targets.std()) or 1.0
    centred = (targets - targets.mean()) / spread
    columns = np.stack(
        [np.abs(errors) / scale, np.square(errors / scale), centred, np.square(centred)], axis=1
    )
    columns = columns.astype(np.float32)

    def score(counts: Array) -> dict[str, Array]:
        absolute, squared, mean, square = (counts @ columns).T.astype(np.float64) / len(columns)
        return {
            "mae": absolute * scale,
            "rmse": np.sqrt(squared) * scale,
            "r2": 1 - squared * (scale / spread) ** 2 / (square - np.square(mean)),
        }

    return score


def _class_scorer(output: Output, targets: Array, answers: Array) -> Scorer:
    probabilities = class_probabilities(answers)
    classes = probabilities.shape[1]
    if classes == 2:  # in the order of the curves
        order = np.argsort(-probabilities[:, 1], kind="stable")
        targets, probabilities = targets[order], probabilities[order]
    labels = predicted_labels(probabilities, output.threshold)
    numbers = np.array([1]) if classes == 2 else np.arange(classes if classes <= MAX_CLASSES else 0)
    actual, answered = (part[:, np.newaxis] == numbers for part in (targets, labels))
    losses = np.stack(probability_losses(targets, probabilities), axis=1)
    columns = np.hstack([losses, actual & answered, answered, actual]).astype(np.float32)
    ranks = _rank_scorer(targets == 1, probabilities[:, 1]) if classes == 2 else None

    def score(counts: Array) -> dict[str, Array]:
        sums = (counts @ columns).astype(np.float64)
        found = {"log_loss": sums[:, 0] / len(columns), "brier": sums[:, 1] / len(columns)}
        if len(numbers):
            found |= _label_scores(*np.split(sums[:, 2:], 3, axis=1))
        return found | (ranks(counts) if ranks else {})

    return score


def _label_scores(hits: Array, answered: Array, actual: Array) -> dict[str, Array]:
    """Return precision, recall and F1 of counts (draws, classes), means over the classes that occur."""
    occurs = answered + actual > 0
    count = np.maximum(1, occurs.sum(axis=1))
    ratios = {
        "precision": hits / np.maximum(1, answered),
        "recall": hits / np.maximum(1, actual),
        "f1": 2 * hits / np.maximum(1, answered + actual),
    }
    return {name: (values * occurs).sum(axis=1) / count for name, values in ratios.items()}


def _rank_scorer(is_positive: Array, probability: Array) -> Scorer:
    """Return the areas under the ROC and the precision-recall curve; rows of the same probability count together.

    The rows come with the highest probability first.
    """
    starts = np.flatnonzero(np.insert(np.diff(probability) != 0, 0, True))
    positive = is_positive.astype(np.float32)

    def score(counts: Array) -> dict[str, Array]:
        hits, drawn = counts * positive, counts
        if len(starts) < len(positive):
            hits, drawn = (np.add.reduceat(part, starts, axis=1) for part in (hits, drawn))
        found = np.cumsum(hits, axis=1)  # float32 counts up to 2^24 exactly
        total = found[:, -1].astype(np.float64)
        alarms = drawn - hits
        negatives = alarms.sum(axis=1, dtype=np.float64)
        area = (alarms * (found - hits / 2)).sum(axis=1, dtype=np.float64)
        precision = found / np.maximum(1, np.cumsum(drawn, axis=1))
        return {
            "auc": area / (total * negatives),
            "average_precision": (hits * precision).sum(axis=1, dtype=np.float64) / total,
        }

    return score
