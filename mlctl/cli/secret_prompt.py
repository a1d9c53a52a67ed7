"""Reads a secret without putting it on the command line or on the screen."""

from __future__ import annotations

import getpass
import sys

from mlctl.errors import BadDataError, RefusedError
from mlctl.files import read_secret


def read_password(prompt: str, file: str | None) -> str:
    """Return the password in a file ("-": stdin), or ask for it on the terminal without showing it.

    Raises NotFoundError if there is no such file, and RefusedError if there is neither a file nor a terminal.
    """
    if file:
        return read_secret(file, content=f"the {prompt}")
    if not sys.stdin.isatty():
        raise RefusedError(
            f"mlctl cannot ask for the {prompt}: there is no terminal",
            "pass --password-file FILE, or --password-file - to read stdin",
        )
    return getpass.getpass(f"{prompt}: ", stream=sys.stderr)


def read_new_password(name: str, file: str | None) -> str:
    """Return a new password as `read_password` does; on the terminal it must be typed twice."""
    password = read_password(f"new password of {name}", file)
    if not file and getpass.getpass("the same again: ", stream=sys.stderr) != password:
        raise BadDataError("the two passwords differ", "try again")
    return password
