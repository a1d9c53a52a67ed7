"""The routes of a worker that other workers of the endpoint send requests to: of a candidate, or of a shadow.

POST /invocations  the same as of any worker; the answer's headers say how long it took
POST /compare      a copy of a request and the serving version's answer, with which its own answer is compared
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Awaitable
from functools import partial

from mlctl.serving.http_messages import Request, Response
from mlctl.serving.invocations import Invocations
from mlctl.serving.payloads.body import read_body
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.rollout.agreement import disagreement
from mlctl.serving.rollout.version_stats import SHADOW, VersionStats
from mlctl.serving.router import Router

MAX_BODY_FACTOR = 4  # how much larger than a request's body the body of its copy may be, with the answer
COMPARE_PATH = "/compare"
SECONDS_HEADER = b"x-mlctl-seconds"
_LENGTH = struct.Struct("<Q")

log = logging.getLogger("mlctl.serving")


def pack(answer: bytes, body: bytes) -> bytes:
    """Return an answer and the request that it answers as one body."""
    return b"".join((_LENGTH.pack(len(answer)), answer, body))


def unpack(content: bytes) -> tuple[bytes, bytes]:
    """Return the answer and the request of a body that `pack` made."""
    (length,) = _LENGTH.unpack_from(content)
    return content[_LENGTH.size : _LENGTH.size + length], content[_LENGTH.size + length :]


class CandidateRoutes:
    """Answers the requests that other workers send to a candidate or a shadow."""

    def __init__(self, invocations: Invocations, stats: VersionStats) -> None:
        self._invocations = invocations
        self._stats = stats
        self._kinds = {output.name: output.kind for output in invocations.model.info.outputs}
        self._has_reported = False

    def add_to(self, router: Router) -> None:
        """Add both routes."""
        router.add("/invocations", self.invoke, methods=("POST",))
        router.add(COMPARE_PATH, self.compare, methods=("POST",))

    async def invoke(self, request: Request) -> Response:
        """Answer a request, and say how long it took."""
        started = time.perf_counter()
        response = await self._invocations(request)
        response.headers = [*response.headers, (SECONDS_HEADER, b"%.6f" % (time.perf_counter() - started))]
        return response

    async def compare(self, request: Request) -> Response:
        """Answer a copy of a request, and count whether the answers agree."""
        limits = request.limits
        content = await read_body(
            request.receive,
            request.headers,
            max_bytes=MAX_BODY_FACTOR * limits.max_body,
            timeout_s=limits.timeout_s,
        )
        answer, body = unpack(content)
        work = partial(self._differing, answer, body, request.content_type)
        run = self._invocations.executor.run(work, size=len(body), kind=request.content_type)
        try:
            if self._stats.role == SHADOW:
                with self._stats.measured():
                    differing = await _refused_as_failed(run)
            else:  # those who ask a candidate count its latencies, and do not count copies
                differing = await _refused_as_failed(run)
        except Exception as exc:
            if isinstance(exc, RequestError) and exc.status == 503:
                raise
            if not self._has_reported:
                self._has_reported = True
                log.warning("version %s fails a request: %r", self._invocations.served.version, exc)
            differing = 1.0
        self._stats.count_comparison(differing)
        return Response(status=204)

    def _differing(self, answer: bytes, body: bytes, content_type: str) -> float:
        own = self._invocations.answer(body, content_type)
        return disagreement(answer, own.body, kinds=self._kinds)


async def _refused_as_failed(work: Awaitable[float]) -> float:
    """Await the work; turn a refusal into a failure, because the serving version has answered this request."""
    try:
        return await work
    except RequestError as error:
        if 400 <= error.status < 500:
            raise RuntimeError(f"it refuses a request: {error.message}") from error
        raise
