"""What every answering command shares: its format, its settings, and the options that set both."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

if TYPE_CHECKING:
    from mlctl.settings import Settings


class Format(StrEnum):
    """How an answer is written to stdout."""

    table = "table"
    json = "json"
    csv = "csv"
    md = "md"


SHARED = "Every command"

OutputOption = Annotated[
    Format, typer.Option("--output", "-o", help="How the answer is written.", rich_help_panel=SHARED)
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        help="The tracking store: sqlite:///FILE, postgresql://…, http://….",
        rich_help_panel=SHARED,
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks and what is logged.", rich_help_panel=SHARED)
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask; taken everywhere.", rich_help_panel=SHARED)
]


@dataclass(frozen=True)
class Session:
    """One call of one command."""

    format: Format
    options: dict[str, Any]
    debug: bool
    yes: bool
    stdout: TextIO = field(default_factory=lambda: sys.stdout, repr=False, compare=False)

    @functools.cached_property
    def settings(self) -> Settings:
        """All settings, resolved when first asked for, so that help needs none."""
        from mlctl import credentials
        from mlctl.settings import load

        found = load(self.options)
        credentials.use(found.tracking_uri)
        return found

    def answer(self) -> AbstractContextManager[object]:
        """Have what is printed meanwhile go to stdout; elsewhere a command's prints go to stderr."""
        return contextlib.redirect_stdout(self.stdout)

    def show(self, answer: object, next_step: str = "") -> None:
        """Write the answer to stdout, and on stderr the command that likely comes next."""
        from mlctl import output

        with self.answer():
            output.show(answer, self.format)
        if next_step:
            output.hint(next_step)

    def confirm(self, question: str) -> None:
        """Ask on a terminal, demand --yes elsewhere; return only where it is agreed.

        Raises RefusedError where it is not.
        """
        from mlctl import output

        output.confirm(question, self.yes)


def with_common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, whose first parameter is its Session, the options that all commands share."""
    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter("output", keyword, default=Format.table, annotation=OutputOption),
        inspect.Parameter("tracking_uri", keyword, default=None, annotation=TrackingUri),
        inspect.Parameter("yes", keyword, default=False, annotation=Yes),
        inspect.Parameter("debug", keyword, default=False, annotation=Debug),
    ]

    @functools.wraps(command)
    def run(output: Format, tracking_uri: str | None, yes: bool, debug: bool, **rest: Any) -> None:
        if debug:
            logging.basicConfig(level=logging.INFO)
            logging.getLogger("mlctl").setLevel(logging.DEBUG)  # adapters then leave other loggers alone
        options = {"tracking_uri": tracking_uri, "experiment": rest.get("experiment")}
        session = Session(output, options, debug, yes)
        with contextlib.redirect_stdout(sys.stderr):  # a recipe's own prints are no part of the answer
            command(session, **rest)

    parameters = [one.replace(kind=keyword) for one in own] + shared
    for one in parameters:
        _hide_type_of_flag(one.annotation)
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    del run.__wrapped__
    return run


def _hide_type_of_flag(annotation: Any) -> None:
    """Let help say `--yes` and not `--yes <bool>`: a flag's metavar is empty unless it was given one."""
    for one in getattr(annotation, "__metadata__", ()):
        if annotation.__origin__ is bool and getattr(one, "metavar", "") is None:
            one.metavar = ""
