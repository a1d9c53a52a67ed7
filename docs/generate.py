"""Write the generated files: docs/reference.md and completions/. Run it after each change of the command line.

python docs/generate.py
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from mlctl.cli.commands import COMMANDS
from mlctl.cli.common_options import COMMON
from mlctl.cli.completion_scripts import FILE_NAMES, RENDER
from mlctl.cli.completion_scripts.command_tree import CommandNode, OptionNode, build_tree

ROOT = Path(__file__).parents[1]
DEFAULT_PANEL = "Options"
INTRODUCTION = """\
# Reference

All commands with their arguments and options. `python docs/generate.py` writes this page from the same texts as
`mlctl COMMAND --help`. The [README](../README.md) lists the pages that explain the commands, the exit codes and the
settings.
"""


def generated_files() -> dict[Path, str]:
    """Return the content of each generated file."""
    tree = build_tree()
    scripts = {ROOT / "completions" / FILE_NAMES[shell]: RENDER[shell](tree) for shell in FILE_NAMES}
    return {ROOT / "docs" / "reference.md": reference_page(tree), **scripts}


def reference_page(tree: CommandNode) -> str:
    """Return the reference page in Markdown."""
    parts, panel = [INTRODUCTION], ""
    for command in tree.commands:
        if COMMANDS[command.path].panel != panel:
            panel = COMMANDS[command.path].panel
            parts.append(f"## {panel}\n")
        parts += [_section(node) for node in command.walk() if not node.commands]
    common = (option for option in tree.commands[0].options if option.panel == COMMON)
    return "\n".join([*parts, f"## {COMMON}\n\nEvery command has these options.\n", _option_table(common)])


def _section(command: CommandNode) -> str:
    usage = ["mlctl", command.path, "[OPTIONS]"]
    for argument in command.arguments:
        name = argument.value.name + ("…" if argument.repeated else "")
        usage.append(name if argument.required else f"[{name}]")
    parts = [f"### mlctl {command.path}\n", _prose(command.description), f"```text\n{' '.join(usage)}\n```\n"]
    if command.arguments:
        rows = [f"| `{argument.value.name}` | {_cell(argument.help)} |" for argument in command.arguments]
        parts.append("\n".join(["| argument | |", "| --- | --- |", *rows, ""]))
    panels: dict[str, list[OptionNode]] = {}
    for option in command.options:
        if option.panel != COMMON and "--help" not in option.names:
            panels.setdefault(option.panel or DEFAULT_PANEL, []).append(option)
    for panel, options in panels.items():
        parts += [f"{panel}:\n", _option_table(options)]
    return "\n".join(parts)


def _option_table(options: Iterator[OptionNode] | list[OptionNode]) -> str:
    rows = []
    for option in options:
        names = ", ".join(f"`{name}`" for name in option.names)
        value = f" `{option.value.name}`".replace("|", "\\|") if option.value else ""
        default = f" Default: `{option.default}`." if option.default else ""
        rows.append(f"| {names}{value} | {_cell(option.help)}{default} |")
    return "\n".join(["| option | |", "| --- | --- |", *rows, ""])


def _cell(text: str) -> str:
    return " ".join(_without_escapes(text).replace("|", "\\|").split())


def _prose(description: str) -> str:
    """Return a docstring in Markdown, with its second paragraph, the examples, as a block of code."""
    summary, examples, *rest = _without_escapes(description).split("\n\n")
    return "\n\n".join([summary, f"```text\n{textwrap.dedent(examples).strip()}\n```", *rest]) + "\n"


def _without_escapes(text: str) -> str:
    """Remove the backslash that keeps rich from reading a bracket as markup."""
    return re.sub(r"\\\[", "[", text)


if __name__ == "__main__":
    for path, content in generated_files().items():
        path.write_text(content, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
