"""A watched endpoint under load while versions are promoted and workers killed: who loses what?

    python -m tests.soak.endpoints --seconds 600 --clients 32 --promote-every 30
    python -m tests.soak.endpoints --seconds 600 --clients 32 --promote-every 30 --kill-every 60

Two trained versions of digits alternate in Production by `mlctl promote`, while clients ask without a pause over
connections that they keep, one request in ten of them a bad one. A reset connection is asked again, once: that
must succeed. Each answer must be the answer of the version that its header names.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.trained import mlctl

GOOD = json.dumps({"inputs": [[[float((row * column) % 17) for column in range(8)] for row in range(8)]]})
BAD = json.dumps({"inputs": [1, "2"]})
NAME = "Soaked"


@dataclass
class Report:
    """What the clients counted; `resets` lists how each connection broke, `failed` what nothing excuses."""

    answered: int = 0
    refused: int = 0
    promotions: int = 0
    kills: int = 0
    resets: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    contents: dict[str, Counter[str]] = field(default_factory=dict)
    slowest_s: float = 0.0

    def faults(self, clients: int) -> list[str]:
        """Return what must not be: a failed request, an answer of two minds, more resets than a worker had clients."""
        found = list(self.failed)
        found += [
            f"version {one} gave {len(all_)} answers" for one, all_ in self.contents.items() if len(all_) > 1
        ]
        if len(set().union(*self.contents.values())) < len(self.contents):
            found.append("two versions answer alike: nothing was shown")
        if len(self.resets) > self.kills * clients:
            found.append(f"{len(self.resets)} resets for {self.kills} kills")
        return found


class Clients:
    """Threads that ask until they are told to stop."""

    def __init__(self, port: int, count: int, report: Report) -> None:
        self._port, self._report = port, report
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(count)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        for number in itertools.count():
            if self._stop.is_set():
                break
            body = BAD if number % 10 == 9 else GOOD
            begun = time.monotonic()
            try:
                found = self._one(connection, body)
            except (OSError, http.client.HTTPException) as exc:
                connection.close()
                with self._lock:
                    self._report.resets.append(repr(exc))
                try:
                    found = self._one(connection, body)
                except (OSError, http.client.HTTPException) as again:
                    connection.close()
                    with self._lock:
                        self._report.failed.append(f"again: {again!r}")
                    continue
            with self._lock:
                self._report.slowest_s = max(self._report.slowest_s, time.monotonic() - begun)
                self._count(body, *found)
        connection.close()

    def _one(self, connection: http.client.HTTPConnection, body: str) -> tuple[int, str, str]:
        connection.request("POST", "/invocations", body, {"content-type": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.headers.get("x-model-version", ""), reply.read().decode()

    def _count(self, body: str, status: int, version: str, content: str) -> None:
        if body is BAD and status == 400:
            self._report.refused += 1
        elif body is GOOD and status == 200:
            self._report.answered += 1
            self._report.contents.setdefault(version, Counter())[content] += 1
        else:
            self._report.failed.append(f"{status} {content[:200]}")


@contextlib.contextmanager
def endpoint(folder: Path, workers: int) -> Iterator[tuple[int, int]]:
    """Train two versions, serve their Production one, and yield the endpoint's port and pid."""

    def run(*arguments: str) -> str:
        done = mlctl(folder, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for seed in ("0", "1"):
        run("train", "digits", "--epochs", "2", "--seed", seed, "--register", NAME)
    run("promote", NAME, "1", "Production")
    serving = ("--watch", "--workers", str(workers), "--port", "0", "--detach", "-o", "json")
    told = json.loads(run("serve", NAME, *serving))
    try:
        yield int(told["url"].rpartition(":")[2]), told["pid"]
    finally:
        run("endpoints", "stop", told["name"])


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the processes that answer for this endpoint."""
    return [one for one in psutil.Process(pid).children() if "mlctl.serving.worker" in one.cmdline()]


def soak(
    folder: Path, seconds: float, clients: int, promote_every: float, kill_every: float, seed: int,
    say: Callable[[str], None],
) -> Report:  # fmt: skip
    """Load an endpoint for so long; `kill_every` 0 kills nobody. Times are in seconds."""
    report, chance = Report(), random.Random(seed)
    with endpoint(folder, workers=2) as (port, pid), Clients(port, clients, report):
        begun = time.monotonic()
        promote_at, kill_at = promote_every, kill_every or seconds + 1
        while (now := time.monotonic() - begun) < seconds:
            if now >= promote_at:
                version = str(2 - report.promotions % 2)
                done = mlctl(folder, "promote", NAME, version, "Production")
                assert done.returncode == 0, done.stderr
                report.promotions += 1
                promote_at += promote_every
            if now >= kill_at:
                chosen = chance.choice(workers_of(pid))
                os.kill(chosen.pid, signal.SIGKILL)
                report.kills += 1
                kill_at += kill_every
            time.sleep(0.05)
    say(
        f"{report.answered} answered, {report.refused} bad ones refused, {report.promotions} promotions, "
        f"{report.kills} kills, {len(report.resets)} resets, {len(report.failed)} failed, "
        f"slowest {report.slowest_s:.2f} s, versions {sorted(report.contents)}"
    )
    return report


def main() -> int:
    """Soak as told, and leave with 1 where something was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--promote-every", type=float, default=30)
    parser.add_argument("--kill-every", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = soak(
            Path(folder),
            given.seconds,
            given.clients,
            given.promote_every,
            given.kill_every,
            given.seed,
            print,
        )
    for fault in report.faults(given.clients)[:20]:
        print(fault)
    return bool(report.faults(given.clients))


if __name__ == "__main__":
    sys.exit(main())
