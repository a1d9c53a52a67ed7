"""The tree of all commands, for the completion scripts and the reference page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from mlctl.cli.app import app
from mlctl.cli.commands import load_command
from mlctl.cli.options import FILE_KINDS, RECIPE_KINDS, STORE_KINDS
from mlctl.recipes.lookup import BUILTIN

TYPE_NAMES = {int: "INTEGER", float: "NUMBER", Path: "PATH"}


@dataclass(frozen=True, kw_only=True)
class ValueNode:
    """The value of an argument or an option, and its completions.

    `name` is its metavar, or its type or choices. It completes with fixed `words`, with file names if `files`, and
    with what the tracking store has of `store_kind`.
    """

    name: str
    words: tuple[str, ...] = ()
    files: bool = False
    store_kind: str = ""


@dataclass(frozen=True, kw_only=True)
class OptionNode:
    """An option with all its names, the long ones first. A flag has no value."""

    names: tuple[str, ...]
    help: str
    value: ValueNode | None = None
    repeated: bool = False
    default: str = ""  # "" if there is none to show
    panel: str = ""


@dataclass(frozen=True, kw_only=True)
class ArgumentNode:
    """A positional argument; a repeated one takes all remaining words."""

    value: ValueNode
    help: str
    required: bool = True
    repeated: bool = False


@dataclass(frozen=True, kw_only=True)
class CommandNode:
    """A command or a group of commands.

    `path` is what a user types after mlctl, "" for the root. `help` is the first paragraph of `description`.
    """

    path: str
    help: str
    options: tuple[OptionNode, ...]
    arguments: tuple[ArgumentNode, ...] = ()
    commands: tuple[CommandNode, ...] = ()
    description: str = ""

    @property
    def name(self) -> str:
        """The last word of the path."""
        return self.path.rpartition(" ")[2]

    def walk(self) -> Iterator[CommandNode]:
        """Yield this node and all nodes below it."""
        yield self
        for command in self.commands:
            yield from command.walk()


def build_tree() -> CommandNode:
    """Return the tree of all commands. This imports the modules of all commands."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("mlctl", [], resilient_parsing=True)
    commands = tuple(_command(load_command(name), context, name) for name in root.list_commands(context))
    return CommandNode(
        path="", help=_first_paragraph(root.help), options=_options(root, context), commands=commands
    )


def recipe_names() -> tuple[str, ...]:
    """Return the names of the built-in recipes."""
    return tuple(sorted(BUILTIN))


def _command(command: Any, parent: Any, path: str) -> CommandNode:
    context = command.make_context(path.rpartition(" ")[2], [], parent=parent, resilient_parsing=True)
    commands: dict[str, Any] = getattr(command, "commands", {})
    return CommandNode(
        path=path,
        help=_first_paragraph(command.help),
        options=_options(command, context),
        arguments=_arguments(command, context),
        commands=tuple(_command(child, context, f"{path} {name}") for name, child in commands.items()),
        description=command.help,
    )


def _arguments(command: Any, context: Any) -> tuple[ArgumentNode, ...]:
    return tuple(
        ArgumentNode(
            value=_value(parameter, context),
            help=_first_paragraph(parameter.help),
            required=parameter.required,
            repeated=parameter.nargs != 1,
        )
        for parameter in command.get_params(context)
        if parameter.param_type_name == "argument"
    )


def _options(command: Any, context: Any) -> tuple[OptionNode, ...]:
    return tuple(
        OptionNode(
            names=tuple(
                sorted(
                    [*parameter.opts, *parameter.secondary_opts],
                    key=lambda name: (not name.startswith("--"), name),
                )
            ),
            help=_first_paragraph(parameter.help),
            value=None if parameter.is_flag or parameter.count else _value(parameter, context),
            repeated=parameter.multiple,
            default=_default(parameter),
            panel=getattr(parameter, "rich_help_panel", None) or "",
        )
        for parameter in command.get_params(context)
        if parameter.param_type_name == "option" and not getattr(parameter, "hidden", False)
    )


def _value(parameter: Any, context: Any) -> ValueNode:
    metavar = parameter.metavar or ""
    choices = tuple(item.value for item in parameter.shell_complete(context, "") if item.type == "plain")
    name = metavar or "|".join(choices) or _type_name(parameter)
    if choices:
        return ValueNode(name=name, words=choices)
    return ValueNode(
        name=name,
        words=recipe_names() if metavar in RECIPE_KINDS else (),
        files=metavar in FILE_KINDS or parameter.type_descriptor.is_path,
        store_kind=STORE_KINDS.get(metavar, ""),
    )


def _type_name(parameter: Any) -> str:
    name = TYPE_NAMES.get(parameter.type_descriptor.annotation, "TEXT")
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if low is None and high is None:
        return name
    return f"{name} {'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"


def _default(parameter: Any) -> str:
    if parameter.is_flag and not parameter.default:
        return ""
    default = getattr(parameter.default, "value", parameter.default)
    if default is True:
        return str(parameter.opts[0])
    return "" if default is None or str(default) in ("", "()", "[]", ".") else str(default)


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())
