from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.text import Text

from mlctl.output.render import Cell, Column, Table, _fitting, write_csv, write_table
from mlctl.output.words import ago, size, span, sparkline


def columns(*keeps: int) -> list[Column]:
    return [Column(f"c{i}", keep=keep) for i, keep in enumerate(keeps)]


def test_the_least_wanted_columns_go_first() -> None:
    table = Table(columns(9, 2, 5, 1), [("aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc", "dddddddddd")])
    assert _fitting(table, 46)[:2] == ([0, 1, 2, 3], [])
    assert _fitting(table, 45)[:2] == ([0, 1, 2], [3])
    assert _fitting(table, 22)[:2] == ([0, 2], [1, 3])
    assert _fitting(table, 8) == ([0], [1, 2, 3], [8])


def test_a_long_value_is_cut_before_its_column_goes() -> None:
    table = Table(columns(9, 5), [("name", "x" * 500)])
    assert _fitting(table, 80)[0] == [0, 1]


def test_a_wide_character_takes_two_cells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    write_table(Table(columns(9, 9), [("東京東京", "end"), ("ab", "end")]))
    lines = capsys.readouterr().out.splitlines()
    assert {cell_len(line[: line.index("end")]) for line in lines[1:]} == {10}


def test_a_pipe_gets_every_column_whole_without_trailing_blanks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS")
    write_table(Table(columns(9, 1), [("a" * 300, "b"), ("c", "d\nd")]))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{'c0':300}  c1", "a" * 300 + "  b", f"{'c':300}  d d"]


def test_csv_writes_the_value_and_people_see_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(Table(columns(9, 9), [(Cell(0.123456789, Text("0.1235*")), Cell(None, "none"))]))
    assert capsys.readouterr().out == "c0,c1\n0.123456789,\n"


def test_small_words() -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    assert [ago(now - timedelta(seconds=s), now) for s in (1, 45, 600, 7200, 200_000)] == [
        "just now", "45 s ago", "10 min ago", "2 h ago", "2 days ago",
    ]  # fmt: skip
    assert [span(s) for s in (1.25, 42, 65, 3900)] == ["1.2 s", "42 s", "1 min 05 s", "1 h 05 min"]
    assert [size(n) for n in (None, 12, 4200, 123_456_789)] == ["", "12 B", "4.2 kB", "123 MB"]


def test_a_sparkline_thins_and_leaves_out_what_is_not_finite() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.0, float("nan"), 1.0]) == "▁ █"
    assert len(sparkline(list(range(1000)))) == 24
    assert sparkline([1.0]) == ""
