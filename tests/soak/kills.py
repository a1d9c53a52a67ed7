"""Kill trainings at random moments, resume them, and compare with one that nobody touched.

    python tests/soak/kills.py digits --kills 30 --seed 0
    python tests/soak/kills.py imdb --kills 5

A run is killed with SIGKILL up to `--per-run` times, resumed after each, and at its end every history of every
metric must equal the whole run's to the last bit with one point a step, the run must be FINISHED with one
logged model of the same weights, and nothing must be left in the state folder.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POLL_S = 0.002
LOST_S = 75  # a run killed before its record was written is taken up when the store says LOST


@dataclass
class Progress:
    """What the files of a training tell from outside."""

    state: Path
    kinds: Counter[str] = field(default_factory=Counter)
    _before: Counter[str] = field(default_factory=Counter)
    _size: int = 0

    def __post_init__(self) -> None:
        """Note what an earlier process has left."""
        self.look()
        self._before = self.kinds

    @property
    def new(self) -> Counter[str]:
        """What this process has written."""
        return self.kinds - self._before

    @property
    def folder(self) -> Path | None:
        """The record of the run, once there is one."""
        return next((path.parent for path in self.state.glob("runs/*/run.json")), None)

    def look(self) -> None:
        """Count the entries of the journal by their kind."""
        folder = self.folder
        path = folder / "journal.jsonl" if folder else None
        if path is None or not path.exists() or path.stat().st_size == self._size:
            return
        lines = path.read_bytes().splitlines()
        self._size = path.stat().st_size
        with contextlib.suppress(ValueError):  # the last one is just being written
            self.kinds = Counter(json.loads(line)["kind"] for line in lines)

    def checkpointing(self) -> bool:
        """Whether a checkpoint is being written at this moment."""
        return bool(self.folder and any((self.folder / "checkpoints").glob(".*.part")))

    def saving(self) -> bool:
        """Whether the model is being saved and checked."""
        return bool(self.folder and (self.folder / "model.part").exists())


Moment = tuple[str, Callable[[Progress], bool], float]


def moment(rng: random.Random, kind: str, left: int, start_s: float) -> Moment:
    """Return (name, condition, seconds to wait once it holds); `left` epochs are still to be trained."""
    if not left and kind in {"epoch", "checkpoint"}:
        kind = "saving"
    at, entries = rng.randint(1, max(1, left)), rng.randint(1, left + 8)
    return {
        "start": ("start", lambda _: True, rng.uniform(0, start_s)),
        "describing": ("describing", lambda p: p.new["resume"] + p.new["params"] > 0, rng.uniform(0, 0.3)),
        "epoch": (f"{at} epochs on", lambda p: p.new["metrics"] >= at, rng.uniform(0, 0.3)),
        "checkpoint": (
            f"checkpoint {at} on",
            lambda p: p.new["metrics"] >= at or (p.new["metrics"] == at - 1 and p.checkpointing()),
            0.0,
        ),
        "logging": (f"{entries} entries on", lambda p: p.new.total() >= entries, 0.0),
        "saving": ("saving", Progress.saving, rng.uniform(0, 1.0)),
        "upload": ("upload", lambda p: p.new["model"] > 0, rng.uniform(0, 0.1)),
        "reports": ("reports", lambda p: p.new["model"] > 0, rng.uniform(0.1, 0.5)),
        "end": ("end", lambda p: p.new["finish"] > 0, 0.0),
    }[kind]


def kinds_of_moments(rng: random.Random) -> Iterator[str]:
    """Yield kinds of moments, all of them before any comes again."""
    while True:
        kinds = [
            "start",
            "describing",
            "epoch",
            "epoch",
            "checkpoint",
            "logging",
            "saving",
            "upload",
            "reports",
            "end",
        ]
        yield from rng.sample(kinds, len(kinds))


class Bench:
    """One store, and trainings in it that are the same but for who kills them."""

    def __init__(self, folder: Path, recipe: str, options: list[str]) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.recipe = recipe
        self.options = options

    def start(self, state: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one mlctl."""
        environment = {**os.environ, "MLCTL_STATE_DIR": str(state), "MLFLOW_TRACKING_URI": self.uri}
        state.mkdir(exist_ok=True)
        log = (state.with_suffix(".log")).open("ab")
        return subprocess.Popen(
            [sys.executable, "-m", "mlctl", *arguments],
            env=environment,
            cwd=self.folder,
            stdout=log,
            stderr=log,
        )

    def train(self, state: Path) -> list[str]:
        """Return the command line of a training that can be told from the others by its name."""
        return ["train", self.recipe, *self.options, "--experiment", "kills", "--run-name", state.name]

    def whole(self) -> tuple[str, float]:
        """Train without a kill; return the run and how long its start took."""
        state, launched = self.folder / "whole", time.monotonic()
        process, progress, started = self.start(state, *self.train(state)), Progress(state), 0.0
        while process.poll() is None:
            if not started and progress.folder:
                started = time.monotonic() - launched
            time.sleep(0.01)
        assert process.returncode == 0, (self.folder / "whole.log").read_text()
        return self.run_of("whole"), started

    def run_of(self, name: str) -> str:
        """Return the id of the run of this name, or "" where the store has none."""
        found = self.client.search_runs(self.experiments, f"attributes.run_name = '{name}'")
        assert len(found) <= 1, f"{len(found)} runs are named {name}"
        return str(found[0].info.run_id) if found else ""

    @property
    def client(self) -> Any:
        """MLflow's client of the store."""
        from mlflow import MlflowClient

        return MlflowClient(self.uri, registry_uri=self.uri)

    @property
    def experiments(self) -> list[str]:
        """The store's experiments."""
        return [one.experiment_id for one in self.client.search_experiments()]

    def findings(self, run_id: str) -> dict[str, Any]:
        """Return all that must be equal: histories, status, how many models, weights."""
        run = self.client.get_run(run_id)
        histories = {
            name: sorted((one.step, one.value.hex()) for one in self.client.get_metric_history(run_id, name))
            for name in run.data.metrics
        }
        models = self.client.search_logged_models(self.experiments, f"source_run_id = '{run_id}'")
        return {
            "histories": histories,
            "status": run.info.status,
            "models": [(str(one.status), one.name) for one in models],
            "outputs": len(run.outputs.model_outputs),
            "inputs": len(run.inputs.dataset_inputs),
            "checkpoints": [
                one.path for one in self.client.list_artifacts(run_id) if one.path == "checkpoint"
            ],
            "artifacts": sorted(one.path for one in self.client.list_artifacts(run_id)),
            "weights": weights(Path(models[0].artifact_location.removeprefix("file://"))) if models else None,
        }


def weights(folder: Path) -> dict[str, bytes]:
    """Return every array in the .keras file of a model folder."""
    import h5py

    (file,) = folder.rglob("*.keras")
    found: dict[str, bytes] = {}
    with (
        zipfile.ZipFile(file) as archive,
        archive.open("model.weights.h5") as inner,
        h5py.File(inner) as arrays,
    ):
        arrays.visititems(
            lambda name, one: found.update({name: one[()].tobytes()}) if hasattr(one, "dtype") else None
        )
    assert found
    return found


@dataclass
class Chain:
    """What became of one run that was killed again and again."""

    name: str
    kills: list[str] = field(default_factory=list)
    missed: int = 0
    different: list[str] = field(default_factory=list)


def chain(
    bench: Bench, name: str, wanted: dict[str, Any], when: Callable[[Progress], Moment], per_run: int
) -> Chain:
    """Train, kill, resume, kill, …, let it end, and compare."""
    state, result, commands = bench.folder / name, Chain(name), ["train"]
    while True:
        progress = Progress(state)
        process = bench.start(state, *(bench.train(state) if commands == ["train"] else commands))
        if len(result.kills) < per_run:
            label, condition, wait_s = when(progress)
            if killed(process, progress, condition, wait_s):
                run_id = bench.run_of(name)
                result.kills.append(label if run_id else f"{label}: no run yet")
                if (
                    run_id
                    and Progress(state).folder is None
                    and bench.client.get_run(run_id).info.status == "RUNNING"
                ):
                    result.kills[-1] += ": no record yet"
                    time.sleep(LOST_S)
                commands = ["resume", run_id] if run_id else ["train"]
                continue
            result.missed += 1
        if process.wait() != 0:
            result.different.append(f"exit code {process.returncode}: {state.with_suffix('.log')}")
        break
    found = bench.findings(bench.run_of(name))
    result.different += [key for key in wanted if wanted[key] != found[key]]
    if left := list((state / "runs").glob("*")):
        result.different.append(f"left over: {[path.name for path in left]}")
    return result


def killed(
    process: subprocess.Popen[bytes], progress: Progress, condition: Callable[[Progress], bool], wait_s: float
) -> bool:
    """Kill the process so long after the condition holds; return False where it ended before."""
    due = None
    while process.poll() is None:
        progress.look()
        if due is None and condition(progress):
            due = time.monotonic() + wait_s
        if due is not None and time.monotonic() >= due:
            process.send_signal(signal.SIGKILL)
            return process.wait() == -signal.SIGKILL
        time.sleep(POLL_S)
    return False


def soak(
    folder: Path, recipe: str, kills: int, seed: int, per_run: int, options: list[str], jobs: int, say: Any
) -> list[Chain]:
    """Kill until `kills` kills are done; return what became of each run."""
    bench = Bench(folder, recipe, options)
    run_id, start_s = bench.whole()
    wanted = bench.findings(run_id)
    say(f"whole run: {len(wanted['histories'])} metrics, start {start_s:.1f} s")
    rng, lock, results = random.Random(seed), threading.Lock(), []
    epochs = max(step for step, _ in wanted["histories"]["loss"])
    every = kinds_of_moments(rng)
    numbers = itertools.count(1)

    def when(progress: Progress) -> Moment:
        with lock:
            return moment(rng, next(every), max(0, epochs - progress.kinds["metrics"]), start_s)

    def work() -> None:
        while True:
            with lock:
                started = sum(len(one.kills) for one in results)
                if started >= kills:
                    return
                number = next(numbers)
                todo = min(per_run, kills - started)
                results.append(entry := Chain(f"run-{number:02}", ["?"] * todo))  # so that nobody does more
            done = chain(bench, entry.name, wanted, when, todo)
            with lock:
                entry.kills, entry.missed, entry.different = done.kills, done.missed, done.different
            say(f"{done.name}  {'same' if not done.different else 'DIFFERENT: ' + '; '.join(done.different)}"
                f"  killed at: {', '.join(done.kills) or 'never'}")  # fmt: skip

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work) for _ in range(jobs)]:
            future.result()
    return results


def main() -> int:
    """Run from a command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-run", type=int, default=3)
    parser.add_argument("--epochs")
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    options = ["--epochs", asked.epochs] if asked.epochs else []
    with tempfile.TemporaryDirectory(prefix="mlctl-kills-", ignore_cleanup_errors=True) as folder:
        results = soak(
            Path(folder), asked.recipe, asked.kills, asked.seed, asked.per_run, options, asked.jobs,
            lambda text: print(text, flush=True),
        )  # fmt: skip
        bad = [one for one in results if one.different]
        for one in bad:
            print(f"-- {one.name}\n{(Path(folder) / one.name).with_suffix('.log').read_text()[-3000:]}")
    kills = [label for one in results for label in one.kills]
    early = sum("no run yet" in label for label in kills)
    missed = sum(one.missed for one in results)
    print(f"{len(kills)} kills in {len(results)} runs, {early} before the run existed, {missed} came too late; "
          f"{len(results) - len(bad)} runs equal the whole one, {len(bad)} do not")  # fmt: skip
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
