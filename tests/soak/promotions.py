"""Promote with several processes at once and kill some of them: do history, aliases and stages still agree?

    python -m tests.soak.promotions --rounds 200 --store sqlite
    python -m tests.soak.promotions --rounds 200 --store postgres
    python -m tests.soak.promotions --rounds 200 --store server      (MLflow's own server, on sqlite)

In each round, four processes promote at the same moment; in every fourth round, half of them are killed with SIGKILL
meanwhile. Another process polls the alias of Production. Then `mlctl models reconcile` finishes what the killed ones
began, and the history is compared with what MLflow's own client reads, and with what the poller saw.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mlctl import settings as configuration
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import MlctlError
from mlctl.output.views import document
from mlctl.services.registry import models, promote, reconcile
from mlctl.settings import Settings
from tests.parts import eventually, free_port, postgres

CONTEXT = multiprocessing.get_context(
    "forkserver"
)  # it imports MLflow once, and no process inherits a connection
CONTEXT.set_forkserver_preload(
    ["mlctl.services.registry.models", "mlctl.services.registry.promote", "mlctl.output.views"]
)
VERSIONS, PROMOTERS = 6, 4
STAGES = ("Production", "Production", "Production", "Staging", "Canary")
KILL_EVERY = 4


@dataclass(frozen=True)
class RoundResult:
    """The result of one round.

    Attributes:
        faults: What does not agree.
        answered: Number of promotions that succeeded.
        killed: Number of killed promoters.
        failed: Messages of promotions that failed.
        seconds: Duration of each successful promotion.
        outdated: Number of answers whose `replaced` differs from the history.
        lag_s: For how long the poller saw the version before, after the time that the history gives.
    """

    faults: tuple[str, ...]
    answered: int
    killed: int
    failed: tuple[str, ...]
    seconds: tuple[float, ...]
    outdated: int
    lag_s: float = 0.0


@dataclass(frozen=True)
class Poll:
    """What a poller saw: the version that the alias of Production pointed to between two times."""

    since: float
    until: float
    version: str | None


def find_faults(
    history: Sequence[dict[str, Any]], aliases: dict[str, str], stages: dict[str, str]
) -> list[str]:
    """Return what is wrong: a break in the chain of `replaced`, or an alias or stage that differs from the history."""
    faults: list[str] = []
    holders: dict[str, str | None] = {}
    for index, entry in enumerate(history):
        stage = entry["stage"]
        if index and entry["at"] < history[index - 1]["at"]:
            faults.append(f"entry {index} of {entry['at']} follows one of {history[index - 1]['at']}")
        if entry["replaced"] != holders.get(stage):
            faults.append(
                f"entry {index} replaced {entry['replaced']}, but {holders.get(stage)} held {stage}"
            )
        for released in entry["released"]:
            holders[released] = None
        holders[stage] = entry["version"]
    for stage, holder in holders.items():
        if aliases.get(stage.lower()) != holder:
            faults.append(f"{stage}: the history says {holder}, the alias {aliases.get(stage.lower())}")
        members = sorted(version for version, classic in stages.items() if classic == stage)
        if stage != "Canary" and members != ([holder] if holder else []):
            faults.append(f"{stage}: the history says {holder}, the classic stage has {members}")
    return faults


def find_poll_faults(
    history: Sequence[dict[str, Any]], polls: Sequence[Poll], ended: Mapping[str, float]
) -> tuple[list[str], float]:
    """Compare the history's times with what a poller saw; return what is wrong, and the poller's longest lag.

    The alias changes after the time of an entry and before its command ends, or before the next entry if the command
    was killed. `ended` has the end of a command by its reason.
    """
    changes: list[tuple[float, float, str | None]] = [(0.0, 0.0, None)]  # at, visible at the latest, holder
    holder: str | None = None
    for index, entry in enumerate(history):
        if entry["stage"] == "Production":
            new: str | None = entry["version"]
        elif "Production" in entry["released"]:
            new = None
        else:
            continue
        following = history[index + 1 : index + 2]
        latest = _seconds(following[0]["at"]) if following else float("inf")
        if new != holder:
            changes.append((_seconds(entry["at"]), ended.get(entry["reason"], latest), new))
        holder = new
    faults, lag_s = [], 0.0
    for poll in polls:
        possible = [
            version
            for index, (at, _, version) in enumerate(changes)
            if at <= poll.until and (index + 1 == len(changes) or changes[index + 1][1] >= poll.since)
        ]
        if poll.version not in possible:
            faults.append(f"at {poll.since}, Production was {poll.version}, not one of {possible}")
        said = max(index for index, (at, _, _) in enumerate(changes) if at <= poll.since)
        if said and poll.version != changes[said][2]:
            lag_s = max(lag_s, poll.since - changes[said][0])
    return faults, lag_s


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


class PromoterProcess:
    """A process that runs commands on request, so that a round measures promotions and not the start of Python."""

    def __init__(self, uri: str) -> None:
        self._pipe, child_pipe = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_serve_commands, args=(uri, child_pipe), daemon=True)
        self.process.start()
        child_pipe.close()

    def send(self, *command: str) -> None:
        """Send a command."""
        self._pipe.send(command)

    def receive(self) -> Any:
        """Wait for the answer; None if the process was killed."""
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionResetError):
            return None

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.join()


class PromoterPool:
    """The promoters of all rounds, and one reader. Killed promoters are replaced."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._typical_s = 0.3  # duration of a promotion
        self.reader = PromoterProcess(uri)
        self.poller = PromoterProcess(uri)
        self.ended: dict[str, float] = {}
        self.promoters = [PromoterProcess(uri) for _ in range(PROMOTERS)]

    def __enter__(self) -> PromoterPool:
        self.call_reader("open")
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.reader, self.poller, *self.promoters):
            process.kill()

    def call_reader(self, *command: str) -> Any:
        """Return the reader's answer to a command."""
        self.reader.send(*command)
        return self.reader.receive()

    def replace_killed(self) -> None:
        """Replace every killed promoter by a new process that is ready to promote."""
        self.promoters = [
            process if process.process.is_alive() else PromoterProcess(self._uri)
            for process in self.promoters
        ]
        for process in self.promoters:
            process.send("open")
        for process in self.promoters:
            process.receive()

    def run_round(self, model: str, rng: random.Random, *, kill: bool) -> RoundResult:
        """Run one round on a model that the command "make" created."""
        self.replace_killed()
        self.poller.send("poll", model)
        self.poller.receive()
        for process in self.promoters:
            process.send("promote", model, str(rng.randint(1, VERSIONS)), rng.choice(STAGES))
        victims = self.promoters[: PROMOTERS // 2] if kill else []
        kill_times = [(time.monotonic() + rng.uniform(0, self._typical_s), victim) for victim in victims]
        for kill_at, victim in sorted(kill_times, key=lambda pair: pair[0]):
            time.sleep(max(0.0, kill_at - time.monotonic()))
            victim.kill()
        answers = [process.receive() for process in self.promoters]
        state = self.call_reader("inspect", model)
        self.poller.send("polls")
        polls: list[Poll] = self.poller.receive()
        succeeded = [answer for answer in answers if answer and "error" not in answer]
        self._typical_s = max((answer["seconds"] for answer in succeeded), default=0.3)
        self.ended |= {answer["reason"]: answer["ended"] for answer in succeeded}
        poll_faults, lag_s = find_poll_faults(state["history"], polls, self.ended)
        replaced = {entry["reason"]: entry["replaced"] for entry in state["history"]}
        return RoundResult(
            faults=(*find_faults(state["history"], state["aliases"], state["stages"]), *poll_faults),
            answered=len(succeeded),
            killed=sum(answer is None for answer in answers),
            failed=tuple(answer["error"] for answer in answers if answer and "error" in answer),
            seconds=tuple(answer["seconds"] for answer in succeeded),
            outdated=sum(replaced[answer["reason"]] != answer["replaced"] for answer in succeeded),
            lag_s=lag_s,
        )


@contextlib.contextmanager
def empty_store(kind: str) -> Iterator[str]:
    """Yield the URI of an empty store: a sqlite file, PostgreSQL, or MLflow's server on a sqlite file."""
    with tempfile.TemporaryDirectory(prefix="mlctl-soak-") as folder:
        file = f"sqlite:///{folder}/mlflow.db"
        if kind == "postgres":
            with postgres.running() as server:
                uri = server.uri(server.new_database()).replace("mlflow@", f"mlflow:{postgres.PASSWORD}@")
                yield uri.replace("postgresql:", "postgresql+psycopg2:")
        elif kind == "server":
            with running_server(file, Path(folder)) as uri:
                yield uri
        else:
            yield file


@contextlib.contextmanager
def running_server(store: str, folder: Path) -> Iterator[str]:
    """Yield the URI of MLflow's own server on a store."""
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--port",
            str(port),
            "--workers",
            "2",
            "--backend-store-uri",
            store,
        ],
        cwd=folder,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually(lambda: _healthy(f"http://127.0.0.1:{port}/health"), timeout_s=120, interval_s=0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _healthy(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=2).status == 200)
    except OSError:
        return False


def _serve_commands(uri: str, pipe: Connection) -> None:
    commands = {
        "open": _open,
        "make": _make,
        "promote": _promote,
        "inspect": _inspect,
        "poll": _poll,
        "polls": _polls,
    }
    settings = dataclasses.replace(configuration.load(), tracking_uri=uri, stages=("Canary",))
    while True:
        command, *arguments = pipe.recv()
        pipe.send(commands[command](settings, *arguments))


def _open(settings: Settings) -> bool:
    return bool(Registry(TrackingStore(settings.tracking_uri, create=True)).list_models() or True)


def _make(settings: Settings, name: str) -> bool:
    """Create a model with some versions. Their files need not exist, because nothing loads them."""
    registry = Registry(TrackingStore(settings.tracking_uri))
    registry.create_model(name)
    for _ in range(VERSIONS):
        registry.create_version(
            name,
            source="s3://nowhere/model",
            run_id=None,
            model_id=None,
            tags={},
            description=None,
        )
    return True


def _promote(settings: Settings, name: str, version: str, stage: str) -> dict[str, Any]:
    reason = f"{random.getrandbits(64):x}"  # identifies the entry in the history
    started = time.monotonic()
    try:
        promotion = promote.promote(settings, name, version, stage, promote.PromotionRequest(reason=reason))
    except MlctlError as error:
        return {"error": error.message}
    return {
        "replaced": promotion.replaced,
        "reason": reason,
        "seconds": time.monotonic() - started,
        "ended": time.time(),
    }


def _inspect(settings: Settings, name: str) -> dict[str, Any]:
    reconcile.reconcile(settings, name)
    history = document(models.model_history(settings, name))
    client = Registry(TrackingStore(settings.tracking_uri)).client
    registered = client.get_registered_model(name)
    versions = client.search_model_versions(f"name = '{name}'")
    return {
        "history": history,
        "aliases": {alias: str(version) for alias, version in registered.aliases.items()},
        "stages": {str(version.version): version.current_stage for version in versions},
    }


_seen: list[Poll] = []
_stop = threading.Event()


def _poll(settings: Settings, name: str) -> bool:
    """Begin to poll the alias of Production, in a thread."""

    def poll() -> None:
        registry = Registry(TrackingStore(settings.tracking_uri))
        while not _stop.is_set():
            since = time.time()
            version = registry.get_model(name).aliases.get("production")
            _seen.append(Poll(since, time.time(), version))
            time.sleep(0.003)

    _stop.clear()
    _seen.clear()
    threading.Thread(target=poll, daemon=True).start()
    return True


def _polls(_settings: Settings) -> list[Poll]:
    _stop.set()
    return list(_seen)


def main() -> int:
    """Run the rounds, print a summary as one line of JSON, and return 1 if a round left a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--store", choices=["sqlite", "postgres", "server"], required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    name = f"soak-{random.getrandbits(32):08x}"
    rounds = []
    with empty_store(arguments.store) as uri, PromoterPool(uri) as pool:
        pool.call_reader("make", name)
        for number in range(arguments.rounds):
            rounds.append(pool.run_round(name, rng, kill=number % KILL_EVERY == 1))
            for fault in rounds[-1].faults:
                print(f"round {number}: {fault}", file=sys.stderr)
            if (number + 1) % 20 == 0:
                bad = sum(bool(result.faults) for result in rounds)
                print(f"{number + 1} rounds, {bad} bad", file=sys.stderr, flush=True)
    seconds = sorted(second for result in rounds for second in result.seconds)
    summary = {
        "rounds": len(rounds),
        "bad": sum(bool(result.faults) for result in rounds),
        "answered": len(seconds),
        "killed": sum(result.killed for result in rounds),
        "failed": sum(len(result.failed) for result in rounds),
        "outdated": sum(result.outdated for result in rounds),
        "longest_lag_s": round(max(result.lag_s for result in rounds), 3),
        "median_s": round(seconds[len(seconds) // 2], 3),
        "p95_s": round(seconds[int(len(seconds) * 0.95)], 3),
    }
    print(json.dumps(summary))
    for error in {error for result in rounds for error in result.failed}:
        print(f"failed: {error}", file=sys.stderr)
    return 1 if summary["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
