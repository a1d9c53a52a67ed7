"""How one run is shown whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain.run import Artifact, Run, RunDetail
from mlctl.domain.run_queries import ArtifactList
from mlctl.output.render import Cell, Column, Table
from mlctl.output.views.base import document, tables
from mlctl.output.views.runs import figure, run_document, status
from mlctl.output.words import ago, size, span, sparkline


@document.register
def _(answer: RunDetail) -> dict[str, Any]:
    return {
        **run_document(answer.run),
        "history": {name: list(values) for name, values in answer.histories.items()},
        "artifacts": [asdict(one) for one in answer.artifacts],
        "environment": dict(answer.environment),
    }


@tables.register
def _(answer: Run) -> list[Table]:
    return [
        *([_pairs("Params", answer.params)] if answer.params else []),
        *([_outcome(answer.metrics)] if answer.metrics else []),
        _about(answer),
    ]


def _outcome(metrics: Mapping[str, float]) -> Table:
    """Return each measure once: what the kept model reached, and where the last epoch stood."""
    places = {
        "kept: test": "test_",
        "kept: validation": "best_val_",
        "last: validation": "val_",
        "last: training": "",
    }
    prefixes = ("test_", "best_val_", "val_", "best_")
    measures = sorted({_measure(name, prefixes) for name in metrics} - {"epoch", "learning_rate"})
    used = [title for title, prefix in places.items() if any(prefix + one in metrics for one in measures)]
    rows = [[one, *(figure(metrics.get(places[title] + one)) for title in used)] for one in measures]
    columns = [
        Column("metric", keep=9),
        *(Column(title, right=True, keep=8 - n) for n, title in enumerate(used)),
    ]
    kept = f"kept is epoch {metrics['best_epoch']:.0f}" if "best_epoch" in metrics else ""
    return Table(columns, rows, "Metrics", caption=kept)


def _measure(name: str, prefixes: tuple[str, ...]) -> str:
    prefix = next((one for one in prefixes if name.startswith(one)), "")
    return name[len(prefix) :]


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
        *([("registered", "{} version {}".format(*run.registered.split("/")))] if run.registered else []),
        ("parent", run.parent_run_id or ""),
        ("tracking", run.tracking_uri),
    ]
    return Table((Column("run", keep=9), Column(run.run_name, keep=9)), [row for row in rows if row[1]])


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
        Column("metric", keep=9),
        Column("value", right=True, keep=9),
        Column("lowest", right=True, keep=4),
        Column("highest", right=True, keep=4),
        Column("by epoch", keep=5),
    )
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


def _files(artifacts: tuple[Artifact, ...]) -> Table:
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
