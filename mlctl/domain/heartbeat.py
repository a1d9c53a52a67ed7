"""The heartbeat that a training writes into its run, so that others can tell whether it is still alive."""

from __future__ import annotations

import time

HEARTBEAT = "mlctl.heartbeat"  # the tag: seconds since 1970, by the clock of the machine that trains
LOST_AFTER_S = 60.0


def current_heartbeat() -> str:
    """Return the value of a heartbeat that is written now."""
    return f"{time.time():.0f}"


def heartbeat_age_s(heartbeat: str) -> float | None:
    """Return how old a heartbeat is, in seconds; None for a value that is not a time.

    The age of a heartbeat in the future, which a clock that was set back leaves, is positive too: it does not prove
    that the run is alive.
    """
    try:
        return abs(time.time() - float(heartbeat))
    except ValueError:  # anyone can edit a tag
        return None
