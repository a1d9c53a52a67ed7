"""The functions that show an answer; the other modules of this package register implementations of them."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from functools import singledispatch
from typing import Any

from mlctl.output.tables import AnswerTable


@singledispatch
def tables(answer: Any) -> list[AnswerTable]:
    """Return the tables of an answer for people; the first one is also its CSV."""
    raise TypeError(f"no tables for {type(answer).__name__}")


@singledispatch
def text(answer: Any) -> str:
    """Return an answer that is a text, such as Markdown; "" for one that is tables."""
    return ""


@singledispatch
def document(answer: Any) -> Any:
    """Return the JSON document of an answer: by default, all fields of the dataclass.

    Programs depend on the keys. If a field is renamed, its document keeps the old key (see `with_keys`).
    """
    if not is_dataclass(answer) or isinstance(answer, type):
        raise TypeError(f"no document for {type(answer).__name__}")
    return asdict(answer)


def with_keys(value: Any, **keys: str) -> dict[str, Any]:
    """Return the fields of a dataclass as a dictionary in which the given fields have other keys."""
    return {keys.get(name, name): content for name, content in asdict(value).items()}
