"""What the installed MLflow's own files say of its schema, read as text: loading MLflow takes seconds."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

TRACKING, AUTH = "store/db_migrations/versions", "server/auth/db/migrations/versions"
MADE_BY = (TRACKING, AUTH, "store/*/dbmodels", "server/auth/db")
TABLE = re.compile(r"(?:__tablename__\s*=|create_table\()\s*[\"'](\w+)[\"']")


def newest_revision() -> str:
    """Return the schema's revision that the installed MLflow wants."""
    found = revisions()
    (head,) = set(found) - {before for before in found.values() if before}
    return head


def revisions(of: str = TRACKING) -> dict[str, str | None]:
    """Return each revision with the one before it, of the tracking tables or of basic-auth's."""
    found = {}
    for file in (_mlflow() / of).glob("*.py"):
        text = file.read_text(encoding="utf-8")
        revision = re.search(r"^revision\s*=\s*[\"'](\w+)", text, re.MULTILINE)
        before = re.search(r"^down_revision\s*=\s*[\"'](\w+)", text, re.MULTILINE)
        if revision:
            found[revision[1]] = before[1] if before else None
    return found


@functools.cache
def tables() -> frozenset[str]:
    """Return every table that MLflow makes or ever made, basic-auth's included: any other is another program's."""
    files = (file for folder in MADE_BY for file in _mlflow().glob(f"{folder}/*.py"))
    return frozenset(name for file in files for name in TABLE.findall(file.read_text(encoding="utf-8")))


def _mlflow() -> Path:
    spec = importlib.util.find_spec("mlflow")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent
