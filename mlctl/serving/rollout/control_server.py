"""The Unix socket on which an endpoint takes orders from mlctl: one line of JSON each way for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

MAX_LINE = 1_000_000
READ_TIMEOUT_S = 10.0

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class ControlServer:
    """Answers orders. Each is a document with the key `order`; the answer is a document, or {"error": reason}."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._server: asyncio.Server | None = None

    def on(self, order: str, handler: Handler) -> None:
        """Call a coroutine function for each order of this name."""
        self._handlers[order] = handler

    async def start(self, listener: socket.socket) -> None:
        """Take orders on a listening Unix socket."""
        self._server = await asyncio.start_unix_server(self._answer, sock=listener, limit=MAX_LINE)

    def close(self) -> None:
        """Take no more orders."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            async with asyncio.timeout(READ_TIMEOUT_S):
                line = await reader.readline()
            if line:
                writer.write(json.dumps(await self._document(line)).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _document(self, line: bytes) -> dict[str, Any]:
        try:
            order = json.loads(line)
            handler = self._handlers.get(order.pop("order", ""))
            if handler is None:
                return {
                    "error": "this endpoint does not know the order; restart it with this version of mlctl"
                }
            return await handler(order)
        except Exception as exc:
            return {"error": str(exc) or type(exc).__name__}
