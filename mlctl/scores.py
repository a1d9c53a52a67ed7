"""Scores of predictions: scikit-learn's metrics, under the names that runs use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.data.class_numbers import IGNORED, ignore
from mlctl.data.targets import check_finite, scoring_targets, target_of
from mlctl.domain.metric_names import recordable_name
from mlctl.domain.outputs import DEFAULT_THRESHOLD, Output, Outputs
from mlctl.errors import BadDataError

Array = np.ndarray[Any, Any]
Scores = dict[str, float]

MAX_SCORED_COLUMNS = 10  # of several values per row, each is scored on its own up to this number
MAX_SCORED_CLASSES = 20  # the same of the classes of pixels
MAX_REPORTED_CLASSES = 500
CHUNK = 1 << 22  # numbers that are scored together
MIN_PROBABILITY = 1e-7
PROBABILITY_SCORES = (
    "log_loss",
    "brier",
    "auc",
    "average_precision",
)  # the last two are those of two classes


def score_split(
    outputs: Outputs,
    targets: Any,
    predictions: Any,
    *,
    weights: Any = None,
    own: Callable[[Any, Any], Mapping[str, float]] | None = None,
) -> Scores:
    """Return the scores of predictions against a split's targets, with a recipe's own ones.

    Args:
        outputs: what the model's outputs mean.
        targets: the targets as the recipe's `load` returned them.
        predictions: an array, or a dict of arrays by output name.
        weights: the split's weights; pixels and steps of weight 0 do not count.
        own: a recipe's `scores`, which adds scores or replaces those of the same name.

    Raises BadDataError if targets or predictions do not fit the outputs.
    """
    converted = scoring_targets(outputs, targets)
    scores = score_outputs(outputs, converted, predictions, weights)
    if own is not None:
        scores.update(_own_scores(own, _own_targets(outputs, targets, converted, predictions), predictions))
    return scores


def score_outputs(outputs: Outputs, targets: Any, predictions: Any, weights: Any = None) -> Scores:
    """Return the scores of predictions against targets as `scoring_targets` returns them.

    Of several outputs, the scores have the output's name as prefix: `priority_accuracy`. By kind:

    - classes: accuracy, precision, recall and f1, macro averages for more than two classes; log_loss and brier; of two
      classes also auc and average_precision. Of two classes, the second one is the positive one.
    - labels: accuracy (all labels of a row are right), micro_f1, macro_f1, average_precision (the mean over the labels
      that occur).
    - values: mae, rmse and r2, means over the columns; of 2 to 10 columns also `mae_0`, `rmse_0`, `r2_0`, …. Of arrays
      with more dimensions: mae and rmse over all numbers.
    - pixels: accuracy, iou and dice (means over the classes that occur), and `iou_CLASS`.
    - sequence: accuracy of the steps, exact_match of whole rows.
    - none: nothing.

    Pixels and steps with the target -1 or the weight 0 do not count. Rows are not weighted, as in Keras's `metrics`.
    """
    if len(outputs) == 1:
        return _score(outputs[0], targets, only(predictions), only(weights))
    scores: Scores = {}
    for position, output in enumerate(outputs):
        if output.kind == "none":
            continue
        part = weights.get(output.name) if isinstance(weights, Mapping) else None
        if isinstance(weights, tuple) and len(weights) == len(outputs):
            part = weights[position]
        values = _score(output, targets[output.name], predictions[output.name], part)
        scores.update({f"{output.name}_{name}": value for name, value in values.items()})
    return scores


def compute_scores(
    targets: Array, predictions: Array, classes: int, threshold: float = DEFAULT_THRESHOLD
) -> Scores:
    """Return the scores of predictions (n, k) or (n, 1) against targets (n,).

    Two classes: accuracy, precision, recall and f1, where class 1 is positive from a probability above `threshold`.
    More classes: accuracy, and macro averages of the others.
    Regression (`classes` is 0): mae and rmse in the unit of the target, and r2.
    """
    from sklearn import metrics

    if not classes:
        return _value_scores(targets, predictions[:, 0].astype(np.float64))
    labels = predicted_labels(predictions, threshold)
    average = "binary" if classes == 2 else "macro"
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        targets, labels, average=average, zero_division=0
    )
    accuracy = float(np.mean(labels == targets))
    return {"accuracy": accuracy, "precision": float(precision), "recall": float(recall), "f1": float(f1)}


def predicted_labels(predictions: Array, threshold: float = DEFAULT_THRESHOLD) -> Array:
    """Return the class number of each row: the most probable class.

    Predictions (n, …, k) give class numbers (n, …). Of two classes, given by (n, …, 2) or by the probability of the
    second one, it is the second one if its probability is above `threshold`.
    """
    if predictions.shape[-1] == 1 or (predictions.shape[-1] == 2 and threshold != DEFAULT_THRESHOLD):
        return (predictions[..., -1] > threshold).astype(np.int64)
    return np.asarray(predictions.argmax(axis=-1), dtype=np.int64)


def class_probabilities(predictions: Array) -> Array:
    """Return the probability of each class, (n, classes) that sum to 1, of (n, classes), or of (n, 1) or (n,).

    One probability is that of the second of two classes. Probabilities are at least 1e-7, as in Keras's losses.
    """
    values = predictions.reshape(len(predictions), -1).astype(np.float64)
    if values.shape[1] == 1:
        values = np.hstack((1 - values, values))
    values = np.clip(values, MIN_PROBABILITY, 1.0)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def probability_scores(targets: Array, probabilities: Array) -> Scores:
    """Return log_loss, brier and auc of probabilities (n, classes) that sum to 1 in each row, for class numbers (n,).

    brier is the mean squared error of the probability of the second of two classes, and of more classes the sum over
    the classes, as in scikit-learn. auc is left out if a class has no target; for more than two classes, it is the
    mean over one-vs-rest areas. Two classes also have average_precision: that of the second one.
    """
    from sklearn import metrics

    classes = probabilities.shape[1]
    values = _mean_losses(targets, probabilities)
    if len(np.unique(targets)) == classes:
        positive = probabilities[:, 1] if classes == 2 else probabilities
        values["auc"] = float(metrics.roc_auc_score(targets, positive, multi_class="ovr"))
        if classes == 2:
            values["average_precision"] = float(metrics.average_precision_score(targets, positive))
    return values


def _mean_losses(targets: Array, probabilities: Array) -> Scores:
    log_losses, squares = probability_losses(targets, probabilities)
    return {"log_loss": float(log_losses.mean()), "brier": float(squares.mean())}


def probability_losses(targets: Array, probabilities: Array) -> tuple[Array, Array]:
    """Return the log loss and the squared error of each row, whose means are log_loss and brier."""
    right = probabilities[np.arange(len(targets)), targets]
    if probabilities.shape[1] == 2:
        return -np.log(right), np.square(1 - right)
    # the sum of (p - 1)^2 of the right class and p^2 of the others
    return -np.log(right), np.square(probabilities).sum(axis=1) + 1 - 2 * right


def report_answers(output: Output, targets: Array, answers: Array) -> str:
    """Return a table of precision, recall and F1 by class or label; "" for an output of another kind.

    `targets` are as `scoring_targets` returns them.
    """
    from sklearn import metrics

    options: dict[str, Any] = {"target_names": list(output.classes), "digits": 4, "zero_division": 0}
    numbers = list(range(len(output.classes)))
    if output.kind == "classes":
        labels = predicted_labels(answers[:, np.newaxis] if answers.ndim == 1 else answers, output.threshold)
        return str(metrics.classification_report(targets, labels, labels=numbers, **options))
    if output.kind == "labels":
        if len(numbers) == 1:  # scikit-learn takes a single column for two classes
            options["target_names"], numbers = [f"not {output.classes[0]}", output.classes[0]], [0, 1]
            targets, answers = targets.reshape(-1), answers.reshape(-1)
        return str(metrics.classification_report(targets, answers > 0.5, labels=numbers, **options))
    if output.kind in ("pixels", "sequence") and len(numbers) <= MAX_REPORTED_CLASSES:
        return _report_confusions(output.classes, count_confusions(output, targets, answers))
    return ""


def _report_confusions(classes: Sequence[str], counts: Array) -> str:
    """Return a table of precision, recall, F1, IoU and support by class."""
    hits, actual, answered = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    columns = {
        "precision": _ratio(hits, answered),
        "recall": _ratio(hits, actual),
        "f1-score": _ratio(2 * hits, actual + answered),
        "iou": _ratio(hits, actual + answered - hits),
    }
    width = max(len(name) for name in (*classes, "accuracy"))
    lines = [" " * width + "".join(f"{name:>10}" for name in columns) + f"{'support':>12}", ""]
    for number, name in enumerate(classes):
        values = "".join(f"{column[number]:>10.4f}" for column in columns.values())
        lines.append(f"{name:>{width}}{values}{actual[number]:>12}")
    return "\n".join(lines) + "\n"


def count_confusions(output: Output, targets: Array, predictions: Array) -> Array:
    """Return how often each class (rows) was predicted as each class (columns), of rows, steps or pixels.

    Args:
        output: an output of classes, pixels or steps.
        targets: class numbers (n, …); -1 does not count.
        predictions: probabilities (n, …, classes), (n, …, 1) or (n, …).
    """
    count = len(output.classes)
    counts = np.zeros(count * count, np.int64)
    for known, labels in _label_pairs(output, targets, predictions):
        counted = known != IGNORED
        pairs = known[counted].astype(np.int64) * count + labels[counted]
        counts += np.bincount(pairs, minlength=count * count)
    return counts.reshape(count, count)


def _score(output: Output, targets: Any, predictions: Array, weights: Any) -> Scores:
    if output.kind == "none":
        return {}
    # class numbers may come as a column or as one-hot rows; they count from 0 here
    targets = scoring_targets((dataclasses.replace(output, numbering=_from_zero(output)),), targets)
    predictions = np.asarray(predictions)
    if len(predictions) != len(targets):
        raise BadDataError(
            f"the model answers {len(predictions):,} rows for {len(targets):,} targets",
            "return one answer for each row",
        )
    scorer = {
        "classes": _score_classes,
        "labels": _score_labels,
        "values": _score_values,
        "pixels": _score_pixels,
        "sequence": _score_sequence,
    }[output.kind]
    if output.kind in ("pixels", "sequence") and weights is not None:
        targets = _without_weightless(targets, np.asarray(weights))
    return scorer(output, targets, predictions)


def _from_zero(output: Output) -> Any:
    return "zero" if output.kind in ("classes", "pixels", "sequence") else ""


def _score_classes(output: Output, targets: Array, predictions: Array) -> Scores:

    count = len(output.classes)
    predictions = predictions[:, np.newaxis] if predictions.ndim == 1 else predictions
    if predictions.shape[1:] not in {(count,), (1,) if count <= 2 else (count,)}:
        raise _wrong_shape(output, predictions, f"(n, {count})" + (" or (n, 1)" if count == 2 else ""))
    scores = compute_scores(targets, predictions, count, output.threshold)
    if not targets.size:
        return scores
    if not np.isfinite(predictions).all():  # the training has diverged
        return {**scores, **dict.fromkeys(PROBABILITY_SCORES[: 4 if count == 2 else 2], float("nan"))}
    probabilities = class_probabilities(predictions)
    if count == 2:
        return {**scores, **probability_scores(targets, probabilities)}
    return {**scores, **_mean_losses(targets, probabilities)}  # areas of many classes take long


def _score_labels(output: Output, targets: Array, predictions: Array) -> Scores:
    from sklearn import metrics

    predictions = predictions[:, np.newaxis] if predictions.ndim == 1 else predictions
    if predictions.shape != targets.shape:
        raise _wrong_shape(output, predictions, f"(n, {len(output.classes)})")
    answers = predictions > 0.5
    known = targets == 1
    hits, answered, actual = (answers & known).sum(axis=0), answers.sum(axis=0), known.sum(axis=0)
    occurring = [label for label in range(targets.shape[1]) if actual[label]]
    is_finite = np.isfinite(predictions).all()
    precisions = [
        float(metrics.average_precision_score(known[:, label], predictions[:, label]))
        for label in (occurring if is_finite else ())
    ]
    scores = {
        "accuracy": float((answers == known).all(axis=1).mean()),
        "micro_f1": float(_ratio(2 * hits.sum(), answered.sum() + actual.sum())),
        "macro_f1": float(_ratio(2 * hits, answered + actual).mean()),
    }
    if occurring:
        scores["average_precision"] = float(np.mean(precisions)) if is_finite else float("nan")
    return scores


def _score_values(output: Output, targets: Array, predictions: Array) -> Scores:
    if _without_last_1(predictions.shape) != _without_last_1(targets.shape):
        raise _wrong_shape(output, predictions, str(("n", *targets.shape[1:])).replace("'", ""))
    check_finite(targets)
    predictions = predictions.reshape(targets.shape)
    if targets.ndim > 2:
        return _array_scores(targets, predictions)
    predictions = predictions.astype(np.float64)
    scores = _value_scores(targets, predictions)
    if targets.ndim == 2 and targets.shape[1] <= MAX_SCORED_COLUMNS:
        for column in range(targets.shape[1]):
            own = _value_scores(targets[:, column], predictions[:, column])
            scores.update({f"{name}_{column}": value for name, value in own.items()})
    return scores


def _value_scores(targets: Array, predictions: Array) -> Scores:
    from sklearn import metrics

    if not np.isfinite(predictions).all():  # the training has diverged
        return dict.fromkeys(("mae", "rmse", "r2"), float("nan"))
    return {
        "mae": float(metrics.mean_absolute_error(targets, predictions)),
        "rmse": float(metrics.root_mean_squared_error(targets, predictions)),
        "r2": float(metrics.r2_score(targets, predictions)),
    }


def _array_scores(targets: Array, predictions: Array) -> Scores:
    """Return the scores over all numbers of large targets, such as pictures that a model reconstructs."""
    absolute = squared = 0.0
    for rows in _chunks(targets.shape):
        errors = predictions[rows].astype(np.float64) - targets[rows]
        absolute += float(np.abs(errors).sum())
        squared += float(np.square(errors).sum())
    return {"mae": absolute / targets.size, "rmse": float(np.sqrt(squared / targets.size))}


def _score_pixels(output: Output, targets: Array, predictions: Array) -> Scores:
    counts = count_confusions(output, targets, predictions)
    hits, actual, answered = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    union = actual + answered - hits
    occurring = union > 0
    iou, dice = _ratio(hits, union), _ratio(2 * hits, actual + answered)
    scores = {
        "accuracy": float(_ratio(hits.sum(), counts.sum())),
        "iou": float(iou[occurring].mean()) if occurring.any() else 0.0,
        "dice": float(dice[occurring].mean()) if occurring.any() else 0.0,
    }
    if len(output.classes) <= MAX_SCORED_CLASSES:
        for number in np.flatnonzero(actual):
            scores[f"iou_{recordable_name(output.classes[number])}"] = float(iou[number])
    return scores


def _score_sequence(output: Output, targets: Array, predictions: Array) -> Scores:
    right = counted = exact = 0
    for known, labels in _label_pairs(output, targets, predictions):
        counts = (known != IGNORED).reshape(len(known), -1)
        hits = (known == labels).reshape(len(known), -1) & counts
        right, counted = right + int(hits.sum()), counted + int(counts.sum())
        exact += int((hits == counts).all(axis=1).sum())
    return {"accuracy": right / max(1, counted), "exact_match": exact / max(1, len(targets))}


def _label_pairs(output: Output, targets: Array, predictions: Array) -> Iterator[tuple[Array, Array]]:
    """Yield class numbers of targets and predictions, some rows at a time."""
    count = len(output.classes)
    if predictions.shape == targets.shape and count <= 2:
        predictions = predictions[..., np.newaxis]
    shapes = {(*targets.shape, count), *([(*targets.shape, 1)] if count <= 2 else [])}
    if predictions.shape not in shapes:
        raise _wrong_shape(output, predictions, str(("n", *targets.shape[1:], count)).replace("'", ""))
    for rows in _chunks(predictions.shape):
        yield targets[rows], predicted_labels(predictions[rows], output.threshold)


def _without_weightless(targets: Array, weights: Array) -> Array:
    """Return targets with -1 where the weight of a pixel or step is 0; weights of rows change nothing."""
    if weights.ndim == targets.ndim + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if weights.shape != targets.shape:
        return targets
    return ignore(targets, weights == 0)


def _own_targets(outputs: Outputs, targets: Any, converted: Any, predictions: Any) -> Any:
    """Return the targets for a recipe's own scores; an output of the kind none has its targets as they are."""
    if len(outputs) == 1:
        return _like_predictions(outputs[0], targets if converted is None else converted, only(predictions))
    complete = dict(converted)
    for output in outputs:
        if output.kind == "none" and isinstance(targets, (Mapping, tuple)):
            try:
                complete[output.name] = target_of(output, outputs, targets)
            except BadDataError:
                continue
    return {
        output.name: _like_predictions(output, complete[output.name], predictions[output.name])
        for output in outputs
        if output.name in complete
    }


def _like_predictions(output: Output, targets: Any, predictions: Array) -> Any:
    """Return values in the shape of the predictions: (n,) minus (n, 1) would be (n, n)."""
    if output.kind == "values" and targets.size == np.size(predictions):
        return targets.reshape(np.shape(predictions))
    return targets


def _own_scores(own: Callable[[Any, Any], Mapping[str, float]], targets: Any, predictions: Any) -> Scores:
    found = own(targets, predictions)
    if not isinstance(found, Mapping):
        raise BadDataError(
            f"the recipe's scores() returned {type(found).__name__}", "return a dict of numbers by name"
        )
    scores = {}
    for name, value in found.items():
        if np.size(value) != 1:
            raise BadDataError(
                f"the recipe's scores() returned an array of shape {np.shape(value)} for {name!r}",
                "return one number for each name",
            )
        scores[recordable_name(str(name))] = float(np.asarray(value).reshape(-1)[0])
    return scores


def only(tree: Any) -> Any:
    """Return the array of a model with one output, whose name does not matter."""
    if isinstance(tree, Mapping) and len(tree) == 1:
        return next(iter(tree.values()))
    return tree[0] if isinstance(tree, tuple) and len(tree) == 1 else tree


def _chunks(shape: Sequence[int]) -> Iterator[slice]:
    rows = max(1, CHUNK // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0], rows):
        yield slice(start, start + rows)


def _ratio(part: Any, whole: Any) -> Any:
    """Return part / whole, 0 for 0 / 0."""
    return np.asarray(part, np.float64) / np.maximum(whole, 1)


def _without_last_1(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape


def _wrong_shape(output: Output, predictions: Array, wanted: str) -> BadDataError:
    name = f"output {output.name}" if output.name else "the model"
    return BadDataError(
        f"{name} answers an array of shape {predictions.shape}, and its targets need {wanted}",
        "change the model's last layer or the targets; an output that no target fits is of the kind none, "
        "and scores() of the recipe can score it",
    )
