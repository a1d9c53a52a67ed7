"""Small things in the words that people use: how long ago, how long, how big, and how it went."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

BLOCKS, PLAIN = "▁▂▃▄▅▆▇█", "_.-=+*#@"


def ago(then: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago `then` was, to one unit: 3 min ago."""
    if then is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    if seconds < 0:
        return "in the future" if seconds < -60 else "just now"
    if seconds < 10:
        return "just now"
    for limit, size, unit in (
        (90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h"), (5_184_000, 86400, "days"),
        (63_072_000, 2_592_000, "months"), (math.inf, 31_536_000, "years"),
    ):  # fmt: skip
        if seconds < limit:
            return f"{round(seconds / size)} {unit} ago"
    return ""


def span(seconds: float | None) -> str:
    """Return a duration to two units: 1 h 05 min."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size(count: int | None) -> str:
    """Return a number of bytes: 4.2 MB."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return the course of some values as a line of blocks, of ASCII where the stream knows no blocks.

    More values than `width` are thinned; what is not finite is a blank.
    """
    marks = BLOCKS if encodable(BLOCKS) else PLAIN
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    low, high = min(finite), max(finite)
    scale = (len(marks) - 1) / (high - low) if high > low else 0.0
    return "".join(marks[round((value - low) * scale)] if math.isfinite(value) else " " for value in values)


def encodable(text: str) -> bool:
    """Whether stdout can carry this text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
