"""The types of a table's columns: number, category, boolean, date, text, or dropped; and what the user sets about them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mlctl.data.tables import date_columns
from mlctl.data.tables.column_names import match_names
from mlctl.domain.column_reading import BOOLEAN, CATEGORY, DATE, NUMBER, TEXT, ColumnReading
from mlctl.domain.numbers import parse_number
from mlctl.domain.short_texts import list_some
from mlctl.errors import UsageError, did_you_mean

__all__ = [
    "BOOLEAN",
    "CATEGORY",
    "DATE",
    "DROP",
    "NUMBER",
    "TEXT",
    "TYPES",
    "ReadingOptions",
    "TableColumn",
    "set_option",
    "suggest_column",
]
DROP = "drop"
TYPES = (NUMBER, CATEGORY, BOOLEAN, DATE, TEXT, DROP)
MIN_SHARE_OF_SET_TYPE = 0.5  # is enough if the user sets the type, or if no other type is of use


@dataclass(frozen=True, kw_only=True)
class TableColumn:
    """A column's type, and how its cells are read.

    Attributes:
        reason: Why it is dropped, else "".
        missing: Number of cells without a value of this type.
        format: Format of a date column, else "".
        reading: How a file's or request's cells are read; None of a dropped column.
        remarks: What was done with its cells, each in a few words: "unit km removed".
        question: A sentence about what mlctl cannot know, and the option that sets it; or "".
    """

    name: str
    type: str
    reason: str = ""
    missing: int = 0
    format: str = ""
    reading: ColumnReading | None = None
    remarks: tuple[str, ...] = ()
    question: str = ""


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """What the user sets about the columns.

    Attributes:
        types: Types by column.
        date_formats: Formats of dates by column.
        finds_sentinels: Whether numbers such as -999 may be found to stand for a missing value.
        sentinels: The number that stands for a missing value by column; None: there is none.
    """

    types: Mapping[str, str] = field(default_factory=dict)
    date_formats: Mapping[str, str] = field(default_factory=dict)
    finds_sentinels: bool = True
    sentinels: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise UsageError for a value that no column can have."""
        for name, type in self.types.items():
            if type not in TYPES:
                raise UsageError(
                    f"column.{name}={type}: unknown column type", f"use one of {', '.join(TYPES)}"
                )
        for name, format in self.date_formats.items():
            if not date_columns.check_format(format):
                raise UsageError(
                    f"date.{name}={format}: this is no format of dates",
                    "write it as %d.%m.%Y, %m/%d/%Y or %d-%b-%y, or use ISO8601, epoch or epoch_ms",
                )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ReadingOptions:
        """Return what a recipe's options say: column.NAME, date.NAME, sentinel.NAME and sentinels.

        Raises UsageError for a value that no column can have.
        """
        named: dict[str, dict[str, str]] = {"column": {}, "date": {}, "sentinel": {}}
        for option, value in options.items():
            kind, dot, name = option.partition(".")
            if dot and kind in named:
                named[kind][name] = str(value)
        return cls(
            types=named["column"],
            date_formats=named["date"],
            finds_sentinels=str(options.get("sentinels", True)).lower() not in ("false", "0", "no"),
            sentinels={name: _parse_sentinel(name, value) for name, value in named["sentinel"].items()},
        )

    def without_sentinel(self, name: str) -> ReadingOptions:
        """Return these options without the number that stands for a missing value in one column."""
        return replace(self, sentinels={key: value for key, value in self.sentinels.items() if key != name})

    def match(self, names: Sequence[str]) -> ReadingOptions:
        """Return these options with a table's own names; the user's may differ in case and blanks."""
        matched = {
            key: match_names(list(getattr(self, key)), names)
            for key in ("types", "date_formats", "sentinels")
        }
        changes: dict[str, Any] = {
            key: {found.get(name, name): value for name, value in getattr(self, key).items()}
            for key, found in matched.items()
        }
        return replace(self, **changes)

    def check(self, names: Collection[str], unused: Collection[str] = ()) -> None:
        """Raise UsageError for a column that the table does not have, or for one of those that are no inputs."""
        for option, values in (
            ("column", self.types),
            ("date", self.date_formats),
            ("sentinel", self.sentinels),
        ):
            for name in values:
                if name not in names:
                    raise UsageError(
                        f"{option}.{name}: the table has no such column", suggest_column(name, names)
                    )
                if name in unused and option != "sentinel":
                    raise UsageError(
                        f"{option}.{name}: this column is no input",
                        "leave it out; --set task= and positive= are for the target",
                    )


def _parse_sentinel(name: str, value: str) -> float | None:
    if value.lower() in ("none", "false", "no", ""):
        return None
    number = parse_number(value)
    if number is None:
        raise UsageError(
            f"sentinel.{name}={value} is no number", f"example: --set sentinel.{name}=-999, or none"
        )
    return float(number)


def set_option(option: str, value: object) -> str:
    """Return how an option is written in a shell, such as --set column.age=drop."""
    text = " ".join(f"{option}={value}".split())
    return f"--set {shlex.quote(text)}"


def suggest_column(name: str, columns: Iterable[Any]) -> str:
    """Return a hint for a name that is not a column."""
    names = [str(column) for column in columns]
    return did_you_mean(name, names) or f"the columns are {list_some(names, 20)}"
