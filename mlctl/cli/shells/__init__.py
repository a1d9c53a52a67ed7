"""The completion scripts, written from the command tree: `script(shell)`."""

from __future__ import annotations

from mlctl.cli.shells import bash, fish, zsh
from mlctl.cli.shells.tree import tree

RENDER = {"bash": bash.render, "zsh": zsh.render, "fish": fish.render}


def script(shell: str) -> str:
    """Return the completion script of bash, zsh or fish; importing every command to write it."""
    return RENDER[shell](tree())
