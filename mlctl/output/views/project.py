"""Views of a project, of the doctor's checks, of a checked recipe and of installed completion."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain.project import CheckedRecipe, Diagnosis, InstalledCompletion, Project
from mlctl.output.tables import AnswerTable, TableCell, TableColumn
from mlctl.output.views.base import document, tables, with_keys


@tables.register
def _(answer: Project) -> list[AnswerTable]:
    columns = (TableColumn("file"), TableColumn("status"))
    rows = [
        (file.path, "written" if file.written else "unchanged, because it exists") for file in answer.files
    ]
    return [AnswerTable(columns=columns, rows=rows)]


@tables.register
def _(answer: Diagnosis) -> list[AnswerTable]:
    columns = (
        TableColumn("status"),
        TableColumn("check"),
        TableColumn("found"),
        TableColumn("what to do"),
    )
    rows = [
        (Text("ok") if check.ok else Text("PROBLEM", style="bold red"), check.name, check.found, check.fix)
        for check in answer.checks
    ]
    setting_columns = (TableColumn("setting"), TableColumn("value"), TableColumn("source"))
    settings = [
        (name, TableCell(value, value or Text("not set", style="dim")), source)
        for name, value, source in answer.settings
    ]
    return [
        AnswerTable(columns=columns, rows=rows),
        AnswerTable(columns=setting_columns, rows=settings, title="Settings", notes=["", _verdict(answer)]),
    ]


def _verdict(answer: Diagnosis) -> Text:
    """Return one line that says whether everything works."""
    failed = [check.name for check in answer.checks if not check.ok]
    if not failed:
        return Text(f"All {len(answer.checks)} checks passed.", style="green")
    names = ", ".join(failed)
    return Text(f"{len(failed)} of {len(answer.checks)} checks failed: {names}.", style="bold red")


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
    columns = (TableColumn("step"), TableColumn("result", keep=8), TableColumn("seconds", right=True))
    rows = [(step.step, step.result, round(step.seconds, 2)) for step in answer.steps]
    return [AnswerTable(columns=columns, rows=rows)]


@document.register
def _(answer: CheckedRecipe) -> Any:
    return {
        "recipe": answer.recipe,
        "file": answer.file,
        "steps": [with_keys(step, result="made") for step in answer.steps],
    }


@tables.register
def _(answer: InstalledCompletion) -> list[AnswerTable]:
    columns = (TableColumn("shell"), TableColumn("file"), TableColumn("status"))
    status = "installed" if answer.changed else "unchanged"
    return [AnswerTable(columns=columns, rows=[(answer.shell, answer.file, status)])]


@document.register
def _(answer: InstalledCompletion) -> Any:
    return with_keys(answer, next_step="start")
