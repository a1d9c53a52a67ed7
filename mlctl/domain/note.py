"""Descriptions of runs and versions in MLflow, as Markdown. mlctl replaces its own text only, never a person's."""

from __future__ import annotations

import hashlib
import re

NOTE_TAG = "mlflow.note.content"
_MARK = re.compile(r"\n*<!-- mlctl ([0-9a-f]{8}) -->\s*")


def generated_note(text: str) -> str:
    """Return a description of mlctl's, with a mark that is not shown and no longer fits if somebody edits the text."""
    text = text.strip()
    return f"{text}\n\n<!-- mlctl {_digest(text)} -->"


def may_replace(note: str) -> bool:
    """Return whether a description is empty, or mlctl's own and as it was written."""
    mark = _MARK.search(note)
    return not note.strip() or (
        mark is not None and mark.end() == len(note) and mark[1] == _digest(note[: mark.start()])
    )


def own_text(description: str) -> str:
    """Return a description that a person has written; "" for mlctl's, which repeats what tables show."""
    return "" if may_replace(description) else description


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:8]
