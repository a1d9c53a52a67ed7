"""What a worker answers while a new version is tried: the new version's answer, or its own if that one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mlctl.serving import trial
from mlctl.serving.forwarding import ForwardingError
from mlctl.serving.http_messages import Request, RequestLimits, Response
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.trial import VersionTrial

pytestmark = pytest.mark.unit


class Control:
    """A connection to the supervisor that keeps what is sent."""

    def __init__(self) -> None:
        self.failures: list[str | None] = []
        self.handlers: dict[str, Callable[[Any], object]] = {}

    def on(self, key: str, handler: Callable[[Any], object]) -> None:
        self.handlers[key] = handler

    def send(self, document: dict[str, Any]) -> None:
        self.failures.append(document["trial_request"]["failure"])


def request(body: bytes = b"body") -> Request:
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    return Request(
        method="POST",
        path="/invocations",
        query=b"",
        headers={b"content-length": b"%d" % len(body)},
        request_id="1",
        key_name="",
        receive=receive,
        limits=RequestLimits(),
    )


def respond(
    new: Callable[[], Awaitable[Response]], here: Callable[[], Awaitable[Response]]
) -> tuple[Any, Any]:
    """Return what a request is answered, and which failures the supervisor hears of."""

    class Forwarder:
        async def send(self, request: Request, body: bytes, *, timeout_s: float) -> Response:
            assert body == b"body"
            return await new()

        def close(self) -> None:
            pass

    async def check() -> tuple[Any, Any]:
        control = Control()
        tried = VersionTrial(control, timeout_s=0.2)  # type: ignore[arg-type]
        assert not tried.is_running
        control.handlers["trial"]({"socket": "", "version": "2"})
        tried._client = Forwarder()  # type: ignore[assignment]

        async def answer_here(request: Request) -> Response:
            assert await request.body() == b"body"
            return await here()

        try:
            answer = (await tried.answer(request(), answer_here)).body
        except RequestError as error:
            answer = error.status
        return answer, control.failures

    return asyncio.run(check())


def answers(body: bytes, *, status: int = 200, after_s: float = 0.0) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        await asyncio.sleep(after_s)
        return Response(status=status, body=body)

    return answer


def fails(error: Exception) -> Callable[[], Awaitable[Response]]:
    async def fail() -> Response:
        raise error

    return fail


def test_the_new_version_answers() -> None:
    assert respond(answers(b"new"), answers(b"old")) == (b"new", [None])
    assert respond(answers(b"no", status=400), answers(b"old")) == (b"no", [None])


def test_the_old_version_answers_if_the_new_one_fails() -> None:
    assert respond(fails(ForwardingError("gone")), answers(b"old")) == (b"old", ["gone"])
    assert respond(answers(b"", status=500), answers(b"old")) == (b"old", ["it answered 500"])
    assert respond(answers(b"", status=503), answers(b"old")) == (b"old", [])


def test_a_request_that_both_fail_is_at_fault() -> None:
    assert respond(answers(b"", status=500), answers(b"also", status=500)) == (b"also", [])
    assert respond(answers(b"", status=500), fails(RequestError(400, "", "wrong"))) == (400, [])


def test_a_late_version_fails_and_an_equally_slow_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PATIENCE_S", 0.02)
    late = "it did not answer within 0.02 s"
    assert respond(answers(b"new", after_s=5), answers(b"old")) == (b"old", [late])
    assert respond(answers(b"new", after_s=0.06), answers(b"old", after_s=0.3)) == (b"new", [])
    assert respond(answers(b"new", after_s=5), answers(b"old", after_s=0.06)) == (b"old", [])
