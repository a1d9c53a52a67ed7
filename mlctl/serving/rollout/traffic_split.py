"""What a worker does for a rollout and a shadow: it sends them a share of its requests.

A version that is rolled out answers in place of the worker's own. If it fails, refuses a request, or is late, the
worker answers itself, so that no good request fails. Copies of requests are sent after their answers, and are dropped
while too many are on their way.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from mlctl.serving.forwarding import ForwardingError, RequestForwarder
from mlctl.serving.http_messages import Request, Response
from mlctl.serving.invocations import Answered, Exchange, Invocations
from mlctl.serving.rollout.comparison import COMPARE_PATH, SECONDS_HEADER, pack
from mlctl.serving.rollout.local_client import LocalClient, LocalClientError
from mlctl.serving.rollout.routes import RoutesReader, VersionRoute
from mlctl.serving.rollout.version_stats import CANDIDATE, NOT_COUNTED, SHADOW, VersionStats

MAX_COPIES = 16  # on their way at the same time, to one version
MAX_COPIED_BYTES = 32_000_000
COPY_TIMEOUT_S = 60.0
FAILURES_IN_ROW = 5  # then only one request at a time waits for the version
MAX_REFUSED = 1000


class TrafficSplit:
    """Sends requests of one worker to other versions. `choose` and `observe` are what Invocations calls."""

    def __init__(self, folder: Path, invocations: Invocations) -> None:
        self._folder = folder
        self._invocations = invocations
        self._own_version = (
            invocations.served.version
        )  # a new version takes the address before its route ends
        self._reader = RoutesReader(folder)
        self._versions: dict[tuple[str, VersionRoute], _OtherVersion] = {}
        self._refused: OrderedDict[str, _OtherVersion] = OrderedDict()

    async def choose(self, request: Request, body: bytes) -> Response | None:
        """Return the response of the version that is rolled out; None if the worker's own version must answer."""
        route = self._reader.read().candidate
        if route is None or route.version == self._own_version or not _is_chosen(route, request):
            return None
        version = self._version(CANDIDATE, route)
        response, seconds = await version.ask(request, body)
        if response is None:
            return None
        if response.status != 200:
            # if the worker's own version answers this request, the client was not wrong
            self._refused[request.request_id] = version
            if len(self._refused) > MAX_REFUSED:
                self._refused.popitem(last=False)
            return None
        response.version = route.version
        response.after = self._observed(request, body, response, seconds)
        return response

    def observe(self, exchange: Exchange) -> None:
        """Send copies of an answered request to the versions that get some."""
        if self._refused and (version := self._refused.pop(exchange.request_id, None)):
            version.stats.refusal_was_error()
        routes = self._reader.read()
        route = routes.candidate
        if route is not None and route.version != self._own_version and _is_drawn(route.copies):
            self._version(CANDIDATE, route).copy(exchange)
        if (route := routes.shadow) is not None and _is_drawn(route.share):
            self._version(SHADOW, route).copy(exchange)

    def _observed(
        self, request: Request, body: bytes, answer: Response, seconds: float
    ) -> Callable[[], None] | None:
        """Return what tells the other observers of an answer of the new version."""
        others = [observer for observer in self._invocations.observers if observer != self.observe]
        if not others:
            return None
        exchange = Exchange(
            request_id=request.request_id,
            body=body,
            content_type=request.content_type,
            version=answer.version,
            answered=Answered(body=answer.body, rows=answer.rows, seconds=seconds),
        )

        def tell() -> None:
            for observer in others:
                observer(exchange)

        return tell

    def _version(self, role: str, route: VersionRoute) -> _OtherVersion:
        key = (role, route)
        if key not in self._versions:
            for old_key in [old for old in self._versions if old[0] == role]:
                old = self._versions.pop(old_key)
                if (old.route.socket, old.route.version) == (route.socket, route.version):
                    self._versions[key] = old.with_route(route)
                else:
                    old.close()
            if key not in self._versions:
                stats = VersionStats(self._folder, role, route.version)
                self._versions[key] = _OtherVersion(route, stats)
        return self._versions[key]


class _OtherVersion:
    """A version in other workers, seen from this one."""

    def __init__(self, route: VersionRoute, stats: VersionStats) -> None:
        self.route = route
        self.stats = stats
        self._forwarder = RequestForwarder(route.socket)
        self._client = LocalClient(route.socket)
        self._failures_in_row = 0
        self._asking = 0
        self._copied_bytes = 0
        self._copies: set[asyncio.Task[None]] = set()

    def with_route(self, route: VersionRoute) -> _OtherVersion:
        """Return this version with another share."""
        self.route = route
        return self

    def close(self) -> None:
        """Close idle connections."""
        self._forwarder.close()
        self._client.close()

    async def ask(self, request: Request, body: bytes) -> tuple[Response | None, float]:
        """Return the version's response, unless it failed, and its latency; count both."""
        if self._failures_in_row >= FAILURES_IN_ROW and self._asking:
            return None, 0.0
        self._asking += 1
        self.stats.add_in_flight(1)
        started = time.perf_counter()
        response = None
        status = 500
        try:
            response = await self._forwarder.send(request, body, timeout_s=self.route.wait_s)
            status = response.status
        except ForwardingError:
            pass
        except asyncio.CancelledError:  # the client has gone
            status = NOT_COUNTED
            raise
        finally:
            self._asking -= 1
            self.stats.add_in_flight(-1)
            seconds = _take_seconds(response) or time.perf_counter() - started
            self.stats.record(status, seconds)
            self._failures_in_row = self._failures_in_row + 1 if status >= 500 else 0
        return (None if status >= 500 else response), seconds

    def copy(self, exchange: Exchange) -> None:
        """Send a copy of a request with its answer, which the version compares with its own."""
        if not exchange.is_plain:
            return
        size = len(exchange.body) + len(exchange.answered.body)
        if len(self._copies) >= MAX_COPIES or self._copied_bytes + size > MAX_COPIED_BYTES:
            self.stats.count_dropped()
            return
        task = asyncio.get_running_loop().create_task(self._send_copy(exchange, size))
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)

    async def _send_copy(self, exchange: Exchange, size: int) -> None:
        headers = [(b"content-type", (exchange.content_type or "application/json").encode())]
        self._copied_bytes += size
        try:
            body = pack(exchange.answered.body, exchange.body)
            response = await self._client.post(COMPARE_PATH.encode(), body, headers, COPY_TIMEOUT_S)
            if response.status != 204:
                self.stats.count_dropped()
        except (LocalClientError, TimeoutError):
            self.stats.count_dropped()
        finally:
            self._copied_bytes -= size


def _is_chosen(route: VersionRoute, request: Request) -> bool:
    """Return whether the new version answers a request: by the value of its sticky header, else at random."""
    if route.sticky and (value := request.headers.get(route.sticky.encode())) is not None:
        digest = hashlib.blake2b(value, digest_size=8, key=route.salt.encode()).digest()
        return int.from_bytes(digest) / 2**64 < route.share
    return _is_drawn(route.share)


def _is_drawn(share: float) -> bool:
    return share > 0 and random.random() < share  # noqa: S311 - no secret


def _take_seconds(response: Response | None) -> float:
    """Remove from a response how long the version worked on it, as it measured itself; 0.0 if it does not say so."""
    if response is None:
        return 0.0
    seconds = float(dict(response.headers).get(SECONDS_HEADER, b"0"))
    response.headers = [field for field in response.headers if field[0] != SECONDS_HEADER]
    return seconds
