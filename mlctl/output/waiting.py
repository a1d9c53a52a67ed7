"""A spinner on stderr until a command prints something, so that nobody looks at a silent terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

DELAY_S, FRAME_S = 0.3, 0.1
FRAMES, PLAIN_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"
ERASE_LINE = "\r\x1b[2K"
LARGE_PACKAGES = {
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "ray": "Ray",
    "mlflow": "MLflow",
    "sklearn": "scikit-learn",
}


@contextmanager
def shown(what: str) -> Iterator[None]:
    """Show `what` with a spinner from 0.3 s on, until the block writes to stdout or stderr, or ends.

    Without a terminal on stderr there is no spinner.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    spinner = _Spinner(what, sys.stderr)
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Announced(stream, spinner.end) for stream in streams)
    watch = _ImportWatch(spinner)
    sys.meta_path.insert(0, watch)
    spinner.start()
    try:
        yield
    finally:
        sys.meta_path.remove(watch)
        spinner.end()
        sys.stdout, sys.stderr = streams


class _Announced:
    """A stream that calls a function before anything is written or read: the spinner makes room."""

    def __init__(self, stream: TextIO, announce: Callable[[], None]) -> None:
        self._stream, self._announce = stream, announce

    def write(self, text: str) -> int:
        self._announce()
        return self._stream.write(text)

    def flush(self) -> None:
        self._announce()
        self._stream.flush()

    @property
    def buffer(self) -> Any:
        self._announce()
        return self._stream.buffer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _ImportWatch:
    """Draws the spinner before the import of a large package, which may keep all threads waiting for seconds."""

    def __init__(self, spinner: _Spinner) -> None:
        self._spinner = spinner

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> None:
        """Draw, and leave the import to others."""
        if name in LARGE_PACKAGES:
            self._spinner.draw(f"loading {LARGE_PACKAGES[name]}")


class _Spinner(threading.Thread):
    """Draws on the terminal's current line, which it erases at its end."""

    def __init__(self, what: str, stream: TextIO) -> None:
        super().__init__(name="spinner", daemon=True)
        self._what, self._stream = what, _own_stream(stream)
        self._has_own_stream = self._stream is not stream
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._drawn = 0
        self._process = os.getpid()
        self._frames = FRAMES if "utf" in (stream.encoding or "").lower() else PLAIN_FRAMES

    def run(self) -> None:
        """Draw until the end."""
        if self._ended.wait(DELAY_S):
            return
        while not self._ended.is_set():
            self.draw(_loading() or self._what)
            self._ended.wait(FRAME_S)

    def draw(self, text: str) -> None:
        """Draw the next picture of the spinner, with a text; nothing after its end."""
        with self._lock:
            if not self._ended.is_set():
                frame = self._frames[self._drawn % len(self._frames)]
                self._drawn += 1
                self._write(f"{ERASE_LINE}{frame} {text}")

    def end(self) -> None:
        """Erase the line; in a forked child, which has no such thread, do nothing."""
        if not self._ended.is_set() and self._process == os.getpid():
            with self._lock:
                self._ended.set()
                if self._drawn:
                    self._write(ERASE_LINE)
            self.join()
            if self._has_own_stream:
                self._stream.close()

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone
            self._ended.set()


def _own_stream(stream: TextIO) -> TextIO:
    """Return a stream to the same terminal that stays if the process silences stderr, as while TensorFlow loads."""
    try:
        return open(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="replace")
    except OSError:  # it has no descriptor
        return stream


def _loading() -> str:
    """Return which large package is being imported at this moment; "" for none."""
    for module, name in LARGE_PACKAGES.items():
        spec = getattr(sys.modules.get(module), "__spec__", None)
        if getattr(spec, "_initializing", False):
            return f"loading {name}"
    return ""
