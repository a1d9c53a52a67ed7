"""The answer to a request that cannot be served: short, and never a copy of the client's own body."""

from __future__ import annotations

import json

from mlctl.domain.short_texts import shorten

MAX_QUOTED = 40  # characters of the request that an answer may repeat
MAX_BYTES = 490  # of an error document


class RequestError(Exception):
    """A request that is refused: an HTTP status, MLflow's error code, what is wrong and what to do."""

    def __init__(
        self, status: int, code: str, message: str, hint: str = "", *, max_bytes: int = MAX_BYTES
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self._max_bytes = max_bytes
        self.headers: list[tuple[bytes, bytes]] = []

    def to_json(self) -> bytes:
        """Return the error as a JSON document; of less than 500 bytes, if nobody allowed more."""
        message, hint = self.message, self.hint
        while True:
            document = {"error_code": self.code, "message": message, "hint": hint}
            content = json.dumps(document).encode()
            if (excess := len(content) - self._max_bytes) <= 0:
                return content
            if len(hint) > len(message):
                hint = hint[: max(0, len(hint) - excess - 1)] + "…"
            else:
                message = message[: max(0, len(message) - excess - 1)] + "…"


def bad_request(message: str, hint: str = "") -> RequestError:
    """Return the error for a mistake of the client (400)."""
    return RequestError(400, "BAD_REQUEST", message, hint)


def unsupported_media_type(message: str, hint: str = "") -> RequestError:
    """Return the error for a kind of body that is not supported (415)."""
    return RequestError(415, "UNSUPPORTED_MEDIA_TYPE", message, hint)


def body_too_large(max_bytes: int) -> RequestError:
    """Return the error for a body of more than `max_bytes`, before or after decompression (413)."""
    size = f"{max_bytes / 1e6:g} MB" if max_bytes >= 1e6 else f"{max_bytes:,} bytes"
    return RequestError(413, "REQUEST_TOO_LARGE", f"the body is larger than {size}", "send fewer rows")


def quote(value: object) -> str:
    """Return at most 40 characters of a client's value, in quotes if it is a text."""
    text = value if isinstance(value, str) else repr(value)
    short = shorten(text, MAX_QUOTED)
    return json.dumps(short, ensure_ascii=False) if isinstance(value, str) else short
