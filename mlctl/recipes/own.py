"""Which recipe a user's own data is for, found by looking at it."""

from __future__ import annotations

from mlctl.data import delimited


def recipe_for(source: str) -> str | None:
    """Return the name of the recipe for this file or address; None where it is no data."""
    if delimited.is_table(source):
        return "tabular"
    return None
