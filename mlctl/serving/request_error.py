"""What a client is told when its request cannot be answered: short, and never its own body back."""

from __future__ import annotations

import json

ECHOED = 40  # characters of a request that an answer may repeat
LONGEST_BYTES = 490  # of an answer that refuses


class RequestError(Exception):
    """A request that is not answered: an HTTP status, MLflow's error code, what is wrong and what to do."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint

    def body(self) -> bytes:
        """Return the JSON document of this refusal, cut to under 500 bytes."""
        message, hint = self.message, self.hint
        while True:
            document = {"error_code": self.code, "message": message, "hint": hint}
            body = json.dumps(document).encode()
            if (over := len(body) - LONGEST_BYTES) <= 0:
                return body
            if len(hint) > len(message):
                hint = hint[: max(0, len(hint) - over - 1)] + "…"
            else:
                message = message[: max(0, len(message) - over - 1)] + "…"


def bad(message: str, hint: str = "") -> RequestError:
    """Return the refusal of a request that the client got wrong."""
    return RequestError(400, "BAD_REQUEST", message, hint)


def unsupported(message: str, hint: str = "") -> RequestError:
    """Return the refusal of a kind of body that is not taken."""
    return RequestError(415, "UNSUPPORTED_MEDIA_TYPE", message, hint)


def quoted(value: object) -> str:
    """Return at most 40 characters of what the client sent, in quotes where it is a text."""
    text = value if isinstance(value, str) else repr(value)
    cut = text if len(text) <= ECHOED else text[: ECHOED - 1] + "…"
    return json.dumps(cut, ensure_ascii=False) if isinstance(value, str) else cut


def too_large(limit: int) -> RequestError:
    """Return the refusal of a body that is over `limit` bytes, sent or unpacked."""
    said = f"{limit / 1e6:g} MB" if limit >= 1e6 else f"{limit:,} bytes"
    return RequestError(413, "REQUEST_TOO_LARGE", f"the body is over {said}", "send fewer rows a request")
