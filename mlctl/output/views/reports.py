"""View of a report that was written to a file."""

from __future__ import annotations

from mlctl.domain.report import WrittenReport
from mlctl.output.tables import AnswerTable, TableCell, TableColumn
from mlctl.output.views.base import tables
from mlctl.units import format_size


@tables.register
def _(answer: WrittenReport) -> list[AnswerTable]:
    size = TableCell(answer.size_bytes, format_size(answer.size_bytes))
    columns = (TableColumn("report"), TableColumn("of"), TableColumn("size", right=True))
    left_out = AnswerTable(columns=(TableColumn("left out"),), rows=[(line,) for line in answer.left_out])
    return [
        AnswerTable(columns=columns, rows=[(answer.file, answer.title, size)]),
        *([left_out] if answer.left_out else []),
    ]
