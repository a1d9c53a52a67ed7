"""The command tree as the completion scripts see it: names, one line of help each, and what values are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import typer

from mlctl.cli.app import app
from mlctl.cli.commands import load
from mlctl.cli.options import FILE_KINDS, RECIPE_KINDS, STORE_KINDS


@dataclass(frozen=True)
class Value:
    """What an argument or an option's value completes with: fixed words, file names, what the store says."""

    name: str
    words: tuple[str, ...] = ()
    files: bool = False
    ask: str = ""


@dataclass(frozen=True)
class Option:
    """An option under all its names; `value` is None for a flag."""

    names: tuple[str, ...]
    help: str
    value: Value | None
    repeats: bool = False


@dataclass(frozen=True)
class Argument:
    """A positional argument; one that `repeats` takes all that is left."""

    value: Value
    help: str
    required: bool = True
    repeats: bool = False


@dataclass(frozen=True)
class Node:
    """A command or a group: `path` is what is typed after mlctl, "" for the root."""

    path: str
    help: str
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...] = ()
    commands: tuple[Node, ...] = ()

    @property
    def name(self) -> str:
        """The last word of the path."""
        return self.path.rpartition(" ")[2]

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it."""
        yield self
        for one in self.commands:
            yield from one.walk()


def tree() -> Node:
    """Return the whole command tree; every command's module is imported for it."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("mlctl", [], resilient_parsing=True)
    top = tuple(_node(load(name), context, name) for name in root.list_commands(context))
    return Node("", _line(root.help), _options(root, context), commands=top)


def _node(command: Any, parent: Any, path: str) -> Node:
    context = command.make_context(path.rpartition(" ")[2], [], parent=parent, resilient_parsing=True)
    below: dict[str, Any] = getattr(command, "commands", {})
    arguments = [one for one in command.get_params(context) if one.param_type_name == "argument"]
    return Node(
        path,
        _line(command.help),
        _options(command, context),
        tuple(
            Argument(_value(one, context), _line(one.help), one.required, one.nargs != 1) for one in arguments
        ),
        tuple(_node(one, context, f"{path} {name}") for name, one in below.items() if not one.hidden),
    )


def _options(command: Any, context: Any) -> tuple[Option, ...]:
    shown = [
        one
        for one in command.get_params(context)
        if one.param_type_name == "option" and not getattr(one, "hidden", False)
    ]
    return tuple(
        Option(
            tuple(
                sorted([*one.opts, *one.secondary_opts], key=lambda name: (not name.startswith("--"), name))
            ),
            _line(one.help),
            None if one.is_flag or one.count else _value(one, context),
            one.multiple,
        )
        for one in shown
    )


def _value(parameter: Any, context: Any) -> Value:
    kind = parameter.metavar or ""
    words = tuple(str(item.value) for item in parameter.shell_complete(context, "") if item.type == "plain")
    if words:
        return Value(kind or parameter.name, words)
    return Value(
        kind or parameter.name,
        recipes() if kind in RECIPE_KINDS else (),
        files=kind in FILE_KINDS or parameter.type_descriptor.is_path,
        ask=kind if kind in STORE_KINDS else "",
    )


def recipes() -> tuple[str, ...]:
    """Return the names of the built-in recipes."""
    points = entry_points(group="mlctl.recipes")
    return tuple(sorted({one.name for one in points if one.value.startswith("mlctl.recipes.")}))


def _line(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())
