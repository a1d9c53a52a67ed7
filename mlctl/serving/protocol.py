"""uvicorn's HTTP protocol with limits for a request's head: its size, its number of fields, and its time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
MAX_HEAD_FIELDS = 100
MAX_HEAD_S = 30.0
# a refused client is read a little longer: closing at once could reset the connection before it has the answer
DISCARD_S, MAX_DISCARDED = 1.0, 1_000_000


def _response(status: bytes, code: str, message: str) -> bytes:
    body = json.dumps({"error_code": code, "message": message, "hint": ""}).encode()
    return (
        b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\n"
        b"content-length: %d\r\n\r\n%s" % (status, len(body), body)
    )


TIMEOUT_RESPONSE = _response(b"408 Request Timeout", "REQUEST_TIMEOUT", "no complete request arrived in time")
TOO_LARGE_RESPONSE = _response(
    b"431 Request Header Fields Too Large",
    "REQUEST_HEAD_TOO_LARGE",
    f"the request's head has more than {MAX_HEAD_FIELDS} fields or {MAX_HEAD_BYTES // 1024} KB",
)


class HeadTooLarge(Exception):
    """The head of a request exceeds a limit; raised to stop the parser."""


class LimitedProtocol(HttpToolsProtocol):
    """Answers 431 if a request's head is too large, 408 if it takes too long, and closes the connection."""

    head_timeout_s = MAX_HEAD_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._completed_one = False  # the data that are being parsed end a request
        self._head_bytes = 0  # of data that held nothing but this head
        self._head_fields = 0
        self._is_refused = False
        self._discarded = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, unless the request was refused already."""
        if self._is_refused:
            self._discarded += len(data)
            if self._discarded > MAX_DISCARDED:
                self.transport.abort()
            return
        self._completed_one = False
        began_in_head = self._in_head
        super().data_received(data)
        if began_in_head and self._in_head and not self._completed_one and not self._is_refused:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse()

    def on_message_begin(self) -> None:
        """Start the timer for the head of a later request."""
        super().on_message_begin()
        self._head_fields = 0
        if self._timer is None:
            self._start_timer()

    def on_url(self, url: bytes) -> None:
        """Stop the parser if the URL is too long."""
        super().on_url(url)
        if len(self.url) > MAX_HEAD_BYTES:
            self._stop_parser()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Stop the parser at too many fields; those after a chunked body count too."""
        self._head_fields += 1
        if self._head_fields > MAX_HEAD_FIELDS:
            self._stop_parser()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the timer; the application limits the time for the body."""
        self._stop_timer()
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._stop_parser()
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next head."""
        self._in_head = self._completed_one = True
        self._head_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that the parser cannot read: 431 if a limit stopped it, else 400."""
        if self._is_refused:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _stop_parser(self) -> None:
        self._is_refused = True
        raise HeadTooLarge

    def _refuse(self) -> None:
        """Answer 431, unless an earlier request of this connection is still being answered, and close."""
        self._is_refused = True
        self._stop_timer()
        self.pipeline.clear()
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_started:  # it is this very request
            cycle.disconnected = True
            cycle.message_event.set()
        elif cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            return
        self._close_after(TOO_LARGE_RESPONSE)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.head_timeout_s, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self._is_refused = True
            self._close_after(TIMEOUT_RESPONSE)

    def _close_after(self, response: bytes) -> None:
        self.transport.write(response)
        self.loop.call_later(DISCARD_S, self.transport.close)
