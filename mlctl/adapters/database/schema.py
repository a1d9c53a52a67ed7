"""The schema of the installed MLflow, read from its source files, because importing MLflow takes seconds."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

TRACKING, AUTH = "store/db_migrations/versions", "server/auth/db/migrations/versions"
TABLE_SOURCES = (TRACKING, AUTH, "store/*/dbmodels", "server/auth/db")
TABLE = re.compile(r"(?:__tablename__\s*=|create_table\()\s*[\"'](\w+)[\"']")


def newest_revision() -> str:
    """Return the schema revision that the installed MLflow requires."""
    found = revisions()
    (head,) = set(found) - {previous for previous in found.values() if previous}
    return head


def revisions(folder: str = TRACKING) -> dict[str, str | None]:
    """Return each revision with the one before it, of the tracking tables or of basic-auth's (AUTH)."""
    found = {}
    for file in (_mlflow_folder() / folder).glob("*.py"):
        text = file.read_text(encoding="utf-8")
        revision = re.search(r"^revision\s*=\s*[\"'](\w+)", text, re.MULTILINE)
        previous = re.search(r"^down_revision\s*=\s*[\"'](\w+)", text, re.MULTILINE)
        if revision:
            found[revision[1]] = previous[1] if previous else None
    return found


@functools.cache
def mlflow_tables() -> frozenset[str]:
    """Return every table that MLflow or basic-auth makes or ever made; other tables are another program's."""
    files = (file for folder in TABLE_SOURCES for file in _mlflow_folder().glob(f"{folder}/*.py"))
    return frozenset(name for file in files for name in TABLE.findall(file.read_text(encoding="utf-8")))


def _mlflow_folder() -> Path:
    spec = importlib.util.find_spec("mlflow")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent
