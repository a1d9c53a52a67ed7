"""Options of the form NAME=VALUE."""

from __future__ import annotations

from collections.abc import Sequence

from mlctl.errors import UsageError


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
