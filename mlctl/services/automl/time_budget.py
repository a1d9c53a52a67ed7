"""The time that a run may take, and the part of it that finishing takes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

FINISH_S = 4.0  # blending, saving, loading back, scoring and uploading, on an idle machine
MAX_FINISH_FACTOR = 4.0  # on a busy machine, finishing takes up to so much longer
IMPORT_S = 3.5  # importing TensorFlow, which finishing needs, too
MAX_IMPORT_FACTOR = 6.0  # on a busy machine, its gigabyte of libraries may have to be read from the disk
MAX_FIT_SHARE = 0.3  # of the time, for one model
MAX_REFIT_SHARE = 0.35  # of the time, for refitting the blend's models on all rows
OVERRUN_SHARE = 0.03  # of the time: models stop a little after their deadline


class TimeBudget:
    """A run's time, and where it went. All times are seconds of the monotonic clock."""

    def __init__(self, started: float, timeout_s: float) -> None:
        self.started, self.timeout_s = started, timeout_s
        self.deadline = started + timeout_s
        self.phases: dict[str, float] = {}
        self._phase_started = started

    def end_phase(self, name: str) -> None:
        """Record that the time since the end of the phase before went into this one."""
        now = time.monotonic()
        self.phases[name] = self.phases.get(name, 0.0) + now - self._phase_started
        self._phase_started = now

    @property
    def left(self) -> float:
        """Seconds until finishing must begin."""
        return self.deadline - self._finish_s - time.monotonic()

    @property
    def _finish_s(self) -> float:
        """Seconds that finishing takes: more if other programs use the cores."""
        wall, cpu = time.monotonic() - self.started, sum(os.times()[:2])
        factor = max(1.0, wall / max(cpu, 0.1))
        import_s = 0.0 if "keras" in sys.modules else IMPORT_S * min(MAX_IMPORT_FACTOR, factor)
        return float(FINISH_S * min(MAX_FINISH_FACTOR, factor) + import_s)

    def has_room(self, seconds: float) -> bool:
        """Return whether a refit of this duration may begin.

        Models that stopped late may have used some of the time that was reserved for it.
        """
        return seconds <= self.left + OVERRUN_SHARE * self.timeout_s

    def fit_deadline(self, reserved_s: float, *, first: bool = False) -> float:
        """Return when a fit that begins now must stop, to leave `reserved_s` seconds for refits.

        The first fit gets its full share of the time in any case.
        """
        share = MAX_FIT_SHARE * self.timeout_s
        return time.monotonic() + (share if first else max(0.0, min(share, self.left - reserved_s)))

    def reserve_for_refits(self, durations: Iterable[float]) -> float:
        """Return how many seconds to reserve for refits of these durations, the most important first.

        Refits that do not fit are skipped. If the first one does not fit, nothing is reserved: the time is
        better spent on models that may beat it.
        """
        reserved, room = 0.0, min(MAX_REFIT_SHARE * self.timeout_s, self.left)
        for seconds in durations:
            if reserved + seconds <= room:
                reserved += seconds
            elif not reserved:
                return 0.0
        return reserved
