"""Promote with several processes at once and kill some of them: do history, aliases and stages still agree?

    python -m tests.soak.promotions --rounds 200 --store sqlite
    python -m tests.soak.promotions --rounds 200 --store postgres
    python -m tests.soak.promotions --rounds 200 --store server      (MLflow's own server, on sqlite)

In each round, four processes promote at the same moment; in every fourth round, half of them are killed with SIGKILL
meanwhile. Then one mlctl reader runs, and the history is compared with what MLflow's own client reads.
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
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mlctl import settings as configuration
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import MlctlError
from mlctl.output.views import document
from mlctl.services.registry import models, promote
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
    """

    faults: tuple[str, ...]
    answered: int
    killed: int
    failed: tuple[str, ...]
    seconds: tuple[float, ...]
    outdated: int


def find_faults(
    history: Sequence[dict[str, Any]], aliases: dict[str, str], stages: dict[str, str]
) -> list[str]:
    """Return what is wrong: a break in the chain of `replaced`, or an alias or stage that differs from the history."""
    faults: list[str] = []
    holders: dict[str, str | None] = {}
    for index, entry in enumerate(history):
        stage = entry["stage"]
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
        self.promoters = [PromoterProcess(uri) for _ in range(PROMOTERS)]

    def __enter__(self) -> PromoterPool:
        self.call_reader("open")
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.reader, *self.promoters):
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
        for process in self.promoters:
            process.send("promote", model, str(rng.randint(1, VERSIONS)), rng.choice(STAGES))
        victims = self.promoters[: PROMOTERS // 2] if kill else []
        kill_times = [(time.monotonic() + rng.uniform(0, self._typical_s), victim) for victim in victims]
        for kill_at, victim in sorted(kill_times, key=lambda pair: pair[0]):
            time.sleep(max(0.0, kill_at - time.monotonic()))
            victim.kill()
        answers = [process.receive() for process in self.promoters]
        state = self.call_reader("inspect", model)
        succeeded = [answer for answer in answers if answer and "error" not in answer]
        self._typical_s = max((answer["seconds"] for answer in succeeded), default=0.3)
        replaced = {entry["reason"]: entry["replaced"] for entry in state["history"]}
        return RoundResult(
            faults=tuple(find_faults(state["history"], state["aliases"], state["stages"])),
            answered=len(succeeded),
            killed=sum(answer is None for answer in answers),
            failed=tuple(answer["error"] for answer in answers if answer and "error" in answer),
            seconds=tuple(answer["seconds"] for answer in succeeded),
            outdated=sum(replaced[answer["reason"]] != answer["replaced"] for answer in succeeded),
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
    commands = {"open": _open, "make": _make, "promote": _promote, "inspect": _inspect}
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
    return {"replaced": promotion.replaced, "reason": reason, "seconds": time.monotonic() - started}


def _inspect(settings: Settings, name: str) -> dict[str, Any]:
    history = document(
        models.model_history(settings, name)
    )  # a reader completes the moves of killed promoters
    client = Registry(TrackingStore(settings.tracking_uri)).client
    registered = client.get_registered_model(name)
    versions = client.search_model_versions(f"name = '{name}'")
    return {
        "history": history,
        "aliases": {alias: str(version) for alias, version in registered.aliases.items()},
        "stages": {str(version.version): version.current_stage for version in versions},
    }


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
        "median_s": round(seconds[len(seconds) // 2], 3),
        "p95_s": round(seconds[int(len(seconds) * 0.95)], 3),
    }
    print(json.dumps(summary))
    for error in {error for result in rounds for error in result.failed}:
        print(f"failed: {error}", file=sys.stderr)
    return 1 if summary["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
