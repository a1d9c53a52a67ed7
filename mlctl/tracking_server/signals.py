"""Wait for child processes and signals without missing either."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType


class SignalWaiter:
    """Sleeps until a child ends, a stop signal arrives, or a time has passed.

    A signal writes a byte into a pipe, so that none is lost between a check and the next sleep.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed, or earlier if a signal arrives."""
        select.select([self._reader], [], [], seconds)
        try:
            while os.read(self._reader, 512):
                pass
        except BlockingIOError:
            pass

    def reset(self) -> None:
        """Restore the default signal handling, in a forked child."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._reader)
        os.close(self._writer)
