"""Views of tracking servers and their maintenance."""

from __future__ import annotations

import time
from typing import Any

from mlctl.domain.importing import ImportReport
from mlctl.domain.server import (
    Adoption,
    Backup,
    ExportedFiles,
    GcReport,
    Login,
    MigratedDatabase,
    ServerList,
    StoppedServer,
    TrackingServer,
)
from mlctl.output.tables import AnswerTable, TableColumn, pair_table
from mlctl.output.text import format_number
from mlctl.output.views.base import document, tables
from mlctl.units import format_duration, format_size

MAX_NOTES = 20


@tables.register
def _(answer: TrackingServer) -> list[AnswerTable]:
    rows: list[tuple[str, Any]] = [
        ("name", answer.name),
        ("status", f"{answer.status}: {answer.trouble}" if answer.trouble else answer.status),
        ("url", answer.url),
        ("pid", answer.pid),
        ("log", answer.log),
        ("database", answer.backend),
        ("artifacts", answer.artifacts),
    ]
    if answer.mlflow:
        rows.append(("mlflow", answer.mlflow))
    if answer.started_at:
        rows.append(("uptime", format_duration(time.time() - answer.started_at)))
    if answer.memory_mb:
        rows.append(("memory", format_size(answer.memory_mb * 1e6)))
    rows += [(name, format_number(count)) for name, count in (answer.counts or {}).items()]
    rows += [("error", line) for line in answer.errors]
    if answer.admin_password:
        rows += [("user", "admin"), ("password", f"{answer.admin_password}  (shown only once)")]
    return [pair_table(rows)]


@document.register
def _(answer: TrackingServer) -> Any:
    counts = answer.counts or {}
    server = {
        "name": answer.name,
        "url": answer.url,
        "pid": answer.pid,
        "log": answer.log,
        "status": answer.status,
        "trouble": answer.trouble or None,
        "tracking_uri": answer.url,
        "backend": answer.backend,
        "bucket": answer.bucket,
        "artifacts": answer.artifacts,
        "auth": answer.auth,
        "workers": answer.workers,
        "mlflow": answer.mlflow or None,
        "uptime_s": round(time.time() - answer.started_at, 1) if answer.started_at else None,
        "memory_mb": round(answer.memory_mb, 1) if answer.memory_mb else None,
        "runs": counts.get("runs"),
        "experiments": counts.get("experiments"),
        "models": counts.get("models"),
        "errors": list(answer.errors),
        "already": answer.already_running,
    }
    return {**server, "admin_password": answer.admin_password} if answer.admin_password else server


@tables.register
def _(answer: ServerList) -> list[AnswerTable]:
    columns = (
        TableColumn("server"),
        TableColumn("status"),
        TableColumn("url"),
        TableColumn("pid", right=True, keep=5),
    )
    rows = [(server.name, server.status, server.url, server.pid) for server in answer.servers]
    return [AnswerTable(columns=columns, rows=rows, empty="no servers on this machine")]


@document.register
def _(answer: ServerList) -> Any:
    return [document(server) for server in answer.servers]


@tables.register
def _(answer: StoppedServer) -> list[AnswerTable]:
    columns = (TableColumn("server"), TableColumn("stopped"))
    return [AnswerTable(columns=columns, rows=[(answer.name, answer.how)])]


@tables.register
def _(answer: Login) -> list[AnswerTable]:
    columns = (TableColumn("server"), TableColumn("user"), TableColumn("stored in", keep=5))
    return [AnswerTable(columns=columns, rows=[(answer.url, answer.username, answer.file)])]


@tables.register
def _(answer: Adoption) -> list[AnswerTable]:
    columns = (
        TableColumn("experiment"),
        TableColumn("files", right=True, keep=5),
        TableColumn("bytes", right=True, keep=5),
        TableColumn("from", keep=5),
        TableColumn("moved to" if answer.done else "would move to", keep=8),
    )
    rows: list[tuple[Any, ...]] = [
        (experiment.name, experiment.files, experiment.size_bytes, experiment.location, answer.destination)
        for experiment in answer.movable
    ]
    rows += [
        (
            experiment.name,
            None,
            None,
            experiment.location,
            "not moved: the folder is on another machine or belongs to several experiments",
        )
        for experiment in answer.elsewhere
    ]
    return [AnswerTable(columns=columns, rows=rows, empty="all experiments are behind the server")]


@tables.register
def _(answer: Backup) -> list[AnswerTable]:
    rows = [
        ("file", answer.file),
        ("bytes", f"{answer.size_bytes:,}"),
        ("backup of", answer.backend),
        ("runs", answer.runs),
        ("models", answer.models),
        ("artifacts", f"{answer.artifacts} ({answer.artifact_bytes:,} bytes)"),
        ("saved", "the artifacts" if answer.with_artifacts else "checksums of the artifacts"),
        *([("deleted meanwhile", f"{answer.vanished} files, not needed")] if answer.vanished else []),
        *(("not included", location) for location in answer.elsewhere),
    ]
    return [pair_table(rows)]


@tables.register
def _(answer: GcReport) -> list[AnswerTable]:
    columns = (TableColumn("deleted" if answer.done else "would be deleted"), TableColumn(""))
    rows: list[tuple[str, Any]] = [
        ("database", answer.backend),
        ("runs", len(answer.runs)),
        ("experiments", len(answer.experiments)),
        ("models", len(answer.models)),
        ("files", answer.objects),
        ("bytes", f"{answer.size_bytes:,}"),
        *(
            [("deleted recently", f"{answer.recent}, they stay for {format_duration(answer.older_than_s)}")]
            if answer.recent
            else []
        ),
        *(("still needed", item) for item in answer.held),
        *(("artifacts stay", location) for location in answer.left_alone),
    ]
    return [AnswerTable(columns=columns, rows=rows)]


@tables.register
def _(answer: ImportReport) -> list[AnswerTable]:
    columns = (TableColumn("would be imported" if answer.dry_run else "imported"), TableColumn(""))
    rows: list[tuple[str, Any]] = [
        ("from", answer.source),
        ("to", answer.target),
        ("experiments", answer.experiments),
        ("runs", answer.runs),
        ("runs that were there", answer.present),
        ("logged models", answer.models),
        ("registered models", answer.registered_models),
        ("versions", answer.versions),
    ]
    if not answer.dry_run:
        rows += [
            ("metric values", f"{answer.points:,}"),
            ("artifacts, compared", f"{answer.files:,} ({format_size(answer.size_bytes)})"),
            ("time", format_duration(answer.seconds)),
        ]
    notes = [("note", note) for note in answer.notes[:MAX_NOTES]]
    if len(answer.notes) > MAX_NOTES:
        notes.append(("note", f"{len(answer.notes) - MAX_NOTES} more notes; see them all with -o json"))
    return [AnswerTable(columns=columns, rows=[*rows, *notes])]


@tables.register
def _(answer: ExportedFiles) -> list[AnswerTable]:
    rows = [(f"{answer.folder}/{name}",) for name in answer.files]
    return [AnswerTable(columns=(TableColumn("written"),), rows=rows)]


@document.register
def _(answer: ExportedFiles) -> Any:
    return {"kind": answer.kind, "folder": answer.folder, "files": list(answer.files)}


@tables.register
def _(answer: MigratedDatabase) -> list[AnswerTable]:
    columns = (TableColumn("database"), TableColumn("schema"))
    return [AnswerTable(columns=columns, rows=[(answer.backend, answer.revision)])]
