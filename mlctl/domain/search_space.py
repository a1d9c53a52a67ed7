"""The combinations of a search space, in which some dimensions count only for some values of others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlctl.domain.conditions import inactive_names
from mlctl.domain.tune import Dimension

MAX_CONTROL_VALUES = 1_000_000  # of a dimension that others depend on


def active_values(dimensions: Sequence[Dimension], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a combination without those that do not count; other entries stay."""
    conditions = {dimension.name: dimension.condition for dimension in dimensions if dimension.condition}
    if not conditions:
        return dict(values)
    inactive = inactive_names(conditions, values)
    return {name: value for name, value in values.items() if name not in inactive}


def count_combinations(dimensions: Sequence[Dimension]) -> float:
    """Return the number of different combinations; infinite if a dimension has infinitely many values."""
    if not any(dimension.condition for dimension in dimensions):
        return math.prod(dimension.size for dimension in dimensions)
    compared = {comparison.name for dimension in dimensions for comparison in dimension.condition}
    controls = [dimension for dimension in in_order(dimensions) if dimension.name in compared]
    if any(dimension.size > MAX_CONTROL_VALUES for dimension in controls):
        return math.inf
    others = [dimension for dimension in dimensions if dimension.name not in compared]
    return _count(controls, others, {}, 0)


def combinations(dimensions: Sequence[Dimension]) -> Iterator[dict[str, Any]]:
    """Yield the values of every combination once, without those that do not count; the defaults come first."""
    ordered = in_order(dimensions)
    names = [dimension.name for dimension in dimensions]
    for values in _combine(ordered, {}):
        yield {name: values[name] for name in names if name in values}


def in_order(dimensions: Sequence[Dimension]) -> list[Dimension]:
    """Return dimensions so that each one follows those that its condition compares."""
    by_name = {dimension.name: dimension for dimension in dimensions}
    ordered: dict[str, Dimension] = {}

    def add(dimension: Dimension) -> None:
        for comparison in dimension.condition:
            if comparison.name in by_name:
                add(by_name[comparison.name])
        ordered[dimension.name] = dimension

    for dimension in dimensions:
        add(dimension)
    return list(ordered.values())


def _is_active(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    """Return whether a dimension counts; `values` has those of the active dimensions before it."""
    return all(
        comparison.name in values and comparison.holds(values[comparison.name])
        for comparison in dimension.condition
    )


def _combine(dimensions: Sequence[Dimension], values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not dimensions:
        yield values
        return
    first, rest = dimensions[0], dimensions[1:]
    if not _is_active(first, values):
        yield from _combine(rest, values)
        return
    for value in (first.default, *(value for value in first.all_values() if value != first.default)):
        yield from _combine(rest, {**values, first.name: value})


def _count(
    controls: Sequence[Dimension], others: Sequence[Dimension], values: dict[str, Any], number: int
) -> float:
    """Return the number of combinations that begin with these values of the first `number` controls."""
    if number == len(controls):
        return math.prod(dimension.size for dimension in others if _is_active(dimension, values))
    control = controls[number]
    if not _is_active(control, values):
        return _count(controls, others, values, number + 1)
    following = [comparison for dimension in (*controls, *others) for comparison in dimension.condition]
    comparisons = [comparison for comparison in following if comparison.name == control.name]
    alike: dict[tuple[bool, ...], list[Any]] = {}  # values for which the same dimensions count
    for value in control.all_values():
        alike.setdefault(tuple(comparison.holds(value) for comparison in comparisons), []).append(value)
    return sum(
        len(same) * _count(controls, others, {**values, control.name: same[0]}, number + 1)
        for same in alike.values()
    )
