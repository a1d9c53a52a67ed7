"""How registered models and their versions are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain.objective import lower_is_better
from mlctl.domain.registry import (
    DownloadedModel,
    Evaluation,
    ModelDetail,
    ModelDiff,
    ModelList,
    RegisteredModel,
    RegisteredVersion,
    Registration,
    RemovedModel,
)
from mlctl.output.render import PAIR, Cell, Column, Table
from mlctl.output.views.base import document, tables
from mlctl.output.words import ago, size

KEY_METRICS = 2  # in a list; models show has all
COLOURS = {"Production": "green", "Staging": "cyan", "Archived": "dim"}


@document.register
def _(answer: Registration) -> Any:
    return asdict(answer)


@tables.register
def _(answer: Registration) -> list[Table]:
    rows = [
        ("model", Text(answer.name, style="bold")),
        ("version", answer.version if answer.created else f"{answer.version} (was registered already)"),
        ("from", answer.source),
        ("run", answer.run_id or ""),
        *_reached(answer.metrics),
    ]
    return [Table(PAIR, [row for row in rows if row[1] not in ("", None)])]


def _version_document(one: RegisteredVersion) -> dict[str, Any]:
    return {
        "version": one.version,
        "stage": one.stage,
        "alias": list(one.alias),
        "run_id": one.run_id,
        "metrics": dict(one.metrics),
        "created": one.created.isoformat() if one.created else None,
        "source": one.source,
        "uri": one.uri,
        "description": one.description,
        "tags": dict(one.tags),
    }


def _model_document(one: RegisteredModel) -> dict[str, Any]:
    versions = [_version_document(version) for version in one.versions]
    return {"name": one.name, "versions": versions, "description": one.description, "tags": dict(one.tags)}


@document.register
def _(answer: ModelList) -> Any:
    return [_model_document(one) for one in answer.models]


@document.register
def _(answer: ModelDetail) -> Any:
    found = _model_document(answer.model)
    if lineage := answer.lineage:
        said = {**asdict(lineage), "data": asdict(lineage.data) if lineage.data else None}
        found["versions"][0]["lineage"] = said
    return [found]


@tables.register
def _(answer: ModelList) -> list[Table]:
    versions = [one for model in answer.models for one in model.versions]
    names = _key_metrics(versions)
    columns = (
        Column("model", keep=9), Column("version", right=True, keep=9), Column("holds", keep=9), *_metric_columns(names),
        Column("age", keep=6), Column("aliases", keep=3),
    )  # fmt: skip
    rows: list[Sequence[Any]] = []
    for model in answer.models:
        rows += [[model.name, *_version_row(one, names)] for one in model.versions]
        if not model.versions:
            rows.append([model.name, "none", *[""] * (len(columns) - 2)])
    return [Table(columns, rows, empty="no registered models yet")]


@tables.register
def _(answer: ModelDetail) -> list[Table]:
    if answer.lineage is None:
        return _whole(answer.model)
    one, lineage = answer.model.versions[0], answer.lineage
    data = lineage.data
    rows: list[tuple[str, Any]] = [
        ("model", Text(f"{one.name} version {one.version}", style="bold")),
        ("holds", _stage(one)),
        ("aliases", ", ".join(one.alias)),
        ("about", one.description),
        ("to serve", one.uri),
        (
            "registered",
            f"{one.created.astimezone():%Y-%m-%d %H:%M:%S} ({ago(one.created)})" if one.created else "",
        ),
        ("from", one.source),
        ("run", f"{lineage.run_name} ({one.run_id})" if lineage.run_name else one.run_id or ""),
        ("data", f"{data.name}, {data.rows:,} rows, from {data.source}" if data else ""),
        ("data sha256", data.sha256 if data else ""),
        ("takes", "; ".join(lineage.inputs)),
        ("answers", "; ".join(lineage.outputs)),
        ("flavors", ", ".join(f"{name} {release}".strip() for name, release in lineage.flavors.items())),
        ("size", size(lineage.size_bytes)),
        *[("note", Text(note, style="yellow")) for note in lineage.notes],
    ]
    return [
        Table(PAIR, [row for row in rows if row[1]]),
        *([Table(PAIR, list(one.metrics.items()), "Metrics of the kept model")] if one.metrics else []),
        *([Table(PAIR, sorted(lineage.params.items()), "Params")] if lineage.params else []),
        *([Table(PAIR, sorted(one.tags.items()), "Tags")] if one.tags else []),
    ]


def _whole(model: RegisteredModel) -> list[Table]:
    names = _key_metrics(model.versions, all_of_them=True)
    columns = (
        Column("version", right=True, keep=9), Column("holds", keep=9), *_metric_columns(names),
        Column("age", keep=6), Column("aliases", keep=3), Column("run", keep=2), Column("about", keep=1),
    )  # fmt: skip
    rows = [[*_version_row(one, names), one.run_id or "", one.description] for one in model.versions]
    about = [("about", model.description), *sorted(model.tags.items())]
    own = [Table(PAIR, [row for row in about if row[1]])] if any(row[1] for row in about) else []
    return [Table(columns, rows, model.name, empty=f"{model.name} has no versions"), *own]


def _metric_columns(names: Sequence[str]) -> list[Column]:
    return [
        Column(name, right=True, keep=8 if place < KEY_METRICS else 4) for place, name in enumerate(names)
    ]


def _version_row(one: RegisteredVersion, metrics: Sequence[str]) -> list[Any]:
    created = one.created.isoformat() if one.created else None
    figures = [one.metrics.get(name) for name in metrics]
    return [one.version, _stage(one), *figures, Cell(created, ago(one.created)), ", ".join(one.alias)]


def _stage(one: RegisteredVersion) -> Text:
    """Return the stage and, beside it, what an operator's own stages have it hold."""
    own = [alias for alias in one.alias if alias != one.stage.lower()]
    shown = [*([] if one.stage == "None" else [one.stage]), *(f"@{alias}" for alias in own)]
    return Text(", ".join(shown), style=COLOURS.get(one.stage, ""))


def _key_metrics(versions: Sequence[RegisteredVersion], all_of_them: bool = False) -> list[str]:
    """Return the metrics worth a column: what was measured on the test split first, losses last."""
    names = dict.fromkeys(name for one in versions for name in one.metrics if name != "best_epoch")
    ordered = sorted(names, key=lambda name: (not name.startswith("test_"), lower_is_better(name)))
    return ordered if all_of_them else ordered[:KEY_METRICS]


def _reached(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in metrics.items() if name != "best_epoch"]


@document.register
def _(answer: ModelDiff) -> Any:
    kinds = {"params": answer.params, "metrics": answer.metrics, "data": answer.data, "model": answer.model}
    found = {kind: {name: list(pair) for name, pair in values.items()} for kind, values in kinds.items()}
    return {"name": answer.name, "versions": [answer.a, answer.b], **found}


@tables.register
def _(answer: ModelDiff) -> list[Table]:
    columns = (
        Column("", keep=5), Column("name", keep=9),
        Column(f"version {answer.a}", keep=9), Column(f"version {answer.b}", keep=9),
    )  # fmt: skip
    rows = [
        (kind, name, a, b)
        for kind, values in (
            ("metric", answer.metrics), ("param", answer.params), ("data", answer.data), ("model", answer.model),
        )
        for name, (a, b) in values.items()
    ]  # fmt: skip
    return [Table(columns, rows, empty="the two are the same in all that is recorded")]


@document.register
def _(answer: RemovedModel) -> Any:
    return asdict(answer)


@tables.register
def _(answer: RemovedModel) -> list[Table]:
    return [
        Table(
            (Column("deleted", keep=9), Column("version", keep=9)),
            [(answer.name, one) for one in answer.versions] or [(answer.name, "")],
        )
    ]


@document.register
def _(answer: DownloadedModel) -> Any:
    reference = asdict(answer.reference)
    return {**reference, "path": answer.path, "size_bytes": answer.size_bytes}


@tables.register
def _(answer: DownloadedModel) -> list[Table]:
    rows = [("model", answer.reference.uri), ("copied to", answer.path), ("size", size(answer.size_bytes))]
    return [Table(PAIR, rows)]


@document.register
def _(answer: Evaluation) -> Any:
    return {**asdict(answer), "data": asdict(answer.data)}


@tables.register
def _(answer: Evaluation) -> list[Table]:
    rows = [
        ("model", answer.model.uri),
        ("recipe", answer.recipe),
        (answer.split, f"{answer.rows:,} rows of {answer.data.source}"),
        *answer.metrics.items(),
    ]
    return [Table(PAIR, rows)]
