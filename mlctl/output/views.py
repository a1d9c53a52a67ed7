"""Which tables a value makes for people, and which document it is for programs.

`tables` and `document` are open to new types: register one beside the value's own section.
"""

from __future__ import annotations

from datetime import datetime
from functools import singledispatch
from typing import Any

from mlctl.domain import DataReference, RecipeDetail, RecipeInfo, Run
from mlctl.output.render import Column, Table, number


@singledispatch
def tables(answer: Any) -> list[Table]:
    """Return the tables that show this answer; the first is what CSV writes."""
    raise TypeError(f"no view for {type(answer).__name__}")


@singledispatch
def document(answer: Any) -> Any:
    """Return the JSON document of this answer: DESIGN's keys, which programs depend on."""
    raise TypeError(f"no document for {type(answer).__name__}")


@tables.register
def _(answer: list) -> list[Table]:  # type: ignore[type-arg]
    from mlctl.output import lists

    return lists.tables(answer)


@document.register
def _(answer: list) -> Any:  # type: ignore[type-arg]
    return [document(one) for one in answer]
