"""Conditions under which a hyperparameter counts: `when="num_layers>=3 & optimizer in adam|sgd"`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_COMPARISON = re.compile(r"\s*(?P<name>[^\W\d]\w*)\s*(?P<sign>==|!=|<=|>=|<|>|\bin\b)\s*(?P<value>.*\S)\s*")
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Comparison:
    """A comparison of one hyperparameter; `values` has several values only if `sign` is "in"."""

    name: str
    sign: str
    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Return whether a value of the hyperparameter fulfils the comparison."""
        if self.sign in _ORDERS:
            try:
                return _ORDERS[self.sign](value, self.values[0])
            except TypeError:  # None among numbers has no order
                return False
        is_listed = any(value == listed and (value is None) == (listed is None) for listed in self.values)
        return is_listed if self.sign in {"==", "in"} else not is_listed


Condition = tuple[Comparison, ...]  # all of them must hold; empty: always


def parse_condition(text: str) -> Condition:
    """Return the comparisons of a text, their values as texts; raises ValueError for another form."""
    if not text.strip():
        return ()
    comparisons = []
    for part in text.split("&"):
        match = _COMPARISON.fullmatch(part)
        if match is None:
            raise ValueError(
                f"when={text!r}: {part.strip()!r} compares no hyperparameter; write NAME>=3, NAME==relu or NAME in a|b"
            )
        values = match["value"].split("|") if match["sign"] == "in" else [match["value"]]
        comparisons.append(
            Comparison(match["name"], match["sign"], tuple(_unquoted(value) for value in values))
        )
    return tuple(comparisons)


def inactive_names(conditions: Mapping[str, Condition], values: Mapping[str, Any]) -> frozenset[str]:
    """Return the names whose condition does not hold, or compares a hyperparameter that is inactive itself."""
    inactive: dict[str, bool] = {}

    def is_inactive(name: str) -> bool:
        if name not in inactive:
            inactive[name] = any(
                is_inactive(comparison.name) or not comparison.holds(values[comparison.name])
                for comparison in conditions.get(name, ())
            )
        return inactive[name]

    return frozenset(name for name in conditions if is_inactive(name))


def find_cycle(conditions: Mapping[str, Condition]) -> str:
    """Return the name of a hyperparameter whose conditions lead back to itself; "" if there is none."""
    for start in conditions:
        seen: set[str] = set()
        names = [start]
        while names:
            for comparison in conditions.get(names.pop(), ()):
                if comparison.name == start:
                    return start
                if comparison.name not in seen:
                    seen.add(comparison.name)
                    names.append(comparison.name)
    return ""


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
