"""The sign of life that a training leaves in its run, so that others can tell it from one that died."""

from __future__ import annotations

import time

HEARTBEAT = "mlctl.heartbeat"  # the tag: seconds since 1970, by the clock of the machine that trains
LOST_AFTER_S = 60.0


def beat() -> str:
    """Return a heartbeat: now."""
    return f"{time.time():.0f}"


def heard_lately(last: str) -> bool:
    """Whether a heartbeat is less than a minute old; raises ValueError for what is none.

    A clock that was put back makes beats of the future: they prove no life either.
    """
    return abs(time.time() - float(last)) <= LOST_AFTER_S
