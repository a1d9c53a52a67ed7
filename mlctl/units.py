"""Durations and sizes, as people write and read them."""

from __future__ import annotations

import math
import re

from mlctl.errors import UsageError

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
BYTES = {"": 1, "k": 1000, "m": 1_000_000, "g": 1_000_000_000}


def parse_duration(text: str) -> float:
    """Return a duration such as 90s, 10m, 2h, 3d or 1w in seconds. Raises UsageError if it is invalid."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if not match:
        raise UsageError(f"{text!r} is not a duration", "write it as 90s, 10m, 2h or 7d")
    return float(match[1]) * SECONDS[match[2]]


def parse_size(text: str) -> int:
    """Return a size such as 500kB, 20MB or 1GB in bytes. Raises UsageError if it is invalid or zero."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", text.strip(), re.IGNORECASE)
    if not match or not (size := round(float(match[1]) * BYTES[match[2].lower()])):
        raise UsageError(f"{text!r} is not a size", "write it as 500kB, 20MB or 1GB")
    return size


def parse_share(text: str, option: str) -> float:
    """Return a share such as 1% or 100% as a number. Raises UsageError unless it is above 0 % and at most 100 %."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if not match or not 0 < float(match[1]) <= 100:
        raise UsageError(f"invalid value {text!r} for {option}", f"write a share such as 1%: {option} 1%")
    return float(match[1]) / 100


def format_duration(seconds: float | None) -> str:
    """Return a duration in at most two units, such as 1 h 05 min; return "" for None and infinity."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02} s"
    if total < 86_400:
        return f"{total // 3600} h {total % 3600 // 60:02} min"
    return f"{total // 86_400} d {total % 86_400 // 3600:02} h"


def format_size(count: float | None) -> str:
    """Return a number of bytes with a unit, such as 4.2 MB; return "" for None."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 model, 2 models, 1,200 models."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
