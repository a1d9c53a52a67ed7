"""Cross-origin requests: the pages of other sites that may use this endpoint from a browser.

Credentials of the browser are never allowed: such a page sends an API key of its own, in the Authorization header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mlctl.serving.http_messages import Headers, Response
from mlctl.serving.payloads.request_error import RequestError, quote

ANY_ORIGIN = "*"
MAX_AGE_S = b"600"
EXPOSED = b"x-request-id, x-model, x-model-version, inference-header-content-length, retry-after"
_HEADER_NAMES = re.compile(rb"[\w-]+(\s*,\s*[\w-]+)*")


class CorsPolicy:
    """The origins whose pages may use the endpoint."""

    def __init__(self, origins: Iterable[str]) -> None:
        """`origins` are such as `https://app.example.com`, or `*` for all."""
        self._origins = frozenset(origin.lower().encode() for origin in origins)

    def headers(self, request_headers: Mapping[bytes, bytes]) -> Headers:
        """Return the headers that let a browser show the response to the page that asked for it."""
        if ANY_ORIGIN.encode() in self._origins:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)]
        headers: Headers = [(b"vary", b"origin")]
        origin = request_headers.get(b"origin", b"")
        if origin.lower() in self._origins:
            headers.append((b"access-control-allow-origin", origin))
            headers.append((b"access-control-expose-headers", EXPOSED))
        return headers

    def preflight(self, request_headers: Mapping[bytes, bytes], methods: Iterable[str]) -> Response:
        """Return the answer to a browser that asks whether a page may send a request.

        Raises RequestError if the page's origin is not allowed.
        """
        origin = request_headers.get(b"origin", b"")
        if not self._origins & {origin.lower(), ANY_ORIGIN.encode()}:
            name = origin.decode("latin1")
            raise RequestError(
                403, "ORIGIN_REFUSED", f"the origin {quote(name)} is not allowed", "see --cors"
            )
        headers: Headers = [
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-max-age", MAX_AGE_S),
        ]
        wanted = request_headers.get(b"access-control-request-headers", b"")
        if _HEADER_NAMES.fullmatch(wanted):
            headers.append((b"access-control-allow-headers", wanted))
        return Response(headers=headers)


def is_preflight(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request is a browser's question, which never has an API key."""
    return method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers
