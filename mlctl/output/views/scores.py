"""Cells of a run's score: the metric's name with its value, the value on the test split, and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from mlctl.domain.run import RunScore
from mlctl.output.tables import TableCell
from mlctl.output.text import format_interval, format_number

BEST_STYLE = "bold green"
INTERVAL = "95 % interval"

Interval = tuple[float, float]


def score_cell(score: RunScore | None, *, is_best: bool = False) -> Any:
    """Return the cell of a score: val_mae 29,669."""
    if score is None or score.value is None:
        return ""
    value = (format_number(score.value) + "*" * is_best, BEST_STYLE if is_best else "")
    return TableCell(score.value, Text.assemble((f"{score.name} ", "dim"), value))


def score_on_test_cell(score: RunScore | None, *, is_best: bool = False) -> Any:
    """Return the cell of the value on the test split, with its name if that is of another metric."""
    if score is None or score.test_value is None:
        return ""
    name = score.test_metric.removeprefix("test_")
    is_same = name == score.name.removeprefix("best_").removeprefix("val_")
    value = (format_number(score.test_value) + "*" * is_best, BEST_STYLE if is_best else "")
    return TableCell(score.test_value, Text.assemble(("" if is_same else f"{name} ", "dim"), value))


def interval_cell(interval: Interval | None) -> TableCell:
    """Return the cell of a confidence interval."""
    text = format_interval(interval)
    return TableCell(text or None, Text(text, style="dim"))


def interval_row(name: str, intervals: Sequence[Interval | None]) -> list[TableCell]:
    """Return the cells below a metric's values: the title, and the interval of each value."""
    return [TableCell(f"{name}: {INTERVAL}", f"  {INTERVAL}"), *map(interval_cell, intervals)]


def with_interval(value: float, interval: Interval | None) -> TableCell:
    """Return the cell of a value, with its confidence interval if that is known: 0.83 (0.812 to 0.846)."""
    text = format_interval(interval)
    return TableCell(value, format_number(value) + (f" ({text})" if text else ""))
