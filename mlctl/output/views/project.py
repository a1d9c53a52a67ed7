"""How a project, the doctor's findings and a checked recipe are shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlctl.domain.project import CheckedRecipe, Diagnosis, Project
from mlctl.output.render import Column, Table
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: Project) -> list[Table]:
    rows = [
        (one.path, "written" if one.written else "was there already, left as it is") for one in answer.files
    ]
    return [Table((Column("file", keep=9), Column("", keep=9)), rows)]


@document.register
def _(answer: Project) -> Any:
    return asdict(answer)


@tables.register
def _(answer: Diagnosis) -> list[Table]:
    checks = [("ok" if one.ok else "MEND", one.name, one.found, one.fix) for one in answer.checks]
    columns = (
        Column("", keep=9),
        Column("what", keep=9),
        Column("found", keep=8),
        Column("what to do", keep=8),
    )
    settings = (Column("setting", keep=9), Column("value", keep=9), Column("from", keep=8))
    return [Table(columns, checks), Table(settings, list(answer.settings), "Settings")]


@document.register
def _(answer: Diagnosis) -> Any:
    return {
        "ok": answer.ok,
        "checks": [asdict(one) for one in answer.checks],
        "settings": [
            {"name": name, "value": value, "source": source} for name, value, source in answer.settings
        ],
    }


@tables.register
def _(answer: CheckedRecipe) -> list[Table]:
    columns = (Column("step", keep=9), Column("made", keep=8), Column("seconds", right=True, keep=9))
    rows = [(one.step, one.made, round(one.seconds, 2)) for one in answer.steps]
    return [Table(columns, rows)]


@document.register
def _(answer: CheckedRecipe) -> Any:
    return asdict(answer)
