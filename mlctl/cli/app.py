"""The root of the command line. commands.py lists its commands and loads them when they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from mlctl import __version__
from mlctl.cli import error_handler
from mlctl.cli.commands import LazyGroup
from mlctl.cli.options import COMMON
from mlctl.cli.start_page import START_PAGE

app = typer.Typer(
    name="mlctl",
    cls=LazyGroup,
    add_completion=False,  # mlctl completion replaces Typer's options
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # Typer's tracebacks show local values, and so secrets
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"mlctl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_print_version,
            is_eager=True,
            help="Show the version and exit.",
            rich_help_panel=COMMON,
        ),
    ] = False,
) -> None:
    """Train, track, register and serve Keras models on MLflow.

    mlctl train digits
    mlctl runs list --sort -test_accuracy

    The first command trains a model in 30 seconds without a download. The second one lists all runs, best first.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    return error_handler.run_command(_invoke, arguments)


def _invoke(arguments: Sequence[str]) -> None:
    """Invoke a command without Typer's own `main`, which would handle broken pipes and interrupts itself."""
    if not arguments:
        print(START_PAGE)
        return
    command = typer.main.get_command(app)
    with command.make_context("mlctl", list(arguments)) as context:
        command.invoke(context)
