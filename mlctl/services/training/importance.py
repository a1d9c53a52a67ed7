"""What each column of a table is worth to a model: how much worse it answers when the column is shuffled."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlctl.adapters.keras import programs
from mlctl.adapters.models.feature_shuffling import Changed
from mlctl.adapters.plots import run_plots
from mlctl.data.dataset import Split
from mlctl.scores import labels_of
from mlctl.serving.scoring import Table

if TYPE_CHECKING:
    import keras

    from mlctl.adapters.runlog.recorder import Recorder
    from mlctl.domain.progress import ProgressListener
    from mlctl.services.recipes.prepare import PreparedData

ROWS, REPEATS, MOST_COLUMNS = 1000, 3, 100

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Importance:
    """A column's worth: the mean loss of the metric over repeats, and their deviation."""

    column: str
    worth: float
    spread: float


def write(
    recorder: Recorder, prepared: PreparedData, model: keras.Model, split: Split, listener: ProgressListener
) -> None:
    """Record importance.csv and plots/importance.png: accuracy lost, or mean absolute error gained, by column.

    The watcher is told where a table has too many columns for all to be measured.
    """
    classes = bool(prepared.data.classes)
    found = measured(prepared, model, split)
    columns = len(split.inputs.columns)
    if columns > len(found):
        listener.message(
            f"importance.csv has the {len(found)} of {columns:,} columns whose shuffling moves the answers"
            f" most; the others are left out"
        )
    with recorder.artifact("importance.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["column", "accuracy_lost" if classes else "mae_gained", "spread"])
        writer.writerows([one.column, f"{one.worth:.6g}", f"{one.spread:.3g}"] for one in found)
    recorder.keep("importance.csv")
    words = "accuracy lost" if classes else f"mean absolute error gained {prepared.data.unit}".strip()
    run_plots.importance(
        recorder.artifact("plots/importance.png"),
        [(one.column, one.worth, one.spread) for one in found],
        words,
        columns,
    )
    recorder.keep("plots/importance.png")


def measured(prepared: PreparedData, model: keras.Model, split: Split) -> list[Importance]:
    """Return columns' worths on some rows of this split, the greatest first: accuracy lost, or error gained.

    Of more than `MOST_COLUMNS`, those are measured that move the answers most when they are shuffled once.
    """
    rng = np.random.default_rng(0)
    few = split.take(rng.permutation(len(split))[:ROWS])
    shuffled = _Shuffled(prepared, model, few)

    def reached(answers: Array) -> float:
        if prepared.data.classes:
            return float(np.mean(labels_of(answers) == few.targets))
        return -float(np.abs(few.targets - answers[:, 0].astype(np.float64)).mean())

    whole, found = reached(shuffled.whole), []
    for name in _foremost(shuffled, list(few.inputs)):
        losses = [whole - reached(shuffled(name, rng.permutation(len(few)))) for _ in range(REPEATS)]
        found.append(Importance(str(name), float(np.mean(losses)), float(np.std(losses))))
    return sorted(found, key=lambda one: -one.worth)


def _foremost(shuffled: _Shuffled, names: Sequence[str]) -> Sequence[str]:
    """Return the columns that may matter most, in the table's order: a column that moves no answer is worth nothing."""
    if len(names) <= MOST_COLUMNS:
        return names
    order = np.random.default_rng(1).permutation(len(shuffled.inputs))
    moved = [float(np.abs(shuffled(name, order) - shuffled.whole).mean()) for name in names]
    return [names[place] for place in sorted(np.argsort(moved)[::-1][:MOST_COLUMNS])]


class _Shuffled:
    """A model's answers to rows in which one column is shuffled; of a `Table`, only its features are made again."""

    def __init__(self, prepared: PreparedData, model: keras.Model, split: Split) -> None:
        self.inputs, self._prepared, self._split = split.inputs, prepared, split
        encoded = self._encoded(split.inputs)
        self._answers = Changed(model, encoded)
        self.whole = self._answers()
        self._everywhere = range(encoded.shape[1])
        encoder = prepared.encoder
        self._parts = dict(_parts(encoder, self.inputs)) if isinstance(encoder, Table) else None

    def __call__(self, name: str, order: Array) -> Array:
        """Return the answers (n, k) where this column's rows are in this order."""
        column = self.inputs[name].iloc[order].reset_index(drop=True)
        if self._parts is None:
            return self._answers(self._everywhere, self._encoded(self.inputs.assign(**{name: column})))
        if name not in self._parts:
            return self.whole
        part = self._parts[name]
        rows = pd.DataFrame({one: self.inputs[one] for one in part.reads} | {name: column})
        return self._answers(part.places, part.encoder(rows))

    def _encoded(self, inputs: Any) -> Array:
        return programs.dense(self._prepared.encoded(Split(inputs, self._split.targets)))


@dataclass(frozen=True)
class _Part:
    """The features that are made of a column: their places, what makes them, and all columns that it reads."""

    places: Sequence[int]
    encoder: Table
    reads: Sequence[str]


def _parts(encoder: Table, rows: pd.DataFrame) -> Iterable[tuple[str, _Part]]:
    """Yield each column that the encoder reads with its part of it."""
    ends = np.cumsum([0, *encoder.widths(rows)])
    steps: dict[str, list[int]] = {}
    for number, step in enumerate(encoder.steps):
        for name in _read(step):
            steps.setdefault(name, []).append(number)
    for name, numbers in steps.items():
        places = [place for number in numbers for place in range(ends[number], ends[number + 1])]
        own = [encoder.steps[number] for number in numbers]
        part = Table(encoder.columns, own, encoder.mean[places].tolist(), encoder.scale[places].tolist())
        reads = {one for step in own for one in _read(step) if one in rows}
        yield name, _Part(places, part, sorted(reads))


def _read(step: Mapping[str, Any]) -> list[str]:
    """Return the columns that a step of a table's encoder reads."""
    of = step["of"]
    return [*([of] if isinstance(of, str) else of), *([step["by"]] if "by" in step else [])]
