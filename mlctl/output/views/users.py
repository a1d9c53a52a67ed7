"""Views of the users and groups of a tracking server, and of what they did."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlctl.domain.audit import AuditEntries
from mlctl.domain.users import AccessTokenList, ChangedUser, Grant, NewAccessToken, UserList
from mlctl.output.tables import AnswerTable, TableColumn
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: UserList) -> list[AnswerTable]:
    users = [
        (user.name, ", ".join(user.groups), "everything" if user.is_admin else _in_words(user.grants))
        for user in answer.users
    ]
    groups = [
        (f"@{group.name}", ", ".join(group.members), _in_words(group.grants)) for group in answer.groups
    ]
    columns = (TableColumn("user", keep=9), TableColumn("groups"), TableColumn("may", keep=8))
    group_columns = (TableColumn("group", keep=9), TableColumn("members"), TableColumn("may", keep=8))
    found = [AnswerTable(columns=columns, rows=users)]
    return [*found, *([AnswerTable(columns=group_columns, rows=groups)] if groups else [])]


@document.register
def _(answer: UserList) -> Any:
    return {
        "users": [asdict(user) for user in answer.users],
        "groups": [asdict(group) for group in answer.groups],
    }


@tables.register
def _(answer: ChangedUser) -> list[AnswerTable]:
    columns = (TableColumn("user" if not answer.name.startswith("@") else "group"), TableColumn("changed"))
    return [AnswerTable(columns=columns, rows=[(answer.name, change) for change in answer.changes])]


@document.register
def _(answer: ChangedUser) -> Any:
    return {"name": answer.name, "changes": list(answer.changes)}


@tables.register
def _(answer: NewAccessToken) -> list[AnswerTable]:
    # only the token, so that `> FILE` stores a usable one
    return [AnswerTable(columns=(TableColumn(""),), rows=[(answer.secret,)])]


@document.register
def _(answer: NewAccessToken) -> Any:
    return {"name": answer.name, "username": answer.username, "token": answer.secret}


@tables.register
def _(answer: AccessTokenList) -> list[AnswerTable]:
    columns = (
        TableColumn("token", keep=9),
        TableColumn("user"),
        TableColumn("created"),
        TableColumn("expires"),
    )
    rows = [
        (token.name, token.username, token.created, "expired" if token.is_expired else token.expires)
        for token in answer.tokens
    ]
    return [AnswerTable(columns=columns, rows=rows, empty="no access tokens")]


@document.register
def _(answer: AccessTokenList) -> Any:
    return [asdict(token) for token in answer.tokens]


@tables.register
def _(answer: AuditEntries) -> list[AnswerTable]:
    columns = (
        TableColumn("time", keep=8),
        TableColumn("user", keep=7),
        TableColumn("request", keep=9),
        TableColumn("status", keep=6),
        TableColumn("what", keep=5),
        TableColumn("from", keep=4),
    )
    rows = [
        (
            entry.at[5:19].replace("T", " "),
            f"{entry.user} ({entry.token})" if entry.token else entry.user,
            f"{entry.method} {entry.path}",
            entry.status,
            ", ".join(f"{name} {value}" for name, value in entry.what.items()),
            entry.source,
        )
        for entry in answer.entries
    ]
    return [AnswerTable(columns=columns, rows=rows, empty="no such entry in the audit log")]


@document.register
def _(answer: AuditEntries) -> Any:
    return [asdict(entry) for entry in answer.entries]


def _in_words(grants: tuple[Grant, ...]) -> str:
    return ", ".join(str(grant) for grant in grants)
