"""All expected failures of mlctl, and the exit code of each.

    MlctlError
    ├── UsageError           2    invalid arguments
    ├── NotFoundError        3    a run, model, recipe or file does not exist
    ├── RefusedError         4    a failed gate, a conflict, a busy port: nothing was changed
    ├── ConfigurationError   5    an invalid setting, a missing extra, a finding of the doctor
    ├── UnreachableError     6    a server, bucket or network does not answer
    ├── ChildFailedError     7    a child process or too many trials failed
    └── BadDataError         8    invalid data or input

0 is success, 1 is a bug in mlctl, and 130 is an interrupt (`Interrupted`, whose hint may say how to resume).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MlctlError(Exception):
    """A failure: `message` says in one line what is wrong, `hint` what to do."""

    exit_code = 1
    code = "bug"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MlctlError):
    """The arguments are invalid."""

    exit_code = 2
    code = "usage"


class NotFoundError(MlctlError):
    """A run, a model, a recipe or a file does not exist."""

    exit_code = 3
    code = "not_found"


class RefusedError(MlctlError):
    """A gate failed, or there is a conflict, such as a busy port. Nothing was changed."""

    exit_code = 4
    code = "refused"


class ConfigurationError(MlctlError):
    """A setting is invalid, an extra is missing, or the doctor found a problem."""

    exit_code = 5
    code = "configuration"


class UnreachableError(MlctlError):
    """A server, a bucket or the network does not answer."""

    exit_code = 6
    code = "unreachable"


class ChildFailedError(MlctlError):
    """A child process failed, or too many trials failed."""

    exit_code = 7
    code = "child_failed"


class BadDataError(MlctlError):
    """Data or input is invalid."""

    exit_code = 8
    code = "bad_data"


class Interrupted(MlctlError):
    """Ctrl-C or SIGTERM stopped the command, after it saved its work."""

    exit_code = 130
    code = "interrupted"


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" with the most similar known name, or "" if none is similar.

    A name is also similar if it is the only one that begins with what was typed.
    """
    names = {name.lower(): name for name in known}
    similar = difflib.get_close_matches(typed.lower(), names, n=1, cutoff=0.6)
    if not similar and typed:
        begins = [name for name in names if name.startswith(typed.lower())]
        similar = begins if len(begins) == 1 else []
    return f"did you mean {names[similar[0]]}?" if similar else ""
