"""mlctl completion."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mlctl.cli.common_options import Session


class Shell(StrEnum):
    """Shells with completion."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


ShellArgument = Annotated[
    Shell | None,
    typer.Argument(metavar="SHELL", help="bash, zsh or fish (default: the shell that $SHELL names)."),
]


def show(session: Session, shell: ShellArgument = None) -> None:
    """Write the completion script to stdout.

    \b
    mlctl completion show zsh
    eval "$(mlctl completion show bash)"
    """
    from mlctl.cli.completion_scripts import render_script
    from mlctl.services.project import completion

    with session.redirect_to_stdout():
        print(render_script(completion.choose_shell(shell)), end="")


def install(session: Session, shell: ShellArgument = None) -> None:
    """Install the completion script in the folder that the shell reads.

    \b
    mlctl completion install
    mlctl completion install fish
    """
    from mlctl.cli.completion_scripts import render_script
    from mlctl.services.project import completion

    name = completion.choose_shell(shell)
    installed = completion.install_script(name, render_script(name))
    session.show(installed, f"next: {installed.next_step}")
