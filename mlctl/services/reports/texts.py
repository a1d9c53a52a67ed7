"""How a report writes numbers, times and scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from mlctl.domain.report import ReportTable

IN_BRACKETS = "In brackets: the 95 % confidence interval"

Pairs = Iterable[tuple[str, Any]]


def number(value: float | None) -> str:
    """Return a number with four significant digits; "" for None."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    """Return a number with its 95 % confidence interval: 0.83 (0.812 to 0.846)."""
    if interval is None or value is None:
        return number(value)
    return f"{number(value)} ({' to '.join(number(float(f'{bound:.3g}')) for bound in interval)})"


def moment(time: datetime | None) -> str:
    """Return a time in the local zone; "" for None."""
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S %Z}" if time else ""


def facts_table(pairs: Pairs, title: str = "", *, folded: bool = False) -> ReportTable:
    """Return a table of names and values, without those that are empty."""
    rows = [(name, str(value)) for name, value in pairs if value not in (None, "")]
    return ReportTable(columns=("name", "value"), rows=rows, title=title, folded=folded)


def difference_table(
    title: str, differences: Mapping[str, tuple[Any, Any]], columns: tuple[str, str]
) -> ReportTable:
    """Return a table of what differs between two things."""
    rows = [(name, *map(_cell, pair)) for name, pair in sorted(differences.items())]
    return ReportTable(columns=("name", *columns), rows=rows, title=title)


def _cell(value: Any) -> str:
    if value is None:
        return "none"
    return number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
