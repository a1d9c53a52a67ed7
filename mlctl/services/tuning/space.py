"""The space of a search: what a recipe declares, narrowed, widened or fixed by what was typed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlctl.domain.tune import Dimension, whole_steps
from mlctl.errors import UsageError, did_you_mean
from mlctl.recipes import Recipe
from mlctl.recipes.declare import COMMON, Hyperparameter

RANGE = re.compile(r"(?P<low>[^.]\S*?)\.\.(?P<high>[^:]+)(:(?P<how>.+))?")


def space(
    recipe: Recipe, given: Mapping[str, Any], typed: Mapping[str, str]
) -> tuple[tuple[Dimension, ...], dict[str, Any]]:
    """Return the dimensions to search, in the recipe's order, and every value that stays fixed.

    `given` are values of --set, which fix; `typed` are --space NAME=WHAT: `16..64:16`, `1e-4..1e-1:log`, `a|b`,
    or one value. Epochs, batch size and schedule are searched only where they are named, the learning rate
    within a factor of ten of the recipe's own, and options of the data never.
    Raises UsageError for what is declared nowhere, out of its bounds, or both fixed and searched.
    """
    declared = recipe.declared()
    for name in typed:
        if name not in declared:
            hint = did_you_mean(name, declared) or f"it declares: {', '.join(declared)}"
            raise UsageError(f"recipe {recipe.name} declares no {name!r}", hint)
        if name in given:
            raise UsageError(f"{name} is both fixed by --set and searched by --space", "keep one of them")
        if declared[name].data:
            raise UsageError(
                f"{name} is an option of the data, which is the same for all trials", f"--set {name}=…"
            )
    dimensions: list[Dimension] = []
    fixed = dict(recipe.values(given))
    found: Dimension | tuple[Any] | None
    for name, one in declared.items():
        if name in typed:
            found = _typed(name, one, typed[name])
        elif name in given or one.data or (name in COMMON and name != "learning_rate"):
            continue
        else:
            found = _declared(name, one)
        if found is None:
            continue
        if isinstance(found, Dimension):
            dimensions.append(found)
            fixed.pop(name)
        else:
            fixed[name] = found[0]
    if not dimensions:
        raise UsageError(
            f"nothing is left to search in recipe {recipe.name}", "--space units=16..64:16 searches units"
        )
    return tuple(dimensions), fixed


def size(dimensions: Sequence[Dimension]) -> float:
    """Return how many combinations there are; infinite where a dimension has no end of values."""
    return math.prod(one.size for one in dimensions)


def _declared(name: str, one: Hyperparameter) -> Dimension | None:
    if name == "learning_rate":
        low, high = one.parse(name, one.low), one.parse(name, one.high)
        return _ranged(name, one, max(low, one.default / 10), min(high, one.default * 10), None, log=True)
    if one.choices:
        return Dimension(name, one.default, tuple(one.choices))
    if type(one.default) is bool:
        return Dimension(name, one.default, (one.default, not one.default))
    if one.low is None or one.high is None:
        return None  # without both bounds it can be set, and searched only where --space gives them
    return _ranged(name, one, one.low, one.high, one.step, one.log)


def _ranged(
    name: str, one: Hyperparameter, low: float, high: float, step: float | None, log: bool
) -> Dimension:
    integer = type(one.default) is int
    default = one.default if low <= one.default <= high else low
    if step and not log:  # the grid's first value must be one of its values
        number = min(round((default - low) / step), whole_steps(low, high, step))
        default = low + number * step
    return Dimension(
        name, int(default) if integer else float(default), (), low, high, None if log else step, log, integer
    )


def _typed(name: str, one: Hyperparameter, text: str) -> Dimension | tuple[Any]:
    """Return what --space says: a dimension, or the one value that it is fixed to."""
    if found := RANGE.fullmatch(text):
        return _typed_range(name, one, text, found)
    values = tuple(dict.fromkeys(one.parse(name, word.strip()) for word in text.split("|")))
    if len(values) == 1:
        return (values[0],)
    return Dimension(name, one.default if one.default in values else values[0], values)


def _typed_range(name: str, one: Hyperparameter, text: str, found: re.Match[str]) -> Dimension:
    if type(one.default) not in {int, float} or one.choices:
        raise UsageError(
            f"--space {name}={text} is a range, and {name} has {one.allowed}", f"write {name}=a|b"
        )
    low, high = one.parse(name, found["low"]), one.parse(name, found["high"])
    if not low < high:
        raise UsageError(f"--space {name}={text} has no values between its ends", "write LOW..HIGH")
    how = found["how"]
    if how == "log":
        if low <= 0:
            raise UsageError(
                f"--space {name}={text} cannot be logarithmic from {low}", "begin above 0, or leave :log out"
            )
        return _ranged(name, one, low, high, None, log=True)
    if how is None:
        return _ranged(name, one, low, high, one.step if type(one.default) is int else None, one.log)
    try:
        step = float(how)
    except ValueError:
        step = math.nan
    if not 0 < step <= high - low or (type(one.default) is int and step != int(step)):
        raise UsageError(
            f"--space {name}={text}: {how!r} is no step from {low} to {high}",
            f"write {name}=LOW..HIGH:STEP, or :log",
        )
    return _ranged(name, one, low, high, step, log=False)
