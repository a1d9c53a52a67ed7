"""A request to an endpoint, and the response to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from mlctl.serving.payloads.body import Receive, read_body

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request: bytes of its decompressed body; seconds for the body, and for the model."""

    max_body: int = 10_000_000
    timeout_s: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request, whose client is known.

    Attributes:
        method: HTTP method.
        path: Path without the query.
        query: Query string as it was sent.
        headers: Headers by their name in lower case; the last one if a name comes twice.
        request_id: The client's X-Request-ID, or one of the endpoint's.
        key_name: Name of the API key that the client used, or "".
    """

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    request_id: str
    key_name: str
    receive: Receive
    limits: RequestLimits

    @property
    def content_type(self) -> str:
        """The Content-Type header, or ""."""
        return self.headers.get(b"content-type", b"").decode("latin1")

    def parameter(self, name: str) -> str:
        """Return the last value of a query parameter, or ""."""
        return parse_qs(self.query.decode("latin1")).get(name, [""])[-1] if self.query else ""

    async def body(self) -> bytes:
        """Return the body, decompressed. Call it once. Raises RequestError and ClientDisconnected as `read_body` does."""
        return await read_body(
            self.receive, self.headers, max_bytes=self.limits.max_body, timeout_s=self.limits.timeout_s
        )


@dataclass(kw_only=True)
class Response:
    """A response, and what the access log and the metrics record about it.

    Attributes:
        status: HTTP status.
        body: Content.
        content_type: Content-Type header.
        headers: Further headers.
        rows: Number of predicted rows.
        error_code: MLflow's error code, or "".
        key_name: Name of the API key that the client used, or "".
        version: Version that answered; "" if it is the one that the worker serves.
        body_unread: The request's body was not read, so the connection cannot be used again.
        after: Called once the response was sent; it must return at once.
    """

    status: int = 200
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: Headers = field(default_factory=list)
    rows: int = 0
    error_code: str = ""
    key_name: str = ""
    version: str = ""
    body_unread: bool = False
    after: Callable[[], None] | None = None
