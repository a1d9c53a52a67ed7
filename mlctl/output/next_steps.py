"""Suggestions of the command that a user probably wants to run next."""

from __future__ import annotations

from shlex import quote

from mlctl.domain.run import Run


def next_command(run: Run) -> str:
    """Return the command that probably follows a run that has just ended."""
    if run.registered:
        name, version = run.registered.split("/")
        return f"mlctl promote {quote(name)} {version} Production"
    short_id = run.run_id[:8]
    if run.model_uri is None:
        return f"mlctl runs show {short_id}"
    return f"mlctl runs show {short_id}, or mlctl register {short_id} NAME"
