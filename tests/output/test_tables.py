from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.text import Text

from mlctl.domain.objective import Objective
from mlctl.domain.project import Diagnosis, DoctorCheck
from mlctl.domain.run import Run
from mlctl.domain.tune import SearchResult, Trial
from mlctl.output.show_answer import show
from mlctl.output.tables import (
    AnswerTable,
    TableCell,
    TableColumn,
    fit_columns,
    write_csv,
    write_markdown,
    write_table,
)
from mlctl.output.text import format_age, format_number, sparkline

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


def test_a_column_is_narrowed_before_another_is_dropped_and_gets_what_is_left() -> None:
    table = AnswerTable(
        columns=[TableColumn("a"), TableColumn("b", narrow_to=8), TableColumn("c", keep=5)],
        rows=[("name", "x" * 30, "y" * 10)],
    )
    assert fit_columns(table, 48) == ([0, 1, 2], [], [4, 30, 10])
    assert fit_columns(table, 30) == ([0, 1, 2], [], [4, 12, 10])
    assert fit_columns(table, 25) == ([0, 1], [2], [4, 19])


def test_a_column_without_values_is_not_shown() -> None:
    table = AnswerTable(columns=columns(9, 9, 5), rows=[("a", "", None), ("b", None, "c")])
    assert fit_columns(table, 80)[:2] == ([0, 2], [])


@pytest.mark.parametrize("width", [60, 80])
def test_long_texts_wrap(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    checks = (
        DoctorCheck(name="packages", ok=True, found="keras 3.15.1, " * 12),
        DoctorCheck(
            name="tracking", ok=False, found="it does not answer", fix="start it with " * 6 + "force"
        ),
    )
    show(Diagnosis(checks, (("report", "", "default"),)))
    lines = capsys.readouterr().out.splitlines()
    text = " ".join(lines)
    assert max(map(len, lines)) <= width
    assert "what to do" in lines[0]
    assert text.count("start it") + text.count("with") >= 6
    assert "force" in text
    assert "…" not in text
    assert "not set" in text
    assert lines[-1] == "1 of 2 checks failed: tracking."


def test_a_trial_keeps_the_reason_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    reason = "its mean absolute error is above that of half of the others"
    trial = Trial(
        trial="0001", run_id="1", state="stopped", params={"units": 64, "dropout": 0.25},
        score=0.5, epochs=3, duration_s=12.0, reason=reason,
    )  # fmt: skip
    run = Run(run_id="0" * 32, run_name="r", experiment="e", status="FINISHED", tracking_uri="")
    show(
        SearchResult(
            run=run, objective=Objective("val_mae", False), trials=(trial,), best_trial=None, end_reason="end"
        )
    )
    out = capsys.readouterr().out
    assert set(reason.split()) <= set(out.split())


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


def test_a_name_cannot_command_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS")
    names = ["a\x1b[2Jb", Text("c\x9b1Kd", style="bold"), "\ud800", "ü\n日"]
    table = AnswerTable(columns=columns(9), rows=[[name] for name in names])
    write_table(table)
    piped = capsys.readouterr().out
    assert piped.split("\n")[1:] == ["a?[2Jb", "c?1Kd", "?", "ü 日", ""]
    monkeypatch.setenv("COLUMNS", "60")
    write_table(table)
    assert {"\x1b[2J", "\x9b"}.isdisjoint(capsys.readouterr().out)


def test_csv_contains_the_value_instead_of_the_shown_text(capsys: pytest.CaptureFixture[str]) -> None:
    row = (TableCell(0.123456789, Text("0.1235*")), TableCell(None, "none"))
    write_csv(AnswerTable(columns=columns(9, 9), rows=[row]))
    assert capsys.readouterr().out == "c0,c1\n0.123456789,\n"


def test_markdown_has_the_caption_and_the_notes(capsys: pytest.CaptureFixture[str]) -> None:
    write_markdown(AnswerTable(columns=columns(9), rows=[("a|b",)], caption="* best", notes=["", "done"]))
    assert capsys.readouterr().out == "| c0 |\n| --- |\n| a\\|b |\n\n\\* best\n\ndone\n\n"


def test_format_number() -> None:
    values = (0.974123, 9.99996, 999.97, 1234.5, 29_669.3, 9999, 20_640, 1e20, float("nan"), None)
    shown = [
        "0.9741",
        "10",
        "1,000",
        "1,234",
        "29,669",
        "9999",
        "20,640",
        "1e+20",
        "nan",
        "",
    ]
    assert [format_number(value) for value in values] == shown


def test_format_age() -> None:
    now = datetime.now(UTC)
    ages = [format_age(now - timedelta(seconds=s), now) for s in (1, 45, 600, 7200, 200_000)]
    assert ages == ["just now", "45 s ago", "10 min ago", "2 h ago", "2 days ago"]


def test_a_sparkline_thins_out_values_and_leaves_gaps_for_nan() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.0, float("nan"), 1.0]) == "▁ █"
    assert len(sparkline(list(range(1000)))) == 24
    assert sparkline([1.0]) == ""
