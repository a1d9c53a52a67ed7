"""The importance of each column of a table: how much worse the model answers when the column is shuffled."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlctl.adapters.keras import programs
from mlctl.adapters.keras.outputs import predictions_of
from mlctl.adapters.models.feature_shuffling import PerturbedPredictor
from mlctl.adapters.plots import run_plots
from mlctl.adapters.plots.style import plot_files
from mlctl.data.dataset import Split
from mlctl.data.targets import scoring_targets
from mlctl.domain.outputs import Outputs
from mlctl.scores import predicted_labels
from mlctl.services.training import report
from mlctl.serving.scoring import TableEncoder

if TYPE_CHECKING:
    from mlctl.adapters.keras.fit import Model
    from mlctl.adapters.runlog.recorder import Recorder
    from mlctl.domain.progress import ProgressListener
    from mlctl.services.recipes.prepare import PreparedData

ROWS, REPEATS, MAX_COLUMNS = 1000, 3, 100

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ColumnImportance:
    """The mean loss of the metric when a column is shuffled, and its standard deviation over repeats."""

    column: str
    loss: float
    deviation: float


def write(
    recorder: Recorder,
    prepared: PreparedData,
    *,
    model: Model,
    outputs: Outputs,
    split: Split,
    listener: ProgressListener,
) -> None:
    """Record importance.csv and plots/importance.png: accuracy lost, or mean absolute error gained, by column.

    Nothing is recorded unless one array of features gives one class or value per row. The listener gets a message if
    the table has too many columns to measure all of them.
    """
    if not _has_importance(prepared, outputs, split):
        return
    ranking = measure(prepared, model, split, outputs)
    columns = len(split.inputs.columns)
    if columns > len(ranking):
        listener.message(
            f"importance.csv has only the {len(ranking)} of {columns:,} columns that change the answers most"
        )
    is_classification = outputs[0].kind == "classes"
    with recorder.artifact_path("importance.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["column", "accuracy_lost" if is_classification else "mae_gained", "spread"])
        writer.writerows([row.column, f"{row.loss:.6g}", f"{row.deviation:.3g}"] for row in ranking)
    recorder.log_artifact("importance.csv")
    unit = outputs[0].unit
    regression_label = f"mean absolute error gained{f' ({unit})' if unit else ''}"
    run_plots.plot_column_importance(
        recorder.artifact_path("plots/importance.png"),
        [(row.column, row.loss, row.deviation) for row in ranking],
        measure="accuracy lost" if is_classification else regression_label,
        total=columns,
        caption=report.caption_of(recorder, synthetic=prepared.data.synthetic),
    )
    report.log_plots(recorder, plot_files("plots/importance.png"))


def measure(prepared: PreparedData, model: Model, split: Split, outputs: Outputs) -> list[ColumnImportance]:
    """Return the importance of columns on some rows of this split, greatest first.

    Of more than `MAX_COLUMNS`, only those are measured that change the answers most when shuffled once.
    """
    rng = np.random.default_rng(0)
    sample = split.take(rng.permutation(len(split))[:ROWS])
    shuffled = _ShuffledAnswers(prepared, model, sample, outputs)
    targets = scoring_targets(outputs, sample.targets)

    def score(answers: Array) -> float:
        if outputs[0].kind == "classes":
            return float(np.mean(predicted_labels(answers, outputs[0].threshold) == targets))
        return -float(np.abs(targets - answers.reshape(targets.shape).astype(np.float64)).mean())

    unshuffled, ranking = score(shuffled.unshuffled), []
    for name in _columns_to_measure(shuffled, list(sample.inputs)):
        losses = [unshuffled - score(shuffled(name, rng.permutation(len(sample)))) for _ in range(REPEATS)]
        ranking.append(ColumnImportance(str(name), float(np.mean(losses)), float(np.std(losses))))
    return sorted(ranking, key=lambda row: -row.loss)


def _has_importance(prepared: PreparedData, outputs: Outputs, split: Split) -> bool:
    if len(outputs) != 1 or outputs[0].kind not in ("classes", "values") or not hasattr(split.inputs, "iloc"):
        return False
    encoded = prepared.encoded(split.take(np.arange(1)))
    return isinstance(encoded, np.ndarray) and encoded.ndim == 2 and encoded.dtype.kind in "biuf"


def _columns_to_measure(shuffled: _ShuffledAnswers, names: Sequence[str]) -> Sequence[str]:
    """Return the columns that may matter, in the table's order: one that changes no answer has no importance."""
    if len(names) <= MAX_COLUMNS:
        return names
    order = np.random.default_rng(1).permutation(len(shuffled.inputs))
    changes = [float(np.abs(shuffled(name, order) - shuffled.unshuffled).mean()) for name in names]
    return [names[index] for index in sorted(np.argsort(changes)[::-1][:MAX_COLUMNS])]


class _ShuffledAnswers:
    """A model's answers to rows with one column shuffled; a `TableEncoder` encodes only that column's features again."""

    def __init__(self, prepared: PreparedData, model: Model, split: Split, outputs: Outputs) -> None:
        self.inputs, self._prepared, self._split, self._outputs = split.inputs, prepared, split, outputs
        encoded = self._encode(split.inputs)
        self._perturbed = PerturbedPredictor(model, encoded)
        self.unshuffled = self._answers()
        self._all_features = range(encoded.shape[1])
        encoder = prepared.encoder
        self._parts = (
            dict(_encoder_parts(encoder, self.inputs)) if isinstance(encoder, TableEncoder) else None
        )

    def __call__(self, name: str, order: Array) -> Array:
        """Return the answers (n, k) with this column's rows in this order."""
        column = self.inputs[name].iloc[order].reset_index(drop=True)
        if self._parts is None:
            return self._answers(self._all_features, self._encode(self.inputs.assign(**{name: column})))
        if name not in self._parts:
            return self.unshuffled
        part = self._parts[name]
        rows = pd.DataFrame({other: self.inputs[other] for other in part.columns} | {name: column})
        return self._answers(part.features, part.encoder(rows))

    def _answers(self, columns: Sequence[int] = (), features: Array | None = None) -> Array:
        return np.asarray(predictions_of(self._perturbed(columns, features), self._outputs))

    def _encode(self, inputs: Any) -> Array:
        return np.asarray(programs.to_dense(self._prepared.encoded(Split(inputs, self._split.targets))))


@dataclass(frozen=True)
class _EncoderPart:
    """The features that come from a column: their indices, their encoder, and all columns that it reads."""

    features: Sequence[int]
    encoder: TableEncoder
    columns: Sequence[str]


def _encoder_parts(encoder: TableEncoder, rows: pd.DataFrame) -> Iterable[tuple[str, _EncoderPart]]:
    """Yield each column that the encoder reads with its part of the encoder."""
    ends = np.cumsum([0, *encoder.widths()])
    steps_of: dict[str, list[int]] = {}
    for number, step in enumerate(encoder.steps):
        for name in _columns_of(step):
            steps_of.setdefault(name, []).append(number)
    for name, numbers in steps_of.items():
        features = [feature for number in numbers for feature in range(ends[number], ends[number + 1])]
        steps = [encoder.steps[number] for number in numbers]
        part = TableEncoder(
            encoder.columns, steps, encoder.mean[features].tolist(), encoder.scale[features].tolist()
        )
        columns = {column for step in steps for column in _columns_of(step) if column in rows}
        yield name, _EncoderPart(features, part, sorted(columns))


def _columns_of(step: Mapping[str, Any]) -> list[str]:
    """Return the columns that a step of a table's encoder reads."""
    of = step["of"]
    return [*([of] if isinstance(of, str) else of), *([step["by"]] if "by" in step else [])]
