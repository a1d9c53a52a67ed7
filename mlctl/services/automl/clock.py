"""How long a race may go on, and what its end will take."""

from __future__ import annotations

import os
import time

FINISH_S = 4.0  # blending, saving, loading back, scoring and sending, on a machine of one's own
ONE_FIT = 0.25  # of the time, at most, for one model
REFITS = 0.35  # of the time, at most, is kept for fitting the blend's models on all rows


class Clock:
    """Times are monotonic seconds."""

    def __init__(self, began: float, timeout_s: float) -> None:
        self.began, self.timeout_s = began, timeout_s
        self.deadline = began + timeout_s

    @property
    def left(self) -> float:
        """Seconds until the race must begin its end."""
        return self.deadline - self._finish - time.monotonic()

    @property
    def _finish(self) -> float:
        """What the end takes: longer where other programs have the cores."""
        wall, used = time.monotonic() - self.began, sum(os.times()[:2])
        return float(FINISH_S * min(4.0, max(1.0, wall / max(used, 0.1))))

    def until(self) -> float:
        """Return when a fit that begins now must stop."""
        now = time.monotonic()
        return min(now + ONE_FIT * self.timeout_s, now + max(0.0, self.left))

    def for_refits(self, wanted: float) -> float:
        """Return how much of what refits want is kept for them."""
        return min(wanted, REFITS * self.timeout_s)
