"""Rules for names and tags of registered models. This module imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping

from mlctl.domain.tags import HISTORY_PREFIX, VOID_PREFIX
from mlctl.errors import UsageError

HISTORY_PREFIXES = (HISTORY_PREFIX, VOID_PREFIX)


def check_name(name: str) -> None:
    """Raise UsageError if a text cannot name a registered model."""
    if not name.strip() or set(name) & set("/:@") or name.strip() != name or name in {".", ".."}:
        raise UsageError(
            f"invalid model name {name!r}",
            "use letters, digits, - and _; the characters / : @ separate a name from its version",
        )


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise UsageError if a tag is reserved for the model's history."""
    for key in tags:
        if key.startswith(HISTORY_PREFIXES):
            raise UsageError(f"the tag {key!r} is reserved for the model's history", "choose another key")
