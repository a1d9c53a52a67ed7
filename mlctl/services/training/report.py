"""The files that a run leaves for people to read: history, plots, report, and the model's summary."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.adapters.plots import run_plots
from mlctl.adapters.plots.answer_plots import plot_answers
from mlctl.data.dataset import Dataset, Split
from mlctl.data.targets import scoring_targets
from mlctl.data.trees import leaves
from mlctl.domain.outputs import Output, Outputs
from mlctl.domain.progress import Epoch
from mlctl.domain.run import DataReference
from mlctl.domain.tags import (
    DATA_FILES_TAG,
    DATA_NAME_TAG,
    DATA_ROWS_TAG,
    DATA_SEED_TAG,
    DATA_SHA256_TAG,
    DATA_SIZE_TAG,
    DATA_SPLITS_TAG,
    DATA_TAG,
)
from mlctl.scores import report_answers

if TYPE_CHECKING:
    from mlctl.adapters.keras.fit import Model
    from mlctl.adapters.keras.training_loop import TrainingProgress
    from mlctl.adapters.runlog.recorder import Recorder
    from mlctl.services.training.logged_model import LoggedModel

Array = np.ndarray[Any, Any]

PICTURE_RANKS = (3, 4)  # dimensions of inputs that may be pictures
SAMPLE_ROWS = 4  # inputs that are shown with answers that are masks


@dataclass(frozen=True, kw_only=True)
class SplitAnswers:
    """The logged model's answers to a split, and their metrics.

    Attributes:
        name: Name of the split: test or validation.
        rows: Number of rows.
        outputs: What the answers mean.
        targets: The targets as `scoring_targets` returns them; None if no output has a target.
        answers: The answers, (n, …), or a dict of them by output name.
        metrics: Scores by name.
        sample: Inputs of the first rows, to show them with answers that are masks; None: they are not shown.
    """

    name: str
    rows: int
    outputs: Outputs
    targets: Any
    answers: Any
    metrics: Mapping[str, float]
    sample: Any = None

    def scored(self) -> list[tuple[Output, Array, Array]]:
        """Return each output that has targets, with its targets and its answers."""
        if self.targets is None:
            return []
        return [
            (output, _part(self.targets, output), _part(self.answers, output))
            for output in self.outputs
            if output.kind != "none" and (len(self.outputs) == 1 or output.name in self.targets)
        ]


def answers_to(name: str, split: Split, logged: LoggedModel) -> SplitAnswers:
    """Return the logged model's answers to a split, for its report."""
    targets = scoring_targets(logged.outputs, logged.targets) if logged.scores else None
    # a pipeline may shuffle: its first rows are others when it is read again
    sample = None if split.is_stream else split.take(np.arange(min(SAMPLE_ROWS, len(split)))).inputs
    return SplitAnswers(
        name=name,
        rows=len(split),
        outputs=logged.outputs,
        targets=targets,
        answers=logged.answers,
        metrics=logged.scores,
        sample=sample,
    )


def write(
    recorder: Recorder,
    tested: SplitAnswers | None,
    *,
    data: Dataset,
    model: Model,
    progress: TrainingProgress,
) -> None:
    """Write and record the artifacts of a finished training; `tested` is None if all rows were trained on."""
    assert progress.best is not None
    write_curves(recorder, progress.epochs, best=progress.best.number, synthetic=data.synthetic)
    if tested is not None:
        _plot_answers(recorder, tested, synthetic=data.synthetic)
        log_text(recorder, "report.txt", _report(data, tested))
    lines: list[str] = []
    model.summary(line_length=88, print_fn=lambda text, **_: lines.append(text))
    log_text(recorder, "model_summary.txt", "\n".join(lines) + "\n")


def write_curves(
    recorder: Recorder, epochs: Sequence[Epoch], *, best: int | None = None, synthetic: bool = False
) -> None:
    """Write and record the metrics of all epochs, as a table and as plots."""
    if epochs:
        _write_history(recorder, epochs)
        _plot_metrics(recorder, epochs, best or epochs[-1].number, synthetic=synthetic)


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
        **({DATA_FILES_TAG: as_json(dict(data.files))} if data.files else {}),
    }


def _plot_metrics(recorder: Recorder, epochs: Sequence[Epoch], best: int, *, synthetic: bool) -> None:
    """Plot each metric that was measured on the training rows and on the validation rows, if there are any."""
    names = _metric_names(epochs)
    histories = {name: [epoch.metrics.get(name, float("nan")) for epoch in epochs] for name in names}
    is_validated = any(name.startswith("val_") for name in names)
    for metric in [name for name in names if f"val_{name}" in histories or not is_validated]:
        path = f"plots/{metric.replace('/', '_')}.png"
        run_plots.plot_metric(
            recorder.artifact_path(path),
            metric,
            histories,
            best_epoch=best,
            synthetic=synthetic,
        )
        recorder.log_artifact(path)


def _plot_answers(recorder: Recorder, tested: SplitAnswers, *, synthetic: bool) -> None:
    for output, targets, answers in tested.scored():
        for name in plot_answers(
            lambda name: recorder.artifact_path(f"plots/{name}"),
            output,
            targets,
            answers,
            split_name=f"{tested.name}, synthetic data" if synthetic else tested.name,
            pictures=_pictures(tested.sample),
        ):
            recorder.log_artifact(f"plots/{name}")


def _metric_names(epochs: Sequence[Epoch]) -> list[str]:
    """Return the names of all epochs' metrics: a phase of the training can have metrics of its own."""
    return list(dict.fromkeys(name for epoch in epochs for name in epoch.metrics))


def _write_history(recorder: Recorder, epochs: Sequence[Epoch]) -> None:
    with recorder.artifact_path("history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = _metric_names(epochs)
        writer.writerow(["epoch", *names, "seconds"])
        for epoch in epochs:
            values = (epoch.metrics.get(name, "") for name in names)
            writer.writerow([epoch.number, *values, round(epoch.seconds, 3)])
    recorder.log_artifact("history.csv")


def _report(data: Dataset, tested: SplitAnswers) -> str:
    synthetic = " of SYNTHETIC data" if data.synthetic else ""
    width = max([12, *(len(name) + 1 for name in tested.metrics)])
    text = f"{data.name}: the logged model on {tested.rows:,} {tested.name} rows{synthetic}\n\n"
    text += "".join(f"{name:<{width}}{value:>14.6g}\n" for name, value in tested.metrics.items())
    for output, targets, answers in tested.scored():
        if table := report_answers(output, targets, answers):
            text += f"\n{f'{output.name}:{chr(10)}' if len(tested.outputs) > 1 else ''}{table}"
    return text


def _part(tree: Any, output: Output) -> Array:
    """Return the array of an output: of a dict by output name, or the only array."""
    if isinstance(tree, Mapping):
        return np.asarray(tree[output.name] if output.name in tree else next(iter(tree.values())))
    return np.asarray(tree)


def _pictures(sample: Any) -> Array | None:
    """Return the first inputs that may be pictures: (rows, height, width), or with one channel or more."""
    for leaf in leaves(sample) if sample is not None else ():
        array = leaf.pixels() if hasattr(leaf, "pixels") else leaf
        if isinstance(array, np.ndarray) and array.ndim in PICTURE_RANKS and array.dtype.kind in "biuf":
            return array
    return None
