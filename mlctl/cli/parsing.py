"""Parsers for options that take NAME=VALUE pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlctl.errors import UsageError


def parse_pairs(option: str, pairs: Sequence[str] | None) -> dict[str, str]:
    """Return NAME=VALUE pairs as a dictionary.

    Raises UsageError if a pair has no name or no "=", or if a name occurs twice.
    """
    values: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"{option} {pair} is not NAME=VALUE", f"write {option} {name or 'NAME'}=VALUE")
        if name in values:
            raise UsageError(f"{option} {name} is given twice", "give it once")
        values[name] = value.strip()
    return values


def parse_overrides(pairs: Sequence[str] | None, **options: Any) -> dict[str, Any]:
    """Return the values of a recipe that --set and options of their own set; an option that is None sets none."""
    return parse_pairs("--set", pairs) | {name: value for name, value in options.items() if value is not None}
