"""The files that a run leaves for people to read: history, plots, report, and the model's summary."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.adapters.plots import run_plots
from mlctl.data.dataset import Dataset, Split
from mlctl.domain.run import DataReference
from mlctl.domain.tags import (
    DATA_NAME_TAG,
    DATA_ROWS_TAG,
    DATA_SEED_TAG,
    DATA_SHA256_TAG,
    DATA_SIZE_TAG,
    DATA_SPLITS_TAG,
    DATA_TAG,
)
from mlctl.scores import classification_report, predicted_labels

if TYPE_CHECKING:
    from mlctl.adapters.keras.fit import Model
    from mlctl.adapters.keras.training_loop import TrainingProgress
    from mlctl.adapters.runlog.recorder import Recorder


@dataclass(frozen=True, kw_only=True)
class SplitAnswers:
    """The logged model's answers (n, k) to a split of n rows, and their metrics."""

    name: str
    split: Split
    answers: np.ndarray[Any, Any]
    metrics: Mapping[str, float]


def write(
    recorder: Recorder, tested: SplitAnswers, *, data: Dataset, model: Model, progress: TrainingProgress
) -> None:
    """Write and record the artifacts of a finished training."""
    assert progress.best is not None
    _write_history(recorder, progress)
    histories = {name: [epoch.metrics[name] for epoch in progress.epochs] for name in progress.best.metrics}
    for metric in [name for name in histories if f"val_{name}" in histories]:
        path = f"plots/{metric}.png"
        run_plots.plot_metric(
            recorder.artifact_path(path),
            metric,
            histories,
            best_epoch=progress.best.number,
            synthetic=data.synthetic,
        )
        recorder.log_artifact(path)
    targets, answers = tested.split.targets, tested.answers
    subtitle = f"{tested.name}, synthetic data" if data.synthetic else tested.name
    if data.classes:
        path = "plots/confusion_matrix.png"
        run_plots.plot_confusion_matrix(
            recorder.artifact_path(path),
            targets=targets,
            labels=predicted_labels(answers),
            classes=data.classes,
            split_name=subtitle,
        )
    else:
        path = "plots/predicted_vs_actual.png"
        run_plots.plot_predictions(
            recorder.artifact_path(path),
            targets=targets,
            predictions=answers[:, 0],
            unit=data.unit,
            split_name=subtitle,
        )
    recorder.log_artifact(path)
    log_text(recorder, "report.txt", _report(data, tested))
    lines: list[str] = []
    model.summary(line_length=88, print_fn=lambda text, **_: lines.append(text))
    log_text(recorder, "model_summary.txt", "\n".join(lines) + "\n")


def log_text(recorder: Recorder, path: str, text: str) -> None:
    """Write a text file and log it."""
    recorder.artifact_path(path).write_text(text, encoding="utf-8")
    recorder.log_artifact(path)


def as_json(value: Any) -> str:
    """Return compact JSON, as tags hold it."""
    return json.dumps(value, separators=(",", ":"))


def data_tags(data: DataReference) -> dict[str, Any]:
    """Return the tags that say what data a run is made from."""
    return {
        DATA_TAG: data.source,
        DATA_NAME_TAG: data.name,
        DATA_SHA256_TAG: data.sha256,
        DATA_ROWS_TAG: data.rows,
        DATA_SIZE_TAG: data.size_bytes,
        DATA_SPLITS_TAG: as_json(dict(data.splits)),
        **({} if data.seed is None else {DATA_SEED_TAG: data.seed}),
    }


def _write_history(recorder: Recorder, progress: TrainingProgress) -> None:
    with recorder.artifact_path("history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = list(progress.epochs[0].metrics)
        writer.writerow(["epoch", *names, "seconds"])
        for epoch in progress.epochs:
            writer.writerow([epoch.number, *(epoch.metrics[name] for name in names), round(epoch.seconds, 3)])
    recorder.log_artifact("history.csv")


def _report(data: Dataset, tested: SplitAnswers) -> str:
    synthetic = " of SYNTHETIC data" if data.synthetic else ""
    title = f"{data.name}: the logged model on {len(tested.split):,} {tested.name} rows{synthetic}\n\n"
    text = title + "".join(f"{name:<12}{value:>14.6g}\n" for name, value in tested.metrics.items())
    if not data.classes:
        return text
    return f"{text}\n{classification_report(tested.split.targets, tested.answers, data.classes)}"
