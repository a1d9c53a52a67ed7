"""How an installed completion script is shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlctl.domain.project import InstalledCompletion
from mlctl.output.render import Column, Table
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: InstalledCompletion) -> list[Table]:
    columns = (Column("shell", keep=9), Column("file", keep=9), Column("", keep=9))
    what = "written" if answer.changed else "was there already"
    return [Table(columns, [(answer.shell, answer.file, what)])]


@document.register
def _(answer: InstalledCompletion) -> Any:
    return asdict(answer)
