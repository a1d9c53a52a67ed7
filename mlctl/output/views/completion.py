"""View of an installed completion script."""

from __future__ import annotations

from typing import Any

from mlctl.domain.project import InstalledCompletion
from mlctl.output.tables import AnswerTable, TableColumn
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: InstalledCompletion) -> list[AnswerTable]:
    columns = (TableColumn("shell", keep=9), TableColumn("file", keep=9), TableColumn("status", keep=9))
    status = "installed" if answer.changed else "unchanged"
    return [AnswerTable(columns=columns, rows=[(answer.shell, answer.file, status)])]


@document.register
def _(answer: InstalledCompletion) -> Any:
    return {
        "shell": answer.shell,
        "file": answer.file,
        "changed": answer.changed,
        "start": answer.next_step,
    }
