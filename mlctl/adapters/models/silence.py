"""Silences what libraries print while they load and save models."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import warnings
from typing import Any, TextIO


@contextlib.contextmanager
def suppress_output() -> Any:
    """Suppress warnings, and what this thread writes to stdout and stderr; other threads can still write."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(_MutedStream(sys.stdout)),
        contextlib.redirect_stderr(_MutedStream(sys.stderr)),
    ):
        warnings.simplefilter("ignore")
        yield


class _MutedStream(io.TextIOBase):
    """A stream that discards what the thread that created it writes."""

    def __init__(self, stream: TextIO) -> None:
        # with a live view, the stream is a proxy that prints through the view's console. The console looks up
        # sys.stderr, which is this object: the view would print its own frames without end
        self._stream = getattr(stream, "rich_proxied_file", stream)
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute here
        return self._stream.encoding
