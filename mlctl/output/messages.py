"""Consoles, and short messages to the user on stderr."""

from __future__ import annotations

import io
import os
import sys

from rich.console import Console
from rich.text import Text

from mlctl.errors import RefusedError

UNLIMITED_WIDTH = 100_000  # used if stdout is not a terminal: nothing is truncated or wrapped


class _Console(Console):
    """A console that raises BrokenPipeError; rich's own would end the program with exit code 1."""

    def on_broken_pipe(self) -> None:
        """Raise the error again, so that the command line handles it."""
        raise BrokenPipeError


def console(stderr: bool = False) -> Console:
    """Return a console that honours NO_COLOR, FORCE_COLOR, TERM=dumb and COLUMNS, and never wraps a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper) and "utf" not in stream.encoding.lower():
        stream.reconfigure(errors="replace")  # a character that cannot be encoded is no reason to fail
    width = None if stream.isatty() or os.environ.get("COLUMNS") else UNLIMITED_WIDTH
    return _Console(stderr=stderr, width=width, highlight=False, soft_wrap=False, emoji=False, markup=False)


def hint(text: str) -> None:
    """Write a hint, such as the probable next command."""
    console(stderr=True).print(Text(text, style="dim"), soft_wrap=True)


def warn(text: str) -> None:
    """Write a warning."""
    console(stderr=True).print(Text.assemble(("warning: ", "yellow"), text), soft_wrap=True)


def print_error(message: str, next_step: str, *, is_interrupt: bool = False) -> None:
    """Write one line that says what is wrong, and one that says what to do. An interrupt is no error."""
    err = console(stderr=True)
    label = ("" if is_interrupt else "error: ", "bold red")
    err.print(Text.assemble(label, " ".join(message.split())), soft_wrap=True)
    if next_step:
        err.print(Text.assemble(("hint: ", "bold"), " ".join(next_step.split())), soft_wrap=True)


def confirm(question: str, yes: bool) -> None:
    """Ask a question on the terminal, unless `yes` answers it.

    Raises RefusedError if the answer is not yes, or if there is no terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise RefusedError(f"{question} mlctl cannot ask: there is no terminal", "add --yes")
    err = console(stderr=True)
    err.print(f"{question} [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise RefusedError("Cancelled. Nothing was changed.", "answer y, or add --yes")
