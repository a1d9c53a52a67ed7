"""The space of a search: what a recipe declares, narrowed, widened or fixed by the user."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlctl.domain.conditions import Comparison, Condition
from mlctl.domain.search_space import count_combinations
from mlctl.domain.tune import Dimension, count_steps
from mlctl.errors import UsageError, did_you_mean
from mlctl.recipes import Recipe
from mlctl.recipes.declare import COMMON, Hyperparameter, conditions_of, plain_values
from mlctl.recipes.reads import unread_names

RANGE = re.compile(r"(?P<low>[^.]\S*?)\.\.(?P<high>[^:]+)(:(?P<step>.+))?")


def search_space(
    recipe: Recipe, overrides: Mapping[str, Any], typed_space: Mapping[str, str]
) -> tuple[tuple[Dimension, ...], dict[str, Any]]:
    """Return the dimensions to search, in the recipe's order, and every value that stays fixed.

    Epochs, batch size and schedule are searched only if the user names them. The learning rate is searched
    within a factor of ten of the recipe's own. Options of the data are never searched.

    Args:
        recipe: declares hyperparameters with bounds.
        overrides: values of --set: they are fixed.
        typed_space: --space NAME=WHAT, with WHAT as `16..64:16`, `1e-4..1e-1:log`, `a|b` or one value.

    Raises UsageError for a name that is not declared, a value out of bounds, or a name both fixed and searched.

    """
    declared = recipe.declared()
    for name in typed_space:
        if name not in declared:
            hint = did_you_mean(name, declared) or f"it declares: {', '.join(declared)}"
            raise UsageError(f"recipe {recipe.name} declares no {name!r}", hint)
        if name in overrides:
            raise UsageError(f"{name} is both fixed by --set and searched by --space", "remove one of them")
        if declared[name].data:
            raise UsageError(
                f"{name} is an option of the data, which is the same for all trials", f"use --set {name}=…"
            )
    unread = unread_names(type(recipe))
    for name in typed_space:
        if name in unread:
            raise UsageError(
                f"a search of {name} has no effect: recipe {recipe.name} does not read it",
                "use hp.rate in the optimizer" if name == "learning_rate" else f"read it as hp.{name}",
            )
    dimensions: list[Dimension] = []
    fixed = plain_values(recipe.values(overrides))
    for name in overrides:  # it may count for some of the searched values only
        if name in declared and declared[name].when:
            fixed[name] = declared[name].parse(name, overrides[name])
    dimension: Dimension | tuple[Any] | None
    for name, parameter in declared.items():
        if name in typed_space:
            dimension = _typed_dimension(name, parameter, typed_space[name])
        elif (
            name in overrides
            or parameter.data
            or name in unread
            or (name in COMMON and name != "learning_rate")
        ):
            continue
        else:
            dimension = _declared_dimension(name, parameter)
        if dimension is None:
            continue
        if isinstance(dimension, Dimension):
            dimensions.append(dimension)
            fixed.pop(name)
        else:
            fixed[name] = dimension[0]
    dimensions = _with_conditions(dimensions, conditions_of(declared), fixed)
    if not dimensions:
        hint = "--space units=16..64:16 searches units"
        if "learning_rate" in unread:
            hint += "; the learning rate is not searched, because build() does not read it: use hp.rate there"
        raise UsageError(f"nothing is left to search in recipe {recipe.name}", hint)
    return tuple(dimensions), fixed


def size(dimensions: Sequence[Dimension]) -> float:
    """Return the number of different combinations; infinite if a dimension has infinitely many values."""
    return count_combinations(dimensions)


def _with_conditions(
    dimensions: Sequence[Dimension], conditions: Mapping[str, Condition], fixed: dict[str, Any]
) -> list[Dimension]:
    """Return the dimensions that can count, each with the comparisons of other dimensions that decide it.

    A dimension that never counts is not searched: `fixed` gets its default.
    """
    searched = {dimension.name: dimension for dimension in dimensions}
    remaining: dict[str, Condition | None] = {}

    def resolve(name: str) -> Condition | None:
        """Return what must hold of searched dimensions so that a name counts; None if it never does."""
        if name not in remaining:
            needed: list[Comparison] = []
            counts = True
            for comparison in conditions.get(name, ()):
                if comparison.name in searched:
                    counts = counts and resolve(comparison.name) is not None
                    needed.append(comparison)
                    continue
                inherited = resolve(comparison.name)
                counts = counts and inherited is not None and comparison.holds(fixed[comparison.name])
                needed.extend(inherited or ())
            remaining[name] = tuple(needed) if counts else None
        return remaining[name]

    kept = []
    for dimension in dimensions:
        condition = resolve(dimension.name)
        if condition is None:
            fixed[dimension.name] = dimension.default
        else:
            kept.append(replace(dimension, condition=condition))
    return kept


def _declared_dimension(name: str, parameter: Hyperparameter) -> Dimension | None:
    if name == "learning_rate":
        low, high = parameter.parse(name, parameter.low), parameter.parse(name, parameter.high)
        default = parameter.default
        return _range(name, parameter, low=max(low, default / 10), high=min(high, default * 10), log=True)
    if parameter.choices:
        return Dimension(name=name, default=parameter.default, choices=tuple(parameter.choices))
    if type(parameter.default) is bool:
        return Dimension(
            name=name, default=parameter.default, choices=(parameter.default, not parameter.default)
        )
    if parameter.low is None or parameter.high is None:
        return None  # without both bounds, it is searched only if --space gives them
    return _range(
        name,
        parameter,
        low=parameter.low,
        high=parameter.high,
        step=parameter.step,
        log=parameter.log,
    )


def _range(
    name: str,
    parameter: Hyperparameter,
    *,
    low: float,
    high: float,
    step: float | None = None,
    log: bool = False,
) -> Dimension:
    is_integer = type(parameter.default) is int
    default = parameter.default if low <= parameter.default <= high else low
    if step and not log:  # a grid starts at the default, which must be one of its values
        default = low + min(round((default - low) / step), count_steps(low, high, step)) * step
    return Dimension(
        name=name,
        default=int(default) if is_integer else float(default),
        low=low,
        high=high,
        step=None if log else step,
        log=log,
        integer=is_integer,
    )


def _typed_dimension(name: str, parameter: Hyperparameter, text: str) -> Dimension | tuple[Any]:
    """Return what --space says: a dimension, or the one value that it is fixed to."""
    if match := RANGE.fullmatch(text):
        return _typed_range(name, parameter, text, match)
    values = tuple(dict.fromkeys(parameter.parse(name, word.strip()) for word in text.split("|")))
    if len(values) == 1:
        return (values[0],)
    default = parameter.default if parameter.default in values else values[0]
    return Dimension(name=name, default=default, choices=values)


def _typed_range(name: str, parameter: Hyperparameter, text: str, match: re.Match[str]) -> Dimension:
    is_integer = type(parameter.default) is int
    if type(parameter.default) not in {int, float} or parameter.choices:
        raise UsageError(
            f"--space {name}={text} is a range, but {name} takes {parameter.allowed}", f"write {name}=a|b"
        )
    low, high = parameter.parse(name, match["low"]), parameter.parse(name, match["high"])
    if not low < high:
        raise UsageError(f"--space {name}={text}: there are no values between its ends", "write LOW..HIGH")
    step_text = match["step"]
    if step_text == "log":
        if low <= 0:
            raise UsageError(
                f"--space {name}={text} cannot be logarithmic from {low}", "start above 0, or remove :log"
            )
        return _range(name, parameter, low=low, high=high, log=True)
    if step_text is None:
        step = parameter.step if is_integer else None
        return _range(name, parameter, low=low, high=high, step=step, log=parameter.log)
    try:
        step = float(step_text)
    except ValueError:
        step = math.nan
    if not 0 < step <= high - low or (is_integer and step != int(step)):
        raise UsageError(
            f"--space {name}={text}: {step_text!r} is no step from {low} to {high}",
            f"write {name}=LOW..HIGH:STEP, or :log",
        )
    return _range(name, parameter, low=low, high=high, step=step)
