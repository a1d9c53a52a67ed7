"""Short texts for people: numbers, ages and sparklines."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"


def format_number(value: float | None) -> str:
    """Return a number with four significant digits, and an integer without decimals; "" for None."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))
    return f"{value:,.0f}" if 999.95 <= abs(value) < 1e15 else f"{value:.4g}"


def format_interval(interval: tuple[float, float] | None) -> str:
    """Return a confidence interval, such as 0.812 to 0.846; "" for None."""
    if interval is None:
        return ""
    low, high = interval
    return f"{_three_digits(low)} to {_three_digits(high)}"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e15 else f"{float(f'{value:.3g}'):g}"


def format_time(moment: datetime | None) -> str:
    """Return a time in the local zone with its age, such as 2026-11-21 10:00:00 (3 min ago); "" for None."""
    return f"{format_moment(moment)} ({format_age(moment)})" if moment else ""


def format_moment(moment: datetime) -> str:
    """Return a time in the local zone, such as 2026-11-21 10:00:00."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def format_age(moment: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago a time was, in one unit, such as 3 min ago; "" for None."""
    if moment is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < 10:
        return "in the future" if seconds < -60 else "just now"
    for limit, unit_seconds, unit in (
        (90, 1, "s"),
        (5400, 60, "min"),
        (129_600, 3600, "h"),
        (5_184_000, 86_400, "days"),
        (63_072_000, 2_592_000, "months"),
    ):
        if seconds < limit:
            return f"{round(seconds / unit_seconds)} {unit} ago"
    return f"{round(seconds / 31_536_000)} years ago"


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return values as a line of block characters, or of ASCII characters if stdout cannot encode blocks.

    More than `width` values are thinned out; NaN and infinities are blank. Fewer than two finite values give "".
    """
    marks = BLOCKS if is_encodable(BLOCKS) else ASCII_BLOCKS
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    low, high = min(finite), max(finite)
    scale = (len(marks) - 1) / (high - low) if high > low else 0.0
    return "".join(marks[round((value - low) * scale)] if math.isfinite(value) else " " for value in values)


def is_encodable(text: str) -> bool:
    """Whether stdout can encode a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def without_nan(document: Any) -> Any:
    """Return a document with null in place of NaN and infinities, which JSON does not have."""
    if isinstance(document, float) and not math.isfinite(document):
        return None
    if isinstance(document, dict):
        return {key: without_nan(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [without_nan(value) for value in document]
    return document
