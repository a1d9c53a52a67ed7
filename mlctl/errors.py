"""Every failure that mlctl means, and the exit code that each one ends with.

    MlctlError
    ├── UsageError           2    what was typed makes no sense
    ├── NotFoundError        3    a run, model, recipe or file that is not there
    ├── RefusedError         4    a gate, a conflict, a busy port: nothing was changed
    ├── ConfigurationError   5    a setting, a missing extra, a doctor's finding
    ├── UnreachableError     6    a server, bucket or network that does not answer
    ├── ChildFailedError     7    a child process or too many trials failed
    └── BadDataError         8    data or input that cannot be what it should be

0 is done, 1 is a bug of ours, and 130 is an interrupt (`Interrupted`, which may say how to go on).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MlctlError(Exception):
    """A failure with one line that says what is wrong and one that says what to do."""

    exit_code = 1
    code = "bug"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MlctlError):
    """What was typed makes no sense."""

    exit_code = 2
    code = "usage"


class NotFoundError(MlctlError):
    """A run, a model, a recipe or a file that is not there."""

    exit_code = 3
    code = "not_found"


class RefusedError(MlctlError):
    """A gate that does not hold, a conflict, a port in use: nothing was changed."""

    exit_code = 4
    code = "refused"


class ConfigurationError(MlctlError):
    """A setting that cannot be, a missing extra, or a doctor's finding."""

    exit_code = 5
    code = "configuration"


class UnreachableError(MlctlError):
    """A server, a bucket or the network does not answer."""

    exit_code = 6
    code = "unreachable"


class ChildFailedError(MlctlError):
    """A child process failed, or too many trials did."""

    exit_code = 7
    code = "child_failed"


class BadDataError(MlctlError):
    """Data or input that cannot be what it should be."""

    exit_code = 8
    code = "bad_data"


class Interrupted(MlctlError):
    """Ctrl-C or SIGTERM, after everything worth keeping was kept."""

    exit_code = 130
    code = "interrupted"


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" with the nearest of the known names, or "" where none is near."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(typed.lower(), names, n=1, cutoff=0.6)
    return f"did you mean {names[near[0]]}?" if near else ""
