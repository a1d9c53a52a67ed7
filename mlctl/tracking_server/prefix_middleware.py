"""The middleware for a server below a path, such as https://example.com/mlflow behind a proxy for several programs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class PrefixMiddleware:
    """Removes the prefix from the path of each request, so that all rules for paths hold as without it.

    Requests without the prefix are answered, too: those of a proxy that removes it, and health checks of this machine.
    """

    def __init__(self, app: Application, prefix: str) -> None:
        """Serve below `prefix`, which begins with a slash and does not end with one."""
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. MLflow's page has relative links, so the prefix itself needs a slash at its end."""
        path = scope.get("path", "")
        if scope["type"] == "http" and path == self._prefix:
            location = self._prefix.encode() + b"/"
            if scope.get("query_string"):
                location += b"?" + scope["query_string"]
            headers = [(b"location", location), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 308, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        if path.startswith(self._prefix + "/"):
            scope = {**scope, "path": path.removeprefix(self._prefix)}
            raw = scope.get("raw_path") or b""
            if raw.startswith(self._prefix.encode()):
                scope["raw_path"] = raw.removeprefix(self._prefix.encode())
        await self._app(scope, receive, send)
