"""Asking for a secret without an option, an argument or an echo."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from mlctl.errors import NotFoundError, RefusedError


def asked_for(what: str, file: str | None) -> str:
    """Return a secret from a file ("-": stdin), or typed unseen on a terminal.

    Raises NotFoundError for a file that is not there, RefusedError where nobody can type.
    """
    if file == "-":
        return sys.stdin.readline().strip()
    if file:
        try:
            return Path(file).expanduser().read_text(encoding="utf-8").strip()
        except FileNotFoundError as exc:
            raise NotFoundError(f"{file} is not there", "name a file that holds it") from exc
    if not sys.stdin.isatty():
        raise RefusedError(
            f"the {what} is wanted and nobody is there to type it", "say --password-file FILE, or -"
        )
    return getpass.getpass(f"{what}: ", stream=sys.stderr)
