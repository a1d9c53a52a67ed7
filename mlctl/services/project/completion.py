"""Installs the completion script of a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from mlctl.domain.project import InstalledCompletion
from mlctl.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
SHARED_FOLDERS = (
    "/usr/share",
    "/usr/local/share",
    "/opt/homebrew/share",
    "/opt/homebrew/etc",
    "/usr/local/etc",
)


def choose_shell(shell: str | None) -> str:
    """Return the given shell, or the one that $SHELL names.

    Raises UsageError if it is none of bash, zsh and fish.
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        found = f"$SHELL names {name!r}" if name else "$SHELL is not set"
        raise UsageError(
            f"{found}, but completion is available only for {', '.join(SHELLS)}",
            "name a shell: mlctl completion install bash",
        )
    return str(name)


def install_script(shell: str, script: str) -> InstalledCompletion:
    """Write a completion script to the user's folder for it. Writing the same script again changes nothing."""
    if shell == "zsh":
        path, next_step = _zsh_path()
    else:
        path = script_paths(shell)[0]
        next_step = f"open a new {shell}"
        if shell == "bash" and not _has_bash_completion():
            next_step = (
                "the package bash-completion is not installed: install it and open a new bash, "
                f"or add this line to ~/.bashrc: source {path}"
            )
    changed = not path.is_file() or path.read_text(encoding="utf-8") != script
    if changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script, encoding="utf-8")
    return InstalledCompletion(shell=shell, file=str(path), changed=changed, next_step=next_step)


def script_paths(shell: str) -> list[Path]:
    """Return the files that `install_script` may have written for a shell, without starting the shell."""
    if shell == "bash":
        return [_data_folder() / "bash-completion" / "completions" / "mlctl"]
    if shell == "fish":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        return [config / "fish" / "completions" / "mlctl.fish"]
    folders = [
        _data_folder() / "zsh" / "site-functions",
        *map(Path, os.environ.get("FPATH", "").split(":")),
    ]
    return [folder / "_mlctl" for folder in folders]


def _data_folder() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def _zsh_path() -> tuple[Path, str]:
    """Return the file for zsh's script, and what the user does next."""
    own = [folder for folder in _fpath() if folder.is_relative_to(Path.home()) and os.access(folder, os.W_OK)]
    if own:
        return own[0] / "_mlctl", "open a new zsh"
    folder = _data_folder() / "zsh" / "site-functions"
    line = f"fpath=({folder} $fpath); autoload -Uz compinit; compinit"
    return folder / "_mlctl", f"add this line to ~/.zshrc: {line}"


def _has_bash_completion() -> bool:
    """Whether bash-completion is installed, which loads scripts from the user's folder."""
    names = ("bash-completion", "bash_completion", "profile.d/bash_completion.sh")
    return any(Path(folder, name).exists() for folder in SHARED_FOLDERS for name in names)


def _fpath() -> list[Path]:
    """Return the folders in which the user's zsh looks for functions, according to its start-up files."""
    zsh = shutil.which("zsh")
    if zsh is None:
        return []
    try:
        process = subprocess.run(
            [zsh, "-ic", "print -l -- $fpath"],
            capture_output=True,
            text=True,
            timeout=5,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [Path(line) for line in process.stdout.splitlines() if line.startswith("/")]
