"""The table of commands is true: each loads, says there what it says itself, and shows an example."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from mlctl.cli.app import app
from mlctl.cli.commands import COMMANDS, load


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
    for name, one in (below or {}).items():
        yield from leaves(one, f"{path} {name}")


ALL = [leaf for name in COMMANDS for leaf in leaves(load(name), name)]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_in_the_table_what_it_says_itself(name: str) -> None:
    command = load(name)
    assert command.name == name
    assert COMMANDS[name].help == command.help.partition("\n\n")[0].replace("\n", " ")


@pytest.mark.parametrize(("path", "command"), ALL, ids=[path for path, _ in ALL])
def test_help_leads_with_an_example_that_parses(path: str, command: Any) -> None:
    """The examples stand in the docstring's second paragraph; each of this command's own must parse."""
    _, _, rest = command.help.partition("\n\n")
    lines = rest.partition("\n\n")[0].splitlines()
    assert lines, f"mlctl {path}: no example in its docstring"
    assert "mlctl " in lines[0]
    assert any(re.match(rf"(.*\W)?mlctl {path}\b", line) for line in lines), (
        f"no example begins with mlctl {path}"
    )
    assert "\b" not in command.help


@pytest.mark.parametrize(("path", "command"), ALL, ids=[path for path, _ in ALL])
def test_every_option_and_argument_says_what_it_is(path: str, command: Any) -> None:
    context = command.make_context(path, [], resilient_parsing=True)
    for parameter in command.get_params(context):
        assert parameter.help, f"mlctl {path}: {parameter.name} has no help"
        if getattr(parameter, "is_flag", False) and parameter.name != "help":
            assert parameter.metavar == "", f"mlctl {path}: {parameter.name} shows <bool>"


def test_the_root_lists_the_table_in_its_order() -> None:
    root: Any = typer.main.get_command(app)
    context = root.make_context("mlctl", [], resilient_parsing=True)
    assert root.list_commands(context) == list(COMMANDS)
    panels = list(dict.fromkeys(entry.panel for entry in COMMANDS.values()))
    assert [entry.panel for entry in COMMANDS.values()] == sorted(
        (entry.panel for entry in COMMANDS.values()), key=panels.index
    ), "a panel's commands stand together"
