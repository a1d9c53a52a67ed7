"""Which version an endpoint serves, and how it comes to serve another one.

A new version is loaded beside the one that is served. Then it is tried: for a while the old workers forward all requests
to it, and answer those themselves in which it fails. Only a version that has passed takes the endpoint's address. A
version that cannot be loaded, has another signature, fails or ends its workers is refused, and the one before goes on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion
from mlctl.serving.supervision.events import log_event
from mlctl.serving.supervision.signature_change import signature_change
from mlctl.serving.supervision.worker_pool import WorkerPool
from mlctl.serving.supervision.worker_process import WorkerStartError

TRIAL_REQUESTS = 20  # answers that a version must give to pass its trial before the longest time
MAX_TRIAL_S = 600.0
GIVE_WAY_S = 10.0  # how long a version may load while another one waits
TRIAL_FAILURES = 3  # failed requests that end a trial
TRIAL_DEATHS = 2  # workers that end; one alone may have been killed by somebody
REVERT_DEATHS, REVERT_WINDOW_S = 3, 60.0  # deaths of workers that bring the version before back


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefusedVersion:
    """A version that was to be served and is not: why, and since when (ISO 8601)."""

    version: str
    reason: str
    at: str


class VersionSwitch:
    """Holds the workers of an endpoint, and changes its version.

    Attributes:
        serving: The version that clients get.
        refused: The last version that was refused, unless another one was served later.
        on_change: Called when one of these has changed.
        on_message: Called with each message of a worker that serves.
    """

    def __init__(self, spec: EndpointSpec) -> None:
        self.serving = spec.serving
        self.refused: RefusedVersion | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.on_message: Callable[[dict[str, Any]], None] = lambda message: None
        self._spec = spec
        self._pool = WorkerPool(spec, spec.serving)  # it has the address
        self._trial: WorkerPool | None = None
        self._previous: ServedVersion | None = None  # it was served before, without a fault
        self._trial_end: asyncio.TimerHandle | None = None
        self._trial_began = 0.0
        self._trial_answers = 0
        self._trial_failures = 0
        self._trial_deaths = 0
        self._deaths: deque[float] = deque(maxlen=REVERT_DEATHS)
        self._requests: asyncio.Queue[ServedVersion] = asyncio.Queue()
        self._requested: list[ServedVersion] = []  # in the queue, or being loaded
        self._changes: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    @property
    def pool(self) -> WorkerPool:
        """The workers that have the endpoint's address."""
        return self._pool

    @property
    def pools(self) -> list[WorkerPool]:
        """The workers that have the address, and those that are tried."""
        return [self._pool, *([self._trial] if self._trial else [])]

    @property
    def versions(self) -> list[ServedVersion]:
        """The versions whose files are needed."""
        found = [pool.serving for pool in self.pools]
        if len(found) == 1 and self._previous is not None:
            found.append(self._previous)
        return found + self._requested

    async def start(self) -> None:
        """Start the first version. Raises WorkerStartError."""
        await self._pool.start()
        self._take_address(self._pool)

    def request(self, serving: ServedVersion) -> None:
        """Serve another version, after those that were requested before; none of them holds it up for long."""
        self._requests.put_nowait(serving)
        self._requested.append(serving)
        if self._changes is None:
            self._changes = self._run(self._work_through())

    def problem_of(self, serving: ServedVersion) -> str | None:
        """Return why another version cannot be rolled out now, or None."""
        if self._trial is not None:
            return f"version {self._trial.serving.version} is being tried; wait until it has passed"
        return self._signature_problem(serving)

    def refuse_unfetched(self, version: str, reason: str) -> None:
        """Note that a version cannot be fetched; say so once."""
        if self.refused is None or (self.refused.version, self.refused.reason) != (version, reason):
            self._refuse(version, reason)

    def take_over(self, pool: WorkerPool) -> None:
        """Let workers that answered at a Unix socket until now take the endpoint's address."""
        if self._trial is not None:
            self._end_trial()
        self._exchange(pool)
        self._serve(pool.serving, 0.0)

    async def stop(self) -> None:
        """Let all workers answer their open requests and end."""
        self._is_stopping = True
        pools = self.pools
        if self._changes is not None:
            self._changes.cancel()
        for pool in pools:
            pool.stop()
        await asyncio.gather(*(pool.wait() for pool in pools), *self._tasks, return_exceptions=True)

    def kill(self) -> None:
        """End all workers at once."""
        for pool in self.pools:
            pool.kill()

    async def _work_through(self) -> None:
        """Change to one requested version after the other; one that takes long gives way to the next."""
        while True:
            serving = await self._requests.get()
            change = asyncio.create_task(self._change_to(serving))
            started = time.monotonic()
            try:
                while not change.done():
                    await asyncio.wait({change}, timeout=0.2)
                    if not self._requests.empty() and time.monotonic() - started > GIVE_WAY_S:
                        change.cancel()
            except asyncio.CancelledError:
                change.cancel()
                await asyncio.wait({change})
                raise
            self._requested.remove(serving)
            if change.cancelled():
                self._refuse(
                    serving.version,
                    f"it was not ready after {GIVE_WAY_S:g} s, when another one was requested",
                )
            elif (error := change.exception()) is not None:
                self._refuse(serving.version, f"{type(error).__name__}: {error}")
            self.on_change()  # the copy of a version that was refused is not needed any more

    async def _change_to(self, serving: ServedVersion) -> None:
        if _is_same(serving, self.serving):
            self._set_refused(None)
        elif self._trial is not None and _is_same(serving, self._pool.serving):
            self._end_trial()
            self._serve(self._pool.serving, 0.0)
        elif (reason := await asyncio.to_thread(self._signature_problem, serving)) is not None:
            self._refuse(serving.version, reason)
        else:
            await self._load(serving)

    def _signature_problem(self, serving: ServedVersion) -> str | None:
        if self._spec.allow_signature_change:
            return None
        try:
            change = signature_change(Path(self.serving.folder), Path(serving.folder))
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as exc:
            return f"its MLmodel file cannot be read: {exc}" if not _has_mlmodel(serving) else None
        if change is None:
            return None
        return f"it has another signature: {change} (--allow-signature-change serves it)"

    async def _load(self, serving: ServedVersion) -> None:
        """Start the version's workers, and try it."""
        started = time.monotonic()
        pool = WorkerPool(self._spec, serving, is_local=True)
        try:
            await pool.start()
        except (WorkerStartError, OSError) as error:
            self._refuse(serving.version, str(error))
            return
        if self._is_stopping:
            pool.kill()
            return
        if self._trial is not None:
            self._end_trial()
        self._begin_trial(pool)
        self._serve(serving, time.monotonic() - started)

    def _begin_trial(self, pool: WorkerPool) -> None:
        assert pool.address is not None
        self._trial = pool
        self._trial_began = time.monotonic()
        self._trial_answers = self._trial_failures = self._trial_deaths = 0
        pool.on_death = lambda reason: self._count_trial_death(pool, reason)
        pool.keep_number()
        self._pool.send("trial", {"socket": pool.address.path, "version": pool.serving.version})
        self._set_trial_timer()

    def _set_trial_timer(self) -> None:
        self._trial_end = asyncio.get_running_loop().call_later(self._spec.trial_s, self._judge_trial)

    def _end_trial(self) -> WorkerPool:
        """Let the workers that have the address answer all requests again; return those that were tried."""
        pool = self._trial
        assert pool is not None
        assert self._trial_end is not None
        self._trial = None
        self._trial_end.cancel()
        self._pool.send("trial", None)
        pool.stop()
        self._run(pool.wait())
        return pool

    def _fail_trial(self, pool: WorkerPool, reason: str) -> None:
        if pool is not self._trial:
            return
        self._end_trial()
        self.serving = self._pool.serving
        self._refuse(pool.serving.version, reason)

    def _count_trial_death(self, pool: WorkerPool, reason: str) -> None:
        self._trial_deaths += 1
        if self._trial_deaths >= TRIAL_DEATHS:
            self._fail_trial(pool, f"its {reason}")

    def _count_trial_request(self, content: dict[str, Any]) -> None:
        pool = self._trial
        if pool is None or content["version"] != pool.serving.version:
            return
        if (failure := content["failure"]) is None:
            self._trial_answers += 1
            return
        self._trial_failures += 1
        if self._trial_failures >= TRIAL_FAILURES:
            before = self._pool.serving.version
            self._fail_trial(pool, f"it fails requests that version {before} answers: {failure}")

    def _judge_trial(self) -> None:
        """Give the address to the version that was tried, or try it longer if too few requests came."""
        pool, old_pool = self._trial, self._pool
        if pool is None or self._is_stopping:
            return
        if self._trial_answers < TRIAL_REQUESTS and time.monotonic() - self._trial_began < MAX_TRIAL_S:
            self._set_trial_timer()
            return
        self._trial = None
        self._exchange(pool)
        log_event(
            f"version {pool.serving.version} has passed its trial; version {old_pool.serving.version} ends"
        )
        self.on_change()

    def _exchange(self, pool: WorkerPool) -> None:
        """Let other workers take the address; those that had it end, and forward what still comes to them."""
        old_pool, self._previous = self._pool, self._pool.serving
        self._take_address(pool)
        old_pool.stop()
        self._run(old_pool.wait())

    def _take_address(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._deaths.clear()
        pool.on_death = lambda reason: self._count_death(pool, reason)
        pool.on_message = self._receive
        pool.send("refused", self._refused_document())
        pool.activate()

    def _count_death(self, pool: WorkerPool, reason: str) -> None:
        """Bring the version before back if the workers of this one end again and again."""
        if pool is not self._pool or self._previous is None or self._is_stopping:
            return
        self._deaths.append(time.monotonic())
        if len(self._deaths) == REVERT_DEATHS and self._deaths[-1] - self._deaths[0] < REVERT_WINDOW_S:
            self._deaths.clear()
            self._run(self._revert(pool, f"its workers end again and again: {reason}"))

    async def _revert(self, bad: WorkerPool, reason: str) -> None:
        previous = self._previous
        if previous is None or self._trial is not None:
            return
        log_event(f"version {bad.serving.version} is to be replaced by version {previous.version}: {reason}")
        pool = WorkerPool(self._spec, previous)
        try:
            await pool.start()
        except (WorkerStartError, OSError) as error:
            log_event(f"version {previous.version} cannot be started: {error}")
            return
        if self._is_stopping or bad is not self._pool or self._trial is not None:
            pool.kill()
            return
        self._previous = None
        self._take_address(pool)
        bad.stop()
        self._run(bad.wait())
        self.serving = previous
        self._refuse(bad.serving.version, reason)

    def _receive(self, message: dict[str, Any]) -> None:
        if "trial_request" in message:
            self._count_trial_request(message["trial_request"])
        else:
            self.on_message(message)

    def _serve(self, serving: ServedVersion, seconds: float) -> None:
        self.serving = serving
        log_event(f"serving version {serving.version} after {seconds:.1f} s")
        self._set_refused(None)

    def _refuse(self, version: str, reason: str) -> None:
        log_event(f"version {version} cannot be served, version {self.serving.version} stays: {reason}")
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._set_refused(RefusedVersion(version=version, reason=reason, at=at))

    def _set_refused(self, refused: RefusedVersion | None) -> None:
        self.refused = refused
        for pool in self.pools:
            pool.send("refused", self._refused_document())
        self.on_change()

    def _refused_document(self) -> dict[str, str] | None:
        return dataclasses.asdict(self.refused) if self.refused else None

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_same(one: ServedVersion, other: ServedVersion) -> bool:
    """Return whether two are the same version; their copies may be different ones."""
    return (one.name, one.version, one.uri) == (other.name, other.version, other.uri)


def _has_mlmodel(serving: ServedVersion) -> bool:
    return (Path(serving.folder) / "MLmodel").is_file()
