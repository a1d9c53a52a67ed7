"""Views of endpoints and API keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlctl.domain.serving import Endpoint, EndpointList, KeyList, NewKey, StoppedEndpoint
from mlctl.output.tables import AnswerTable, TableColumn, pair_table
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: Endpoint) -> list[AnswerTable]:
    rows = [
        ("name", answer.name),
        ("status", answer.status),
        ("url", answer.url),
        ("model", answer.model),
        ("version", answer.version),
        ("pid", answer.pid),
        ("log", answer.log),
    ]
    return [pair_table([row for row in rows if row[1] != ""])]


@document.register
def _(answer: Endpoint) -> Any:
    return asdict(answer)


@tables.register
def _(answer: EndpointList) -> list[AnswerTable]:
    columns = (
        TableColumn("endpoint", keep=9),
        TableColumn("status", keep=8),
        TableColumn("url", keep=9),
        TableColumn("model", keep=7),
        TableColumn("version", right=True, keep=7),
        TableColumn("pid", right=True),
        TableColumn("log", keep=2),
    )
    rows = [
        (
            endpoint.name,
            endpoint.status,
            endpoint.url,
            endpoint.model,
            endpoint.version,
            endpoint.pid,
            endpoint.log,
        )
        for endpoint in answer.endpoints
    ]
    empty = "no endpoints on this machine; start one with: mlctl serve MODEL --detach"
    return [AnswerTable(columns=columns, rows=rows, empty=empty)]


@document.register
def _(answer: EndpointList) -> Any:
    return [asdict(endpoint) for endpoint in answer.endpoints]


@tables.register
def _(answer: StoppedEndpoint) -> list[AnswerTable]:
    columns = (TableColumn("endpoint", keep=9), TableColumn("status", keep=9))
    status = "was not running" if answer.how == "gone" else f"stopped {answer.how}"
    return [AnswerTable(columns=columns, rows=[(answer.name, status)])]


@document.register
def _(answer: StoppedEndpoint) -> Any:
    return asdict(answer)


@tables.register
def _(answer: NewKey) -> list[AnswerTable]:
    # only the key, so that `> FILE` stores a usable key
    return [AnswerTable(columns=(TableColumn("", keep=9),), rows=[(answer.secret,)])]


@document.register
def _(answer: NewKey) -> Any:
    return {"name": answer.name, "key": answer.secret, "file": answer.file}


@tables.register
def _(answer: KeyList) -> list[AnswerTable]:
    columns = (TableColumn("key", keep=9), TableColumn("SHA-256"), TableColumn("created"))
    rows = [(name, f"{digest}…", created) for name, digest, created in answer.keys]
    return [AnswerTable(columns=columns, rows=rows, empty=f"no keys in {answer.file}")]


@document.register
def _(answer: KeyList) -> Any:
    return [{"name": name, "sha256": digest, "made": created} for name, digest, created in answer.keys]
