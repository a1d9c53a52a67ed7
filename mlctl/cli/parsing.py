"""Parsers for options that take NAME=VALUE pairs, and commands as a shell takes them."""

from __future__ import annotations

import shlex
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


def write_command(*words: object, **options: Any) -> str:
    """Return a command that a shell takes: mlctl train 'my data.csv' --target left.

    An option that is None is left out, and one with a list is repeated.
    """
    given = [str(word) for word in words]
    for name, value in options.items():
        values = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
        given += [word for value in values for word in (f"--{name.strip('_').replace('_', '-')}", str(value))]
    return shlex.join(given)
