"""What MLflow accepts as names of models, versions, aliases and tags."""

from __future__ import annotations

import posixpath
import re

from mlctl.adapters.tracking.clients.entities import StoreError

PLAIN_KEY = re.compile(r"[\w.\- /:]{1,250}")
PLAIN_ALIAS = re.compile(r"(?!v\d+$|latest$)[\w\-]{1,255}", re.IGNORECASE)


def is_plain_tag(key: str, value: str = "", max_length: int = 0) -> bool:
    """Return whether every store takes this tag; MLflow judges any other."""
    return bool(PLAIN_KEY.fullmatch(key)) and _is_unique_path(key) and len(value) <= max_length


def is_plain_alias(alias: str) -> bool:
    """Return whether every store takes this alias; MLflow judges any other."""
    return bool(PLAIN_ALIAS.fullmatch(alias))


def check_model_name(name: str) -> None:
    """Raise StoreError for a name that no model can have."""
    if not name.strip() or set("/:") & set(name) or not _is_unique_path(name):
        raise StoreError(f"invalid model name {name!r}", "INVALID_PARAMETER_VALUE")


def version_number(version: str) -> int:
    """Return the number of a version; raises StoreError if it is none."""
    try:
        return int(version)
    except ValueError:
        raise StoreError(
            f"the version must be a number, not {version!r}", "INVALID_PARAMETER_VALUE"
        ) from None


def _is_unique_path(name: str) -> bool:
    """Return whether a name is no other name if it is read as a path."""
    return posixpath.normpath(name) == name and not name.startswith(("/", "..")) and name != "."
