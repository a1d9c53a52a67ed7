"""mlctl completion: the shells' TAB key."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mlctl.cli.common_options import Session, with_common_options

app = typer.Typer(no_args_is_help=True, help="Show or install the completion script of a shell.")


class Shell(StrEnum):
    """The shells that mlctl completes in."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


ShellArgument = Annotated[
    Shell | None,
    typer.Argument(metavar="SHELL", help="bash, zsh or fish; the one that $SHELL names if not given."),
]


@app.command()
@with_common_options
def show(session: Session, shell: ShellArgument = None) -> None:
    """Write the completion script to stdout.

    mlctl completion show zsh
    eval "$(mlctl completion show bash)"
    """
    from mlctl.cli.shells import script
    from mlctl.services import completion

    with session.answer():
        print(script(completion.chosen(shell)), end="")


@app.command()
@with_common_options
def install(session: Session, shell: ShellArgument = None) -> None:
    """Put the completion script where the shell finds it.

    mlctl completion install
    mlctl completion install fish
    """
    from mlctl.cli.shells import script
    from mlctl.services import completion

    chosen = completion.chosen(shell)
    done = completion.install(chosen, script(chosen))
    session.show(done, f"next: {done.start}")
