"""The access log: one line of JSON a request, gathered for a moment and written at once."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import orjson

GATHER_S = 0.2


class AccessLog:
    """Writes to a file descriptor; lines of a worker that is killed within a fifth of a second are lost."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []

    def note(
        self, scope: dict[str, Any], request_id: bytes, answer: Any, seconds: float, version: str
    ) -> None:
        """Note one answered request."""
        client = scope.get("client")
        line = {
            "at": round(time.time(), 3), "id": request_id.decode(), "client": client[0] if client else "",
            "method": scope["method"], "path": scope["path"], "status": answer.status,
            "ms": round(seconds * 1000, 2), "rows": answer.rows, "version": version,
        }  # fmt: skip
        if answer.key:
            line["key"] = answer.key
        if answer.code:
            line["error"] = answer.code
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(GATHER_S, self.flush)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._lines:
            gathered, self._lines = b"".join(self._lines), []
            try:
                os.write(self._descriptor, gathered)
            except OSError:
                return  # the reader of a pipe has gone: that is no reason to stop answering
