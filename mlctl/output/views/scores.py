"""Cells of a run's score: the metric's name with its value, and the value on the test split."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from mlctl.domain.run import RunScore
from mlctl.output.tables import TableCell
from mlctl.output.text import format_number

BEST_STYLE = "bold green"


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
