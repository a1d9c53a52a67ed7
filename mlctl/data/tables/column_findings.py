"""What was done to read a table's columns: one line for each thing, whatever the number of columns."""

from __future__ import annotations

from collections.abc import Sequence

from mlctl.data.finding import Finding
from mlctl.data.tables.column_types import TableColumn
from mlctl.domain.short_texts import list_some

MAX_LISTED = 12


def describe_readings(columns: Sequence[TableColumn]) -> list[Finding]:
    """Return what was done with the cells of columns, and what mlctl could not know."""
    by_remark: dict[str, list[str]] = {}
    for column in columns:
        for remark in column.remarks:
            by_remark.setdefault(remark, []).append(column.name)
    found = [
        Finding(kind="reading", columns=tuple(names), text=f"{list_some(names, MAX_LISTED)}: {remark}")
        for remark, names in by_remark.items()
    ]
    asked = [column for column in columns if column.question]
    return [
        *found,
        *(Finding(kind="question", columns=(column.name,), text=column.question) for column in asked),
    ]
