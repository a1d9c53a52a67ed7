"""Send a client's request on to another version of the model, whose workers listen on a Unix socket."""

from __future__ import annotations

from urllib.parse import quote

from mlctl.serving.http_messages import Request, Response
from mlctl.serving.rollout.local_client import LocalClient, LocalClientError, LocalResponse

ROWS_HEADER = b"x-mlctl-rows"  # the worker that forwards a request counts it, not the one that answers
# the body is sent decompressed, and the rest describes the client's connection
_NOT_SENT = {
    b"connection",
    b"content-encoding",
    b"content-length",
    b"expect",
    b"host",
    b"transfer-encoding",
    b"x-request-id",
}
# the worker that forwards writes these itself
_NOT_RETURNED = {
    b"connection",
    b"content-length",
    b"content-type",
    b"date",
    b"x-model",
    b"x-model-version",
    b"x-request-id",
    ROWS_HEADER,
}


class ForwardingError(Exception):
    """The other version did not answer; the text is the reason."""


class RequestForwarder:
    """Sends requests to the workers that listen on one Unix socket."""

    def __init__(self, path: str) -> None:
        self._client = LocalClient(path)

    async def send(self, request: Request, body: bytes, *, timeout_s: float) -> Response:
        """Return the other version's response, whatever its status. Raises ForwardingError."""
        headers = [field for field in request.headers.items() if field[0] not in _NOT_SENT]
        headers += [
            (b"host", request.headers.get(b"host", b"localhost")),
            (b"x-request-id", request.request_id.encode()),
        ]
        target = quote(request.path).encode() + (b"?" + request.query if request.query else b"")
        method = b"POST" if request.method == "POST" else b"GET"  # the application leaves out a HEAD's body
        try:
            return _to_response(
                await self._client.send(method, target, body, headers=headers, timeout_s=timeout_s)
            )
        except LocalClientError as error:
            raise ForwardingError(str(error)) from None
        except TimeoutError:
            raise ForwardingError(f"it did not answer within {timeout_s:g} s") from None

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()


def _to_response(answer: LocalResponse) -> Response:
    headers = answer.headers
    return Response(
        status=answer.status,
        body=answer.body,
        content_type=headers.get(b"content-type", b"application/json"),
        headers=[field for field in headers.items() if field[0] not in _NOT_RETURNED],
        rows=int(headers.get(ROWS_HEADER, b"0")),
        version=headers.get(b"x-model-version", b"").decode("ascii", "replace"),
    )
