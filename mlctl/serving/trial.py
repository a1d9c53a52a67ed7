"""The trial of a promoted version: for a while it answers through the workers of the version before.

A worker forwards each request to the new version. If the new version fails, the worker answers the request itself, so
that no request is lost, and tells the supervisor.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from mlctl.serving.control import WorkerControl
from mlctl.serving.forwarding import RequestForwarder
from mlctl.serving.http_messages import Request, Response
from mlctl.serving.router import Handler

PATIENCE_S = 2.0  # after which this version answers too; the first answer counts
OVERLOADED = " 503"
MAX_REPORTS = 20


class VersionTrial:
    """Forwards requests while the supervisor tries another version."""

    def __init__(self, control: WorkerControl, *, timeout_s: float) -> None:
        self._control = control
        self._timeout_s = timeout_s
        self._client: RequestForwarder | None = None
        self._version = ""
        self._reported = 0  # successes, of which the supervisor needs only the first few
        control.on("trial", self._change)

    @property
    def is_running(self) -> bool:
        """Whether another version is being tried."""
        return self._client is not None

    async def answer(self, request: Request, answer_here: Handler) -> Response:
        """Return the new version's response, or this version's if the new one fails."""
        client, version = self._client, self._version
        assert client is not None
        body = await request.body() if request.method == "POST" else b""
        patience_s = min(self._timeout_s / 2, PATIENCE_S)
        forwarded = asyncio.create_task(client.send(request, body, timeout_s=self._timeout_s))
        try:
            await asyncio.wait({forwarded}, timeout=patience_s)
            if _is_answered(forwarded):
                self._report_success(version)
                return forwarded.result()
            failure = _failure(forwarded) or f"it did not answer within {patience_s:g} s"
            started = time.monotonic()
            here = asyncio.create_task(_respond(answer_here, _with_body(request, body)))
            await asyncio.wait(
                {here} if forwarded.done() else {here, forwarded}, return_when="FIRST_COMPLETED"
            )
            if not here.done() and _is_answered(forwarded):  # it is slow, but so is this version
                here.add_done_callback(_failure)
                return forwarded.result()
            own = await here  # if this fails too, the request is at fault
        finally:
            forwarded.cancel()
        is_slow_here = time.monotonic() - started > patience_s
        if own.status < 500 and not is_slow_here and not failure.endswith(OVERLOADED):
            self._report(version, failure)
        return own

    def _report_success(self, version: str) -> None:
        if self._reported < MAX_REPORTS:
            self._reported += 1
            self._report(version, None)

    def _report(self, version: str, failure: str | None) -> None:
        self._control.send({"trial_request": {"version": version, "failure": failure}})

    def _change(self, content: Any) -> None:
        """Begin or end a trial; the supervisor sends the socket and the version, or None."""
        if self._client is not None:
            self._client.close()
        self._client = RequestForwarder(content["socket"]) if content else None
        self._version = content["version"] if content else ""
        self._reported = 0


def _is_answered(task: asyncio.Task[Response]) -> bool:
    return task.done() and _failure(task) is None


def _failure(task: asyncio.Task[Response]) -> str | None:
    """Return why a request failed; None if it did not, or not yet."""
    if not task.done():
        return None
    if task.cancelled():
        return "it was cancelled"
    if (error := task.exception()) is not None:
        return str(error) or type(error).__name__
    status = task.result().status
    return f"it answered {status}" if status >= 500 else None


async def _respond(handler: Handler, request: Request) -> Response:
    return await handler(request)


def _with_body(request: Request, body: bytes) -> Request:
    """Return a request whose body was read already."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    kept = {name: value for name, value in request.headers.items() if name != b"content-encoding"}
    return replace(request, headers={**kept, b"content-length": b"%d" % len(body)}, receive=receive)
