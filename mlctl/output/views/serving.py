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
        ("refused", _refused_text(answer)),
    ]
    return [pair_table([row for row in rows if row[1] != ""])]


@tables.register
def _(answer: EndpointList) -> list[AnswerTable]:
    columns: tuple[TableColumn, ...] = (
        TableColumn("endpoint"),
        TableColumn("status", keep=8),
        TableColumn("url"),
        TableColumn("model", keep=7),
        TableColumn("version", right=True, keep=7),
        TableColumn("pid", right=True, keep=5),
        TableColumn("log", keep=2),
    )
    if has_refused := any(endpoint.refused for endpoint in answer.endpoints):
        columns = (*columns, TableColumn("refused", narrow_to=16))
    rows = [
        (
            endpoint.name,
            endpoint.status,
            endpoint.url,
            endpoint.model,
            endpoint.version,
            endpoint.pid,
            endpoint.log,
            *([_refused_text(endpoint)] if has_refused else []),
        )
        for endpoint in answer.endpoints
    ]
    empty = "no endpoints on this machine; start one with: mlctl serve MODEL --detach"
    return [AnswerTable(columns=columns, rows=rows, empty=empty)]


def _refused_text(endpoint: Endpoint) -> str:
    return f"version {endpoint.refused['version']}: {endpoint.refused['reason']}" if endpoint.refused else ""


@document.register
def _(answer: EndpointList) -> Any:
    return [asdict(endpoint) for endpoint in answer.endpoints]


@tables.register
def _(answer: StoppedEndpoint) -> list[AnswerTable]:
    columns = (TableColumn("endpoint"), TableColumn("status"))
    status = "was not running" if answer.how == "gone" else f"stopped {answer.how}"
    return [AnswerTable(columns=columns, rows=[(answer.name, status)])]


@tables.register
def _(answer: NewKey) -> list[AnswerTable]:
    # only the key, so that `> FILE` stores a usable key
    return [AnswerTable(columns=(TableColumn(""),), rows=[(answer.secret,)])]


@document.register
def _(answer: NewKey) -> Any:
    return {"name": answer.name, "key": answer.secret, "file": answer.file}


@tables.register
def _(answer: KeyList) -> list[AnswerTable]:
    columns = (TableColumn("key"), TableColumn("SHA-256", keep=5), TableColumn("created", keep=5))
    rows = [(name, f"{digest}…", created) for name, digest, created in answer.keys]
    return [AnswerTable(columns=columns, rows=rows, empty=f"no keys in {answer.file}")]


@document.register
def _(answer: KeyList) -> Any:
    return [{"name": name, "sha256": digest, "made": created} for name, digest, created in answer.keys]
