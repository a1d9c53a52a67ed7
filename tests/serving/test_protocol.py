"""The head of a request is limited in size, in fields and in time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from mlctl.serving import protocol as limits
from mlctl.serving.protocol import MAX_HEAD_BYTES, MAX_HEAD_FIELDS, LimitedProtocol

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def close_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DISCARD_S", 0.05)


START = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"


async def answer_ok(scope: Any, receive: Any, send: Any) -> None:
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.disconnect":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


class QuickProtocol(LimitedProtocol):
    head_timeout_s = 0.2


def exchange(*parts: bytes, protocol: type[LimitedProtocol] = LimitedProtocol) -> bytes:
    """Send parts over one connection; return all that the server answers."""

    async def run() -> bytes:
        config = uvicorn.Config(answer_ok, lifespan="off", log_config=None, timeout_keep_alive=0.1)  # type: ignore[arg-type]
        state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for part in parts:
                writer.write(part)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                await asyncio.sleep(0.005)
            try:
                async with asyncio.timeout(5):
                    return await reader.read()
            finally:
                writer.close()

    return asyncio.run(run())


FIELD = b"a: b\r\n"
TOO_LARGE: list[tuple[str, tuple[bytes, ...]]] = [
    ("many fields", (START + FIELD * (MAX_HEAD_FIELDS + 1),)),
    ("fields without an end", (START, FIELD * 1000, FIELD * 1000)),
    ("one long field", (START + b"a: " + b"b" * MAX_HEAD_BYTES + b"\r\n\r\n",)),
    ("one field without an end", (START + b"a: ", b"b" * 40_000, b"b" * 40_000)),
    ("a name without an end", (START, b"n" * 40_000, b"n" * 40_000)),
    ("a long URL", (b"GET /" + b"u" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",)),
    ("blank lines without an end", (b"\r\n" * 20_000, b"\r\n" * 20_000)),
    ("the second request", (START + b"Content-Length: 0\r\n\r\n", START + FIELD * (MAX_HEAD_FIELDS + 1))),
]


@pytest.mark.parametrize("parts", [pytest.param(parts, id=name) for name, parts in TOO_LARGE])
def test_a_head_that_is_too_large_is_refused(parts: tuple[bytes, ...]) -> None:
    answer = exchange(*parts)
    assert answer.count(b"HTTP/1.1 431 ") == 1
    assert answer.count(b"HTTP/1.1 200 ") == b"".join(parts).count(b"Content-Length: 0")
    assert b"connection: close" in answer


def test_heads_within_the_limits_are_answered() -> None:
    one = START + FIELD * (MAX_HEAD_FIELDS - 2) + b"Content-Length: 3\r\n\r\nabc"
    answer = exchange(one, one + one[:200], one[200:], START + b"a: " + b"b" * 60_000 + b"\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == 4
    pipelined = START + b"Content-Length: 0\r\n\r\n"
    assert exchange(pipelined * 3000 + START, b"\r\n").count(b"HTTP/1.1 200 ") == 3001


def test_fields_after_a_chunked_body_are_counted() -> None:
    answer = exchange(
        START + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", FIELD * 200, FIELD * 200
    )
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_head_that_takes_too_long_is_refused() -> None:
    answer = exchange(START, *[b"a: b\r\n"] * 20, protocol=QuickProtocol)
    assert answer.startswith(b"HTTP/1.1 408 ")
