"""Views of synced and reproduced runs."""

from __future__ import annotations

from typing import Any

from mlctl.domain.run import FinishedRun, Reproduction, SyncReport
from mlctl.output.tables import AnswerTable, TableColumn, pair_table
from mlctl.output.views.base import document, tables, with_keys


@tables.register
def _(answer: SyncReport) -> list[AnswerTable]:
    columns = (
        TableColumn("run"),
        TableColumn("status", keep=5),
        TableColumn("entries sent", right=True, keep=5),
    )
    rows = [(run.run_id, run.status, run.sent) for run in answer.runs]
    return [AnswerTable(columns=columns, rows=rows, empty="no runs to send")]


@document.register
def _(answer: SyncReport) -> Any:
    return [{"run_id": run.run_id, "status": run.status, "sent": run.sent} for run in answer.runs]


@tables.register
def _(answer: Reproduction) -> list[AnswerTable]:
    rows = [
        ("run", answer.run.run_id),
        ("reproduces", answer.original_run_id),
        ("outcome", "identical in every metric of every epoch" if answer.identical else "different"),
    ]
    if answer.identical:
        return [pair_table(rows)]
    rows += [("possible reason", reason) for reason in answer.reasons]
    columns = (
        TableColumn("metric"),
        TableColumn("first epoch that differs", right=True, keep=5),
        TableColumn("original", right=True),
        TableColumn("reproduced", right=True),
    )
    differences = [
        (difference.metric, difference.step, difference.original, difference.reproduced)
        for difference in answer.differences
    ]
    return [pair_table(rows), AnswerTable(columns=columns, rows=differences)]


@document.register
def _(answer: Reproduction) -> Any:
    return {
        **document(answer.run),
        "reproduces": answer.original_run_id,
        "identical": answer.identical,
        "differences": [
            with_keys(difference, original="then", reproduced="now") for difference in answer.differences
        ],
        "reasons": list(answer.reasons),
    }


@tables.register
def _(answer: FinishedRun) -> list[AnswerTable]:
    return [pair_table([("run", f"{answer.run.run_name} ({answer.run_id[:8]}) {answer.outcome}")])]


@document.register
def _(answer: FinishedRun) -> Any:
    return {**document(answer.run), "outcome": answer.outcome}
