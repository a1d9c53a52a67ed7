"""The filter language of `--where`; MLflow's own filters cannot compare parameters as numbers.

    best_val_f1 > 0.88 and params.epochs = 10 and not (status = FAILED or tags.owner contains ann)

Operators are = != < <= > >= like contains. Text comparisons ignore case; `like` takes % and _. A run without a field
matches no comparison of it. `started` takes 2026-11-21, today, yesterday or 2h (two hours ago); `duration` takes 90s,
10m or 2h.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from mlctl.domain.run import Run
from mlctl.domain.run_queries import Condition, RunField
from mlctl.errors import UsageError
from mlctl.services.runs.fields import as_number, read_field
from mlctl.units import parse_duration

TOKEN = re.compile(
    r"""(?P<blank>\s+)
      | (?P<text>'[^']*'|"[^"]*")
      | (?P<mark>[()]|!=|<=|>=|==|=|<|>)
      | (?P<word>(?:[^\s()=<>!'"`]|`[^`]*`)+)""",
    re.VERBOSE,
)
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OPERATORS = (*COMPARISONS, "like", "contains")
Predicate = Callable[[Run], bool]
Resolve = Callable[[str, str], RunField]


@dataclass(frozen=True)
class RunFilter:
    """A parsed filter.

    Attributes:
        matches: Whether a run matches the whole filter.
        conditions: Comparisons that every matching run fulfils, which the store can use.
        fields: Every field that the filter names.
    """

    matches: Predicate
    conditions: tuple[Condition, ...]
    fields: frozenset[RunField] = frozenset()


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


def parse_filter(text: str, resolve: Resolve) -> RunFilter:
    """Parse a filter.

    `resolve` takes a name and its position in words, and returns the field. Raises UsageError that shows the position
    of the mistake.
    """
    return _Parser(text, resolve).parse()


class _Parser:
    def __init__(self, text: str, resolve: Resolve) -> None:
        self._text, self._resolve = text, resolve
        self._tokens = list(self._split())
        self._next = 0
        self._fields: set[RunField] = set()

    def parse(self) -> RunFilter:
        parsed = self._parse_or()
        if token := self._peek():
            raise self._error(f"expected 'and' or 'or', found {token.text!r}", token.position)
        return replace(parsed, fields=frozenset(self._fields))

    def _parse_or(self) -> RunFilter:
        terms = [self._parse_and()]
        while self._accept("or"):
            terms.append(self._parse_and())
        if len(terms) == 1:
            return terms[0]
        return RunFilter(lambda run: any(term.matches(run) for term in terms), ())

    def _parse_and(self) -> RunFilter:
        terms = [self._parse_term()]
        while self._accept("and"):
            terms.append(self._parse_term())
        if len(terms) == 1:
            return terms[0]
        conditions = tuple(condition for term in terms for condition in term.conditions)
        return RunFilter(lambda run: all(term.matches(run) for term in terms), conditions)

    def _parse_term(self) -> RunFilter:
        if self._accept("not"):
            term = self._parse_term()
            return RunFilter(lambda run: not term.matches(run), ())
        if opening := self._accept("("):
            term = self._parse_or()
            if not self._accept(")"):
                raise self._error("this parenthesis is never closed", opening.position)
            return term
        return self._parse_comparison()

    def _parse_comparison(self) -> RunFilter:
        name = self._expect("a name")
        if name.kind != "word":
            raise self._error(f"expected a name, found {name.text!r}", name.position)
        if self._peek() is None:
            raise self._lone_name(name)
        sign = self._expect("a comparison")
        symbol = {"==": "="}.get(sign.text, sign.text.lower())
        if symbol not in OPERATORS:
            raise self._error(f"expected one of {' '.join(OPERATORS)}, found {sign.text!r}", sign.position)
        value = self._expect("a value")
        if value.kind == "mark":
            raise self._error(f"expected a value, found {value.text!r}", value.position)
        field = self._resolve(name.text, f" (at character {name.position + 1} of --where)")
        self._fields.add(field)
        condition = Condition(field, symbol, self._parse_value(field, symbol, value))
        return RunFilter(_predicate(condition), (condition,))

    def _lone_name(self, name: _Token) -> UsageError:
        """Return the error of a name without a comparison; raise UsageError if no run has the name."""
        field = self._resolve(name.text, " (in --where)")
        value = "0.9" if field.kind == "metric" else "VALUE"
        return UsageError(
            f"--where: {name.text} is compared with nothing",
            f"write a comparison, such as --where '{name.text} {'>' if field.kind == 'metric' else '='} {value}'",
        )

    def _parse_value(self, field: RunField, symbol: str, token: _Token) -> float | str:
        text = token.text[1:-1] if token.kind == "text" else token.text
        if symbol in {"like", "contains"}:
            return text
        if field.kind == "attribute" and field.name in {"started", "duration"}:
            number = _parse_time(text) if field.name == "started" else _parse_seconds(text)
            if number is None:
                examples = "2026-11-21, today or 2h" if field.name == "started" else "90s, 10m or 2h"
                raise self._error(f"{field} needs a value such as {examples}, found {text!r}", token.position)
            return number
        number = as_number(text)
        if field.kind == "metric" or symbol in {"<", "<=", ">", ">="}:
            if number is None:
                raise self._error(f"{field} {symbol} needs a number, found {text!r}", token.position)
            return number
        return text if number is None or field.kind == "attribute" or math.isnan(number) else number

    def _split(self) -> Iterator[_Token]:
        position = 0
        while position < len(self._text):
            match = TOKEN.match(self._text, position)
            if not match:
                character = self._text[position]
                problem = "a quote that is never closed" if character in "'\"`" else repr(character)
                raise self._error(f"cannot read {problem}", position)
            if match.lastgroup != "blank":
                yield _Token(str(match.lastgroup), match.group(), position)
            position = match.end()

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _accept(self, word: str) -> _Token | None:
        """Return the next token and move on if it is this word; else return None."""
        token = self._peek()
        if token and token.kind in {"word", "mark"} and token.text.lower() == word:
            self._next += 1
            return token
        return None

    def _expect(self, expected: str) -> _Token:
        """Return the next token and move on; raise UsageError at the end of the filter."""
        token = self._peek()
        if token is None:
            raise self._error(f"expected {expected}, but the filter ends", len(self._text))
        self._next += 1
        return token

    def _error(self, problem: str, position: int) -> UsageError:
        before, after = self._text[max(0, position - 30) : position], self._text[position : position + 30]
        return UsageError(f"--where, character {position + 1}: {problem}", f"here: {before}▸{after}")


def _predicate(condition: Condition) -> Predicate:
    field, symbol, expected = condition.field, condition.operator, condition.value
    if symbol in {"like", "contains"}:
        return _pattern_predicate(field, str(expected), is_part=symbol == "contains")
    compare = COMPARISONS[symbol]
    if isinstance(expected, float):
        return _number_predicate(field, symbol, expected)
    lowered = expected.lower()
    return lambda run: (value := read_field(run, field)) is not None and compare(str(value).lower(), lowered)


def _pattern_predicate(field: RunField, pattern: str, *, is_part: bool) -> Predicate:
    """Match a LIKE pattern with % and _, or a text that is a part of the value."""
    if is_part:
        expression = re.compile(f".*{re.escape(pattern)}.*", re.IGNORECASE | re.DOTALL)
    else:
        parts = re.findall(r"\\.|.", pattern, re.DOTALL)
        regex = "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)
        expression = re.compile(regex, re.IGNORECASE | re.DOTALL)
    return lambda run: (
        (value := read_field(run, field)) is not None and bool(expression.fullmatch(str(value)))
    )


def _number_predicate(field: RunField, symbol: str, expected: float) -> Predicate:
    """Compare as numbers; a text that is not a number is only != to a number."""

    def matches(run: Run) -> bool:
        value = read_field(run, field)
        if value is None:
            return False
        number = as_number(value)
        return symbol == "!=" if number is None else COMPARISONS[symbol](number, expected)

    return matches


def _parse_seconds(text: str) -> float | None:
    """Return a duration, or a plain number, in seconds; None if it is neither."""
    try:
        return parse_duration(text if text[-1:].isalpha() else f"{text}s")
    except UsageError:
        return None


def _parse_time(text: str) -> float | None:
    """Return an ISO date or time, "today", "yesterday", or a duration ago as seconds since 1970, or None."""
    now = datetime.now().astimezone()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text.lower() in {"today", "yesterday"}:
        return (midnight - timedelta(days=text.lower() == "yesterday")).timestamp()
    if text[-1:].isalpha() and (ago := _parse_seconds(text)) is not None:
        return now.timestamp() - ago
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        return None
