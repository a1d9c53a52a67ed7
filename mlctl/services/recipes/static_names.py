"""What --set and --space can name for a SOURCE, for completion: no code of the user is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlctl.recipes.declare import COMMON
from mlctl.recipes.declares import declares_recipe
from mlctl.recipes.lookup import BUILTIN
from mlctl.services.recipes import catalog

DECLARING = {"hyperparameter", "choice", "option"}  # functions of mlctl.recipes
FLAG_CALLS = {"add_argument", "option", "Option"}  # of argparse, click and typer
ABSL_PREFIX = "DEFINE_"
MAX_SIZE = 1_000_000  # bytes of a file that is read


@dataclass(frozen=True)
class SettingName:
    """A name, what it is, and its values if it has a few."""

    name: str
    description: str = ""
    choices: tuple[str, ...] = ()


def setting_names(words: Sequence[str], *, searched: bool) -> list[SettingName]:
    """Return the names for the first word that is a SOURCE: a recipe's values, or a script's flags.

    `searched` leaves out data options, which --space cannot search.
    """
    for word in words:
        path = Path(word.rpartition(":")[0] if ".py:" in word else word).expanduser()
        if word in BUILTIN:
            return _of_builtin(word, searched)
        if path.suffix == ".py" and path.is_file() and path.stat().st_size < MAX_SIZE:
            return _of_recipe_file(path) if declares_recipe(path) else _flags(path, searched)
        if path.suffix and _is_table(word):
            return _of_builtin("tabular", searched)
    return []


def _is_table(name: str) -> bool:
    from mlctl.data.tables import reader  # it imports NumPy, which most completions do not need

    return reader.is_table(name)


def _of_builtin(name: str, searched: bool) -> list[SettingName]:
    detail = catalog.show(name)
    return [
        SettingName(value.name, f"{value.help} (default {value.default})", _choices(value.allowed))
        for value in (*detail.hyperparameters, *(() if searched else detail.options))
    ]


def _choices(allowed: str) -> tuple[str, ...]:
    words = allowed.split(", ")
    return tuple(words) if len(words) > 1 and not any(" " in word for word in words) else ()


def _of_recipe_file(path: Path) -> list[SettingName]:
    names = [SettingName(name, value.help) for name, value in COMMON.items()]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and _called(node.value) in DECLARING
        ):
            names += [
                SettingName(target.id, _help_of(node.value))
                for target in node.targets
                if isinstance(target, ast.Name)
            ]
    return names


def _flags(path: Path, searched: bool) -> list[SettingName]:
    """Return the flags that a script declares with argparse, click, typer or absl; --set sets none of them."""
    if not searched:
        return []
    calls = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)]
    return [SettingName(name, _help_of(call)) for call in calls for name in _flags_of(call)]


def _flags_of(call: ast.Call) -> Iterator[str]:
    texts = [
        argument.value
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
    called = _called(call)
    if called.startswith(ABSL_PREFIX):
        yield from texts[:1]
    elif called in FLAG_CALLS and (flags := [text for text in texts if text.startswith("-")]):
        yield max(flags, key=len).lstrip("-").partition("/")[0]


def _called(call: ast.Call) -> str:
    """Return the name of the called function, without its module."""
    return getattr(call.func, "attr", "") or getattr(call.func, "id", "")


def _help_of(call: ast.Call) -> str:
    for keyword in call.keywords:
        if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return ""
