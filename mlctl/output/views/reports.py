"""View of a report that was written to a file."""

from __future__ import annotations

from mlctl.domain.report import ModelCard, ReportTable, WrittenReport
from mlctl.output.tables import AnswerTable, TableCell, TableColumn
from mlctl.output.views.base import tables, text
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


@text.register
def _(answer: ModelCard) -> str:
    return answer.markdown


@tables.register
def _(answer: ModelCard) -> list[AnswerTable]:
    found = []
    for section in answer.report.sections:
        for block in section.blocks:
            if isinstance(block, ReportTable):
                columns = [TableColumn(name) for name in block.columns]
                found.append(
                    AnswerTable(columns=columns, rows=block.rows, title=block.title or section.title)
                )
    return found
