"""Values as they are typed: NAME=VALUE, durations and sizes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlctl.errors import UsageError

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES = {"": 1, "k": 1000, "m": 1_000_000, "g": 1_000_000_000}


def pairs(option: str, typed: Sequence[str] | None) -> dict[str, str]:
    """Return what was typed as a dictionary; raises UsageError for one without =, or one given twice."""
    found: dict[str, str] = {}
    for text in typed or ():
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"{option} {text} has no NAME=VALUE", f"write {option} {name or 'NAME'}=VALUE")
        if name in found:
            raise UsageError(f"{option} {name} is given twice", "give it once")
        found[name] = value.strip()
    return found


def seconds(typed: str) -> float:
    """Return a duration such as 90s, 10m or 2h in seconds; raises UsageError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", typed.strip())
    if not found:
        raise UsageError(f"{typed!r} is no duration", "write it as 90s, 10m or 2h")
    return float(found[1]) * SECONDS[found[2]]


def size(typed: str) -> int:
    """Return a size such as 500kB, 20MB or 1GB in bytes; raises UsageError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", typed.strip(), re.IGNORECASE)
    if not found or not (count := round(float(found[1]) * BYTES[found[2].lower()])):
        raise UsageError(f"{typed!r} is no size", "write it as 500kB, 20MB or 1GB")
    return count
