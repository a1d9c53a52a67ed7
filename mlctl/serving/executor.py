"""Run the work of a request where it blocks no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from mlctl.serving.payloads.request_error import RequestError

MAX_INLINE_S = 0.004  # longer work runs in a thread, so that health checks are answered meanwhile

T = TypeVar("T")


class PredictionExecutor:
    """Runs short work on the event loop, and all other work in threads."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._seconds_per_byte = 1.0

    def record(self, *, size: int, seconds: float) -> None:
        """Remember what the work for a body of `size` bytes took."""
        self._seconds_per_byte = min(self._seconds_per_byte, seconds / size)

    async def run(self, function: Callable[[], T], *, size: int) -> T:
        """Return the function's result. Raises RequestError (504) if it takes too long."""
        if size * self._seconds_per_byte < MAX_INLINE_S:
            return function()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.to_thread(function)
        except TimeoutError:
            raise RequestError(
                504,
                "TIMEOUT",
                f"the model did not answer within {self._timeout_s:g} s",
                "send fewer rows per request",
            ) from None
