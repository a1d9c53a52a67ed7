"""Views of lists of runs and experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain.run import Experiment, Run
from mlctl.domain.run_queries import DeletedRuns, ExperimentList, RunField, RunList
from mlctl.output.tables import AnswerTable, TableCell, TableColumn, pair_table
from mlctl.output.text import format_age, format_number
from mlctl.output.views.base import document, tables, with_keys
from mlctl.units import format_duration

STATUS_COLORS = {
    "FINISHED": "green",
    "RUNNING": "cyan",
    "SCHEDULED": "cyan",
    "FAILED": "red",
    "KILLED": "yellow",
    "LOST": "red",
}
SHORT_ID_LENGTH = 8


@document.register
def run_document(answer: Run) -> dict[str, Any]:
    """Return the document of a run, including its data reference."""
    return {
        "run_id": answer.run_id,
        "run_name": answer.run_name,
        "experiment": answer.experiment,
        "status": answer.status,
        "recipe": answer.recipe,
        "params": dict(answer.params),
        "metrics": dict(answer.metrics),
        "tags": dict(answer.tags),
        "data": asdict(answer.data) if answer.data else None,
        "model_uri": answer.model_uri,
        "registered": answer.registered or None,
        "tracking_uri": answer.tracking_uri,
        "started_at": answer.started_at.isoformat() if answer.started_at else None,
        "duration_s": answer.duration_s,
    }


def model_table(run: Run, title: str) -> AnswerTable:
    """Return the model of a search or automl run: its URI and its metrics on the test split."""
    rows = [
        ("run", f"{run.run_name} ({run.run_id[:SHORT_ID_LENGTH]}) in {run.experiment}"),
        ("model", run.model_uri or ""),
        *([("registered", run.registered)] if run.registered else []),
        *((name, format_number(value)) for name, value in run.metrics.items() if name.startswith("test_")),
    ]
    return pair_table(rows, title)


@document.register
def _(answer: RunList) -> Any:
    return [{key: value for key, value in run_document(run).items() if key != "data"} for run in answer.runs]


@tables.register
def _(answer: RunList) -> list[AnswerTable]:
    if answer.custom_columns:
        columns = [TableColumn("run"), TableColumn("id", keep=8)]
    else:
        columns = [
            TableColumn("run"),
            TableColumn("id", keep=7),
            TableColumn("experiment", keep=3),
            TableColumn("status", keep=8),
            TableColumn("started", keep=6),
            TableColumn("duration", right=True, keep=1),
            TableColumn("data", keep=_data_priority(answer)),
        ]
    columns += [_field_column(field, rank, answer) for rank, field in enumerate(answer.columns)]
    rows = [
        [
            *([_name(run), _id(run)] if answer.custom_columns else _fixed_cells(run)),
            *(_field_cell(run, field, answer) for field in answer.columns),
        ]
        for run in answer.runs
    ]
    captions = []
    if answer.best:
        captions.append("* best in this list")
    if answer.has_more:
        captions.append(f"the first {len(answer.runs)} runs; use --limit 0 for all")
    return [AnswerTable(columns=columns, rows=rows, caption="; ".join(captions), empty="no runs")]


def status_text(run: Run) -> Text:
    """Return the status of a run in its colour."""
    return Text(run.status, style=STATUS_COLORS.get(run.status, ""))


def metric_cell(value: float | None, *, is_best: bool = False, marked: bool = False) -> TableCell:
    """Return the cell of a metric; `marked` leaves room for the mark of the best value."""
    text = format_number(value)
    if marked:
        text += "*" if is_best else " "
    return TableCell(value, Text(text, style="bold green" if is_best else ""))


def _fixed_cells(run: Run) -> list[Any]:
    return [
        _name(run),
        _id(run),
        run.experiment,
        status_text(run),
        TableCell(run.started_at.isoformat() if run.started_at else None, format_age(run.started_at)),
        TableCell(run.duration_s, format_duration(run.duration_s)),
        _data(run),
    ]


def _name(run: Run) -> Any:
    """Return the name of a run; that of a nested run is indented."""
    return TableCell(run.run_name, f"  {run.run_name}") if run.parent_run_id else run.run_name


def _id(run: Run) -> TableCell:
    return TableCell(run.run_id, run.run_id[:SHORT_ID_LENGTH])


def _data(run: Run) -> Any:
    if run.data is None:
        return ""
    return Text("synthetic", style="yellow") if run.data.synthetic else run.data.name or run.data.source


def _data_priority(answer: RunList) -> int:
    """Return the priority of the data column, which must be visible if some data is synthetic."""
    return 9 if any(run.data and run.data.synthetic for run in answer.runs) else 2


def _field_column(field: RunField, rank: int, answer: RunList) -> TableColumn:
    is_right = field.kind in {"metric", "param"} or field == RunField("attribute", "duration")
    if answer.custom_columns or rank == 0:
        return TableColumn(str(field), right=is_right, keep=8)
    return TableColumn(str(field), right=is_right, keep=5 if field.kind == "metric" else 0)


def _field_cell(run: Run, field: RunField, answer: RunList) -> Any:
    if field.kind == "metric":
        value, best = run.metrics.get(field.name), answer.best.get(field.name)
        return metric_cell(value, is_best=value is not None and value == best, marked=best is not None)
    if field.kind in {"param", "tag"}:
        return (run.params if field.kind == "param" else run.tags).get(field.name)
    return _attributes(run)[field.name]


def _attributes(run: Run) -> Mapping[str, Any]:
    _, _, experiment, status, started, duration, data = _fixed_cells(run)
    return {
        "run_name": run.run_name,
        "run_id": run.run_id,
        "experiment": experiment,
        "recipe": run.recipe,
        "status": status,
        "started": started,
        "duration": duration,
        "data": data,
        "parent": run.parent_run_id,
    }


@document.register
def _(answer: ExperimentList) -> Any:
    return [
        with_keys(experiment, has_more="more") | {"last_run_at": _last_run_at(experiment)}
        for experiment in answer.experiments
    ]


@tables.register
def _(answer: ExperimentList) -> list[AnswerTable]:
    columns = (
        TableColumn("experiment"),
        TableColumn("id", right=True, keep=5),
        TableColumn("runs", right=True),
        TableColumn("last run", keep=8),
        TableColumn("artifacts", keep=1),
    )
    rows = [
        (
            experiment.name,
            experiment.experiment_id,
            TableCell(experiment.runs, f"{experiment.runs:,}{'+' if experiment.has_more else ''}"),
            TableCell(_last_run_at(experiment), format_age(experiment.last_run_at)),
            experiment.artifact_location,
        )
        for experiment in answer.experiments
    ]
    return [AnswerTable(columns=columns, rows=rows, empty="no experiments")]


def _last_run_at(experiment: Experiment) -> str | None:
    return experiment.last_run_at.isoformat() if experiment.last_run_at else None


@document.register
def _(answer: DeletedRuns) -> Any:
    return [
        {"run_id": run.run_id, "run_name": run.run_name, "deleted": not answer.dry_run} for run in answer.runs
    ]


@tables.register
def _(answer: DeletedRuns) -> list[AnswerTable]:
    columns = (
        TableColumn("would be deleted" if answer.dry_run else "deleted"),
        TableColumn("id", keep=5),
        TableColumn("experiment", keep=5),
    )
    rows = [(run.run_name, _id(run), run.experiment) for run in answer.runs]
    return [AnswerTable(columns=columns, rows=rows)]
