"""How endpoints and keys are shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlctl.domain.serving import Endpoint, EndpointList, KeyList, NewKey, StoppedEndpoint
from mlctl.output.render import PAIR, Column, Table
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: Endpoint) -> list[Table]:
    rows = [
        ("name", answer.name), ("status", answer.status), ("url", answer.url),
        ("model", answer.model), ("version", answer.version), ("pid", answer.pid), ("log", answer.log),
    ]  # fmt: skip
    return [Table(PAIR, [row for row in rows if row[1] != ""])]


@document.register
def _(answer: Endpoint) -> Any:
    return asdict(answer)


@tables.register
def _(answer: EndpointList) -> list[Table]:
    columns = (
        Column("endpoint", keep=9), Column("status", keep=8), Column("url", keep=9), Column("model", keep=7),
        Column("version", right=True, keep=7), Column("pid", right=True), Column("log", keep=2),
    )  # fmt: skip
    rows = [
        (one.name, one.status, one.url, one.model, one.version, one.pid, one.log) for one in answer.endpoints
    ]
    return [Table(columns, rows, empty="nothing is served on this machine; mlctl serve MODEL --detach")]


@document.register
def _(answer: EndpointList) -> Any:
    return [asdict(one) for one in answer.endpoints]


@tables.register
def _(answer: StoppedEndpoint) -> list[Table]:
    said = "it had ended already" if answer.how == "gone" else f"stopped {answer.how}"
    return [Table((Column("endpoint", keep=9), Column("", keep=9)), [(answer.name, said)])]


@document.register
def _(answer: StoppedEndpoint) -> Any:
    return asdict(answer)


@tables.register
def _(answer: NewKey) -> list[Table]:
    return [Table((Column("", keep=9),), [(answer.secret,)])]  # alone, so that > FILE keeps a key


@document.register
def _(answer: NewKey) -> Any:
    return {"name": answer.name, "key": answer.secret, "file": answer.file}


@tables.register
def _(answer: KeyList) -> list[Table]:
    columns = (Column("key", keep=9), Column("SHA-256"), Column("made"))
    return [Table(columns, [(name, f"{digest}…", made) for name, digest, made in answer.keys],
                  empty=f"no keys in {answer.file}")]  # fmt: skip


@document.register
def _(answer: KeyList) -> Any:
    return [{"name": name, "sha256": digest, "made": made} for name, digest, made in answer.keys]
