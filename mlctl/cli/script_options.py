"""Options of the commands that run a user's own script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mlctl.cli.options import SCRIPT
from mlctl.errors import UsageError

ScriptArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[-- ARGUMENTS]", help="The script's own arguments, after --.", show_default=False
    ),
]
ModuleOption = Annotated[
    bool,
    typer.Option(
        "--module",
        "-m",
        metavar="",
        help="SOURCE is a module, which is run as python -m runs it.",
        rich_help_panel=SCRIPT,
    ),
]
ScriptOption = Annotated[
    bool | None,
    typer.Option(
        "--script/--recipe",
        metavar="",
        help="Run SOURCE as a script, or train the recipe that it declares (default: a recipe if it declares one).",
        rich_help_panel=SCRIPT,
    ),
]


def refuse(what: str, hint: str, given: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that a script, or a recipe, does not take."""
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} is not for {what}", hint)
