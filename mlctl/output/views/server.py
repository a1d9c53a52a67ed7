"""How tracking servers are shown."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from mlctl.domain.server import (
    Adoption,
    Backup,
    Exported,
    GcReport,
    Login,
    Migrated,
    ServerList,
    StoppedServer,
    TrackingServer,
)
from mlctl.output.render import PAIR, Column, Table, number
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: TrackingServer) -> list[Table]:
    rows: list[tuple[str, Any]] = [
        ("name", answer.name),
        ("status", answer.status),
        ("url", answer.url),
        ("pid", answer.pid),
        ("log", answer.log),
        ("database", answer.backend),
        ("artifacts", answer.artifacts),
    ]
    if answer.mlflow:
        rows.append(("mlflow", answer.mlflow))
    if answer.began_at:
        rows.append(("up for", _duration(time.time() - answer.began_at)))
    if answer.memory_mb:
        rows.append(("memory", f"{answer.memory_mb:.0f} MB"))
    rows += [(name, number(count)) for name, count in (answer.counts or {}).items()]
    rows += [("error", line) for line in answer.errors]
    if answer.admin_password:
        rows += [("user", "admin"), ("password", f"{answer.admin_password}  (shown this once)")]
    return [Table(PAIR, rows)]


@document.register
def _(answer: TrackingServer) -> Any:
    shown = {
        "name": answer.name,
        "url": answer.url,
        "pid": answer.pid,
        "log": answer.log,
        "status": answer.status,
        "tracking_uri": answer.url,
        "backend": answer.backend,
        "bucket": answer.bucket,
        "artifacts": answer.artifacts,
        "auth": answer.auth,
        "workers": answer.workers,
        "mlflow": answer.mlflow or None,
        "uptime_s": round(time.time() - answer.began_at, 1) if answer.began_at else None,
        "memory_mb": round(answer.memory_mb, 1) if answer.memory_mb else None,
        "runs": (answer.counts or {}).get("runs"),
        "experiments": (answer.counts or {}).get("experiments"),
        "models": (answer.counts or {}).get("models"),
        "errors": list(answer.errors),
        "already": answer.already,
    }
    return {**shown, "admin_password": answer.admin_password} if answer.admin_password else shown


@tables.register
def _(answer: ServerList) -> list[Table]:
    columns = (
        Column("server", keep=9),
        Column("status", keep=9),
        Column("url", keep=9),
        Column("pid", right=True),
    )
    rows = [(one.name, one.status, one.url, one.pid) for one in answer.servers]
    return [Table(columns, rows, empty="no server was started on this machine")]


@document.register
def _(answer: ServerList) -> Any:
    return [document(one) for one in answer.servers]


@tables.register
def _(answer: StoppedServer) -> list[Table]:
    return [Table((Column("server", keep=9), Column("stopped", keep=9)), [(answer.name, answer.how)])]


@document.register
def _(answer: StoppedServer) -> Any:
    return asdict(answer)


@tables.register
def _(answer: Login) -> list[Table]:
    columns = (Column("server", keep=9), Column("user", keep=9), Column("kept in"))
    return [Table(columns, [(answer.url, answer.username, answer.file)])]


@document.register
def _(answer: Login) -> Any:
    return asdict(answer)


@tables.register
def _(answer: Adoption) -> list[Table]:
    columns = (
        Column("experiment", keep=9), Column("files", right=True), Column("bytes", right=True), Column("from"),
        Column("" if answer.done else "would go to", keep=8),
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = [
        (one.name, one.files, one.size_bytes, one.location, answer.destination) for one in answer.movable
    ]
    rows += [
        (one.name, None, None, one.location, "its folder is on another machine, or several experiments'")
        for one in answer.elsewhere
    ]
    return [Table(columns, rows, empty="every experiment is behind the server already")]


@document.register
def _(answer: Adoption) -> Any:
    return asdict(answer)


@tables.register
def _(answer: Backup) -> list[Table]:
    rows = [
        ("file", answer.file),
        ("bytes", f"{answer.size_bytes:,}"),
        ("database", answer.backend),
        ("runs", answer.runs),
        ("models", answer.models),
        ("artifacts", f"{answer.artifacts} ({answer.artifact_bytes:,} bytes)"),
        ("kept of these", "everything" if answer.with_artifacts else "checksums"),
        *([("gone meanwhile", f"{answer.vanished} that nothing needs")] if answer.vanished else []),
        *(("not in it", one) for one in answer.elsewhere),
    ]
    return [Table(PAIR, rows)]


@document.register
def _(answer: Backup) -> Any:
    return asdict(answer)


@tables.register
def _(answer: GcReport) -> list[Table]:
    rows: list[tuple[str, Any]] = [
        ("database", answer.backend),
        ("runs", len(answer.runs)),
        ("experiments", len(answer.experiments)),
        ("models", len(answer.models)),
        ("objects", answer.objects),
        ("bytes", f"{answer.size_bytes:,}"),
        *(("kept", one) for one in answer.held),
        *(("left alone", one) for one in answer.left_alone),
    ]
    return [Table((Column("freed" if answer.done else "would be freed", keep=9), Column("", keep=9)), rows)]


@document.register
def _(answer: GcReport) -> Any:
    return asdict(answer)


@tables.register
def _(answer: Exported) -> list[Table]:
    return [Table((Column("written", keep=9),), [(f"{answer.folder}/{name}",) for name in answer.files])]


@document.register
def _(answer: Exported) -> Any:
    return {"kind": answer.kind, "folder": answer.folder, "files": list(answer.files)}


@tables.register
def _(answer: Migrated) -> list[Table]:
    return [
        Table((Column("database", keep=9), Column("schema", keep=9)), [(answer.backend, answer.revision)])
    ]


@document.register
def _(answer: Migrated) -> Any:
    return asdict(answer)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)[:20] or "0 s"
