"""Run the work of a request where it blocks no other.

Only calls that surely take under 5 ms run on the event loop. All others run in a few threads, before which a limited
number of calls may wait. A call that takes longer than its client waits cannot be ended, only its process can: the
worker asks the supervisor for a replacement then, and another thread takes over meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from mlctl.serving.call_costs import CallCosts
from mlctl.serving.payloads.request_error import RequestError

THREADS = 8
MAX_THREADS = 64  # if calls wait for something else than the processor
RELIEF_S = 0.25
IDLE_SHARE = 0.5  # of one processor: calls that use less of it wait for something else
MAX_OVERDUE = 32  # threads that are held by overdue calls before the worker stops to take calls
MAX_RETRY_S = 30
DEFAULT_QUEUE = 64

log = logging.getLogger("mlctl.serving")
T = TypeVar("T")


@dataclass(eq=False)
class _Call:
    """A call in a thread, or one that waits for a thread (`started` is None)."""

    function: Callable[[], Any]
    future: asyncio.Future[Any]
    started: float | None = None
    is_overdue: bool = False
    ended: bool = field(default=False)


class PredictionExecutor:
    """Runs calls of one worker.

    Attributes:
        on_overdue: Called when a call runs longer than `timeout_s`.
        overdue: Number of such calls that still run.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        max_queue: int = DEFAULT_QUEUE,
        threads: int = THREADS,
        may_inline: bool = False,
    ) -> None:
        """Create an executor without threads; they start when they are needed.

        Args:
            timeout_s: Longest time that a client waits.
            max_queue: Number of calls that may wait for a thread.
            threads: Number of calls that run at the same time.
            may_inline: Calls work in the thread that calls them, and cost what calls of their size cost before, so
                that short ones may run on the event loop. Models that run any code of their users do not.
        """
        self._timeout_s = timeout_s
        self._max_queue = max_queue
        self._base_threads = self._threads = threads
        self._relief: asyncio.TimerHandle | None = None
        self._costs = CallCosts() if may_inline else None
        self._tasks: queue.SimpleQueue[tuple[_Call, asyncio.AbstractEventLoop] | None] = queue.SimpleQueue()
        self._waiting: deque[_Call] = deque()
        self._started_threads = 0
        self._running = 0  # without the overdue calls
        self._typical_s = 0.05
        self.overdue = 0
        self.on_overdue: Callable[[], None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether another call would be taken."""
        has_room = self._running < self._threads or len(self._waiting) < self._max_queue
        return has_room and self.overdue < MAX_OVERDUE

    def measure(self, function: Callable[[], T], *, size: int, kind: str = "") -> T:
        """Call a function here, before requests arrive, and remember what it cost."""
        return self._costs.measure(function, size=size, kind=kind) if self._costs else function()

    async def run(self, function: Callable[[], T], *, size: int | None, kind: str = "") -> T:
        """Return the function's result.

        Args:
            function: The work.
            size: Bytes of what it works on; None if they do not tell how much work it is, as in a compressed file.
            kind: Kind of the work, such as the content type of the body; costs are compared within a kind.

        Raises:
            RequestError: 504 if the call takes too long, 503 if too many others wait.
        """
        if self._costs and size is not None:
            if self._costs.is_surely_short(size=size, kind=kind):
                return self._costs.measure(function, size=size, kind=kind)
            function = partial(self._costs.measure, function, size=size, kind=kind)
        call = _Call(function, asyncio.get_running_loop().create_future())
        self._submit(call)
        timeout = asyncio.timeout(self._timeout_s)
        try:
            async with timeout:
                result: T = await call.future
                return result
        except TimeoutError:
            if not timeout.expired():
                raise  # the model's own
            raise self._give_up(call) from None
        except asyncio.CancelledError:
            self._forget(call)
            raise

    def _submit(self, call: _Call) -> None:
        if self._running < self._threads and self.overdue < MAX_OVERDUE:
            self._start(call)
        elif self.is_ready:
            self._waiting.append(call)
            if self._relief is None:
                self._watch_waiting(time.process_time())
        else:
            raise self._overloaded("too many requests are waiting")

    def _watch_waiting(self, cpu_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._relief = loop.call_later(RELIEF_S, self._relieve, cpu_s)

    def _relieve(self, cpu_s: float) -> None:
        """Allow more threads while calls wait and the processor does not work: the others sleep, or wait for a network."""
        now_cpu_s = time.process_time()
        self._relief = None
        if not self._waiting:
            self._threads = self._base_threads
            return
        if now_cpu_s - cpu_s < IDLE_SHARE * RELIEF_S:
            self._threads = min(self._threads + self._base_threads, MAX_THREADS)
            self._start_next()
        self._watch_waiting(now_cpu_s)

    def _start(self, call: _Call) -> None:
        self._running += 1
        if self._running + self.overdue > self._started_threads:
            self._started_threads += 1
            threading.Thread(target=self._work, name="mlctl-call", daemon=True).start()
        call.started = time.monotonic()
        self._tasks.put((call, call.future.get_loop()))

    def _work(self) -> None:
        """Run calls, in a thread."""
        while (task := self._tasks.get()) is not None:
            call, loop = task
            try:
                finish = partial(self._finish, call, call.function(), None)
            except BaseException as exc:
                finish = partial(self._finish, call, None, exc)
            del call, task
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(finish)
            del finish

    def _finish(self, call: _Call, result: Any, error: BaseException | None) -> None:
        """Give a call's result to the one who awaits it, and its thread to the next call."""
        assert call.started is not None
        call.ended = True
        self._typical_s += 0.1 * (time.monotonic() - call.started - self._typical_s)
        if not call.future.done():
            if error is not None:
                call.future.set_exception(error)
            else:
                call.future.set_result(result)
        if call.is_overdue:  # another thread took over
            self.overdue -= 1
            self._started_threads -= 1
            self._tasks.put(None)
        else:
            self._running -= 1
        self._start_next()
        if self._started_threads - self.overdue > max(self._threads, self._running):
            self._started_threads -= 1
            self._tasks.put(None)

    def _start_next(self) -> None:
        while self._waiting and self._running < self._threads and self.overdue < MAX_OVERDUE:
            self._start(self._waiting.popleft())

    def _give_up(self, call: _Call) -> RequestError:
        """Return the error for a client that has waited too long."""
        if call.started is None:
            self._waiting.remove(call)
            return self._overloaded(f"the request waited {self._timeout_s:g} s for others")
        self._forget(call)
        return RequestError(
            504,
            "TIMEOUT",
            f"the model did not answer within {self._timeout_s:g} s",
            "send fewer rows per request",
        )

    def _forget(self, call: _Call) -> None:
        """Stop waiting for a call; when it has run for too long, replace its thread."""
        if call.started is None:
            with contextlib.suppress(ValueError):
                self._waiting.remove(call)
            return
        left_s = call.started + self._timeout_s - time.monotonic()
        if left_s > 0.001:
            call.future.get_loop().call_later(left_s, self._forget, call)
        elif not call.ended and not call.is_overdue:
            call.is_overdue = True
            self._running -= 1
            self.overdue += 1
            log.warning("a call has run for %.1f s; this worker will be replaced", self._timeout_s)
            if self.on_overdue:
                self.on_overdue()
            self._start_next()

    def _overloaded(self, message: str) -> RequestError:
        wait_s = math.ceil((len(self._waiting) + 1) * self._typical_s / self._threads)
        error = RequestError(503, "TEMPORARILY_UNAVAILABLE", message, "try again later, or add --workers")
        error.headers.append((b"retry-after", b"%d" % min(max(wait_s, 1), MAX_RETRY_S)))
        return error
