"""Completion scripts for bash, zsh and fish, rendered from the command tree."""

from __future__ import annotations

from mlctl.cli.completion_scripts import bash, fish, zsh
from mlctl.cli.completion_scripts.command_tree import build_tree

RENDER = {"bash": bash.render, "zsh": zsh.render, "fish": fish.render}
FILE_NAMES = {"bash": "mlctl.bash", "zsh": "_mlctl", "fish": "mlctl.fish"}  # in completions/


def render_script(shell: str) -> str:
    """Return the completion script of bash, zsh or fish. This imports all commands."""
    return RENDER[shell](build_tree())
