"""Cells and documents of runs, and views of experiments and of deleted runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain.run import Experiment, Run
from mlctl.domain.run_queries import ChangedExperiment, ChangedRuns, DeletedRuns, ExperimentList
from mlctl.output.tables import AnswerTable, TableCell, TableColumn, pair_table
from mlctl.output.text import format_age, format_number
from mlctl.output.views.base import document, tables, with_keys
from mlctl.output.views.scores import with_interval

STATUS_COLORS = {
    "FINISHED": "green",
    "RUNNING": "cyan",
    "SCHEDULED": "cyan",
    "FAILED": "red",
    "KILLED": "yellow",
    "LOST": "red",
    "STOPPED": "yellow",
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
        "intervals": {name: list(bounds) for name, bounds in answer.intervals.items()},
        "system_metrics": dict(answer.system_metrics),
        "folds": {name: list(values) for name, values in answer.folds.items()},
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
        *(
            (name, with_interval(value, run.intervals.get(name)))
            for name, value in run.metrics.items()
            if name.startswith("test_")
        ),
    ]
    return pair_table(rows, title)


def status_text(run: Run) -> Text:
    """Return the status of a run in its colour."""
    return Text(run.status, style=STATUS_COLORS.get(run.status, ""))


def metric_cell(value: float | None, *, is_best: bool = False, marked: bool = False) -> TableCell:
    """Return the cell of a metric; `marked` leaves room for the mark of the best value."""
    text = format_number(value)
    if marked:
        text += "*" if is_best else " "
    return TableCell(value, Text(text, style="bold green" if is_best else ""))


def id_cell(run: Run) -> TableCell:
    """Return the id of a run, of which people see the first characters."""
    return TableCell(run.run_id, run.run_id[:SHORT_ID_LENGTH])


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
def _(answer: ChangedRuns) -> Any:
    return [{**run_document(run), "change": answer.change} for run in answer.runs]


@tables.register
def _(answer: ChangedRuns) -> list[AnswerTable]:
    columns = (
        TableColumn(answer.change),
        TableColumn("id", keep=5),
        TableColumn("status"),
        TableColumn("experiment", keep=5),
    )
    rows = [(run.run_name, id_cell(run), status_text(run), run.experiment) for run in answer.runs]
    return [AnswerTable(columns=columns, rows=rows)]


@tables.register
def _(answer: ChangedExperiment) -> list[AnswerTable]:
    columns = (TableColumn(answer.change), TableColumn("id"))
    return [AnswerTable(columns=columns, rows=[(answer.name, answer.experiment_id)])]


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
    rows = [(run.run_name, id_cell(run), run.experiment) for run in answer.runs]
    return [AnswerTable(columns=columns, rows=rows)]
