"""`--where`: a small language of comparisons, because MLflow's own cannot compare parameters as numbers.

    best_val_f1 > 0.88 and params.epochs = 10 and not (status = FAILED or tags.owner contains ann)

Comparisons are = != < <= > >= like contains; text ignores case, `like` takes % and _. A run that lacks a
field satisfies no comparison of it. `started` takes 2026-11-21, today, yesterday or 2h (two hours ago);
`duration` takes 90s, 10m or 2h.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mlctl.domain.run import Run
from mlctl.domain.run_queries import Condition, Field
from mlctl.errors import UsageError
from mlctl.services.runs.fields import as_number, read

TOKEN = re.compile(
    r"""(?P<blank>\s+)
      | (?P<text>'[^']*'|"[^"]*")
      | (?P<mark>[()]|!=|<=|>=|==|=|<|>)
      | (?P<word>(?:[^\s()=<>!'"`]|`[^`]*`)+)""",
    re.VERBOSE,
)
COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
OPERATORS = (*COMPARE, "like", "contains")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
Test = Callable[[Run], bool]
Resolve = Callable[[str, str], Field]


@dataclass(frozen=True)
class RunFilter:
    """A parsed filter: the whole as a test, and the comparisons that every match satisfies."""

    matches: Test
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str, resolve: Resolve) -> RunFilter:
    """Parse a filter; `resolve` turns a name, with the words that tell its spot, into a field.

    Raises UsageError that points at the spot.
    """
    return _Parser(text, resolve).whole()


class _Parser:
    def __init__(self, text: str, resolve: Resolve) -> None:
        self._text, self._resolve = text, resolve
        self._tokens = list(self._split())
        self._next = 0

    def whole(self) -> RunFilter:
        test, conditions = self._any_of()
        if token := self._peek():
            raise self._wrong(f"expected 'and' or 'or', found {token.text!r}", token.at)
        return RunFilter(test, conditions)

    def _any_of(self) -> tuple[Test, tuple[Condition, ...]]:
        test, conditions = self._all_of()
        tests = [test]
        while self._took("or"):
            tests.append(self._all_of()[0])
            conditions = ()  # no longer demanded of every match
        return (tests[0] if len(tests) == 1 else lambda run: any(one(run) for one in tests)), conditions

    def _all_of(self) -> tuple[Test, tuple[Condition, ...]]:
        test, conditions = self._one()
        tests = [test]
        while self._took("and"):
            test, more = self._one()
            tests.append(test)
            conditions += more
        return (tests[0] if len(tests) == 1 else lambda run: all(one(run) for one in tests)), conditions

    def _one(self) -> tuple[Test, tuple[Condition, ...]]:
        if self._took("not"):
            test, _ = self._one()
            return (lambda run: not test(run)), ()
        if opening := self._took("("):
            test, conditions = self._any_of()
            if not self._took(")"):
                raise self._wrong("this parenthesis is never closed", opening.at)
            return test, conditions
        return self._comparison()

    def _comparison(self) -> tuple[Test, tuple[Condition, ...]]:
        name = self._take("a name")
        if name.kind != "word":
            raise self._wrong(f"expected a name, found {name.text!r}", name.at)
        sign = self._take("a comparison")
        symbol = {"==": "="}.get(sign.text, sign.text.lower())
        if symbol not in OPERATORS:
            raise self._wrong(f"expected one of {' '.join(OPERATORS)}, found {sign.text!r}", sign.at)
        value = self._take("a value")
        if value.kind == "mark":
            raise self._wrong(f"expected a value, found {value.text!r}", value.at)
        field = self._resolve(name.text, f" (at {name.at + 1} of --where)")
        wanted = self._value(field, symbol, value)
        condition = Condition(field, symbol, wanted)
        return _tester(condition), (condition,)

    def _value(self, field: Field, symbol: str, token: _Token) -> float | str:
        text = token.text[1:-1] if token.kind == "text" else token.text
        if symbol in {"like", "contains"}:
            return text
        if field.kind == "attribute" and field.name in {"started", "duration"}:
            number = _moment(text) if field.name == "started" else _seconds(text)
            if number is None:
                wanted = "2026-11-21, today or 2h" if field.name == "started" else "90s, 10m or 2h"
                raise self._wrong(f"{field} is compared with {wanted}, not {text!r}", token.at)
            return number
        number = as_number(text)
        if field.kind == "metric" or symbol in {"<", "<=", ">", ">="}:
            if number is None:
                raise self._wrong(f"{field} {symbol} wants a number, found {text!r}", token.at)
            return number
        return text if number is None or field.kind == "attribute" or math.isnan(number) else number

    def _split(self) -> Iterator[_Token]:
        at = 0
        while at < len(self._text):
            match = TOKEN.match(self._text, at)
            if not match:
                what = "a quote that is never closed" if self._text[at] in "'\"`" else repr(self._text[at])
                raise self._wrong(f"cannot read {what}", at)
            if match.lastgroup != "blank":
                yield _Token(str(match.lastgroup), match.group(), at)
            at = match.end()

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _took(self, word: str) -> _Token | None:
        token = self._peek()
        if token and token.kind in {"word", "mark"} and token.text.lower() == word:
            self._next += 1
            return token
        return None

    def _take(self, wanted: str) -> _Token:
        token = self._peek()
        if token is None:
            raise self._wrong(f"expected {wanted}, and it ends", len(self._text))
        self._next += 1
        return token

    def _wrong(self, what: str, at: int) -> UsageError:
        before, after = self._text[max(0, at - 30) : at], self._text[at : at + 30]
        return UsageError(f"--where, character {at + 1}: {what}", f"here: {before}▸{after}")


def _tester(condition: Condition) -> Test:
    field, symbol, wanted = condition.field, condition.operator, condition.value
    if symbol in {"like", "contains"}:
        text = str(wanted)
        pattern = f"%{_escaped(text)}%" if symbol == "contains" else text
        expression = re.compile(_as_regex(pattern), re.IGNORECASE | re.DOTALL)
        return lambda run: (value := read(run, field)) is not None and bool(expression.fullmatch(str(value)))
    compare = COMPARE[symbol]
    if isinstance(wanted, float):

        def by_number(run: Run) -> bool:
            value = read(run, field)
            if value is None:
                return False
            number = as_number(value)
            return symbol == "!=" if number is None else compare(number, wanted)

        return by_number
    lowered = wanted.lower()
    return lambda run: (value := read(run, field)) is not None and compare(str(value).lower(), lowered)


def _escaped(text: str) -> str:
    return re.sub(r"([%_\\])", r"\\\1", text)


def _as_regex(pattern: str) -> str:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "".join({"%": ".*", "_": "."}.get(one, re.escape(one[-1])) for one in parts)


def _seconds(text: str) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text.strip())
    return float(match[1]) * SECONDS[match[2] or "s"] if match else None


def _moment(text: str) -> float | None:
    """Return seconds since 1970 of an ISO date or time, of today or yesterday, or of so long ago."""
    now = datetime.now().astimezone()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text.lower() in {"today", "yesterday"}:
        return (midnight - timedelta(days=text.lower() == "yesterday")).timestamp()
    if text and text[-1] in SECONDS and (ago := _seconds(text)) is not None:
        return now.timestamp() - ago
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        return None
