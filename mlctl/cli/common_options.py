"""The options of every command, and the Session that a command receives."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from mlctl.cli.options import COMMON

if TYPE_CHECKING:
    from mlctl.settings import Settings


class Format(StrEnum):
    """The format of an answer on stdout."""

    table = "table"
    json = "json"
    csv = "csv"
    md = "md"


WAITING_FOR = {  # what the spinner says until the command itself says something
    "data": "checking the data",
    "runs": "reading the runs",
    "experiments": "reading the experiments",
    "models": "reading the registry",
    "promote": "checking the version",
    "rollback": "reading the registry",
    "register": "checking the model",
    "endpoints": "asking the endpoints",
    "predict": "predicting",
    "evaluate": "evaluating",
    "doctor": "checking this machine",
    "serve": "starting the endpoint",
    "server-up": "starting the server",
    "server-down": "stopping the server",
    "server-status": "asking the server",
    "users": "asking the server",
    "tokens": "asking the server",
    "webhooks": "asking the server",
}

OutputOption = Annotated[
    Format, typer.Option("--output", "-o", help="Format of the answer on stdout.", rich_help_panel=COMMON)
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        help="Tracking store: sqlite:///FILE, postgresql://…, mysql://… or http://… (default: from the settings).",
        rich_help_panel=COMMON,
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show log messages and tracebacks.", rich_help_panel=COMMON)
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", "-y", help="Answer yes to every question instead of asking.", rich_help_panel=COMMON
    ),
]


@dataclass(frozen=True, kw_only=True)
class Session:
    """One call of one command: its settings, and how it answers."""

    format: Format
    overrides: dict[str, Any]  # settings from options
    debug: bool
    yes: bool
    stdout: TextIO = field(default_factory=lambda: sys.stdout, repr=False, compare=False)

    @functools.cached_property
    def settings(self) -> Settings:
        """All settings, resolved on first use: showing help needs none."""
        from mlctl import credentials
        from mlctl.settings import load, with_installed_driver

        settings = load(self.overrides)
        settings.apply_to_environment()
        if uri := os.environ.get("MLFLOW_TRACKING_URI"):
            os.environ["MLFLOW_TRACKING_URI"] = with_installed_driver(uri)  # a user's script reads it, too
        credentials.apply_to_environment(settings.tracking_uri)
        return settings

    def redirect_to_stdout(self) -> AbstractContextManager[object]:
        """Send what is printed in this block to stdout; other prints of a command go to stderr."""
        return contextlib.redirect_stdout(self.stdout)

    def show(self, answer: object, hint: str = "") -> None:
        """Write the answer to stdout and a hint, such as the likely next command, to stderr."""
        from mlctl import output

        with self.redirect_to_stdout():
            output.show(answer, self.format)
        if hint:
            output.hint(hint)

    def confirm(self, question: str) -> None:
        """Ask the question on a terminal, and require --yes elsewhere.

        Raises RefusedError unless the user agrees.
        """
        from mlctl import output

        output.confirm(question, self.yes)

    def confirm_overwriting(self, file: Path) -> None:
        """Ask before a file that exists is replaced; see `confirm`."""
        if file.exists():
            self.confirm(f"{file} already exists. Overwrite it?")


class _Notes(logging.Handler):
    """Shows each note of the services once, as a hint on stderr."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Show the note, unless this command has shown it."""
        from mlctl import output

        text = record.getMessage()
        if text not in self._shown:
            self._shown.add(text)
            output.hint(text)


def _show_notes() -> None:
    notes = logging.getLogger("mlctl.notes")
    notes.handlers, notes.propagate = [_Notes()], False
    notes.setLevel(logging.INFO)


def with_common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the first parameter of a command, its Session, by the options that all commands share."""
    signature = inspect.signature(command, eval_str=True)
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    own = [parameter.replace(kind=keyword_only) for parameter in list(signature.parameters.values())[1:]]
    common = [
        inspect.Parameter("output", keyword_only, default=Format.table, annotation=OutputOption),
        inspect.Parameter("tracking_uri", keyword_only, default=None, annotation=TrackingUri),
        inspect.Parameter("yes", keyword_only, default=False, annotation=Yes),
        inspect.Parameter("debug", keyword_only, default=False, annotation=Debug),
    ]

    @functools.wraps(command)
    def run(output: Format, tracking_uri: str | None, yes: bool, debug: bool, **arguments: Any) -> None:
        if debug:
            logging.basicConfig(level=logging.INFO)
            logging.getLogger("mlctl").setLevel(logging.DEBUG)  # adapters then leave other loggers alone
        from mlctl.output import waiting

        _show_notes()
        overrides = {
            "tracking_uri": tracking_uri,
            "experiment": arguments.get("experiment"),
            "report": arguments.pop("report", None),
        }
        with waiting.shown(WAITING_FOR.get("".join(sys.argv[1:2]), "working")):
            session = Session(format=output, overrides=overrides, debug=debug, yes=yes)
            with contextlib.redirect_stdout(sys.stderr):  # prints of a recipe are not part of the answer
                command(session, **arguments)

    parameters = [*own, *common]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del run.__wrapped__
    return run
