"""Views of registered models and their versions, and of evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from rich.text import Text

from mlctl.domain.note import own_text
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
from mlctl.output.views.compare import shorten
from mlctl.output.views.exports import proof_table
from mlctl.output.views.scores import (
    INTERVAL,
    interval_cell,
    interval_row,
    score_cell,
    score_on_test_cell,
    with_interval,
)
from mlctl.units import format_size

SUMMARY_COLUMNS = (  # for a terminal: the score of each version has its name, so that all share a column
    TableColumn("version", right=True),
    TableColumn("stage"),
    TableColumn("score", wrap=False),
    TableColumn("test", keep=6),
    TableColumn(INTERVAL, keep=4),
    TableColumn("registered", keep=5),
)
Part = tuple[TableColumn, Callable[[RegisteredVersion], Any]]  # a column, and its cell for a version
STAGE_COLORS = {"Production": "green", "Staging": "cyan", "Archived": "dim"}


@tables.register
def _(answer: Registration) -> list[AnswerTable]:
    rows = [
        ("model", Text(answer.name, style="bold")),
        ("version", answer.version if answer.created else f"{answer.version} (registered before)"),
        ("source", answer.source),
        ("run", answer.run_id or ""),
        *(
            (name, with_interval(value, answer.intervals.get(name)))
            for name, value in answer.metrics.items()
            if name != "best_epoch"
        ),
    ]
    return [pair_table([row for row in rows if row[1] not in ("", None)])]


def _version_document(version: RegisteredVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "stage": version.stage,
        "alias": list(version.alias),
        "run_id": version.run_id,
        "metrics": dict(version.metrics),
        "intervals": {name: list(bounds) for name, bounds in version.intervals.items()},
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
        "disagreements": list(model.disagreements),
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
    parts = _metric_parts(versions, _score_metrics(versions))
    full = (TableColumn("model"), *_version_columns(parts))
    short = (TableColumn("model", wrap=False), *SUMMARY_COLUMNS)
    return [
        AnswerTable(
            columns=full,
            rows=_model_rows(answer, partial(_version_row, parts=parts), len(full)),
            empty="no registered models",
            terminal=AnswerTable(
                columns=short,
                rows=_model_rows(answer, _summary_row, len(short)),
                empty="no registered models",
            ),
        )
    ]


def _model_rows(
    answer: ModelList, version_row: Callable[[RegisteredVersion], list[Any]], width: int
) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for model in answer.models:
        rows += [[model.name, *version_row(version)] for version in model.versions]
        if not model.versions:
            rows.append([model.name, "none", *[""] * (width - 2)])
    return rows


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
        ("description", own_text(version.description)),
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
        *sorted(lineage.origin.items()),
        *[("note", Text(note, style="yellow")) for note in lineage.notes],
    ]
    names = [*_score_metrics([version]), *version.metrics]
    metrics = [
        (name, with_interval(version.metrics[name], version.intervals.get(name)))
        for name in dict.fromkeys(names)
        if name in version.metrics
    ]
    in_brackets = f" (in brackets: {INTERVAL})" if version.intervals else ""
    params = sorted((name, value) for name, value in lineage.params.items() if value != "")
    tags = sorted((name, value) for name, value in version.tags.items() if not name.startswith("mlctl."))
    return [
        pair_table([row for row in rows if row[1]]),
        *([pair_table(metrics, f"Metrics of the logged model{in_brackets}")] if metrics else []),
        *([replace(proof_table(lineage.proofs), title="Exports")] if lineage.proofs else []),
        *([pair_table(params, "Parameters")] if params else []),
        *([pair_table(tags, "Tags")] if tags else []),
    ]


def _all_versions(model: RegisteredModel) -> list[AnswerTable]:
    parts = _metric_parts(model.versions, _metrics_to_show(model.versions))
    more = (TableColumn("run", keep=2), TableColumn("description", keep=1))

    def table(columns: Sequence[TableColumn], rows: list[list[Any]]) -> AnswerTable:
        rows = [
            [*row, version.run_id or "", own_text(version.description)]
            for row, version in zip(rows, model.versions, strict=True)
        ]
        empty = f"{model.name} has no versions"
        return AnswerTable(columns=[*columns, *more], rows=rows, title=model.name, empty=empty)

    full = table(_version_columns(parts), [_version_row(version, parts) for version in model.versions])
    terminal = table(SUMMARY_COLUMNS, [_summary_row(version) for version in model.versions])
    details = [row for row in [("description", model.description), *sorted(model.tags.items())] if row[1]]
    return [replace(full, terminal=terminal), *([pair_table(details)] if details else [])]


def _metric_parts(versions: Sequence[RegisteredVersion], metrics: Sequence[str]) -> list[Part]:
    """Return a column for each metric, and one for its intervals if a version has one."""
    parts: list[Part] = []
    for rank, name in enumerate(metrics):
        column = TableColumn(name, right=True, keep=8 - min(rank, 4))
        parts.append((column, partial(_metric, name=name)))
        if any(name in version.intervals for version in versions):
            parts.append((TableColumn(f"{name}: {INTERVAL}", keep=1), partial(_interval, name=name)))
    return parts


def _version_columns(parts: Sequence[Part]) -> list[TableColumn]:
    return [
        TableColumn("version", right=True),
        TableColumn("stage"),
        *(column for column, _ in parts),
        TableColumn("created", keep=6),
        TableColumn("aliases", keep=3),
    ]


def _version_row(version: RegisteredVersion, parts: Sequence[Part]) -> list[Any]:
    return [
        version.version,
        _stage(version),
        *(cell(version) for _, cell in parts),
        _created(version),
        ", ".join(version.alias),
    ]


def _metric(version: RegisteredVersion, name: str) -> float | None:
    if version.score and version.score.metric == name:  # of the last epoch if no epoch was kept
        return version.score.value
    return version.metrics.get(name)


def _interval(version: RegisteredVersion, name: str) -> TableCell:
    return interval_cell(version.intervals.get(name))


def _summary_row(version: RegisteredVersion) -> list[Any]:
    score, on_test = score_cell(version.score), score_on_test_cell(version.score)
    interval = interval_cell(version.score.test_interval if version.score else None)
    return [version.version, _stage(version), score, on_test, interval, _created(version)]


def _created(version: RegisteredVersion) -> TableCell:
    return TableCell(version.created.isoformat() if version.created else None, format_age(version.created))


def _stage(version: RegisteredVersion) -> Text:
    """Return the classic stage, followed by the aliases that custom stages set."""
    custom = [alias for alias in version.alias if alias != version.stage.lower()]
    shown = [*([] if version.stage == "None" else [version.stage]), *(f"@{alias}" for alias in custom)]
    return Text(", ".join(shown), style=STAGE_COLORS.get(version.stage, ""))


def _score_metrics(versions: Sequence[RegisteredVersion]) -> list[str]:
    """Return the metrics that are scores of these versions, each followed by its value on the test split."""
    scores = [version.score for version in versions if version.score]
    names = [name for score in scores for name in (score.metric, score.test_metric) if name]
    return list(dict.fromkeys(names))


def _metrics_to_show(versions: Sequence[RegisteredVersion]) -> list[str]:
    """Return the metrics of these versions: scores first, then those of the test split, losses last."""
    names = [name for version in versions for name in version.metrics if name != "best_epoch"]
    names.sort(key=lambda name: (not name.startswith("test_"), lower_is_better(name)))
    return list(dict.fromkeys([*_score_metrics(versions), *names]))


@document.register
def _(answer: ModelDiff) -> Any:
    kinds: dict[str, Mapping[str, tuple[Any, Any]]] = {
        "params": answer.params,
        "metrics": answer.metrics,
        "intervals": answer.intervals,
        "data": answer.data,
        "model": answer.model,
    }
    differences = {
        kind: {name: list(pair) for name, pair in values.items()} for kind, values in kinds.items()
    }
    return {"name": answer.name, "versions": [answer.a, answer.b], **differences}


@tables.register
def _(answer: ModelDiff) -> list[AnswerTable]:
    columns = (
        TableColumn("kind"),
        TableColumn("name"),
        TableColumn(f"version {answer.a}"),
        TableColumn(f"version {answer.b}"),
    )
    kinds = {"param": answer.params, "data": answer.data, "model": answer.model}
    rows: list[tuple[Any, ...]] = []
    for name, values in answer.metrics.items():
        rows.append(("metric", name, *values))
        if name in answer.intervals:
            rows.append(("metric", *interval_row(name, answer.intervals[name])))
    rows += [
        (kind, name, *(_compared(name, value) for value in pair))
        for kind, values in kinds.items()
        for name, pair in values.items()
    ]
    is_same = answer.a == answer.b
    empty = f"both are version {answer.a} of {answer.name}" if is_same else "no recorded differences"
    return [AnswerTable(columns=columns, rows=rows, empty=empty)]


def _compared(name: str, value: Any) -> Any:
    if name == "size":
        return TableCell(value, format_size(value))
    return shorten(value) if value is None or name == "sha256" else value


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
