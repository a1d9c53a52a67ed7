"""What a script prints, kept as text while it goes where it always goes."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

HEAD, TAIL = 2_000_000, 2_000_000  # characters that are kept of the beginning and of the end
MAX_LINE = 10_000
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class PrintedOutput:
    """The lines that a script prints to stdout and stderr, in their order.

    Of a line that is written again and again, as a progress bar is, the last state is kept.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._head_size = self._tail_size = 0
        self._dropped = 0
        self._line = ""
        self._paused = 0

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep what is written to sys.stdout and sys.stderr while the block runs."""
        before = sys.stdout, sys.stderr
        own = _Tee(sys.stdout, self), _Tee(sys.stderr, self)
        sys.stdout, sys.stderr = own
        try:
            yield
        finally:
            if sys.stdout is own[0]:
                sys.stdout = before[0]
            if sys.stderr is own[1]:
                sys.stderr = before[1]

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep nothing while the block runs: it prints lines of mlctl."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def add(self, text: str) -> None:
        """Add printed text."""
        if self._paused or not text:
            return
        with self._lock:
            *lines, rest = (self._line + text).split("\n")
            for line in lines:
                self._add_line(_last_state(line))
            self._line = rest if len(rest) <= MAX_LINE else rest[-MAX_LINE:]

    def text(self) -> str:
        """Return what was printed; "" if nothing was."""
        with self._lock:
            last = _last_state(self._line)
            dropped = [f"… {self._dropped:,} lines are left out …\n"] if self._dropped else []
            return "".join([*self._head, *dropped, *self._tail]) + (f"{last}\n" if last.strip() else "")

    def _add_line(self, line: str) -> None:
        line = f"{line[:MAX_LINE]}\n"
        if self._head_size + len(line) <= HEAD and not self._tail:
            self._head.append(line)
            self._head_size += len(line)
            return
        self._tail.append(line)
        self._tail_size += len(line)
        while self._tail_size > TAIL:
            self._tail_size -= len(self._tail.popleft())
            self._dropped += 1


class _Tee:
    """A stream that keeps what is written to it, and is the original one in all else."""

    def __init__(self, stream: Any, output: PrintedOutput) -> None:
        self._stream, self._output = stream, output

    def write(self, text: str) -> int:
        count: int = self._stream.write(text)
        self._output.add(text)
        return count

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name in {"_stream", "_output"}:  # a copy is made without __init__
            raise AttributeError(name)
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def __enter__(self) -> _Tee:
        return self

    def __exit__(self, *_: Any) -> None:
        self._stream.flush()


def _last_state(line: str) -> str:
    """Return what a terminal shows of a line: after carriage returns and backspaces, without colours."""
    line = ANSI.sub("", line.rstrip("\r"))
    if "\r" in line:
        line = next((part for part in reversed(line.split("\r")) if part.strip()), "")
    if "\b" in line:
        line = line.rpartition("\b")[2]
    return line
