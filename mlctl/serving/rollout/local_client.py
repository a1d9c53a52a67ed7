"""An HTTP client for the workers that listen on a Unix socket in the endpoint's folder."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httptools

MAX_IDLE = 32


class LocalClientError(Exception):
    """The worker did not answer."""


@dataclass
class LocalResponse:
    """A response of a worker; names of headers are in lower case."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


class LocalClient:
    """Sends requests to one Unix socket; it keeps connections open, one for each request at the same time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._idle: list[_Connection] = []

    async def post(
        self, target: bytes, body: bytes, headers: list[tuple[bytes, bytes]], timeout_s: float
    ) -> LocalResponse:
        """Post a body and return the response. Raises LocalClientError, or TimeoutError if it takes too long."""
        headers = [(b"host", b"localhost"), *headers]
        return await self.send(b"POST", target, body, headers=headers, timeout_s=timeout_s)

    async def send(
        self,
        method: bytes,
        target: bytes,
        body: bytes,
        *,
        headers: list[tuple[bytes, bytes]],
        timeout_s: float,
    ) -> LocalResponse:
        """Send a request and return the response, as `post` does; the headers include the host."""
        head = [b"%s %s HTTP/1.1\r\ncontent-length: %d\r\n" % (method, target, len(body))]
        head += [b"%s: %s\r\n" % header for header in headers]
        message = b"".join([*head, b"\r\n", body])
        async with asyncio.timeout(timeout_s):
            while self._idle:
                connection = self._idle.pop()
                try:
                    return await self._exchange(connection, message)
                except _Unanswered:  # the worker closed the idle connection
                    continue
            try:
                return await self._exchange(await self._connect(), message)
            except (_Unanswered, OSError) as error:
                raise LocalClientError(f"no connection to the worker: {error}") from error

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_unix_connection(_Connection, self.path)
        return connection

    async def _exchange(self, connection: _Connection, message: bytes) -> LocalResponse:
        try:
            response = await connection.exchange(message)
        except BaseException:
            connection.close()
            raise
        if connection.is_reusable and len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return response


class _Unanswered(Exception):
    """The connection ended before the first byte of a response."""


class _Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[LocalResponse] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._response = LocalResponse()
        self._parts: list[bytes] = []
        self._has_begun = False
        self._keep_alive = True

    @property
    def is_reusable(self) -> bool:
        """Whether another request can be sent."""
        return self._keep_alive and self._transport is not None and not self._transport.is_closing()

    async def exchange(self, message: bytes) -> LocalResponse:
        """Send a request and wait for the response."""
        if self._transport is None or self._transport.is_closing():
            raise _Unanswered("it is closed")
        self._waiter = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._response, self._parts, self._has_begun = LocalResponse(), [], False
        self._transport.write(message)
        return await self._waiter

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no asyncio.Transport

    def data_received(self, data: bytes) -> None:
        """Parse a part of the response."""
        self._has_begun = True
        try:
            if self._parser is not None:
                self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(LocalClientError(f"the worker's response is no HTTP: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request that waits for its response."""
        text = "the worker closed the connection"
        self._fail(LocalClientError(text) if self._has_begun else _Unanswered(text))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header of the response."""
        self._response.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        """Note a part of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Give the response to the one who waits for it."""
        assert self._parser is not None
        self._response.status = self._parser.get_status_code()
        self._response.body = b"".join(self._parts)
        self._keep_alive = self._parser.should_keep_alive()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._response)

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
