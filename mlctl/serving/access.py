"""The access log: one line of JSON per request, written in batches."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import orjson

FLUSH_INTERVAL_S = 0.2


class AccessLog:
    """Writes the access log to a file descriptor.

    If a worker is killed, the lines of its last 0.2 seconds are lost.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []

    def record(
        self, scope: dict[str, Any], response: Any, *, request_id: bytes, seconds: float, version: str
    ) -> None:
        """Add one answered request to the log."""
        client = scope.get("client")
        line = {
            "at": round(time.time(), 3),
            "id": request_id.decode(),
            "client": client[0] if client else "",
            "method": scope["method"],
            "path": scope["path"],
            "status": response.status,
            "ms": round(seconds * 1000, 2),
            "rows": response.rows,
            "version": version,
        }
        if response.key_name:
            line["key"] = response.key_name
        if response.error_code:
            line["error"] = response.error_code
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(FLUSH_INTERVAL_S, self.flush)

    def flush(self) -> None:
        """Write the collected lines."""
        if self._lines:
            batch, self._lines = b"".join(self._lines), []
            try:
                os.write(self._descriptor, batch)
            except OSError:
                return  # the reader of a pipe has gone; the endpoint must continue to answer
