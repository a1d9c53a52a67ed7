"""The space of a search of a script: what --space says; the type of the values follows from the text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlctl.domain.script import parse_arguments
from mlctl.domain.script_flags import TRIAL, placeholders
from mlctl.domain.tune import Dimension
from mlctl.errors import UsageError
from mlctl.services.tuning.space import RANGE

_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)")
_FLOAT = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def script_space(
    typed_space: Mapping[str, str], arguments: Sequence[str]
) -> tuple[tuple[Dimension, ...], dict[str, Any]]:
    """Return the dimensions to search, in the order in which they were given, and the values that are fixed.

    Args:
        typed_space: --space NAME=WHAT, with WHAT as `16..64:16`, `1e-4..1e-1:log`, `a|b` or one value; NAME is a flag of
            the script or stands in braces in its arguments.
        arguments: the script's own arguments, which are the same for all trials.

    Raises UsageError for a range without values, or a name that the arguments give as well.

    """
    if not typed_space:
        raise UsageError(
            "a script does not say what to search",
            "name its flags: --space lr=1e-4..1e-1:log --space 'batch-size=25|50|100'",
        )
    given = {name.replace("_", "-") for name in parse_arguments(_without_placeholders(arguments))}
    dimensions: list[Dimension] = []
    fixed: dict[str, Any] = {}
    for name, text in typed_space.items():
        if name == TRIAL:
            raise UsageError("{trial} is the name of the trial", "give --space another name")
        if name.lstrip("-").replace("_", "-") in given:
            raise UsageError(
                f"{name} is both an argument of the script and searched by --space", "remove one of them"
            )
        dimension = _dimension(name, text)
        if dimension is None:
            fixed[name] = _values([text])[0]
        else:
            dimensions.append(dimension)
    if not dimensions:
        raise UsageError(
            "nothing is left to search: each --space has one value", "--space lr=1e-4..1e-1:log searches lr"
        )
    return tuple(dimensions), fixed


def fixed_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """Return the arguments that are the same for all trials, by name."""
    return parse_arguments(_without_placeholders(arguments))


def _without_placeholders(arguments: Sequence[str]) -> list[str]:
    """Return arguments without those that have a value of the trial: the flag `--lr` of `--lr {lr}` goes as well."""
    words: list[str] = []
    for word in arguments:
        if not placeholders([word]):
            words.append(word)
        elif word.startswith("{") and words and words[-1].startswith("-") and "=" not in words[-1]:
            words.pop()
    return words


def _dimension(name: str, text: str) -> Dimension | None:
    """Return what --space says; None if it is one value."""
    if (match := RANGE.fullmatch(text)) and (ends := _numbers([match["low"], match["high"]])):
        return _range(name, text, ends, match["step"])
    words = list(dict.fromkeys(word.strip() for word in text.split("|")))
    if len(words) == 1:
        return None
    choices = tuple(_values(words))
    return Dimension(name=name, default=choices[0], choices=choices)


def _range(name: str, text: str, ends: Sequence[float], step_text: str | None) -> Dimension:
    low, high = ends
    is_integer = type(low) is int and type(high) is int
    if not low < high:
        raise UsageError(f"--space {name}={text}: there are no values between its ends", "write LOW..HIGH")
    if step_text == "log":
        if low <= 0:
            raise UsageError(
                f"--space {name}={text} cannot be logarithmic from {low}", "start above 0, or remove :log"
            )
        return Dimension(name=name, default=low, low=low, high=high, log=True, integer=is_integer)
    step = None
    if step_text is not None:
        numbers = _numbers([step_text])
        step = numbers[0] if numbers else math.nan
        if not 0 < step <= high - low:
            raise UsageError(
                f"--space {name}={text}: {step_text!r} is no step from {low} to {high}",
                f"write {name}=LOW..HIGH:STEP, or :log",
            )
        is_integer = is_integer and type(step) is int
    return Dimension(
        name=name,
        default=low if is_integer else float(low),
        low=low,
        high=high,
        step=step,
        integer=is_integer,
    )


def _values(words: Sequence[str]) -> Sequence[Any]:
    """Return values as integers or floats if all of them are, else as the words."""
    return _numbers(words) or words


def _numbers(words: Sequence[str]) -> list[float]:
    """Return words as numbers; empty if one is none, or if a number would not be written as it was typed."""
    if all(_INTEGER.fullmatch(word) for word in words):
        return [int(word) for word in words]
    if all(_FLOAT.fullmatch(word) for word in words):
        return [float(word) for word in words]
    return []
