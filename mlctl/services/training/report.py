"""What a run leaves to be read: curves, the picture of right and wrong, a report, the model's summary."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.adapters.plots import run_plots
from mlctl.data.dataset import Dataset, Split
from mlctl.domain.run import DataReference
from mlctl.scores import labels_of

if TYPE_CHECKING:
    import keras

    from mlctl.adapters.keras.training_loop import TrainingProgress
    from mlctl.adapters.runlog.recorder import Recorder

Array = np.ndarray[Any, Any]


def write(
    recorder: Recorder, data: Dataset, model: keras.Model, progress: TrainingProgress, answers: Array,
    split_name: str, split: Split, reached: Mapping[str, float],
) -> None:  # fmt: skip
    """Write and record every artifact of a finished training; `answers` are the logged model's on `split`."""
    assert progress.best is not None
    _history(recorder, progress)
    histories = {name: [epoch.metrics[name] for epoch in progress.epochs] for name in progress.best.metrics}
    for metric in [name for name in histories if f"val_{name}" in histories]:
        path = f"plots/{metric}.png"
        run_plots.curves(recorder.artifact(path), metric, histories, progress.best.number, data.synthetic)
        recorder.keep(path)
    on = f"{split_name}, synthetic data" if data.synthetic else split_name
    if data.classes:
        path = "plots/confusion_matrix.png"
        run_plots.confusion(recorder.artifact(path), split.targets, labels_of(answers), data.classes, on)
    else:
        path = "plots/predicted_vs_actual.png"
        run_plots.predicted_against_actual(
            recorder.artifact(path), split.targets, answers[:, 0], data.unit, on
        )
    recorder.keep(path)
    _text(recorder, "report.txt", _report(data, answers, split_name, split, reached))
    lines: list[str] = []
    model.summary(line_length=88, print_fn=lambda text, **_: lines.append(text))
    _text(recorder, "model_summary.txt", "\n".join(lines) + "\n")


def as_json(value: Any) -> str:
    """Return compact JSON, as tags hold it."""
    return json.dumps(value, separators=(",", ":"))


def data_tags(data: DataReference) -> dict[str, Any]:
    """Return the tags that say of a run what data it is made from."""
    return {
        "mlctl.data": data.source,
        "mlctl.data.name": data.name,
        "mlctl.data.sha256": data.sha256,
        "mlctl.data.rows": data.rows,
        "mlctl.data.size_bytes": data.size_bytes,
        "mlctl.data.splits": as_json(dict(data.splits)),
        **({} if data.seed is None else {"mlctl.data.seed": data.seed}),
    }


def _history(recorder: Recorder, progress: TrainingProgress) -> None:
    with recorder.artifact("history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = list(progress.epochs[0].metrics)
        writer.writerow(["epoch", *names, "seconds"])
        for epoch in progress.epochs:
            writer.writerow([epoch.number, *(epoch.metrics[name] for name in names), round(epoch.seconds, 3)])
    recorder.keep("history.csv")


def _report(
    data: Dataset, answers: Array, split_name: str, split: Split, reached: Mapping[str, float]
) -> str:
    head = f"{data.name}: the logged model on {len(split):,} {split_name} rows"
    head += " of SYNTHETIC data\n\n" if data.synthetic else "\n\n"
    figures = "".join(f"{name:<12}{value:>14.6g}\n" for name, value in reached.items())
    if not data.classes:
        return head + figures
    from sklearn.metrics import classification_report

    numbers = list(range(len(data.classes)))
    by_class = classification_report(
        split.targets,
        labels_of(answers),
        labels=numbers,
        target_names=list(data.classes),
        digits=4,
        zero_division=0,
    )
    return f"{head}{figures}\n{by_class}"


def _text(recorder: Recorder, path: str, text: str) -> None:
    recorder.artifact(path).write_text(text, encoding="utf-8")
    recorder.keep(path)
