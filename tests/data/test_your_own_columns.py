"""Each line of the tables about columns in docs/your-own.md."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlctl.data.tables.column_types import TableColumn
from mlctl.data.tables.convert_columns import convert_columns

pytestmark = pytest.mark.unit

DOCUMENT = Path(__file__).parents[2] / "docs" / "your-own.md"


def rows_of(heading: str) -> list[list[list[str]]]:
    """Return the code spans in each cell of the table below a heading of the document."""
    _, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(f"\n### {heading}\n")
    section = re.split(r"\n#+ ", rest)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert lines, heading
    return [
        [re.findall(r"`([^`]*)`", cell) for cell in re.split(r" \| ?", line.strip("|"))] for line in lines
    ]


def convert(cells: list[str], times: int = 10) -> tuple[list[object], TableColumn]:
    column = pd.Series([cell.strip() or np.nan for cell in cells] * times, dtype=object)
    rows, columns = convert_columns(pd.DataFrame({"x": column}), {})
    return (list(rows["x"])[: len(cells)] if "x" in rows else []), columns[0]


@pytest.mark.parametrize("row", rows_of("Numbers"), ids=lambda row: row[0][0])
def test_numbers(row: list[list[str]]) -> None:
    values, column = convert(row[0])
    assert column.type == "number"
    assert values == pytest.approx([float(number) for number in row[1]])


@pytest.mark.parametrize("row", rows_of("Missing values"), ids=lambda row: row[1][0])
def test_missing_values(row: list[list[str]]) -> None:
    values, column = convert(row[0])
    missing = [cell for cell, value in zip(row[0], values, strict=True) if value is None or value != value]
    assert column.type == ("number" if "4" in row[0] else "category")
    assert missing == row[1]


@pytest.mark.parametrize("row", rows_of("Dates"), ids=lambda row: row[1][0])
def test_dates(row: list[list[str]]) -> None:
    values, column = convert(row[0])
    assert (column.type, column.format, column.missing) == ("date", row[1][0], 0)
    assert values == row[0]


@pytest.mark.parametrize("row", rows_of("Other columns"), ids=lambda row: "-".join(row[0]))
def test_other_columns(row: list[list[str]]) -> None:
    is_counter = row[0] == ["1", "2", "3"]
    cells = [str(number) for number in range(1, 60)] if is_counter else row[0]
    assert convert(cells, times=1 if is_counter else 20)[1].type == row[1][0]
