"""The two questions that every answer can be asked; each value's own file registers its replies."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from mlctl.output.render import Table


@singledispatch
def tables(answer: Any) -> list[Table]:
    """Return the tables that show this answer to people; the first is what CSV writes."""
    raise TypeError(f"no view for {type(answer).__name__}")


@singledispatch
def document(answer: Any) -> Any:
    """Return the JSON document of this answer: its keys are a contract with programs."""
    raise TypeError(f"no document for {type(answer).__name__}")
