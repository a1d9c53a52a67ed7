"""Options of the commands that run a user's own script."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from mlctl.cli.options import SCRIPT
from mlctl.domain.script import ScriptRequest
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


class Keep(StrEnum):
    """The epoch whose weights a script's run logs."""

    best = "best"
    last = "last"


def script_request(
    source: str, arguments: list[str] | None, *, module: bool, refused: Mapping[str, Any], **options: Any
) -> ScriptRequest:
    """Return the request of a script; raise UsageError for a `refused` option that is given.

    `options` are further fields of the request.
    """
    refuse("a script", "the script decides it: give it to the script itself, after --", refused)
    return ScriptRequest(
        script="" if module else source,
        module=source if module else "",
        arguments=tuple(arguments or ()),
        folder=os.getcwd(),
        backend=os.environ.get("KERAS_BACKEND", ""),
        **options,
    )


def refuse_arguments(arguments: list[str] | None, given: Mapping[str, Any]) -> None:
    """Raise UsageError if a recipe gets arguments or options of a script."""
    refuse("a recipe", "only a script takes it", {**given, " ".join(arguments or ()): arguments or None})


def refuse(what: str, hint: str, given: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that a script, or a recipe, does not take."""
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} is not for {what}", hint)
