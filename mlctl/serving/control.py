"""The connection between a worker and the supervisor: JSON documents in both directions, one a line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

GO = "go"  # a plain line: the worker takes the endpoint's address
HEARTBEAT_S = 1.0

log = logging.getLogger("mlctl.serving")


class WorkerControl:
    """The worker's end. Messages are documents of one key, which says who receives them."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._handlers: dict[str, Callable[[Any], object]] = {}
        self._writer: asyncio.StreamWriter | None = None

    def on(self, key: str, handler: Callable[[Any], object]) -> None:
        """Call a function with the content of each message of this key from the supervisor."""
        self._handlers[key] = handler

    def send(self, document: dict[str, Any]) -> None:
        """Send a message to the supervisor."""
        if self._writer is not None:
            self._writer.write(json.dumps(document).encode() + b"\n")

    async def run(self) -> None:
        """Receive messages until the supervisor has gone, and tell it once a second that the event loop works."""
        self._socket.setblocking(False)
        reader, self._writer = await asyncio.open_connection(sock=self._socket)
        self.send({"ready": True})
        heartbeat = asyncio.create_task(self._beat())
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                self._receive(line.decode().strip())
        heartbeat.cancel()

    def _receive(self, line: str) -> None:
        document = {GO: None} if line == GO else json.loads(line)
        for key, content in document.items():
            if (handler := self._handlers.get(key)) is None:
                continue
            try:
                handler(content)
            except Exception:
                log.exception("the message %s of the supervisor failed", key)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self.send({"alive": True})
