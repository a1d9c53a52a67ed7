"""Stages: MLflow's four, and an operator's own.

Staging, Production and an operator's own are held, each by one version, to which an alias of the stage's name
in lower case points. None and Archived are states that any number of versions may be in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlctl.errors import ConfigurationError, UsageError, did_you_mean

NONE, STAGING, PRODUCTION, ARCHIVED = "None", "Staging", "Production", "Archived"
CLASSIC_HELD = (STAGING, PRODUCTION)  # MLflow has one classic stage a version, so these exclude each other
STATES = (NONE, ARCHIVED)
ALIAS = re.compile(r"[A-Za-z][\w-]{0,99}")


def canonical(typed: str, own: Sequence[str]) -> str:
    """Return a stage's name as it is written, typed in any case; `own` are the operator's.

    Raises UsageError, with the nearest name, for a stage that nobody declared.
    """
    known = {stage.lower(): stage for stage in (NONE, STAGING, PRODUCTION, ARCHIVED, *checked(own))}
    if typed.lower() not in known:
        near = did_you_mean(typed, known.values())
        raise UsageError(
            f"there is no stage {typed!r}",
            near
            or f'there are: {", ".join(known.values())}; your own go into mlctl.toml: stages = ["Canary"]',
        )
    return known[typed.lower()]


def checked(own: Sequence[str]) -> Sequence[str]:
    """Return the operator's stages; raises ConfigurationError for one that cannot be an alias."""
    for stage in own:
        reserved = stage.lower() == "latest" or re.fullmatch(r"v\d+", stage.lower())
        if reserved or not ALIAS.fullmatch(stage):
            raise ConfigurationError(
                f"the stage {stage!r} cannot be: MLflow reserves it, or it is no plain word",
                "name it with letters, digits, - and _; latest, v1, v2 … are reserved",
            )
    return own


def alias_of(stage: str) -> str:
    """Return the alias that points to a held stage's version."""
    return stage.lower()


def is_held(stage: str) -> bool:
    """Whether at most one version can have this stage."""
    return stage not in STATES


def number(typed: str) -> str:
    """Return a version's number from 3 or v3; raises UsageError."""
    found = typed.strip().lower().removeprefix("v")
    if not found.isdecimal() or int(found) == 0:
        raise UsageError(f"{typed!r} is no version", "give its number: 1")
    return str(int(found))
