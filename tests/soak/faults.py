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
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from mlctl.services.serving.serve import FOLLOW_COMMAND, SERVING_COMMAND
from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion
from tests.soak.fault_clients import Clients, Report

NAME, WORKERS, TIMEOUT_S = "Soaked", 2, 6.0
RUN = "return self._run("
SLEEP = "if raw.min() == 251: __import__('time').sleep(20)\n        "
CRASH = "Scorer.asked = getattr(Scorer, 'asked', 0) + 1\n        if Scorer.asked > 40: __import__('os')._exit(9)\n        "
VERSIONS = {  # what replaces the line that answers
    "1": SLEEP + RUN,
    "2": SLEEP + "return 1 - self._run(",
    "3": CRASH + RUN,
    "4": "if raw.shape[0] == 1 and raw.max() == 16: raise KeyError('broken')\n        " + RUN,
    "5": RUN,  # it never ends loading
}
BROKEN = ("3", "4", "5")
DISK_SIZE = "64m"


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


TWO_MINUTES = Plan(seconds=120, promotions=8, outage_s=5, trial_s=5)
ONE_HOUR = Plan(seconds=3600, promotions=20, outage_s=30, trial_s=30)
LONG_S = 1200  # from here on, the events of the hour fit


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
    plan = replace(TWO_MINUTES if seconds < LONG_S else ONE_HOUR, seconds=seconds)
    with tempfile.TemporaryDirectory(prefix="mlctl-soak-") as folder:
        report = soak(Path(folder), save_base_model(Path(folder) / "models"), plan, seed=arguments.seed)
    print(report.summary())
    for fault in report.faults()[:20]:
        print("fault:", fault)
    return bool(report.faults())


if __name__ == "__main__":
    sys.exit(main())
