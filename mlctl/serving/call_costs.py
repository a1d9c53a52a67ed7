"""What calls have cost so far, to tell which calls are surely short.

The cost of a call is not known before it ran: a text or a table in a small body can take seconds. A size is therefore
called surely short only after several calls of about this size, or of a larger one, were measured and all were short.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

SHORT_S = 0.002  # well below 5 ms: bodies of one size differ in what they cost
LONG_S = 0.005  # a single call of this length makes its size long
FORGIVEN = 0.02  # share of the calls between the two: now and then the machine makes a short call slower
MIN_CALLS = 4
WINDOW = 256  # calls after which older measurements are dropped
WAITING_S = (
    0.05  # a call that gave its processor away, and lasts longer than this, has waited for something else
)
MAX_KINDS = 16

T = TypeVar("T")


class _SizeClass:
    """Measurements of bodies whose sizes differ by less than a factor of two."""

    def __init__(self) -> None:
        self._calls = -1  # the first call is slower than all others: caches are empty
        self._slower = self._previous_slower = 0  # calls over SHORT_S
        self._is_long = self._was_long = False
        self._elapsed = float("inf")

    @property
    def is_short(self) -> bool:
        return self._calls >= MIN_CALLS and not self.is_long and self._elapsed < SHORT_S

    @property
    def is_long(self) -> bool:
        if self._is_long or self._was_long:
            return True
        return max(self._slower, self._previous_slower) > FORGIVEN * WINDOW

    def add(self, *, cpu_s: float, elapsed_s: float, has_waited: bool, succeeded: bool) -> None:
        # the time that elapses includes that of other programs on a busy machine; a call that sleeps has no CPU time
        cost = elapsed_s if has_waited and elapsed_s > WAITING_S else cpu_s
        if self._calls < 0:
            self._calls += succeeded
            return
        self._slower += cost >= SHORT_S
        self._is_long = self._is_long or cost >= LONG_S
        if not succeeded:  # refused at once: it says nothing about good requests
            return
        self._calls += 1
        self._elapsed = min(self._elapsed, elapsed_s)
        if self._calls % WINDOW == 0:
            self._previous_slower, self._slower = self._slower, 0
            self._was_long, self._is_long = self._is_long, False
            self._elapsed = elapsed_s


class CallCosts:
    """Measures calls by the kind and the size of what they work on."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[int, _SizeClass]] = {}

    def is_surely_short(self, *, size: int, kind: str = "") -> bool:
        """Return whether a call surely takes under 5 ms."""
        classes = self._kinds.get(_normalized(kind), {})
        index = size.bit_length()
        if (own := classes.get(index)) is not None and own.is_long:
            return False
        return any(found >= index and one.is_short for found, one in classes.items())

    def measure(self, function: Callable[[], T], *, size: int, kind: str = "") -> T:
        """Call a function, and remember what it cost."""
        started, cpu_started, waits = time.perf_counter(), time.thread_time(), _count_waits()
        succeeded = False
        try:
            result = function()
            succeeded = True
        finally:
            self._add(
                size,
                kind,
                cpu_s=time.thread_time() - cpu_started,
                elapsed_s=time.perf_counter() - started,
                has_waited=_count_waits() != waits,
                succeeded=succeeded,
            )
        return result

    def _add(
        self, size: int, kind: str, *, cpu_s: float, elapsed_s: float, has_waited: bool, succeeded: bool
    ) -> None:
        name = _normalized(kind)
        if name not in self._kinds and len(self._kinds) >= MAX_KINDS:
            return
        classes = self._kinds.setdefault(name, {})
        size_class = classes.setdefault(size.bit_length(), _SizeClass())
        size_class.add(cpu_s=cpu_s, elapsed_s=elapsed_s, has_waited=has_waited, succeeded=succeeded)


def _count_waits() -> int:
    """Return how often this thread, or on other systems than Linux any thread, gave its processor away by itself."""
    who = resource.RUSAGE_THREAD if sys.platform == "linux" else resource.RUSAGE_SELF
    return resource.getrusage(who).ru_nvcsw


def _normalized(kind: str) -> str:
    """Return a content type without its parameters; JSON is the default."""
    return kind.partition(";")[0].strip().lower() or "application/json"
