"""Many promoters at once, some of them killed: does the record, the alias and the stage still say the same?

    python -m tests.soak.promotions --rounds 200 --store sqlite
    python -m tests.soak.promotions --rounds 200 --store postgres
    python -m tests.soak.promotions --rounds 200 --store server      (MLflow's own, on sqlite)

In each round four promoters, each a process of its own, are told to promote at the same moment; in every
fourth round half of them are killed with SIGKILL while they are at it. Then one `mlctl` reader comes by, and what MLflow's own client
says is compared with the history.
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

from mlctl import settings
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import MlctlError
from mlctl.output.views import document
from mlctl.services.registry import models, promote
from tests.parts import eventually, free_port, postgres

CONTEXT = multiprocessing.get_context("forkserver")  # imports MLflow once; no process inherits a connection
CONTEXT.set_forkserver_preload(
    ["mlctl.services.registry.models", "mlctl.services.registry.promote", "mlctl.output.views"]
)
VERSIONS, PROMOTERS = 6, 4
STAGES = ("Production", "Production", "Production", "Staging", "Canary")
KILL_EVERY = 4


@dataclass(frozen=True)
class Round:
    """What one round left: faults found, promotions answered, killed, failed, and seconds of each answer."""

    faults: tuple[str, ...]
    answered: int
    killed: int
    failed: tuple[str, ...]
    seconds: tuple[float, ...]
    surprised: int


def faults_of(
    history: Sequence[dict[str, Any]], aliases: dict[str, str], stages: dict[str, str]
) -> list[str]:
    """Return what is wrong: a gap in the chain of `replaced`, or a pointer that is not the last entry's."""
    wrong: list[str] = []
    holders: dict[str, str | None] = {}
    for place, entry in enumerate(history):
        stage = entry["stage"]
        if entry["replaced"] != holders.get(stage):
            wrong.append(f"entry {place} replaced {entry['replaced']}, but {holders.get(stage)} held {stage}")
        for lost in entry["released"]:
            holders[lost] = None
        holders[stage] = entry["version"]
    for stage, holder in holders.items():
        if aliases.get(stage.lower()) != holder:
            wrong.append(f"{stage}: the history says {holder}, the alias {aliases.get(stage.lower())}")
        inside = sorted(version for version, found in stages.items() if found == stage)
        if stage != "Canary" and inside != ([holder] if holder else []):
            wrong.append(f"{stage}: the history says {holder}, in the classic stage are {inside}")
    return wrong


class Worker:
    """A process that promotes whenever it is told to; what a round measures is promoting, not starting."""

    def __init__(self, uri: str) -> None:
        self._ours, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_work, args=(uri, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def tell(self, *what: str) -> None:
        """Have it do something."""
        self._ours.send(what)

    def answer(self) -> Any:
        """Wait for what it answers; None where it was killed."""
        try:
            return self._ours.recv()
        except (EOFError, ConnectionResetError):
            return None

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.join()


class Crew:
    """The promoters of all rounds, spares that stand in for killed ones, and one who reads."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._usual_s = 0.3
        self.reader = Worker(uri)
        self.promoters = [Worker(uri) for _ in range(PROMOTERS)]

    def __enter__(self) -> Crew:
        self.prepared = self.told("open")
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self.reader, *self.promoters):
            one.end()

    def told(self, *what: str) -> Any:
        """Return what the reader answers."""
        self.reader.tell(*what)
        return self.reader.answer()

    def replace_the_dead(self) -> None:
        """Put a fresh process, ready to promote, in the place of every killed one."""
        self.promoters = [one if one.process.is_alive() else Worker(self._uri) for one in self.promoters]
        for one in self.promoters:
            one.tell("open")
        for one in self.promoters:
            one.answer()

    def round(self, name: str, chance: random.Random, kill: bool) -> Round:
        """Run one round on a model that `make` made."""
        self.replace_the_dead()
        for one in self.promoters:
            one.tell("promote", name, str(chance.randint(1, VERSIONS)), chance.choice(STAGES))
        doomed = self.promoters[: PROMOTERS // 2] if kill else []
        until = [(time.monotonic() + chance.uniform(0, self._usual_s), one) for one in doomed]
        for moment, one in sorted(until, key=lambda one: one[0]):
            time.sleep(max(0.0, moment - time.monotonic()))
            one.end()
        answers = [one.answer() for one in self.promoters]
        found = self.told("inspect", name)
        self._usual_s = max((one["seconds"] for one in answers if one and "seconds" in one), default=0.3)
        done = [one for one in answers if one and "error" not in one]
        replaced = {entry["reason"]: entry["replaced"] for entry in found["history"]}
        return Round(
            tuple(faults_of(found["history"], found["aliases"], found["stages"])),
            len(done),
            sum(one is None for one in answers),
            tuple(one["error"] for one in answers if one and "error" in one),
            tuple(one["seconds"] for one in done),
            sum(replaced[one["reason"]] != one["replaced"] for one in done),
        )


@contextlib.contextmanager
def place(kind: str) -> Iterator[str]:
    """Yield the URI of an empty store: a sqlite file, a real PostgreSQL, or MLflow's server on a sqlite file."""
    with tempfile.TemporaryDirectory(prefix="mlctl-soak-") as folder:
        file = f"sqlite:///{folder}/mlflow.db"
        if kind == "postgres":
            with postgres.running() as server:
                uri = server.uri(server.new_database()).replace("mlflow@", f"mlflow:{postgres.PASSWORD}@")
                yield uri.replace("postgresql:", "postgresql+psycopg2:")
        elif kind == "server":
            with served(file, Path(folder)) as uri:
                yield uri
        else:
            yield file


@contextlib.contextmanager
def served(store: str, folder: Path) -> Iterator[str]:
    """Yield the URI of MLflow's own server on a store."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "2",
         "--backend-store-uri", store],
        cwd=folder, env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
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


def _work(uri: str, pipe: Connection) -> None:
    does = {"open": _open, "make": _make, "promote": _promote, "inspect": _inspect}
    given = dataclasses.replace(settings.load(), tracking_uri=uri, stages=("Canary",))
    while True:
        what, *arguments = pipe.recv()
        pipe.send(does[what](given, *arguments))


def _open(given: settings.Settings) -> bool:
    return bool(Registry(TrackingStore(given.tracking_uri, create=True)).models() or True)


def _make(given: settings.Settings, name: str) -> bool:
    """Make a model of some versions; their files do not matter, since nothing is loaded."""
    registry = Registry(TrackingStore(given.tracking_uri))
    registry.create(name)
    for _ in range(VERSIONS):
        registry.create_version(name, "s3://nowhere/model", None, None, {}, None)
    return True


def _promote(given: settings.Settings, name: str, version: str, stage: str) -> dict[str, Any]:
    reason = f"{random.getrandbits(64):x}"  # tells the entry
    started = time.monotonic()
    try:
        found = promote.promote(given, name, version, stage, promote.PromotionRequest(reason=reason))
    except MlctlError as error:
        return {"error": error.message}
    return {"replaced": found.replaced, "reason": reason, "seconds": time.monotonic() - started}


def _inspect(given: settings.Settings, name: str) -> dict[str, Any]:
    history = document(models.history(given, name))  # a reader ends what was left half done
    client = Registry(TrackingStore(given.tracking_uri)).client
    found = client.get_registered_model(name)
    versions = client.search_model_versions(f"name = '{name}'")
    return {
        "history": history,
        "aliases": {alias: str(version) for alias, version in found.aliases.items()},
        "stages": {str(one.version): one.current_stage for one in versions},
    }


def main() -> int:
    """Run the rounds, print a line of figures as JSON, and return 1 where one left a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--store", choices=["sqlite", "postgres", "server"], required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    name = f"soak-{random.getrandbits(32):08x}"
    rounds = []
    with place(given.store) as uri, Crew(uri) as crew:
        crew.told("make", name)
        for number in range(given.rounds):
            rounds.append(crew.round(name, chance, kill=number % KILL_EVERY == 1))
            for fault in rounds[-1].faults:
                print(f"round {number}: {fault}", file=sys.stderr)
            if (number + 1) % 20 == 0:
                bad = sum(bool(one.faults) for one in rounds)
                print(f"{number + 1} rounds, {bad} bad", file=sys.stderr, flush=True)
    seconds = sorted(second for one in rounds for second in one.seconds)
    figures = {
        "rounds": len(rounds),
        "bad": sum(bool(one.faults) for one in rounds),
        "answered": len(seconds),
        "killed": sum(one.killed for one in rounds),
        "failed": sum(len(one.failed) for one in rounds),
        "surprised": sum(one.surprised for one in rounds),
        "median_s": round(seconds[len(seconds) // 2], 3),
        "p95_s": round(seconds[int(len(seconds) * 0.95)], 3),
    }
    print(json.dumps(figures))
    for error in {error for one in rounds for error in one.failed}:
        print(f"failed: {error}", file=sys.stderr)
    return 1 if figures["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
