"""Views of one run with its details, and of its artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean, stdev
from typing import Any

from rich.text import Text

from mlctl.domain.run import Artifact, DataReference, Run, RunDetail, RunScore
from mlctl.domain.run_queries import ArtifactList
from mlctl.domain.stop_request import StopRequest
from mlctl.domain.tags import STOP_TAG
from mlctl.output.tables import AnswerTable, TableCell, TableColumn
from mlctl.output.text import format_time, sparkline
from mlctl.output.views.base import document, tables
from mlctl.output.views.runs import metric_cell, run_document, status_text
from mlctl.output.views.scores import INTERVAL, interval_cell, score_cell, score_on_test_cell
from mlctl.units import format_duration, format_size

Intervals = Mapping[str, tuple[float, float]]

METRIC_PREFIXES = {  # title of a column -> prefix of its metrics
    "best: test": "test_",
    "best: validation": "best_val_",
    "last: validation": "val_",
    "last: training": "",
}


@document.register
def _(answer: RunDetail) -> dict[str, Any]:
    return {
        **run_document(answer.run),
        "history": {name: list(values) for name, values in answer.histories.items()},
        "artifacts": [asdict(artifact) for artifact in answer.artifacts],
        "environment": dict(answer.environment),
    }


@tables.register
def _(answer: Run) -> list[AnswerTable]:
    return [
        *([_values_table("Parameters", _filled(answer.params))] if answer.params else []),
        *([_summary_table(answer.metrics, answer.intervals)] if answer.metrics else []),
        *([_folds_table(answer.folds)] if answer.folds else []),
        _run_table(answer),
    ]


def _summary_table(metrics: Mapping[str, float], intervals: Intervals) -> AnswerTable:
    """Return one row per metric: its values for the logged model (the best epoch) and for the last epoch.

    The interval is that of the first column, which is the test split if there is one.
    """
    metrics = {name: value for name, value in metrics.items() if not name.startswith("folds_")}
    names = sorted({_without_prefix(name) for name in metrics} - {"epoch", "learning_rate", "threshold"})
    prefixes = {
        title: prefix
        for title, prefix in METRIC_PREFIXES.items()
        if any(prefix + name in metrics for name in names)
    }
    columns = [
        TableColumn("metric"),
        *(TableColumn(title, right=True, keep=8 - rank) for rank, title in enumerate(prefixes)),
    ]
    rows: list[list[Any]] = [
        [name, *(metric_cell(metrics.get(prefix + name)) for prefix in prefixes.values())] for name in names
    ]
    scored = next(iter(prefixes.values()), "")
    if any(scored + name in intervals for name in names):
        columns.insert(2, TableColumn(INTERVAL, keep=6))
        for name, row in zip(names, rows, strict=True):
            row.insert(2, interval_cell(intervals.get(scored + name)))
    facts = [f"the best epoch is {metrics['best_epoch']:.0f}"] if "best_epoch" in metrics else []
    facts += [f"the threshold is {metrics['best_threshold']:.3g}"] if "best_threshold" in metrics else []
    caption = ", ".join(facts)
    return AnswerTable(columns=columns, rows=rows, title="Metrics", caption=caption)


def _folds_table(folds: Mapping[str, Sequence[float]]) -> AnswerTable:
    """Return each score of cross-validation: mean, deviation, and the value of each fold."""
    count = max(map(len, folds.values()))
    columns = (
        TableColumn("metric"),
        TableColumn("mean", right=True),
        TableColumn("deviation", right=True),
        *(TableColumn(f"fold {number + 1}", right=True, keep=4) for number in range(count)),
    )
    rows = [
        [name, metric_cell(mean(values)), metric_cell(stdev(values)), *map(metric_cell, values)]
        for name, values in sorted(folds.items())
    ]
    return AnswerTable(columns=columns, rows=rows, title=f"{count} folds: rows that the model has not seen")


def _without_prefix(name: str) -> str:
    for prefix in ("test_", "best_val_", "val_", "best_"):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


@tables.register
def _(answer: RunDetail) -> list[AnswerTable]:
    run = answer.run
    tags = {key: value for key, value in run.tags.items() if not key.startswith(("mlctl.", "mlflow."))}
    return [
        _run_table(run, _score_rows(answer.score)),
        _metrics_table(answer),
        *([_folds_table(run.folds)] if run.folds else []),
        *([_values_table("Parameters", _filled(run.params))] if run.params else []),
        *([_artifacts_table(answer.artifacts)] if answer.artifacts else []),
        *([_values_table("Environment", answer.environment)] if answer.environment else []),
        *([_values_table("Tags", tags)] if tags else []),
    ]


def _score_rows(score: RunScore | None) -> list[tuple[str, Any]]:
    rows = [("score", score_cell(score)), ("score on test", score_on_test_cell(score))]
    return [row for row in rows if row[1]]


def _run_table(run: Run, scores: Sequence[tuple[str, Any]] = ()) -> AnswerTable:
    rows: list[tuple[str, Any]] = [
        ("id", run.run_id),
        ("experiment", run.experiment),
        ("recipe", run.recipe),
        ("status", status_text(run)),
        ("stopped", _stopped(run)),
        *scores,
        ("started", format_time(run.started_at)),
        ("duration", format_duration(run.duration_s)),
        *(_data_rows(run.data) if run.data else []),
        ("model", run.model_uri or ""),
        ("registered", run.registered.replace("/", " version ")),
        ("parent", run.parent_run_id or ""),
        ("tracking", run.tracking_uri),
    ]
    columns = (TableColumn("run"), TableColumn(run.run_name))
    return AnswerTable(columns=columns, rows=[row for row in rows if row[1]])


def _stopped(run: Run) -> str:
    """Return who has stopped a run, when and why."""
    if run.status not in {"KILLED", "STOPPED"} or STOP_TAG not in run.tags:
        return ""
    request = StopRequest.from_text(run.tags[STOP_TAG])
    return f"{str(request).removeprefix('stopped ')} ({request.at[:19]})"


def _data_rows(data: DataReference) -> list[tuple[str, Any]]:
    splits = ", ".join(f"{name} {rows:,}" for name, rows in data.splits.items())
    facts = [
        data.name,
        f"{data.rows:,} rows" if data.rows else "",
        format_size(data.size_bytes or None),
    ]
    summary = ", ".join(fact for fact in facts if fact) + (f" ({splits})" if splits else "")
    rows: list[tuple[str, Any]] = [("data", summary)]
    if data.synthetic:
        rows.append(("data source", Text("synthetic: generated data, not the real data", style="yellow")))
    elif data.source != data.name:
        rows.append(("data source", data.source))
    rows.append(("data sha256", data.sha256))
    return rows


def _metrics_table(answer: RunDetail) -> AnswerTable:
    metrics = {name: value for name, value in answer.run.metrics.items() if not name.startswith("folds_")}
    score = answer.score
    first = ["best_epoch", *([score.metric, score.test_metric, score.name] if score else [])]

    def rank(name: str) -> tuple[int, bool, str]:
        return (first.index(name) if name in first else len(first), not name.startswith("val_"), name)

    single = sorted(set(metrics) - set(answer.histories), key=rank)
    intervals = answer.run.intervals
    rows: list[list[Any]] = [
        [Text(name, style="bold"), metric_cell(metrics[name]), interval_cell(intervals.get(name)), "", "", ""]
        for name in single
    ]
    for name in sorted(answer.histories, key=rank):
        values = answer.histories[name]
        comparable = [value for value in values if value == value]  # without NaN
        low, high = (min(comparable), max(comparable)) if len(comparable) > 1 else (None, None)
        rows.append([name, metric_cell(metrics.get(name)), "", low, high, sparkline(values)])
    columns: tuple[TableColumn, ...] = (
        TableColumn("metric"),
        TableColumn("value", right=True),
        TableColumn(INTERVAL, keep=6),
        TableColumn("lowest", right=True, keep=4),
        TableColumn("highest", right=True, keep=4),
        TableColumn("by epoch", keep=5),
    )
    if not intervals:
        columns, rows = (*columns[:2], *columns[3:]), [[*row[:2], *row[3:]] for row in rows]
    return AnswerTable(
        columns=columns,
        rows=rows,
        title="Metrics (best_ and test_: the logged model; others: the last epoch)",
        empty="no metrics yet",
    )


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values without options that are not set."""
    return {name: value for name, value in values.items() if value != ""}


def _values_table(title: str, values: Mapping[str, Any]) -> AnswerTable:
    columns = (TableColumn("name"), TableColumn("value"))
    return AnswerTable(columns=columns, rows=sorted(values.items()), title=title)


def _artifacts_table(artifacts: Sequence[Artifact]) -> AnswerTable:
    columns = (TableColumn("artifact"), TableColumn("size", right=True))
    rows = []
    for artifact in artifacts:
        depth, name = artifact.path.count("/"), artifact.path.rpartition("/")[2]
        is_folder = artifact.size_bytes is None
        shown = Text("  " * depth + name + ("/" if is_folder else ""), style="bold" if is_folder else "")
        rows.append(
            (
                TableCell(artifact.path, shown),
                TableCell(artifact.size_bytes, format_size(artifact.size_bytes)),
            )
        )
    return AnswerTable(columns=columns, rows=rows, title="Artifacts", empty="no artifacts")


@document.register
def _(answer: ArtifactList) -> Any:
    return [asdict(artifact) for artifact in answer.artifacts]


@tables.register
def _(answer: ArtifactList) -> list[AnswerTable]:
    return [_artifacts_table(answer.artifacts)]
