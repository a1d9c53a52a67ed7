"""Long texts, lists and the messages of exceptions, in one short line."""

from __future__ import annotations

from collections.abc import Sequence

from mlctl.errors import MlctlError


def shorten(text: str, length: int) -> str:
    """Return a text of at most `length` characters; a longer one ends in …."""
    return text if len(text) <= length else text[: length - 1] + "…"


def list_some(items: Sequence[object], most: int) -> str:
    """Return the first items of a list, and the number of the others: a, b and 3 more."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more


def one_line(message: object, length: int = 200) -> str:
    """Return a message, such as that of an exception, without line breaks, shortened."""
    return shorten(" ".join(str(message).split()), length)


def first_line(error: BaseException, length: int = 200) -> str:
    """Return the first line of an exception's message, shortened; if it has none, the exception's class."""
    lines = (line.strip() for line in str(error).splitlines())
    return shorten(next(filter(None, lines), type(error).__name__), length)


def describe_error(error: BaseException, length: int = 300) -> str:
    """Return the message of an error of mlctl, and the class and the message of any other, in one line."""
    return one_line(
        error.message if isinstance(error, MlctlError) else f"{type(error).__name__}: {error}", length
    )
