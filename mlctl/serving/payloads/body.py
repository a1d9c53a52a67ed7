"""Read a request's body (plain, chunked or gzipped) within a size limit and a time limit."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mlctl.serving.payloads.request_error import (
    RequestError,
    bad_request,
    body_too_large,
    quote,
    unsupported_media_type,
)

Receive = Callable[[], Awaitable[Any]]


class ClientDisconnected(Exception):
    """The client closed the connection before it sent the whole request."""


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], *, max_bytes: int, timeout_s: float
) -> bytes:
    """Return the whole body, decompressed.

    Raises:
        RequestError: 413 if the body is larger than `max_bytes` (before more than that is held in memory), 408
            if it takes longer than `timeout_s`, 415 if its encoding is unknown.
        ClientDisconnected: The client closed the connection.
    """
    encoding = headers.get(b"content-encoding", b"").lower()
    if encoding not in (b"", b"identity", b"gzip"):
        raise unsupported_media_type(
            f"content encoding {quote(encoding.decode('latin1'))} is not supported", "use gzip or none"
        )
    if (length := headers.get(b"content-length")) and int(length) > max_bytes:
        raise body_too_large(max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            body = await _read_all(receive, max_bytes)
    except TimeoutError:
        raise RequestError(
            408, "REQUEST_TIMEOUT", f"the body did not arrive within {timeout_s:g} s", "send it faster"
        ) from None
    if encoding == b"gzip":  # a small body can hold a large one
        return await asyncio.to_thread(_decompress, body, max_bytes)
    return body


async def _read_all(receive: Receive, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        parts.append(message["body"])
        size += len(message["body"])
        if size > max_bytes:
            raise body_too_large(max_bytes)
        more = message["more_body"]
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _decompress(body: bytes, max_bytes: int) -> bytes:
    decompressor = zlib.decompressobj(wbits=31)
    try:
        content = decompressor.decompress(body, max_bytes + 1)
    except zlib.error:
        raise bad_request(
            "the body is not gzip, although Content-Encoding says so", "remove the header"
        ) from None
    if len(content) > max_bytes:
        raise body_too_large(max_bytes)
    if not decompressor.eof:
        raise bad_request("the gzipped body is cut off", "send all of it")
    return content
