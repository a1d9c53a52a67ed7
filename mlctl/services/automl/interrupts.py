"""Ctrl-C while the blend is being finished: optional work is cut short, and the model is still logged."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, Self

INTERRUPTED = "interrupted"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptGuard:
    """Context in which the first signal is only recorded, except in `interruptible`; the second one raises.

    `interrupted` is True after the first signal.
    """

    def __init__(self, interrupted: bool = False) -> None:
        """With `interrupted`, the first signal has arrived already."""
        self.interrupted = interrupted
        self._interruptible = False
        self._previous_handlers: list[Any] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous_handlers = [signal.signal(number, self._handle) for number in SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(SIGNALS, self._previous_handlers, strict=False):
            signal.signal(number, handler)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """In this context, the first signal raises KeyboardInterrupt, too."""
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def _handle(self, number: int, frame: Any) -> None:
        first, self.interrupted = not self.interrupted, True
        if self._interruptible or not first:
            raise KeyboardInterrupt
