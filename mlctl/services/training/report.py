"""The files that a run leaves for people to read: history, plots, report, and the model's summary."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.adapters.plots import run_plots
from mlctl.adapters.plots.answer_plots import plot_answers
from mlctl.adapters.plots.style import Caption, plot_files
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
    FOLDS_TAG,
    INTERVALS_TAG,
    RECIPE_TAG,
)
from mlctl.scores import report_answers
from mlctl.services.evaluation import summary
from mlctl.services.evaluation.examples import InputsOf

if TYPE_CHECKING:
    from mlctl.adapters.keras.fit import Model
    from mlctl.adapters.keras.training_loop import TrainingProgress
    from mlctl.adapters.runlog.recorder import Recorder
    from mlctl.services.training.folds import FoldScores
    from mlctl.services.training.logged_model import LoggedModel

Array = np.ndarray[Any, Any]

PICTURE_RANKS = (3, 4)  # dimensions of inputs that may be pictures
METRICS_IN_UNIT = ("mae", "rmse")  # of the unit of the predicted values
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
        inputs_of: Returns the inputs of some rows as a client sends them; None: they cannot be read again.
    """

    name: str
    rows: int
    outputs: Outputs
    targets: Any
    answers: Any
    metrics: Mapping[str, float]
    sample: Any = None
    inputs_of: InputsOf | None = None

    def scored(self) -> list[tuple[Output, Array, Array]]:
        """Return each output that has targets, with its targets and its answers."""
        if self.targets is None:
            return []
        return [
            (output, _part(self.targets, output), _part(self.answers, output))
            for output in self.outputs
            if output.kind != "none" and (len(self.outputs) == 1 or output.name in self.targets)
        ]


def answers_to(
    name: str, split: Split, logged: LoggedModel, raw: Callable[[Any], Any] = lambda inputs: inputs
) -> SplitAnswers:
    """Return the logged model's answers to a split, for its report; `raw` returns inputs as a client sends them."""
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
        inputs_of=None if split.is_stream else lambda rows: raw(split.take(rows).inputs),
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
    unit = tested.outputs[0].unit if tested is not None and len(tested.outputs) == 1 else ""
    write_curves(recorder, progress.epochs, best=progress.best.number, unit=unit, synthetic=data.synthetic)
    if tested is not None:
        _plot_answers(recorder, tested, synthetic=data.synthetic)
        write_evaluation(
            recorder,
            tested.scored(),
            split=tested.name,
            rows=tested.rows,
            synthetic=data.synthetic,
            inputs_of=tested.inputs_of,
        )
        log_text(recorder, "report.txt", _report(data, tested))
    lines: list[str] = []
    model.summary(line_length=88, print_fn=lambda text, **_: lines.append(text))
    log_text(recorder, "model_summary.txt", "\n".join(lines) + "\n")


def write_curves(
    recorder: Recorder,
    epochs: Sequence[Epoch],
    *,
    best: int | None = None,
    unit: str = "",
    synthetic: bool = False,
) -> None:
    """Write and record the metrics of all epochs, as a table and as plots; `unit` is that of values."""
    if epochs:
        _write_history(recorder, epochs)
        _plot_metrics(
            recorder,
            epochs,
            best or epochs[-1].number,
            unit=unit,
            caption=caption_of(recorder, "", synthetic),
        )


def record_intervals(recorder: Recorder, intervals: Mapping[str, tuple[float, float]]) -> None:
    """Record the confidence intervals of metrics."""
    if intervals:
        rounded = {name: [float(f"{bound:.5g}") for bound in bounds] for name, bounds in intervals.items()}
        recorder.set_tags({INTERVALS_TAG: as_json(rounded)})


def record_folds(recorder: Recorder, scores: FoldScores) -> None:
    """Record the scores of each fold, as a tag that answers show, and as a file."""
    rounded = {name: [float(f"{value:.5g}") for value in values] for name, values in scores.by_fold.items()}
    recorder.set_tags({FOLDS_TAG: as_json(rounded)})
    with recorder.artifact_path("folds.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["fold", *scores.by_fold, "epoch"])
        for number, epoch in enumerate(scores.best_epochs):
            writer.writerow([number + 1, *(values[number] for values in scores.by_fold.values()), epoch])
    recorder.log_artifact("folds.csv")


def write_evaluation(
    recorder: Recorder,
    scored: summary.Scored,
    *,
    split: str,
    rows: int,
    synthetic: bool,
    inputs_of: InputsOf | None,
) -> None:
    """Write and record evaluation.json: what `mlctl runs report` shows of a model's answers to a split."""
    found = summary.summarize(split, rows, scored, synthetic=synthetic, inputs_of=inputs_of)
    if found["outputs"]:
        log_text(recorder, summary.FILE, as_json(found))


def caption_of(recorder: Recorder, split: str = "", synthetic: bool = False) -> Caption:
    """Return what the run's plots say below themselves."""
    header = recorder.journal.header
    notes = [split and f"{split} split", "synthetic data" if synthetic else ""]
    return Caption(
        run_name=header.get("run_name") or "",
        recipe=header.get("tags", {}).get(RECIPE_TAG, ""),
        note=", ".join(note for note in notes if note),
    )


def log_plots(recorder: Recorder, names: Iterable[str]) -> None:
    """Log plots that were written to their `artifact_path`."""
    for name in names:
        recorder.log_artifact(name)


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


def _plot_metrics(
    recorder: Recorder, epochs: Sequence[Epoch], best: int, *, unit: str, caption: Caption
) -> None:
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
            unit=unit if metric in METRICS_IN_UNIT else "",
            caption=caption,
        )
        log_plots(recorder, plot_files(path))


def _plot_answers(recorder: Recorder, tested: SplitAnswers, *, synthetic: bool) -> None:
    for output, targets, answers in tested.scored():
        names = plot_answers(
            lambda name: recorder.artifact_path(f"plots/{name}"),
            output,
            targets,
            answers,
            caption=caption_of(recorder, tested.name, synthetic),
            pictures=_pictures(tested.sample),
        )
        log_plots(recorder, (f"plots/{name}" for name in names))


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
