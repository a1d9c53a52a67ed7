"""How long a race may go on, and what its end will take."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

FINISH_S = 4.0  # blending, saving, loading back, scoring and sending, on a machine of one's own
ONE_FIT = 0.25  # of the time, at most, for one model
REFITS = 0.35  # of the time, at most, is kept for fitting the blend's models on all rows
NIBBLED = 0.03  # of the time: models stop a little after they should


class TimeBudget:
    """Times are monotonic seconds."""

    def __init__(self, started: float, timeout_s: float) -> None:
        self.started, self.timeout_s = started, timeout_s
        self.deadline = started + timeout_s

    @property
    def left(self) -> float:
        """Seconds until the race must begin its end."""
        return self.deadline - self._finish - time.monotonic()

    @property
    def _finish(self) -> float:
        """What the end takes: longer where other programs have the cores."""
        wall, used = time.monotonic() - self.started, sum(os.times()[:2])
        return float(FINISH_S * min(4.0, max(1.0, wall / max(used, 0.1))))

    def has_room(self, seconds: float) -> bool:
        """Whether a refit that takes so long may begin; what was kept for it may have been nibbled at."""
        return seconds <= self.left + NIBBLED * self.timeout_s

    def until(self, refits: float, none_yet: bool = False) -> float:
        """Return when a fit that begins now must stop, to leave so many seconds for refits.

        The first, with `none_yet`, has its share of the time in any case.
        """
        share = ONE_FIT * self.timeout_s
        return time.monotonic() + (share if none_yet else max(0.0, min(share, self.left - refits)))

    def for_refits(self, wanted: Iterable[float]) -> float:
        """Return how long to keep for refits that take so long, the most wanted first: for those that have room.

        Where the first has none, nothing is kept: the time is better spent on models that may beat it.
        """
        kept, room = 0.0, min(REFITS * self.timeout_s, self.left)
        for seconds in wanted:
            if kept + seconds <= room:
                kept += seconds
            elif not kept:
                return 0.0
        return kept
