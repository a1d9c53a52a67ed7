"""Load an endpoint while everything around it fails, and count what its clients notice.

    python -m tests.soak.faults --minutes 60       the whole hour: 20 promotions
    python -m tests.soak.faults --minutes 2        the same events in two minutes: 8 promotions

Clients send good, wrong, slow and huge requests without a pause over kept connections, and one sends heads without end.
Meanwhile versions are promoted, three of them broken (one ends its process, one fails every request, one never ends
loading), workers are killed, the registry is away, and the disk with the endpoint's folder is full (if this user may
mount one). No good request may fail; one whose connection a killed worker broke is repeated once. The memory at the end
is compared with that at the beginning.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mlctl.services.serving.serve import FOLLOW_COMMAND, SERVING_COMMAND
from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion

NAME, WORKERS, TIMEOUT_S = "Soaked", 2, 3.0
PICTURE = [[(row * column) % 17 for column in range(8)] for row in range(8)]
GOOD = json.dumps({"inputs": [PICTURE]})
WRONG = json.dumps({"inputs": [1, "2"]})
SLOW = json.dumps({"inputs": [[[251] * 8] * 8] * 64})  # the models sleep at this picture
HUGE = json.dumps({"inputs": [PICTURE] * 5_000})
RUN = "return self._run("
SLEEP = "if raw.min() == 251: __import__('time').sleep(20)\n        "
CRASH = "Scorer.asked = getattr(Scorer, 'asked', 0) + 1\n        if Scorer.asked > 9: __import__('os')._exit(9)\n        "
VERSIONS = {  # what replaces the line that answers
    "1": SLEEP + RUN,
    "2": SLEEP + "return 1 - self._run(",
    "3": CRASH + RUN,
    "4": "if raw.shape[0] == 1 and raw.max() == 16: raise KeyError('broken')\n        " + RUN,
    "5": RUN,  # it never ends loading
}
BROKEN = ("3", "4", "5")
DISK_SIZE = "64m"


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


def make_versions(folder: Path, base: Path) -> None:
    """Write the model folders of all versions, from one saved model."""
    for version, line in VERSIONS.items():
        target = folder / version
        shutil.copytree(base, target)
        scoring = (target / "scoring.py").read_text()
        assert RUN in scoring
        text = scoring.replace(RUN, line)
        if version == "5":
            text = "import time\ntime.sleep(600)\n" + text
        (target / "scoring.py").write_text(text)


class Registry:
    """A registry in a SQLite file with all versions; version 1 is in Production."""

    def __init__(self, folder: Path, versions: Path) -> None:
        from mlflow import MlflowClient

        self.file = folder / "registry.db"
        self.uri = f"sqlite:///{self.file}"
        self._client = MlflowClient(self.uri, registry_uri=self.uri)
        self._client.create_registered_model(NAME)
        for version in VERSIONS:
            self._client.create_model_version(NAME, source=str(versions / version))
        self.promote("1")

    def promote(self, version: str) -> None:
        """Move the alias of Production."""
        self._client.set_registered_model_alias(NAME, "production", version)


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[bool]:
    """Mount a small disk in a folder; yield whether that is possible."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "soak", str(folder)]
    is_mounted = not subprocess.run(command, capture_output=True).returncode
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def running(
    folder: Path, registry: Registry, versions: Path, trial_s: float
) -> Iterator[tuple[psutil.Process, int]]:
    """Run an endpoint whose files lie in a folder; yield its supervisor and its port. It must end with exit code 0."""
    reader, writer = os.pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port = listener.getsockname()[1]
        listener.set_inheritable(True)
        spec = EndpointSpec(
            serving=ServedVersion(
                name=NAME, version="1", uri=f"models:/{NAME}/1", folder=str(versions / "1")
            ),
            endpoint=NAME,
            url=f"http://127.0.0.1:{port}",
            socket_fd=listener.fileno(),
            workers=WORKERS,
            scratch=str(folder / "endpoint"),
            log=str(folder / "log"),
            log_size=2_000_000,
            state_file=str(folder / "state.json"),
            ready_fd=writer,
            timeout_s=TIMEOUT_S,
            trial_s=trial_s,
            follow=(*FOLLOW_COMMAND, NAME, "1", str(folder / "endpoint")),
        )
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                SERVING_COMMAND,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno(), writer],
                env={**os.environ, "MLFLOW_TRACKING_URI": registry.uri},
            )
    os.close(writer)
    assert process.stdin is not None
    process.stdin.write(spec.to_line())
    process.stdin.close()
    with os.fdopen(reader, "rb") as pipe:
        assert b"ready" in pipe.readline(), (folder / "log").read_text()
    try:
        yield psutil.Process(process.pid), port
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not list(folder.glob("endpoint/*")), "files are left"


def memory_mb(supervisor: psutil.Process) -> float:
    """Return the memory of an endpoint, shared pages counted once."""
    total = 0
    for process in (supervisor, *supervisor.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Times in seconds."""

    seconds: float
    promotions: int
    outage_s: float
    trial_s: float

    def events(self) -> list[tuple[float, str]]:
        """Return what happens when; good and broken versions take turns, and the last version is a good one."""
        step = 0.75 * self.seconds / self.promotions  # the last quarter is quiet, to compare the memory
        broken = dict(zip((self.promotions * np // 4 for np in (1, 2, 3)), BROKEN, strict=True))
        good = itertools.cycle("21")
        events = [(step * (n + 1), f"promote {broken.get(n) or next(good)}") for n in range(self.promotions)]
        kills = max(int(self.seconds / 60), 2)
        events += [(self.seconds * (n + 0.5) / kills, "kill") for n in range(kills)]
        away = 2.2 * step  # between two promotions, which need the registry
        events += [(away, "registry away"), (away + min(self.outage_s, 0.6 * step), "registry back")]
        full = self.promotions // 2 * step - 1  # just before a promotion, which cannot be fetched then
        events += [(full, "disk full"), (full + self.outage_s, "disk free")]
        return sorted(events)


def soak(folder: Path, base: Path, plan: Plan, *, seed: int = 0) -> Report:
    """Load an endpoint that serves versions of the saved model in `base`, while the events of a plan happen."""
    report, rng = Report(), random.Random(seed)
    make_versions(folder / "versions", base)
    registry = Registry(folder, folder / "versions")
    with (
        disk(folder / "disk") as has_disk,
        running(folder / "disk", registry, folder / "versions", plan.trial_s) as (supervisor, port),
        Clients(port, report),
    ):
        started, away, filling = time.monotonic(), folder / "away.db", folder / "disk" / "filling"
        for at, event in [*plan.events(), (plan.seconds, "end")]:
            while (left_s := started + at - time.monotonic()) > 0:
                time.sleep(min(left_s, 1.0))
                report.memory_mb.append(memory_mb(supervisor))
            what, _, version = event.partition(" ")
            if what == "promote":
                registry.promote(version)
                report.events["broken version promoted" if version in BROKEN else "promoted"] += 1
            elif event == "kill":
                workers = [one for one in supervisor.children() if "mlctl.serving.worker" in one.cmdline()]
                rng.choice(workers).kill()
                report.events["worker killed"] += 1
            elif event == "registry away":
                registry.file.rename(away)
                report.events[event] += 1
            elif event == "registry back":
                away.rename(registry.file)
            elif event == "disk full" and has_disk:
                fill(filling)
                report.events[event] += 1
            elif event == "disk free":
                filling.unlink(missing_ok=True)
    return report


def fill(file: Path) -> None:
    """Write a file until the disk is full."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as stream:
        for size in (1_000_000, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(bytes(size))


def save_base_model(folder: Path) -> Path:
    """Save the model from which all versions are made; return its folder."""
    from tests.serving.conftest import save_models

    save_models(folder)
    return folder / "pictures"


def main() -> int:
    """Run from the command line; return 1 if something went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    seconds = arguments.minutes * 60
    is_long = seconds >= 1200
    plan = Plan(
        seconds=seconds,
        promotions=20 if is_long else 8,
        outage_s=30 if is_long else 5,
        trial_s=30 if is_long else 5,
    )
    with tempfile.TemporaryDirectory(prefix="mlctl-soak-") as folder:
        report = soak(Path(folder), save_base_model(Path(folder) / "models"), plan, seed=arguments.seed)
    print(report.summary())
    for fault in report.faults()[:20]:
        print("fault:", fault)
    return bool(report.faults())


if __name__ == "__main__":
    sys.exit(main())
