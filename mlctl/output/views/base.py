"""The two functions that every answer implements in its own module of this package."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from mlctl.output.tables import AnswerTable


@singledispatch
def tables(answer: Any) -> list[AnswerTable]:
    """Return the tables of an answer for people; the first one is also its CSV."""
    raise TypeError(f"no view for {type(answer).__name__}")


@singledispatch
def document(answer: Any) -> Any:
    """Return the JSON document of an answer. Programs depend on its keys."""
    raise TypeError(f"no document for {type(answer).__name__}")
