"""What each column of a table is worth to a model: how much worse it answers when the column is shuffled."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.adapters import plots, programs
from mlctl.data.dataset import Split
from mlctl.scores import scores

if TYPE_CHECKING:
    import keras

    from mlctl.adapters.recorder import Recorder
    from mlctl.services.training.prepare import Prepared

ROWS, REPEATS, MOST_COLUMNS = 1000, 3, 100

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Importance:
    """A column's worth: the mean loss of the metric over repeats, and their deviation."""

    column: str
    worth: float
    spread: float


def write(recorder: Recorder, prepared: Prepared, model: keras.Model, split: Split) -> None:
    """Record importance.csv and plots/importance.png: accuracy lost, or mean absolute error gained, by column."""
    metric = "accuracy" if prepared.data.classes else "mae"
    found = measured(prepared, model, split, metric)
    with recorder.artifact("importance.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["column", "accuracy_lost" if metric == "accuracy" else "mae_gained", "spread"])
        writer.writerows([one.column, f"{one.worth:.6g}", f"{one.spread:.3g}"] for one in found)
    recorder.keep("importance.csv")
    words = (
        "accuracy lost"
        if metric == "accuracy"
        else f"mean absolute error gained {prepared.data.unit}".strip()
    )
    plots.importance(
        recorder.artifact("plots/importance.png"),
        [(one.column, one.worth, one.spread) for one in found],
        words,
    )
    recorder.keep("plots/importance.png")


def measured(prepared: Prepared, model: keras.Model, split: Split, metric: str) -> list[Importance]:
    """Return every column's worth on some rows of this split, the greatest first."""
    rng = np.random.default_rng(0)
    few = split.take(rng.permutation(len(split))[:ROWS])
    classes = len(prepared.data.classes)
    sign = 1 if metric == "accuracy" else -1
    predictor = programs.predictor_for(model, prepared.encoded(few))
    targets = programs.targets_for(model, few.targets, classes)

    def reached(inputs: Any) -> float:
        answers, _ = programs.predict(predictor, prepared.encoded(Split(inputs, few.targets)), targets)
        return scores(few.targets, answers, classes)[metric]

    whole, found = reached(few.inputs), []
    for name in list(few.inputs)[:MOST_COLUMNS]:
        losses = []
        for _ in range(REPEATS):
            shuffled = few.inputs[name].iloc[rng.permutation(len(few))].reset_index(drop=True)
            losses.append(sign * (whole - reached(few.inputs.assign(**{name: shuffled}))))
        found.append(Importance(str(name), float(np.mean(losses)), float(np.std(losses))))
    return sorted(found, key=lambda one: -one.worth)
