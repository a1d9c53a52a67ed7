"""Reading a request's body, within its limit and its time, plain, chunked or gzipped."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mlctl.serving.request_error import RequestError, bad, quoted, too_large, unsupported

Receive = Callable[[], Awaitable[Any]]


class ClientDisconnected(Exception):
    """The client has hung up: nobody is there to answer."""


async def read(receive: Receive, headers: Mapping[bytes, bytes], limit: int, timeout_s: float) -> bytes:
    """Return the whole body, unpacked.

    Raises Refusal: 413 for one over `limit` bytes, before more than that of it is held, 408 for one that takes
    longer than `timeout_s`, 415 for an unknown encoding; Gone where the client hung up.
    """
    encoding = headers.get(b"content-encoding", b"").lower()
    if encoding not in (b"", b"identity", b"gzip"):
        raise unsupported(f"content encoding {quoted(encoding.decode('latin1'))} is not taken", "send gzip")
    if (length := headers.get(b"content-length")) and int(length) > limit:
        raise too_large(limit)
    try:
        async with asyncio.timeout(timeout_s):
            body = await _whole(receive, limit)
    except TimeoutError:
        raise RequestError(
            408, "REQUEST_TIMEOUT", f"the body did not come within {timeout_s:g} s", "send it faster"
        ) from None
    return _unzipped(body, limit) if encoding == b"gzip" else body


async def _whole(receive: Receive, limit: int) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    body: bytes = message["body"]
    if not message["more_body"]:
        if len(body) > limit:
            raise too_large(limit)
        return body
    parts, size = [body], len(body)
    while message["more_body"]:
        if size > limit:
            raise too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        parts.append(message["body"])
        size += len(message["body"])
    if size > limit:
        raise too_large(limit)
    return b"".join(parts)


def _unzipped(body: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        whole = unpacker.decompress(body, limit + 1)
    except zlib.error:
        raise bad("the body is not gzip, as its content encoding says", "leave the header out") from None
    if len(whole) > limit:
        raise too_large(limit)
    if not unpacker.eof:
        raise bad("the gzipped body is cut off", "send all of it")
    return whole
