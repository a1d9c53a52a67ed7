"""The clients of the test in faults.py, and what they saw."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

PICTURE = [[(row * column) % 17 for column in range(8)] for row in range(8)]
GOOD = json.dumps({"inputs": [PICTURE]})
WRONG = json.dumps({"inputs": [1, "2"]})
SLOW = json.dumps({"inputs": [[[251] * 8] * 8] * 64})  # the models sleep at this picture
HUGE = json.dumps({"inputs": [PICTURE] * 5_000})


@dataclass
class Report:
    """What the clients and the observer saw. `resets` are good requests that had to be sent twice."""

    statuses: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    resets: int = 0
    contents: dict[str, set[str]] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    memory_mb: list[float] = field(default_factory=list)
    slowest_ping_s: float = 0.0
    seconds: list[float] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """Smallest memory of the last fifth divided by that of the first fifth, as no version is on trial then."""
        samples = self.memory_mb[SETTLING_S:]
        part = max(len(samples) // 5, 1)
        return min(samples[-part:]) / min(samples[:part])

    def faults(self) -> list[str]:
        """Return what went wrong."""
        faults = list(self.failed)
        if self.resets > (self.events["worker killed"] + 1) * CLIENTS:
            faults.append(
                f"{self.resets} connections broke for {self.events['worker killed']} killed workers"
            )
        faults += [
            f"version {name} gave several answers" for name, seen in self.contents.items() if len(seen) > 1
        ]
        faults += [f"{name} requests were not tried" for name in KINDS if not self.statuses[name]]
        return faults

    def summary(self) -> str:
        """Return all figures in a few lines."""
        seconds = sorted(self.seconds)
        p50, p99 = (seconds[int(len(seconds) * share)] * 1000 for share in (0.5, 0.99))
        return "\n".join(
            (
                f"requests: {dict(sorted(self.statuses.items()))}; good ones: p50 {p50:.1f} ms, p99 {p99:.1f} ms",
                f"failed {len(self.failed)}, sent again after a killed worker {self.resets}",
                f"events: {dict(self.events)}; versions that answered: {sorted(self.contents)}",
                f"memory: {min(self.memory_mb):.0f} to {max(self.memory_mb):.0f} MB, end/beginning {self.growth:.2f}; "
                f"slowest /ping {self.slowest_ping_s * 1000:.0f} ms",
            )
        )


SETTLING_S = 8  # until the process that follows the registry has loaded its libraries
KINDS = ("good", "wrong", "slow", "huge")
CLIENTS = 5  # that send good requests


class Clients:
    """Threads that send requests until the block ends."""

    def __init__(self, port: int, report: Report) -> None:
        self._port, self._report = port, report
        self._lock, self._stop = threading.Lock(), threading.Event()
        work: list[tuple[Callable[..., None], tuple[object, ...]]] = [
            (self._send, ("good", GOOD, {200}, 0.005))
        ] * CLIENTS
        work += [
            (self._send, ("wrong", WRONG, {400}, 0.05)),
            (self._send, ("slow", SLOW, {503, 504}, 8.0)),
            (self._send, ("huge", HUGE, {200}, 2.0)),
            (self._flood, ()),
            (self._ping, ()),
        ]
        self._threads = [threading.Thread(target=target, args=args, daemon=True) for target, args in work]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _send(self, kind: str, body: str, wanted: set[int], pause_s: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop.wait(pause_s):
            started = time.monotonic()
            for attempt in (1, 2):
                try:
                    connection.request("POST", "/invocations", body, {"content-type": "application/json"})
                    reply = connection.getresponse()
                    self._count(kind, reply, reply.read().decode(), wanted, time.monotonic() - started)
                    break
                except (OSError, http.client.HTTPException) as exc:
                    connection.close()
                    self._count_reset(kind, attempt, exc)
        connection.close()

    def _count_reset(self, kind: str, attempt: int, error: Exception) -> None:
        with self._lock:
            self._report.resets += kind == "good"
            if attempt == 2 and kind != "slow":  # a slow one meets the end of its worker twice
                self._report.failed.append(f"{kind}: {error!r}")

    def _count(
        self, kind: str, reply: http.client.HTTPResponse, content: str, wanted: set[int], seconds: float
    ) -> None:
        with self._lock:
            self._report.statuses[kind] += 1
            if reply.status not in wanted:
                self._report.failed.append(f"{kind}: {reply.status} {content[:200]}")
            elif kind == "good":
                self._report.seconds.append(seconds)
                version = reply.headers.get("x-model-version", "")
                self._report.contents.setdefault(version, set()).add(content)

    def _flood(self) -> None:
        while not self._stop.wait(3.0):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 5) as one:
                one.sendall(b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000)

    def _ping(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop.wait(0.2):
            started = time.monotonic()
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/ping")
                connection.getresponse().read()
                self._report.slowest_ping_s = max(self._report.slowest_ping_s, time.monotonic() - started)
                continue
            connection.close()
