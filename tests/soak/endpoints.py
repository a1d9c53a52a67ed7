"""Load an endpoint with --watch while versions are promoted and workers killed, and count what fails.

    python -m tests.soak.endpoints --seconds 600 --clients 32 --promote-every 30
    python -m tests.soak.endpoints --seconds 600 --clients 32 --promote-every 30 --kill-every 60

`mlctl promote` alternates two trained versions of digits in Production, while clients send requests without a pause
over kept connections; one request in ten is wrong. If a connection is reset, the request is repeated once, and must
succeed then. Each answer must come from the version that its header names.
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
MAX_EXTENSION = 10  # a slow machine needs more time until a promotion and a kill have happened


@dataclass
class Report:
    """The clients' counts. `resets` are the errors of connections that broke, `failed` are requests that failed for good."""

    answered: int = 0
    refused: int = 0
    promotions: int = 0
    kills: int = 0
    resets: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    contents: dict[str, Counter[str]] = field(default_factory=dict)
    slowest_s: float = 0.0

    def shows_something(self, *, kills: bool) -> bool:
        """Return whether both versions have answered, and a worker was killed if that is wanted."""
        return len(self.contents) > 1 and (self.kills > 0 or not kills)

    def faults(self, clients: int) -> list[str]:
        """Return what went wrong: failed requests, contradicting answers, more resets than killed workers had clients."""
        faults = list(self.failed)
        faults += [
            f"version {version} gave {len(contents)} different answers"
            for version, contents in self.contents.items()
            if len(contents) > 1
        ]
        if len(set().union(*self.contents.values())) < len(self.contents):
            faults.append("two versions give the same answer, so the test shows nothing")
        if len(self.resets) > self.kills * clients:
            faults.append(f"{len(self.resets)} resets for {self.kills} kills")
        return faults


class Clients:
    """Threads that send requests until the block ends."""

    def __init__(self, port: int, count: int, report: Report) -> None:
        self._port, self._report = port, report
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._send_requests, daemon=True) for _ in range(count)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _send_requests(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        for number in itertools.count():
            if self._stop.is_set():
                break
            body = BAD if number % 10 == 9 else GOOD
            started = time.monotonic()
            try:
                answer = self._post(connection, body)
            except (OSError, http.client.HTTPException) as exc:
                connection.close()
                with self._lock:
                    self._report.resets.append(repr(exc))
                try:
                    answer = self._post(connection, body)
                except (OSError, http.client.HTTPException) as again:
                    connection.close()
                    with self._lock:
                        self._report.failed.append(f"second attempt: {again!r}")
                    continue
            with self._lock:
                self._report.slowest_s = max(self._report.slowest_s, time.monotonic() - started)
                self._count(body, *answer)
        connection.close()

    def _post(self, connection: http.client.HTTPConnection, body: str) -> tuple[int, str, str]:
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
    """Train two versions, serve the Production version, and yield the endpoint's port and pid."""

    def run(*arguments: str) -> str:
        done = mlctl(folder, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for seed in ("0", "1"):
        run("train", "digits", "--epochs", "2", "--seed", seed, "--register", NAME)
    run("promote", NAME, "1", "Production")
    options = ("--watch", "--workers", str(workers), "--port", "0", "--detach", "-o", "json")
    started = json.loads(run("serve", NAME, *options))
    try:
        yield int(started["url"].rpartition(":")[2]), started["pid"]
    finally:
        run("endpoints", "stop", started["name"])


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the worker processes of an endpoint."""
    children = psutil.Process(pid).children()
    return [process for process in children if "mlctl.serving.worker" in process.cmdline()]


def soak(
    folder: Path,
    *,
    seconds: float,
    clients: int,
    promote_every: float,
    kill_every: float,
    seed: int,
    report_line: Callable[[str], None],
) -> Report:
    """Load an endpoint. Times are in seconds; if `kill_every` is 0, no worker is killed."""
    report, rng = Report(), random.Random(seed)
    with endpoint(folder, workers=2) as (port, pid), Clients(port, clients, report):
        started = time.monotonic()
        promote_at, kill_at = promote_every, kill_every or seconds + 1
        while (now := time.monotonic() - started) < MAX_EXTENSION * seconds:
            if now >= seconds and report.shows_something(kills=bool(kill_every)):
                break
            if now >= promote_at:
                version = str(2 - report.promotions % 2)
                done = mlctl(folder, "promote", NAME, version, "Production")
                assert done.returncode == 0, done.stderr
                report.promotions += 1
                promote_at += promote_every
            if now >= kill_at:
                chosen = rng.choice(workers_of(pid))
                os.kill(chosen.pid, signal.SIGKILL)
                report.kills += 1
                kill_at += kill_every
            time.sleep(0.05)
    report_line(
        f"{report.answered} answered, {report.refused} wrong ones refused, {report.promotions} promotions, "
        f"{report.kills} kills, {len(report.resets)} resets, {len(report.failed)} failed, "
        f"slowest {report.slowest_s:.2f} s, versions {sorted(report.contents)}"
    )
    return report


def main() -> int:
    """Run from the command line; return 1 if something went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--promote-every", type=float, default=30)
    parser.add_argument("--kill-every", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = soak(
            Path(folder),
            seconds=arguments.seconds,
            clients=arguments.clients,
            promote_every=arguments.promote_every,
            kill_every=arguments.kill_every,
            seed=arguments.seed,
            report_line=print,
        )
    for fault in report.faults(arguments.clients)[:20]:
        print(fault)
    return bool(report.faults(arguments.clients))


if __name__ == "__main__":
    sys.exit(main())
