"""How runs are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain import Run, RunDetail
from mlctl.domain_runs import ArtifactList, Deleted, ExperimentList, Field, RunList
from mlctl.output.render import Cell, Column, Table, number
from mlctl.output.views.base import document, tables
from mlctl.output.words import ago, size, span, sparkline

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
        "tracking_uri": answer.tracking_uri,
        "started_at": answer.started_at.isoformat() if answer.started_at else None,
        "duration_s": answer.duration_s,
    }


@document.register
def _(answer: RunList) -> Any:
    return [{key: value for key, value in run_document(run).items() if key != "data"} for run in answer.runs]


@tables.register
def _(answer: RunList) -> list[Table]:
    fixed = (
        [Column("run", keep=9), Column("id", keep=8)]
        if answer.chosen
        else [
            Column("run", keep=9), Column("id", keep=7), Column("experiment", keep=3), Column("status", keep=8),
            Column("started", keep=6), Column("took", right=True, keep=1), Column("data", keep=_data_matters(answer)),
        ]
    )  # fmt: skip
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
    return [Table(columns, rows, caption=" · ".join(caption), empty=empty)]


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
        _name(run), _id(run), run.experiment, status(run),
        Cell(run.started_at.isoformat() if run.started_at else None, ago(run.started_at)),
        Cell(run.duration_s, span(run.duration_s)), _data(run),
    ]  # fmt: skip


def _name(run: Run) -> Any:
    return f"  {run.run_name}" if run.parent_run_id else run.run_name


def _id(run: Run) -> Cell:
    return Cell(run.run_id, run.run_id[:SHORT_ID])


def _data(run: Run) -> Any:
    if run.data is None:
        return ""
    return Text("synthetic", style="yellow") if run.data.synthetic else run.data.name or run.data.source


def _data_matters(answer: RunList) -> int:
    """Return how much the data's column matters: a figure reached on a stand-in must never pass for another."""
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
        "run_name": run.run_name, "run_id": run.run_id, "experiment": experiment, "recipe": run.recipe, "status": state,
        "started": started, "duration": took, "data": data, "parent": run.parent_run_id,
    }  # fmt: skip


@document.register
def _(answer: RunDetail) -> dict[str, Any]:
    return {
        **run_document(answer.run),
        "history": {name: list(values) for name, values in answer.histories.items()},
        "artifacts": [asdict(one) for one in answer.artifacts],
        "environment": dict(answer.environment),
    }


@tables.register
def _(answer: RunDetail) -> list[Table]:
    run = answer.run
    return [
        _about(run),
        _metrics(answer),
        *([_pairs("Params", run.params)] if run.params else []),
        *([_files(answer.artifacts)] if answer.artifacts else []),
        *([_pairs("Environment", answer.environment)] if answer.environment else []),
        *([_pairs("Tags", own)] if (own := _own_tags(run)) else []),
    ]


def _about(run: Run) -> Table:
    data: list[tuple[str, Any]] = []
    if run.data:
        splits = ", ".join(f"{key} {value:,}" for key, value in run.data.splits.items())
        facts = [
            run.data.name,
            f"{run.data.rows:,} rows" if run.data.rows else "",
            size(run.data.size_bytes or None),
        ]
        data.append(("data", ", ".join(one for one in facts if one) + (f" ({splits})" if splits else "")))
        if run.data.synthetic:
            data.append(("", Text("synthetic: a stand-in, not the real data", style="yellow")))
        elif run.data.source != run.data.name:
            data.append(("data from", run.data.source))
        if run.data.sha256:
            data.append(("data sha256", run.data.sha256))
    rows: list[tuple[str, Any]] = [
        ("run", Text(run.run_name, style="bold")),
        ("id", run.run_id),
        ("experiment", run.experiment),
        ("recipe", run.recipe),
        ("status", status(run)),
        (
            "started",
            f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S} ({ago(run.started_at)})"
            if run.started_at
            else "",
        ),
        ("took", span(run.duration_s)),
        *data,
        ("model", run.model_uri or ""),
        ("parent", run.parent_run_id or ""),
        ("tracking", run.tracking_uri),
    ]
    return Table((Column("", keep=9), Column("", keep=9)), [row for row in rows if row[1]])


def _metrics(answer: RunDetail) -> Table:
    metrics = answer.run.metrics
    first = sorted(
        (name for name in metrics if name not in answer.histories),
        key=lambda name: (name != "best_epoch", name),
    )
    rest = sorted(answer.histories, key=lambda name: (not name.startswith("val_"), name))
    rows: list[tuple[Any, ...]] = [
        (Text(name, style="bold"), figure(metrics[name]), "", "", "") for name in first
    ]
    for name in rest:
        values = answer.histories[name]
        finite = [value for value in values if value == value]
        low, high = (min(finite), max(finite)) if len(finite) > 1 else (None, None)
        rows.append((name, figure(metrics.get(name)), low, high, sparkline(values)))
    columns = (
        Column("metric", keep=9), Column("value", right=True, keep=9),
        Column("lowest", right=True, keep=4), Column("highest", right=True, keep=4), Column("by epoch", keep=5),
    )  # fmt: skip
    return Table(
        columns,
        rows,
        "Metrics (best_ and test_: the kept model; others: the last epoch)",
        empty="no metrics yet",
    )


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    return Table((Column("name", keep=9), Column("value", keep=9)), sorted(values.items()), title)


def _own_tags(run: Run) -> dict[str, str]:
    return {key: value for key, value in run.tags.items() if not key.startswith(("mlctl.", "mlflow."))}


def _files(artifacts: tuple[Any, ...]) -> Table:
    rows = []
    for one in artifacts:
        depth, name = one.path.count("/"), one.path.rpartition("/")[2]
        folder = one.size_bytes is None
        shown = Text("  " * depth + name + ("/" if folder else ""), style="bold" if folder else "")
        rows.append((Cell(one.path, shown), Cell(one.size_bytes, size(one.size_bytes))))
    return Table(
        (Column("artifact", keep=9), Column("size", right=True, keep=9)),
        rows,
        "Artifacts",
        empty="no artifacts",
    )


@document.register
def _(answer: ArtifactList) -> Any:
    return [asdict(one) for one in answer.artifacts]


@tables.register
def _(answer: ArtifactList) -> list[Table]:
    return [_files(answer.artifacts)]


@document.register
def _(answer: ExperimentList) -> Any:
    return [
        asdict(one) | {"last_run_at": one.last_run_at.isoformat() if one.last_run_at else None}
        for one in answer.experiments
    ]


@tables.register
def _(answer: ExperimentList) -> list[Table]:
    columns = (
        Column("experiment", keep=9), Column("id", right=True), Column("runs", right=True, keep=9),
        Column("last run", keep=8), Column("artifacts", keep=1),
    )  # fmt: skip
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


@tables.register
def _(answer: Run) -> list[Table]:
    """What a training ends in: the run, what the kept model reached beside the last epoch, its params."""
    return [_about(answer), _reached(answer), _pairs("Params", answer.params)]


def _reached(run: Run) -> Table:
    metrics, epoch = run.metrics, run.metrics.get("best_epoch")
    sources = {
        f"kept (epoch {epoch:.0f}), validation" if epoch else "kept, validation": "best_val_",
        "kept, test": "test_",
        "last epoch, training": "",
        "last epoch, validation": "val_",
    }
    names = [name for name in metrics if f"val_{name}" in metrics]
    names += [name.removeprefix("val_") for name in metrics if name.startswith("val_")]
    names = list(dict.fromkeys(names))
    used = {title: prefix for title, prefix in sources.items() if any(prefix + name in metrics for name in names)}
    rows = [
        (name, *(figure(metrics.get(prefix + name), prefix in {"best_val_", "test_"}) for prefix in used.values()))
        for name in names
    ]
    columns = (Column("metric", keep=9), *(Column(title, right=True, keep=8 - n) for n, title in enumerate(used)))
    return Table(columns, rows, "Metrics", empty="no metrics")
