"""Make docs/reference.md out of what `mlctl COMMAND --help` is made of.

python docs/make_reference.py
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from mlctl.cli.app import app
from mlctl.cli.commands import COMMANDS, load
from mlctl.cli.common_options import SHARED

FILE = Path(__file__).parent / "reference.md"
PLAIN = "Options"
OPENING = """\
# Reference

Every command with its arguments and options, made by `python docs/make_reference.py` out of the texts that
`mlctl COMMAND --help` shows. [README](../README.md) has the pages that explain them, the exit codes and the
settings.
"""


def pages() -> str:
    """Return the whole page."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("mlctl", [], resilient_parsing=True)
    parts, panel = [OPENING], ""
    for name, entry in COMMANDS.items():
        command = load(name)
        if entry.panel != panel:
            panel = entry.panel
            parts.append(f"## {panel}\n")
        parts += _commands(command, context, name)
    parts.append("## Options of every command\n")
    parts.append(_table(one for one in _options(load("train"), context) if one.rich_help_panel == SHARED))
    return "\n".join(parts)


def _commands(command: Any, parent: Any, path: str) -> Iterator[str]:
    below: dict[str, Any] = getattr(command, "commands", {})
    if not below:
        yield _one(command, parent, path)
    context = command.make_context(path.rpartition(" ")[2], [], parent=parent, resilient_parsing=True)
    for name, one in below.items():
        if not one.hidden:
            yield from _commands(one, context, f"{path} {name}")


def _one(command: Any, parent: Any, path: str) -> str:
    context = command.make_context(path, [], parent=parent, resilient_parsing=True)
    arguments = [one for one in command.get_params(context) if one.param_type_name == "argument"]
    usage = " ".join(["mlctl", path, "[OPTIONS]", *(_usage(one) for one in arguments)])
    parts = [f"### mlctl {path}\n", _prose(command.help), f"```text\n{usage}\n```\n"]
    if arguments:
        rows = [f"| `{one.metavar or one.name.upper()}` | {_cell(one.help)} |" for one in arguments]
        parts.append("\n".join(["| argument | |", "| --- | --- |", *rows, ""]))
    panels: dict[str, list[Any]] = {}
    for one in _options(command, context):
        panels.setdefault(one.rich_help_panel or PLAIN, []).append(one)
    for panel, options in panels.items():
        if panel != SHARED:
            parts += [f"{panel}:\n", _table(options)]
    return "\n".join(parts)


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = f"{name}…" if argument.nargs != 1 else name
    return name if argument.required else f"[{name}]"


def _options(command: Any, context: Any) -> list[Any]:
    found = [one for one in command.get_params(context) if one.param_type_name == "option"]
    return [one for one in found if not one.hidden and one.name != "help"]


def _table(options: Any) -> str:
    rows = []
    for one in options:
        names = ", ".join(f"`{name}`" for name in [*one.opts, *one.secondary_opts])
        kind = "" if one.is_flag else f" `{_kind(one)}`"
        without = one.is_flag or one.default is None or str(one.default) in ("", "()", "[]", ".")
        default = "" if without else f" Default: `{getattr(one.default, 'value', one.default)}`."
        rows.append(f"| {names}{kind.replace('|', chr(92) + '|')} | {_cell(one.help)}{default} |")
    return "\n".join(["| option | |", "| --- | --- |", *rows, ""])


def _kind(option: Any) -> str:
    if option.metavar:
        return str(option.metavar)
    words = [str(item.value) for item in option.shell_complete(None, "") if item.type == "plain"]
    kind = {int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(option.type_descriptor.annotation, "TEXT")
    bounds = (
        "" if option.min is None and option.max is None else f" {_bound(option.min)}..{_bound(option.max)}"
    )
    return "|".join(words) or kind + bounds


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _cell(text: str | None) -> str:
    return " ".join(_bare(text or "").replace("|", "\\|").split())


def _prose(text: str | None) -> str:
    """Return a docstring as Markdown: paragraphs, and its lines of examples as a block."""
    parts = []
    for paragraph in _bare(text or "").split("\n\n"):
        if paragraph.lstrip().startswith(("mlctl ", "eval ")):
            parts.append(f"```text\n{textwrap.dedent(paragraph).strip()}\n```")
        else:
            parts.append(" ".join(paragraph.split()))
    return "\n\n".join(part for part in parts if part) + "\n"


def _bare(text: str) -> str:
    """Take out the backslash that keeps a bracket from being a colour in the terminal's help."""
    return re.sub(r"\\\[", "[", text)


if __name__ == "__main__":
    FILE.write_text(pages(), encoding="utf-8")
    print(f"wrote {FILE}")
