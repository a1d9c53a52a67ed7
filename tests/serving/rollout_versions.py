"""Versions of a model that are healthy, or broken in different ways, and clients that look at every answer."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

WARM_UP = 30  # requests that a version answers well, among them those of its start
BEHAVIOURS = {
    "healthy": "",
    "wrong": "return 1 - answers",
    "fails": "if asked > {warm_up} and random.random() < 0.3: raise RuntimeError('broken')",
    "slow": "time.sleep(0.05)",
    "crashes": "if asked > {warm_up}: os._exit(9)",
    "hangs": "if asked > {warm_up}: time.sleep(60)",
}
PATCH = """

import os, random, time
_original = Scorer.__call__
_asked = 0

def _patched(self, rows):
    global _asked
    _asked += 1
    asked = _asked
    answers = _original(self, rows)
    {behaviour}
    return answers

Scorer.__call__ = _patched
"""


def make_version(model: Path, folder: Path, behaviour: str) -> Path:
    """Copy a model that mlctl saved, and let it behave in another way."""
    shutil.copytree(model, folder)
    scoring = folder / "scoring.py"
    if text := BEHAVIOURS[behaviour].format(warm_up=WARM_UP):
        scoring.write_text(
            scoring.read_text(encoding="utf-8") + PATCH.format(behaviour=text), encoding="utf-8"
        )
    return folder


@dataclass
class Clients:
    """Clients that send the same request over kept connections.

    Attributes:
        expected: The right answer.
        answers: Number of answers by version and by what they were: good, wrong, or a status.
        seconds: Latency of each request.
    """

    port: int
    request: bytes
    expected: bytes
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    _left: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)
    _pause_s: float = 0.0

    def start(self, requests: int, clients: int = 4, pause_s: float = 0.0) -> None:
        """Begin to send so many requests; each client pauses after each answer."""
        self._left, self._pause_s = requests, pause_s
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self, after: int = 0) -> None:
        """Send no more requests than `after` in all, and wait for the last answers."""
        with self._lock:
            self._left = max(0, after - sum(self.answers.values()))
        self.wait()

    def wait(self) -> None:
        """Wait until all requests are answered."""
        for thread in self._threads:
            thread.join()

    def count(self, kind: str, version: str = "") -> int:
        """Return the number of answers of a kind, of one version or of all."""
        return sum(
            number for (by, what), number in self.answers.items() if what == kind and version in ("", by)
        )

    @property
    def failures(self) -> int:
        """Number of requests that were not answered with status 200."""
        return sum(number for (_, what), number in self.answers.items() if what not in ("good", "wrong"))

    def _run(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            with self._lock:
                if self._left <= 0:
                    return
                self._left -= 1
            started = time.perf_counter()
            try:
                connection.sendall(self.request)
                status, version, body, is_last = _read_response(connection)
            except OSError as exc:
                status, version, body, is_last = type(exc).__name__, "", b"", True
            seconds = time.perf_counter() - started
            kind = status if status != "200" else "good" if body == self.expected else "wrong"
            with self._lock:
                self.answers[version, kind] += 1
                self.seconds.append(seconds)
            if is_last:
                connection.close()
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            if self._pause_s:
                time.sleep(self._pause_s)


def post_request(body: bytes) -> bytes:
    """Return the bytes of a request to /invocations."""
    head = (
        "POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: "
    )
    return f"{head}{len(body)}\r\n\r\n".encode() + body


def ask(port: int, request: bytes) -> bytes:
    """Send one request, and return the body of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        return _read_response(connection)[2]


def _read_response(connection: socket.socket) -> tuple[str, str, bytes, bool]:
    """Return the status, the version, the body, and whether the connection ends with it."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _receive(connection)
    lines = data[:end].decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    body = data[end + 4 :]
    while len(body) < int(headers["content-length"]):
        body += _receive(connection)
    return lines[0].split()[1], headers.get("x-model-version", ""), body, headers.get("connection") == "close"


def _receive(connection: socket.socket) -> bytes:
    if not (part := connection.recv(65536)):
        raise ConnectionError("the endpoint closed the connection")
    return part
