"""View of a check of data before training."""

from __future__ import annotations

from rich.text import Text

from mlctl.domain.data_check import CheckFinding, ColumnProfile, DataCheck, Severity, SuspectLabel
from mlctl.output.tables import AnswerTable, TableCell, TableColumn
from mlctl.output.views.base import tables
from mlctl.units import count

STYLES = {
    Severity.ok: "green",
    Severity.note: "",
    Severity.warning: "yellow",
    Severity.problem: "bold red",
}
MAX_COLUMNS, MAX_SUSPECTS = 40, 10


@tables.register
def _(answer: DataCheck) -> list[AnswerTable]:
    caption = ", ".join(
        count(found, "check") + " ok" if severity == Severity.ok else count(found, severity.value)
        for severity in reversed(Severity)
        if (found := answer.count(severity))
    )
    severity, about, text = TableColumn("severity"), TableColumn("about"), TableColumn("what was found")
    rows = [_finding_row(finding) for finding in answer.findings]
    findings = AnswerTable(
        columns=(severity, about, text),
        rows=rows,
        caption=caption,
        terminal=AnswerTable(
            columns=(severity, text), rows=[(row[0], row[2]) for row in rows], caption=caption
        ),
    )
    return [
        findings,
        *([_columns(answer)] if answer.columns else []),
        *([_suspects(answer)] if answer.suspects else []),
    ]


def _finding_row(finding: CheckFinding) -> tuple[TableCell, str, str]:
    severity = finding.severity
    return TableCell(severity.value, Text(severity.value, style=STYLES[severity])), finding.kind, finding.text


def _columns(answer: DataCheck) -> AnswerTable:
    hidden = len(answer.columns) - MAX_COLUMNS
    return AnswerTable(
        columns=(
            TableColumn("column"),
            TableColumn("type"),
            TableColumn("missing", right=True),
            TableColumn("different", right=True, keep=5),
            TableColumn("values"),
        ),
        rows=[_column_row(column) for column in answer.columns[:MAX_COLUMNS]],
        notes=[f"and {hidden} more columns: -o json has all"] if hidden > 0 else (),
    )


def _column_row(column: ColumnProfile) -> tuple[object, ...]:
    is_dropped = column.type == "drop"
    return (
        column.name,
        "dropped" if is_dropped else column.type,
        TableCell(column.missing, f"{column.missing:.1%}" if column.missing else ""),
        TableCell(column.distinct, "" if column.distinct is None else f"{column.distinct:,}"),
        column.reading if is_dropped else column.summary,
    )


def _suspects(answer: DataCheck) -> AnswerTable:
    hidden = len(answer.suspects) - MAX_SUSPECTS
    return AnswerTable(
        title="targets that may be wrong",
        columns=(
            TableColumn("row", right=isinstance(answer.suspects[0].row, int)),
            TableColumn("split", keep=5),
            TableColumn("target"),
            TableColumn("expected"),
            TableColumn("probability", right=True),
        ),
        rows=[_suspect_row(suspect) for suspect in answer.suspects[:MAX_SUSPECTS]],
        notes=[f"and {hidden} more: -o json has all"] if hidden > 0 else (),
    )


def _suspect_row(suspect: SuspectLabel) -> tuple[object, ...]:
    chance = suspect.probability
    return (
        suspect.row,
        suspect.split,
        suspect.target,
        suspect.expected,
        TableCell(chance, "" if chance is None else f"{chance:.1%}"),
    )
