"""Views of registered models and their versions, and of evaluations."""

from __future__ import annotations

from collections.abc import Sequence
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
from mlctl.output.tables import AnswerTable, TableCell, TableColumn, pair_table
from mlctl.output.text import format_age, format_time
from mlctl.output.views.base import document, tables, with_keys
from mlctl.units import format_size

MAX_LIST_METRICS = 2  # in a list; `models show` has all
STAGE_COLORS = {"Production": "green", "Staging": "cyan", "Archived": "dim"}


@tables.register
def _(answer: Registration) -> list[AnswerTable]:
    rows = [
        ("model", Text(answer.name, style="bold")),
        ("version", answer.version if answer.created else f"{answer.version} (registered before)"),
        ("source", answer.source),
        ("run", answer.run_id or ""),
        *((name, value) for name, value in answer.metrics.items() if name != "best_epoch"),
    ]
    return [pair_table([row for row in rows if row[1] not in ("", None)])]


def _version_document(version: RegisteredVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "stage": version.stage,
        "alias": list(version.alias),
        "run_id": version.run_id,
        "metrics": dict(version.metrics),
        "created": version.created.isoformat() if version.created else None,
        "source": version.source,
        "uri": version.uri,
        "description": version.description,
        "tags": dict(version.tags),
    }


def _model_document(model: RegisteredModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": [_version_document(version) for version in model.versions],
        "description": model.description,
        "tags": dict(model.tags),
    }


@document.register
def _(answer: ModelList) -> Any:
    return [_model_document(model) for model in answer.models]


@document.register
def _(answer: ModelDetail) -> Any:
    model = _model_document(answer.model)
    if answer.lineage:
        model["versions"][0]["lineage"] = asdict(answer.lineage)
    return [model]


@tables.register
def _(answer: ModelList) -> list[AnswerTable]:
    versions = [version for model in answer.models for version in model.versions]
    metrics = _metrics_to_show(versions)[:MAX_LIST_METRICS]
    columns = (
        TableColumn("model"),
        TableColumn("version", right=True),
        TableColumn("stage"),
        *_metric_columns(metrics),
        TableColumn("created", keep=6),
        TableColumn("aliases", keep=3),
    )
    rows: list[Sequence[Any]] = []
    for model in answer.models:
        rows += [[model.name, *_version_row(version, metrics)] for version in model.versions]
        if not model.versions:
            rows.append([model.name, "none", *[""] * (len(columns) - 2)])
    return [AnswerTable(columns=columns, rows=rows, empty="no registered models")]


@tables.register
def _(answer: ModelDetail) -> list[AnswerTable]:
    if answer.lineage is None:
        return _all_versions(answer.model)
    version, lineage = answer.model.versions[0], answer.lineage
    data = lineage.data
    rows: list[tuple[str, Any]] = [
        ("model", Text(f"{version.name} version {version.version}", style="bold")),
        ("stage", _stage(version)),
        ("aliases", ", ".join(version.alias)),
        ("description", version.description),
        ("uri", version.uri),
        ("created", format_time(version.created)),
        ("source", version.source),
        ("run", f"{lineage.run_name} ({version.run_id})" if lineage.run_name else version.run_id or ""),
        ("data", f"{data.name}, {data.rows:,} rows, from {data.source}" if data else ""),
        ("data sha256", data.sha256 if data else ""),
        ("inputs", "; ".join(lineage.inputs)),
        ("outputs", "; ".join(lineage.outputs)),
        ("flavors", ", ".join(f"{name} {library}".strip() for name, library in lineage.flavors.items())),
        ("size", format_size(lineage.size_bytes)),
        *[("note", Text(note, style="yellow")) for note in lineage.notes],
    ]
    metrics, params, tags = (
        list(version.metrics.items()),
        sorted(lineage.params.items()),
        sorted(version.tags.items()),
    )
    return [
        pair_table([row for row in rows if row[1]]),
        *([pair_table(metrics, "Metrics of the logged model")] if metrics else []),
        *([pair_table(params, "Parameters")] if params else []),
        *([pair_table(tags, "Tags")] if tags else []),
    ]


def _all_versions(model: RegisteredModel) -> list[AnswerTable]:
    metrics = _metrics_to_show(model.versions)
    columns = (
        TableColumn("version", right=True),
        TableColumn("stage"),
        *_metric_columns(metrics),
        TableColumn("created", keep=6),
        TableColumn("aliases", keep=3),
        TableColumn("run", keep=2),
        TableColumn("description", keep=1),
    )
    rows = [
        [*_version_row(version, metrics), version.run_id or "", version.description]
        for version in model.versions
    ]
    versions = AnswerTable(
        columns=columns, rows=rows, title=model.name, empty=f"{model.name} has no versions"
    )
    details = [row for row in [("description", model.description), *sorted(model.tags.items())] if row[1]]
    return [versions, *([pair_table(details)] if details else [])]


def _metric_columns(names: Sequence[str]) -> list[TableColumn]:
    return [
        TableColumn(name, right=True, keep=8 if rank < MAX_LIST_METRICS else 4)
        for rank, name in enumerate(names)
    ]


def _version_row(version: RegisteredVersion, metrics: Sequence[str]) -> list[Any]:
    created = version.created.isoformat() if version.created else None
    return [
        version.version,
        _stage(version),
        *(version.metrics.get(name) for name in metrics),
        TableCell(created, format_age(version.created)),
        ", ".join(version.alias),
    ]


def _stage(version: RegisteredVersion) -> Text:
    """Return the classic stage, followed by the aliases that custom stages set."""
    custom = [alias for alias in version.alias if alias != version.stage.lower()]
    shown = [*([] if version.stage == "None" else [version.stage]), *(f"@{alias}" for alias in custom)]
    return Text(", ".join(shown), style=STAGE_COLORS.get(version.stage, ""))


def _metrics_to_show(versions: Sequence[RegisteredVersion]) -> list[str]:
    """Return the metrics of these versions: those of the test split first, losses last."""
    names = dict.fromkeys(name for version in versions for name in version.metrics if name != "best_epoch")
    return sorted(names, key=lambda name: (not name.startswith("test_"), lower_is_better(name)))


@document.register
def _(answer: ModelDiff) -> Any:
    kinds = {"params": answer.params, "metrics": answer.metrics, "data": answer.data, "model": answer.model}
    differences = {
        kind: {name: list(pair) for name, pair in values.items()} for kind, values in kinds.items()
    }
    return {"name": answer.name, "versions": [answer.a, answer.b], **differences}


@tables.register
def _(answer: ModelDiff) -> list[AnswerTable]:
    columns = (
        TableColumn("kind", keep=5),
        TableColumn("name"),
        TableColumn(f"version {answer.a}"),
        TableColumn(f"version {answer.b}"),
    )
    kinds = {"metric": answer.metrics, "param": answer.params, "data": answer.data, "model": answer.model}
    rows = [(kind, name, a, b) for kind, values in kinds.items() for name, (a, b) in values.items()]
    return [AnswerTable(columns=columns, rows=rows, empty="no recorded differences")]


@document.register
def _(answer: RemovedModel) -> Any:
    return with_keys(answer, model_deleted="whole")


@tables.register
def _(answer: RemovedModel) -> list[AnswerTable]:
    columns = (TableColumn("deleted"), TableColumn("version"))
    rows = [(answer.name, version) for version in answer.versions] or [(answer.name, "")]
    return [AnswerTable(columns=columns, rows=rows)]


@document.register
def _(answer: DownloadedModel) -> Any:
    return {**asdict(answer.reference), "path": answer.path, "size_bytes": answer.size_bytes}


@tables.register
def _(answer: DownloadedModel) -> list[AnswerTable]:
    rows = [
        ("model", answer.reference.uri),
        ("downloaded to", answer.path),
        ("size", format_size(answer.size_bytes)),
    ]
    return [pair_table(rows)]


@tables.register
def _(answer: Evaluation) -> list[AnswerTable]:
    rows = [
        ("model", answer.model.uri),
        ("recipe", answer.recipe),
        ("split", answer.split),
        ("data", f"{answer.rows:,} rows of {answer.data.source}"),
        *answer.metrics.items(),
    ]
    return [pair_table(rows)]
