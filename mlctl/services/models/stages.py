"""Stages: MLflow's four, and those that the user declares in mlctl.toml.

Staging, Production and the user's own stages are exclusive: at most one version holds each of them, and an alias
with the stage's name in lower case points to it. Any number of versions may be in None or Archived.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlctl.errors import ConfigurationError, UsageError, did_you_mean

NONE, STAGING, PRODUCTION, ARCHIVED = "None", "Staging", "Production", "Archived"
CLASSIC_STAGES = (STAGING, PRODUCTION)  # a version has one classic stage in MLflow, so it holds one of these
SHARED_STAGES = (NONE, ARCHIVED)
ALIAS = re.compile(r"[A-Za-z][\w-]{0,99}")


def canonical_stage(typed: str, own_stages: Sequence[str]) -> str:
    """Return a stage's name in its usual spelling, typed in any case.

    Raises UsageError, with the nearest name, if neither MLflow nor `own_stages` has the stage.
    """
    check_own_stages(own_stages)
    known = {stage.lower(): stage for stage in (NONE, STAGING, PRODUCTION, ARCHIVED, *own_stages)}
    if typed.lower() not in known:
        stages = ", ".join(known.values())
        raise UsageError(
            f"there is no stage {typed!r}",
            did_you_mean(typed, known.values())
            or f'stages: {stages}; declare your own in mlctl.toml, such as stages = ["Canary"]',
        )
    return known[typed.lower()]


def check_own_stages(own_stages: Sequence[str]) -> None:
    """Raise ConfigurationError if one of the user's stages cannot be an alias."""
    for stage in own_stages:
        reserved = stage.lower() == "latest" or re.fullmatch(r"v\d+", stage.lower())
        if reserved or not ALIAS.fullmatch(stage):
            raise ConfigurationError(
                f"invalid stage {stage!r}: {'MLflow reserves this name' if reserved else 'it is not a plain word'}",
                "use letters, digits, - and _; latest, v1, v2 … are reserved",
            )


def stage_alias(stage: str) -> str:
    """Return the alias that points to the version in an exclusive stage."""
    return stage.lower()


def is_exclusive(stage: str) -> bool:
    """Return whether at most one version can be in this stage."""
    return stage not in SHARED_STAGES


def version_number(typed: str) -> str:
    """Return a version's number from 3 or v3. Raises UsageError."""
    number = typed.strip().lower().removeprefix("v")
    if not number.isdecimal() or int(number) == 0:
        raise UsageError(f"invalid version {typed!r}", "give its number, such as 1")
    return str(int(number))
