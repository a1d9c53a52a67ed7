from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.text import Text

from mlctl.output.tables import AnswerTable, TableCell, TableColumn, fit_columns, write_csv, write_table
from mlctl.output.text import format_age, sparkline

pytestmark = pytest.mark.unit


def columns(*priorities: int) -> list[TableColumn]:
    return [TableColumn(f"c{i}", keep=keep) for i, keep in enumerate(priorities)]


def test_columns_of_low_priority_are_dropped_first() -> None:
    table = AnswerTable(
        columns=columns(9, 2, 5, 1), rows=[("aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc", "dddddddddd")]
    )
    assert fit_columns(table, 46)[:2] == ([0, 1, 2, 3], [])
    assert fit_columns(table, 45)[:2] == ([0, 1, 2], [3])
    assert fit_columns(table, 22)[:2] == ([0, 2], [1, 3])
    assert fit_columns(table, 8) == ([0], [1, 2, 3], [8])


def test_a_long_value_is_cut_before_its_column_is_dropped() -> None:
    table = AnswerTable(columns=columns(9, 5), rows=[("name", "x" * 500)])
    assert fit_columns(table, 80)[0] == [0, 1]


def test_a_wide_character_takes_two_cells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    write_table(AnswerTable(columns=columns(9, 9), rows=[("東京東京", "end"), ("ab", "end")]))
    lines = capsys.readouterr().out.splitlines()
    assert {cell_len(line[: line.index("end")]) for line in lines[1:]} == {10}


def test_a_pipe_gets_every_column_in_full_without_trailing_blanks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS")
    write_table(AnswerTable(columns=columns(9, 1), rows=[("a" * 300, "b"), ("c", "d\nd")]))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{'c0':300}  c1", "a" * 300 + "  b", f"{'c':300}  d d"]


def test_csv_contains_the_value_instead_of_the_shown_text(capsys: pytest.CaptureFixture[str]) -> None:
    row = (TableCell(0.123456789, Text("0.1235*")), TableCell(None, "none"))
    write_csv(AnswerTable(columns=columns(9, 9), rows=[row]))
    assert capsys.readouterr().out == "c0,c1\n0.123456789,\n"


def test_format_age() -> None:
    now = datetime.now(UTC)
    ages = [format_age(now - timedelta(seconds=s), now) for s in (1, 45, 600, 7200, 200_000)]
    assert ages == ["just now", "45 s ago", "10 min ago", "2 h ago", "2 days ago"]


def test_a_sparkline_thins_out_values_and_leaves_gaps_for_nan() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.0, float("nan"), 1.0]) == "▁ █"
    assert len(sparkline(list(range(1000)))) == 24
    assert sparkline([1.0]) == ""
