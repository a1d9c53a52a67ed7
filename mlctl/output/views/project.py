"""Views of a project, of the doctor's checks and of a checked recipe."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlctl.domain.project import CheckedRecipe, Diagnosis, Project
from mlctl.output.tables import AnswerTable, TableColumn
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: Project) -> list[AnswerTable]:
    columns = (TableColumn("file", keep=9), TableColumn("status", keep=9))
    rows = [
        (file.path, "written" if file.written else "unchanged, because it exists") for file in answer.files
    ]
    return [AnswerTable(columns=columns, rows=rows)]


@document.register
def _(answer: Project) -> Any:
    return asdict(answer)


@tables.register
def _(answer: Diagnosis) -> list[AnswerTable]:
    columns = (
        TableColumn("status", keep=9),
        TableColumn("check", keep=9),
        TableColumn("found", keep=8),
        TableColumn("fix", keep=8),
    )
    rows = [("ok" if check.ok else "PROBLEM", check.name, check.found, check.fix) for check in answer.checks]
    setting_columns = (
        TableColumn("setting", keep=9),
        TableColumn("value", keep=9),
        TableColumn("source", keep=8),
    )
    return [
        AnswerTable(columns=columns, rows=rows),
        AnswerTable(columns=setting_columns, rows=answer.settings, title="Settings"),
    ]


@document.register
def _(answer: Diagnosis) -> Any:
    return {
        "ok": answer.ok,
        "checks": [asdict(check) for check in answer.checks],
        "settings": [
            {"name": name, "value": value, "source": source} for name, value, source in answer.settings
        ],
    }


@tables.register
def _(answer: CheckedRecipe) -> list[AnswerTable]:
    columns = (
        TableColumn("step", keep=9),
        TableColumn("result", keep=8),
        TableColumn("seconds", right=True, keep=9),
    )
    rows = [(step.step, step.result, round(step.seconds, 2)) for step in answer.steps]
    return [AnswerTable(columns=columns, rows=rows)]


@document.register
def _(answer: CheckedRecipe) -> Any:
    return {
        "recipe": answer.recipe,
        "file": answer.file,
        "steps": [{"step": step.step, "made": step.result, "seconds": step.seconds} for step in answer.steps],
    }
