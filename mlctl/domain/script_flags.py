"""The arguments of one trial of a script: its values as flags, or in the place of `{name}`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

SPACE, EQUALS, UNDERSCORE = "space", "equals", "underscore"
FLAG_STYLES = (SPACE, EQUALS, UNDERSCORE)  # --batch-size 25, --batch-size=25, --batch_size 25
TRIAL = "trial"  # {trial} is the trial's name, such as 0003; for the final model it is FINAL
FINAL = "final"

_PLACEHOLDER = re.compile(r"\{([\w.-]+)\}")


def placeholders(arguments: Sequence[str]) -> set[str]:
    """Return the names that stand in braces in a script's arguments."""
    return {name for word in arguments for name in _PLACEHOLDER.findall(word)}


def trial_arguments(
    arguments: Sequence[str], values: Mapping[str, Any], *, style: str = SPACE, trial: str = FINAL
) -> tuple[str, ...]:
    """Return a script's arguments with the values of a trial.

    A value takes the place of `{name}`, and is a flag at the end if there is none. A word that is a placeholder alone is
    left out if its value is empty, as for a switch that is on or off. Other braces stay as they are.
    """
    texts = {TRIAL: trial} | {name: value_text(value) for name, value in values.items()}
    words = []
    for word in arguments:
        filled = _PLACEHOLDER.sub(lambda match: texts.get(match[1], match[0]), word)
        if filled or filled == word:
            words.append(filled)
    placed = placeholders(arguments)
    for name in values:
        if name not in placed:
            words.extend(_flag(name, texts[name], style))
    return tuple(words)


def value_text(value: Any) -> str:
    """Return a value as the script gets it."""
    return repr(value) if isinstance(value, float) else str(value)


def flag_name(name: str, style: str = SPACE) -> str:
    """Return the flag of a value: -n, --batch-size or --batch_size; a name with its own dashes stays as it is."""
    if style == UNDERSCORE:
        name = name.replace("-", "_") if not name.startswith("-") else name
    if name.startswith("-"):
        return name
    return f"-{name}" if len(name) == 1 else f"--{name}"


def _flag(name: str, text: str, style: str) -> list[str]:
    flag = flag_name(name, style)
    return [f"{flag}={text}"] if style == EQUALS else [flag, text]
