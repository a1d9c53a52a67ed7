"""Durations as they are typed: 90s, 10m, 2h."""

from __future__ import annotations

import re

from mlctl.errors import UsageError

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(option: str, text: str) -> float:
    """Return a duration in seconds; raises UsageError for what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not found or not float(found[1]):
        raise UsageError(f"{option} {text} is no duration", "write 90s, 10m or 2h")
    return float(found[1]) * SECONDS[found[2]]
