"""The root of the command line. Its commands are listed in commands.py, and loaded when they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from mlctl import __version__
from mlctl.cli import error_boundary
from mlctl.cli.commands import LazyGroup

app = typer.Typer(
    name="mlctl",
    cls=LazyGroup,
    add_completion=False,  # one way: mlctl completion
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # Typer's would show local values, secrets among them
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"mlctl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_version, is_eager=True, help="Show the version and leave."
        ),
    ] = False,
) -> None:
    """Carry a Keras model through its whole life on MLflow.

    mlctl train digits                     no data, no network: 30 seconds
    mlctl runs list --sort -test_accuracy  what was tried, best first
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    The command is invoked without Typer's own `main`, which would swallow a broken pipe and an interrupt
    before the boundary sees them.
    """

    def called() -> object:
        command = typer.main.get_command(app)
        with command.make_context("mlctl", list(arguments)) as context:
            return command.invoke(context)

    return error_boundary.guarded(called, arguments)
