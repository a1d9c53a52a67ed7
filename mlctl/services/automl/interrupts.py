"""Ctrl-C while a race ends: what can be cut short is, and the model is logged all the same."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """The first signal is noted, and raises KeyboardInterrupt only within `cutting`; the second raises anywhere."""

    def __init__(self, noted: bool = False) -> None:
        """`noted`: the first has been."""
        self.noted = noted
        self._cutting = False
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = [signal.signal(number, self._hear) for number in SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(SIGNALS, self._before, strict=False):
            signal.signal(number, handler)

    @contextlib.contextmanager
    def cutting(self) -> Iterator[None]:
        """Whatever is done in here is cut short by the first, too."""
        self._cutting = True
        try:
            yield
        finally:
            self._cutting = False

    def _hear(self, number: int, frame: Any) -> None:
        first, self.noted = not self.noted, True
        if self._cutting or not first:
            raise KeyboardInterrupt
