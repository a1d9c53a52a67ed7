"""Cross-validation: the same training on all rows but one part, for each of several parts.

Each part is answered by a model that has not seen its rows. Their scores, with mean and deviation, say how good the
final model is, which is trained on all rows.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data import splits
from mlctl.data.dataset import HELD_OUT_ANSWERS, Dataset, Split
from mlctl.data.join_splits import can_join, join
from mlctl.data.splits import MIN_ROWS_PER_CLASS, TRAIN
from mlctl.data.targets import scoring_targets
from mlctl.data.trees import leaves
from mlctl.domain.outputs import Output, Outputs
from mlctl.errors import UsageError
from mlctl.files import write_atomically
from mlctl.scores import score_split
from mlctl.services.evaluation.intervals import score_intervals
from mlctl.services.evaluation.threshold import choose_threshold
from mlctl.services.recipes.prepare import PreparedData, with_data

SEED = 11  # of the parts: every training with as many folds has the same ones
TRAIN_SHARE, VALIDATION_SHARE = 0.8, 0.2  # of the rows outside a fold

Array = np.ndarray[Any, Any]
Answer = Callable[
    [PreparedData], tuple[Outputs, Any, int]
]  # outputs, answers to the test split, and the kept epoch


@dataclass(frozen=True, kw_only=True)
class FoldScores:
    """What the models of all folds reach on the rows that they have not seen.

    Attributes:
        by_fold: Each score by name, a value for each fold.
        best_epochs: The kept epoch of each fold.
        outputs: What the answers mean.
        targets: The targets of all rows, as `scoring_targets` returns them.
        answers: The answers to all rows, each by the model that has not seen it.
        intervals: 95 % confidence intervals of the scores of all rows.
        rows: Positions of these rows in those that the final model trains on.
    """

    by_fold: Mapping[str, tuple[float, ...]]
    best_epochs: tuple[int, ...]
    outputs: Outputs
    targets: Array
    answers: Array
    intervals: Mapping[str, tuple[float, float]]
    rows: Array

    @property
    def epochs(self) -> int:
        """The number of epochs that the final model is trained for."""
        return max(1, round(float(np.median(self.best_epochs))))

    @property
    def means(self) -> dict[str, float]:
        """The mean of each score over the folds."""
        return {name: float(np.mean(values)) for name, values in self.by_fold.items()}

    @property
    def metrics(self) -> dict[str, float]:
        """The mean and the deviation of each score over the folds, as the run records them."""
        found = {}
        for name, values in self.by_fold.items():
            found[f"folds_{name}_mean"] = float(np.mean(values))
            found[f"folds_{name}_std"] = float(np.std(values, ddof=1))
        return found


@dataclass(frozen=True, kw_only=True)
class Folds:
    """All rows that take part, and the part of each.

    Attributes:
        rows: The rows.
        parts: Row positions of each part.
        always: Row positions that every model trains on: those of classes that are too rare.
        test: Rows that no model trains on, because their owner has published them as test rows.
        groups: The group of each row, which stays in one part; None without groups.
    """

    rows: Split
    parts: tuple[Array, ...]
    always: Array
    test: Split | None
    groups: Array | None


def split_folds(data: Dataset, count: int) -> Folds:
    """Return the rows of a data set in `count` parts of equal size, within each class or by group.

    Raises UsageError if the rows cannot be joined, are ordered in time, or are too few.
    """
    if any(part is not None and part.is_stream for part in (data.train, data.validation, data.test)) or any(
        hasattr(leaf, "dense") for leaf in leaves(data.train.inputs)
    ):
        raise UsageError("--folds is for tables, arrays and images", "leave --folds out")
    if data.extra.get("is_ordered"):
        raise UsageError(
            "--folds trains on rows that are newer than those it is scored on", "leave time= out"
        )
    is_test_free = bool(data.extra.get("is_test_random"))
    parts = [data.train, data.validation, data.test if is_test_free else None]
    rows, groups = data.train, [np.asarray(part) for part in data.extra.get("groups", ())]
    for part in parts[1:]:
        if part is None:
            continue
        if not can_join(rows, part):
            raise UsageError("--folds needs rows of one shape in memory", "leave --folds out")
        rows = join(rows, part)
    of_rows = np.concatenate(groups[: 3 if is_test_free else 2]) if groups else None
    found, always = _parts(data, rows, of_rows, count)
    if min(map(len, found)) < 2:
        raise UsageError(f"--folds {count} needs more rows than {len(rows):,}", "use fewer folds")
    return Folds(
        rows=rows, parts=found, always=always, test=None if is_test_free else data.test, groups=of_rows
    )


def _parts(data: Dataset, rows: Split, groups: Array | None, count: int) -> tuple[tuple[Array, ...], Array]:
    shares, none = [1 / count] * count, np.zeros(0, np.int64)
    if groups is not None:
        codes = np.unique(groups, return_inverse=True)[1]
        members = splits.split_rows(int(codes.max()) + 1, SEED, shares)
        return tuple(np.flatnonzero(np.isin(codes, part)) for part in members), none
    targets = np.asarray(rows.targets) if data.classes else none
    if targets.ndim != 1 or targets.dtype.kind not in "iu" or len(targets) != len(rows):
        return splits.split_rows(len(rows), SEED, shares), none
    is_rare = np.bincount(targets)[targets] < max(MIN_ROWS_PER_CLASS, count)
    frequent = np.flatnonzero(~is_rare)
    if not len(frequent):
        return (frequent,) * count, np.flatnonzero(is_rare)
    parts = splits.split_rows_by_class(targets[frequent], SEED, shares)
    return tuple(frequent[part] for part in parts), np.flatnonzero(is_rare)


def fold_data(data: Dataset, folds: Folds, number: int) -> Dataset:
    """Return the data of one fold: its part is the test split; of the other rows, a fifth validates."""
    held_out = folds.parts[number]
    rest = np.setdiff1d(np.arange(len(folds.rows)), held_out)
    if folds.groups is not None:
        codes = np.unique(folds.groups[rest], return_inverse=True)[1]
        members = splits.split_rows(int(codes.max()) + 1, SEED, (TRAIN_SHARE, VALIDATION_SHARE))
        train, validation = (np.flatnonzero(np.isin(codes, part)) for part in members)
    else:
        targets = folds.rows.targets
        has_classes = data.classes and isinstance(targets, np.ndarray) and targets.ndim == 1
        train, validation, _ = splits.complete_splits(
            np.full(len(rest), TRAIN),
            SEED,
            targets[rest] if has_classes else None,
            fractions=(TRAIN_SHARE, VALIDATION_SHARE, 0.0),
        )
    return dataclasses.replace(
        data,
        train=folds.rows.take(rest[train]),
        validation=folds.rows.take(rest[validation]),
        test=folds.rows.take(held_out),
    )


def final_data(data: Dataset, folds: Folds, scores: FoldScores) -> Dataset:
    """Return all rows to train on, without validation rows."""
    held_out = (scores.targets, scores.answers)
    return dataclasses.replace(
        data,
        train=folds.rows,
        validation=None,
        test=folds.test,
        extra={**data.extra, HELD_OUT_ANSWERS: held_out},
    )


def cross_validate(
    prepared: PreparedData, folds: Folds, answer: Answer, *, folder: Path, report: Callable[[str], None]
) -> FoldScores:
    """Train the model of each fold; return what they answer to the rows that they have not seen.

    A fold that is complete is kept in `folder`: a resumed run does not train it again.

    Args:
        prepared: The data of the run.
        folds: Its parts.
        answer: Trains on the data of a fold, and answers its test split.
        folder: A folder of the run's record.
        report: Receives a line about each fold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = len(folds.parts)
    found: list[_FoldAnswers] = []
    for number, part in enumerate(folds.parts):
        data = fold_data(prepared.data, folds, number)
        file = folder / f"fold-{number}-of-{count}.npz"
        fold = _read(file, rows=len(part))
        if fold is None:
            fold = _FoldAnswers(*answer(with_data(prepared, data)))
            _write(file, fold)
        found.append(fold)
        scores = _score(prepared, fold.outputs, data, fold.answers)
        wanted = prepared.objective.metric.removeprefix("val_")
        metric = wanted if wanted in scores else next(iter(scores))
        report(f"fold {number + 1} of {count}: {metric} {scores[metric]:.4g}, epoch {fold.epoch}")
    return _collect(prepared, folds, found)


@dataclass(frozen=True)
class _FoldAnswers:
    """A fold's answers to the rows that its model has not seen."""

    outputs: Outputs
    answers: Any
    epoch: int


def _score(prepared: PreparedData, outputs: Outputs, data: Dataset, answers: Array) -> Mapping[str, float]:
    assert data.test is not None
    return score_split(
        outputs, data.test.targets, answers, weights=data.test.weights, own=prepared.recipe.scores
    )


def _collect(prepared: PreparedData, folds: Folds, found: Sequence[_FoldAnswers]) -> FoldScores:
    """Return the scores of all folds; if a threshold is wanted, with the one that suits all of their answers."""
    outputs = found[0].outputs
    answers = np.concatenate([fold.answers for fold in found])
    rows = np.concatenate(folds.parts)
    targets = scoring_targets(outputs, folds.rows.take(rows).targets)
    rule = prepared.threshold_rule
    if rule is not None and len(outputs) == 1 and len(outputs[0].classes) == 2:
        chosen = choose_threshold(rule, targets, answers, outputs[0].classes[1])
        outputs = (dataclasses.replace(outputs[0], threshold=chosen.value),)
    scores = [
        _score(prepared, outputs, fold_data(prepared.data, folds, number), fold.answers)
        for number, fold in enumerate(found)
    ]
    names = [name for name in scores[0] if all(name in metrics for metrics in scores)]
    by_fold = {name: tuple(metrics[name] for metrics in scores) for name in names}
    means = {name: float(np.mean(values)) for name, values in by_fold.items()}
    return FoldScores(
        by_fold=by_fold,
        best_epochs=tuple(fold.epoch for fold in found),
        outputs=outputs,
        targets=targets,
        answers=answers,
        intervals=score_intervals(outputs, targets, answers, means),
        rows=rows,
    )


def _write(file: Path, fold: _FoldAnswers) -> None:
    described = json.dumps({"epoch": fold.epoch, "outputs": [output.to_json() for output in fold.outputs]})
    buffer = io.BytesIO()
    np.savez(buffer, answers=np.asarray(fold.answers), described=np.array(described))
    write_atomically(file, buffer.getvalue())


def _read(file: Path, rows: int) -> _FoldAnswers | None:
    """Return what an earlier process has kept of a fold; None if it has kept nothing that is complete."""
    try:
        with np.load(file) as content:
            answers, described = content["answers"], json.loads(str(content["described"]))
    except (OSError, ValueError, KeyError):
        return None
    if len(answers) != rows:
        return None
    outputs = tuple(map(Output.from_json, described["outputs"]))
    return _FoldAnswers(outputs, answers, int(described["epoch"]))
