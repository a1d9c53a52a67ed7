"""How runs are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain.run import Run
from mlctl.domain.run_queries import Deleted, ExperimentList, Field, RunList
from mlctl.output.render import PAIR, Cell, Column, Table, number
from mlctl.output.views.base import document, tables
from mlctl.output.words import ago, span

STATUS = {
    "FINISHED": "green",
    "RUNNING": "cyan",
    "SCHEDULED": "cyan",
    "FAILED": "red",
    "KILLED": "yellow",
    "LOST": "red",
}
SHORT_ID = 8


@document.register
def run_document(answer: Run) -> dict[str, Any]:
    """Return a run's document, its data reference included."""
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


def model_table(run: Run, title: str) -> Table:
    """Return what is to be known of a run that ends with one model: where it is, and what test says of it."""
    rows = [
        ("run", f"{run.run_name} ({run.run_id[:SHORT_ID]}) in {run.experiment}"),
        ("model", run.model_uri or ""),
        *([("registered", run.registered)] if run.registered else []),
        *((name, number(value)) for name, value in run.metrics.items() if name.startswith("test_")),
    ]
    return Table(PAIR, rows, title)


@document.register
def _(answer: RunList) -> Any:
    return [{key: value for key, value in run_document(run).items() if key != "data"} for run in answer.runs]


@tables.register
def _(answer: RunList) -> list[Table]:
    fixed = (
        [Column("run", keep=9), Column("id", keep=8)]
        if answer.chosen
        else [
            Column("run", keep=9),
            Column("id", keep=7),
            Column("experiment", keep=3),
            Column("status", keep=8),
            Column("started", keep=6),
            Column("took", right=True, keep=1),
            Column("data", keep=_data_matters(answer)),
        ]
    )
    columns = [*fixed, *(_column(field, rank, answer) for rank, field in enumerate(answer.columns))]
    rows = [
        [
            *([_name(run), _id(run)] if answer.chosen else _fixed(run)),
            *(_cell(run, field, answer) for field in answer.columns),
        ]
        for run in answer.runs
    ]
    caption = []
    if answer.best:
        caption.append("* best of these")
    if answer.more:
        caption.append(f"the first {len(answer.runs)}; --limit 0 shows all")
    empty = "no runs"
    return [Table(columns, rows, caption="; ".join(caption), empty=empty)]


def status(run: Run) -> Text:
    """Return a run's status in its colour."""
    return Text(run.status, style=STATUS.get(run.status, ""))


def figure(value: float | None, best: bool = False, marked: bool = False) -> Cell:
    """Return a metric's cell; `marked` leaves room for the mark that the best one bears."""
    text = number(value)
    if marked:
        text += "*" if best else " "
    return Cell(value, Text(text, style="bold green" if best else ""))


def _fixed(run: Run) -> list[Any]:
    return [
        _name(run),
        _id(run),
        run.experiment,
        status(run),
        Cell(run.started_at.isoformat() if run.started_at else None, ago(run.started_at)),
        Cell(run.duration_s, span(run.duration_s)),
        _data(run),
    ]


def _name(run: Run) -> Any:
    return Cell(run.run_name, f"  {run.run_name}") if run.parent_run_id else run.run_name


def _id(run: Run) -> Cell:
    return Cell(run.run_id, run.run_id[:SHORT_ID])


def _data(run: Run) -> Any:
    if run.data is None:
        return ""
    return Text("synthetic", style="yellow") if run.data.synthetic else run.data.name or run.data.source


def _data_matters(answer: RunList) -> int:
    """Return how much the data's column matters: a figure reached on a stand-in must say so."""
    return 9 if any(run.data and run.data.synthetic for run in answer.runs) else 2


def _column(field: Field, rank: int, answer: RunList) -> Column:
    right = (
        field.kind == "metric"
        or (field.kind == "attribute" and field.name == "duration")
        or field.kind == "param"
    )
    keep = 8 if answer.chosen else 8 if rank == 0 else 5 if field.kind == "metric" else 0
    return Column(str(field), right, keep)


def _cell(run: Run, field: Field, answer: RunList) -> Any:
    if field.kind == "metric":
        value, best = run.metrics.get(field.name), answer.best.get(field.name)
        return figure(value, value is not None and value == best, marked=best is not None)
    if field.kind in {"param", "tag"}:
        return (run.params if field.kind == "param" else run.tags).get(field.name)
    return _attribute(run)[field.name]


def _attribute(run: Run) -> Mapping[str, Any]:
    _, _, experiment, state, started, took, data = _fixed(run)
    return {
        "run_name": run.run_name,
        "run_id": run.run_id,
        "experiment": experiment,
        "recipe": run.recipe,
        "status": state,
        "started": started,
        "duration": took,
        "data": data,
        "parent": run.parent_run_id,
    }


@document.register
def _(answer: ExperimentList) -> Any:
    return [
        asdict(one) | {"last_run_at": one.last_run_at.isoformat() if one.last_run_at else None}
        for one in answer.experiments
    ]


@tables.register
def _(answer: ExperimentList) -> list[Table]:
    columns = (
        Column("experiment", keep=9),
        Column("id", right=True),
        Column("runs", right=True, keep=9),
        Column("last run", keep=8),
        Column("artifacts", keep=1),
    )
    rows = [
        (
            one.name,
            one.experiment_id,
            Cell(one.runs, f"{one.runs:,}{'+' if one.more else ''}"),
            Cell(one.last_run_at.isoformat() if one.last_run_at else None, ago(one.last_run_at)),
            one.artifact_location,
        )
        for one in answer.experiments
    ]
    return [Table(columns, rows, empty="no experiments yet")]


@document.register
def _(answer: Deleted) -> Any:
    return [
        {"run_id": run.run_id, "run_name": run.run_name, "deleted": not answer.dry_run} for run in answer.runs
    ]


@tables.register
def _(answer: Deleted) -> list[Table]:
    columns = (
        Column("would be deleted" if answer.dry_run else "deleted", keep=9),
        Column("id"),
        Column("experiment"),
    )
    return [Table(columns, [(run.run_name, _id(run), run.experiment) for run in answer.runs])]
