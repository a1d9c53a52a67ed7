"""Installing the completion script of a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from mlctl.domain.project import InstalledCompletion
from mlctl.errors import UsageError

SHELLS = ("bash", "zsh", "fish")


def chosen(shell: str | None) -> str:
    """Return the shell that was given, or the one that $SHELL names.

    Raises UsageError where that is none of bash, zsh and fish.
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        said = f"$SHELL names {name!r}" if name else "$SHELL is not set"
        raise UsageError(
            f"{said}, and mlctl completes in {', '.join(SHELLS)}", "say which: mlctl completion install bash"
        )
    return str(name)


def install(shell: str, script: str) -> InstalledCompletion:
    """Write the script to the user's own place for it, and tell how the shell comes to use it.

    Writing the same script again changes nothing.
    """
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    if shell == "bash":
        file = data / "bash-completion" / "completions" / "mlctl"
        start = "open a new bash" if _bash_completion() else f"put this line into ~/.bashrc: source {file}"
    elif shell == "fish":
        file = config / "fish" / "completions" / "mlctl.fish"
        start = "open a new fish"
    else:
        searched = _fpath()
        own = [one for one in searched if one.is_relative_to(Path.home()) and os.access(one, os.W_OK)]
        folder = own[0] if own else data / "zsh" / "site-functions"
        file = folder / "_mlctl"
        line = f"fpath=({folder} $fpath); autoload -Uz compinit; compinit"
        start = "open a new zsh" if own else f"put this line into ~/.zshrc: {line}"
    before = file.read_text(encoding="utf-8") if file.is_file() else None
    if before != script:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(script, encoding="utf-8")
    return InstalledCompletion(shell, str(file), before != script, start)


def places(shell: str) -> list[Path]:
    """Return the files that `install` may have written for a shell, without asking the shell itself."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    if shell == "bash":
        return [data / "bash-completion" / "completions" / "mlctl"]
    if shell == "fish":
        return [config / "fish" / "completions" / "mlctl.fish"]
    folders = [data / "zsh" / "site-functions", *map(Path, os.environ.get("FPATH", "").split(":"))]
    return [folder / "_mlctl" for folder in folders]


def _bash_completion() -> bool:
    """Tell whether bash-completion, which reads the user's own folder, is on this machine."""
    places = ("/usr/share", "/usr/local/share", "/opt/homebrew/share", "/opt/homebrew/etc", "/usr/local/etc")
    return any(
        Path(one, "bash-completion").exists() or Path(one, "bash_completion").exists() for one in places
    ) or any(
        Path(one, "profile.d", "bash_completion.sh").exists()
        for one in ("/opt/homebrew/etc", "/usr/local/etc")
    )


def _fpath() -> list[Path]:
    """Return the folders where the user's zsh looks for functions, as its own start-up files set them."""
    zsh = shutil.which("zsh")
    if zsh is None:
        return []
    try:
        asked = subprocess.run(
            [zsh, "-ic", "print -l -- $fpath"],
            capture_output=True,
            text=True,
            timeout=5,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [Path(line) for line in asked.stdout.splitlines() if line.startswith("/")]
