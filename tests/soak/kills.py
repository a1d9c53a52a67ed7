"""Kill trainings at random moments, resume them, and compare them with an uninterrupted one.

    python tests/soak/kills.py digits --kills 30 --seed 0
    python tests/soak/kills.py imdb --kills 5

A run is killed with SIGKILL up to `--per-run` times and resumed after each kill. At its end, every metric's history
must equal that of the uninterrupted run to the last bit, with one point per step. The run must be FINISHED, with one
logged model that has the same weights, and the state folder must be empty.
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
LOST_S = 75  # a run that is killed before its record is written can be resumed once its heartbeat is stale


@dataclass
class Progress:
    """The progress of a training, read from its files."""

    state: Path
    kinds: Counter[str] = field(default_factory=Counter)
    _before: Counter[str] = field(default_factory=Counter)
    _size: int = 0

    def __post_init__(self) -> None:
        """Count the entries that an earlier process wrote."""
        self.update()
        self._before = self.kinds

    @property
    def new(self) -> Counter[str]:
        """Entries that this process wrote, by kind."""
        return self.kinds - self._before

    @property
    def folder(self) -> Path | None:
        """Folder of the run's record, or None."""
        return next((path.parent for path in self.state.glob("runs/*/run.json")), None)

    def update(self) -> None:
        """Count the entries of the journal by kind."""
        folder = self.folder
        path = folder / "journal.jsonl" if folder else None
        if path is None or not path.exists() or path.stat().st_size == self._size:
            return
        lines = path.read_bytes().splitlines()
        self._size = path.stat().st_size
        with contextlib.suppress(ValueError):  # the last line may be incomplete
            self.kinds = Counter(json.loads(line)["kind"] for line in lines)

    def is_writing_checkpoint(self) -> bool:
        """Return whether a checkpoint is being written."""
        return bool(self.folder and any((self.folder / "checkpoints").glob(".*.part")))

    def is_saving_model(self) -> bool:
        """Return whether the model is being saved and checked."""
        return bool(self.folder and (self.folder / "model.part").exists())


KillMoment = tuple[str, Callable[[Progress], bool], float]


def kill_moment(rng: random.Random, kind: str, *, epochs_left: int, start_s: float) -> KillMoment:
    """Return (name, condition, seconds to wait after it holds)."""
    if not epochs_left and kind in {"epoch", "checkpoint"}:
        kind = "saving"
    epoch, entries = rng.randint(1, max(1, epochs_left)), rng.randint(1, epochs_left + 8)
    return {
        "start": ("start", lambda _: True, rng.uniform(0, start_s)),
        "describing": (
            "describing",
            lambda progress: progress.new["resume"] + progress.new["params"] > 0,
            rng.uniform(0, 0.3),
        ),
        "epoch": (
            f"after {epoch} epochs",
            lambda progress: progress.new["metrics"] >= epoch,
            rng.uniform(0, 0.3),
        ),
        "checkpoint": (
            f"in checkpoint {epoch}",
            lambda progress: (
                progress.new["metrics"] >= epoch
                or (progress.new["metrics"] == epoch - 1 and progress.is_writing_checkpoint())
            ),
            0.0,
        ),
        "logging": (f"after {entries} entries", lambda progress: progress.new.total() >= entries, 0.0),
        "saving": ("saving", Progress.is_saving_model, rng.uniform(0, 1.0)),
        "upload": ("upload", lambda progress: progress.new["model"] > 0, rng.uniform(0, 0.1)),
        "reports": ("reports", lambda progress: progress.new["model"] > 0, rng.uniform(0.1, 0.5)),
        "end": ("end", lambda progress: progress.new["finish"] > 0, 0.0),
    }[kind]


def moment_kinds(rng: random.Random) -> Iterator[str]:
    """Yield kinds of moments endlessly, each kind once before any is repeated."""
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


class TrainingBench:
    """One store, and trainings in it that differ only in when they are killed."""

    def __init__(self, folder: Path, recipe: str, options: list[str]) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.recipe = recipe
        self.options = options

    def start(self, state: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """Start an mlctl command."""
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
        """Return the command line of a training whose run is named after its state folder."""
        return ["train", self.recipe, *self.options, "--experiment", "kills", "--run-name", state.name]

    def train_uninterrupted(self) -> tuple[str, float]:
        """Train without a kill; return the run's id and the seconds until its record existed."""
        state, launched = self.folder / "uninterrupted", time.monotonic()
        process, progress, start_s = self.start(state, *self.train(state)), Progress(state), 0.0
        while process.poll() is None:
            if not start_s and progress.folder:
                start_s = time.monotonic() - launched
            time.sleep(0.01)
        assert process.returncode == 0, (self.folder / "uninterrupted.log").read_text()
        return self.run_id("uninterrupted"), start_s

    def run_id(self, name: str) -> str:
        """Return the id of the run of this name, or "" if there is none."""
        runs = self.client.search_runs(self.experiments, f"attributes.run_name = '{name}'")
        assert len(runs) <= 1, f"{len(runs)} runs are named {name}"
        return str(runs[0].info.run_id) if runs else ""

    @property
    def client(self) -> Any:
        """MLflow's client of the store."""
        from mlflow import MlflowClient

        return MlflowClient(self.uri, registry_uri=self.uri)

    @property
    def experiments(self) -> list[str]:
        """Ids of the store's experiments."""
        return [experiment.experiment_id for experiment in self.client.search_experiments()]

    def results(self, run_id: str) -> dict[str, Any]:
        """Return everything that must be equal: histories, status, models, artifacts and weights."""
        run = self.client.get_run(run_id)
        histories = {
            name: sorted(
                (point.step, point.value.hex()) for point in self.client.get_metric_history(run_id, name)
            )
            for name in run.data.metrics
        }
        models = self.client.search_logged_models(self.experiments, f"source_run_id = '{run_id}'")
        return {
            "histories": histories,
            "status": run.info.status,
            "models": [(str(model.status), model.name) for model in models],
            "outputs": len(run.outputs.model_outputs),
            "inputs": len(run.inputs.dataset_inputs),
            "checkpoints": [
                artifact.path
                for artifact in self.client.list_artifacts(run_id)
                if artifact.path == "checkpoint"
            ],
            "artifacts": sorted(artifact.path for artifact in self.client.list_artifacts(run_id)),
            "weights": weights(Path(models[0].artifact_location.removeprefix("file://"))) if models else None,
        }


def weights(folder: Path) -> dict[str, bytes]:
    """Return every array in the .keras file of a model's folder."""
    import h5py

    (file,) = folder.rglob("*.keras")
    weights_by_name: dict[str, bytes] = {}
    with (
        zipfile.ZipFile(file) as archive,
        archive.open("model.weights.h5") as inner,
        h5py.File(inner) as arrays,
    ):
        arrays.visititems(
            lambda name, item: (
                weights_by_name.update({name: item[()].tobytes()}) if hasattr(item, "dtype") else None
            )
        )
    assert weights_by_name
    return weights_by_name


@dataclass
class KilledRun:
    """The outcome of one run that was killed several times.

    `missed` counts kills that came too late, `different` names what differs from the uninterrupted run.
    """

    name: str
    kills: list[str] = field(default_factory=list)
    missed: int = 0
    different: list[str] = field(default_factory=list)


def kill_and_resume(
    bench: TrainingBench,
    name: str,
    expected: dict[str, Any],
    *,
    choose_moment: Callable[[Progress], KillMoment],
    kills: int,
) -> KilledRun:
    """Train, kill and resume a run `kills` times, let it end, and compare its results."""
    state, result, command = bench.folder / name, KilledRun(name), ["train"]
    while True:
        progress = Progress(state)
        process = bench.start(state, *(bench.train(state) if command == ["train"] else command))
        if len(result.kills) < kills:
            label, condition, wait_s = choose_moment(progress)
            if kill_after(process, progress, condition, wait_s):
                run_id = bench.run_id(name)
                result.kills.append(label if run_id else f"{label}: no run yet")
                if (
                    run_id
                    and Progress(state).folder is None
                    and bench.client.get_run(run_id).info.status == "RUNNING"
                ):
                    result.kills[-1] += ": no record yet"
                    time.sleep(LOST_S)
                command = ["resume", run_id] if run_id else ["train"]
                continue
            result.missed += 1
        if process.wait() != 0:
            result.different.append(f"exit code {process.returncode}: {state.with_suffix('.log')}")
        break
    results = bench.results(bench.run_id(name))
    result.different += [key for key in expected if expected[key] != results[key]]
    if leftovers := list((state / "runs").glob("*")):
        result.different.append(f"left in the state folder: {[path.name for path in leftovers]}")
    return result


def kill_after(
    process: subprocess.Popen[bytes], progress: Progress, condition: Callable[[Progress], bool], wait_s: float
) -> bool:
    """Kill the process `wait_s` seconds after the condition holds; return False if it ends before."""
    due = None
    while process.poll() is None:
        progress.update()
        if due is None and condition(progress):
            due = time.monotonic() + wait_s
        if due is not None and time.monotonic() >= due:
            process.send_signal(signal.SIGKILL)
            return process.wait() == -signal.SIGKILL
        time.sleep(POLL_S)
    return False


def soak(
    folder: Path,
    recipe: str,
    *,
    kills: int,
    seed: int,
    per_run: int,
    options: list[str],
    jobs: int,
    report_line: Callable[[str], None],
) -> list[KilledRun]:
    """Train, kill and resume runs until there were `kills` kills; return the outcome of each run."""
    bench = TrainingBench(folder, recipe, options)
    run_id, start_s = bench.train_uninterrupted()
    expected = bench.results(run_id)
    report_line(f"uninterrupted run: {len(expected['histories'])} metrics, start {start_s:.1f} s")
    rng, lock, results = random.Random(seed), threading.Lock(), []
    epochs = max(step for step, _ in expected["histories"]["loss"])
    kinds = moment_kinds(rng)
    numbers = itertools.count(1)

    def choose_moment(progress: Progress) -> KillMoment:
        with lock:
            epochs_left = max(0, epochs - progress.kinds["metrics"])
            return kill_moment(rng, next(kinds), epochs_left=epochs_left, start_s=start_s)

    def work() -> None:
        while True:
            with lock:
                planned_kills = sum(len(outcome.kills) for outcome in results)
                if planned_kills >= kills:
                    return
                number = next(numbers)
                planned = min(per_run, kills - planned_kills)
                # placeholders count as kills, so that the other threads plan no more than `kills`
                results.append(outcome := KilledRun(f"run-{number:02}", ["?"] * planned))
            done = kill_and_resume(bench, outcome.name, expected, choose_moment=choose_moment, kills=planned)
            with lock:
                outcome.kills, outcome.missed, outcome.different = done.kills, done.missed, done.different
            report_line(
                f"{done.name}  {'same' if not done.different else 'DIFFERENT: ' + '; '.join(done.different)}"
                f"  killed at: {', '.join(done.kills) or 'never'}"
            )

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work) for _ in range(jobs)]:
            future.result()
    return results


def main() -> int:
    """Run from the command line; return 1 if a run differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-run", type=int, default=3)
    parser.add_argument("--epochs")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    options = ["--epochs", arguments.epochs] if arguments.epochs else []
    with tempfile.TemporaryDirectory(prefix="mlctl-kills-", ignore_cleanup_errors=True) as folder:
        results = soak(
            Path(folder),
            arguments.recipe,
            kills=arguments.kills,
            seed=arguments.seed,
            per_run=arguments.per_run,
            options=options,
            jobs=arguments.jobs,
            report_line=lambda text: print(text, flush=True),
        )
        bad = [outcome for outcome in results if outcome.different]
        for outcome in bad:
            print(
                f"-- {outcome.name}\n{(Path(folder) / outcome.name).with_suffix('.log').read_text()[-3000:]}"
            )
    kills = [label for outcome in results for label in outcome.kills]
    early = sum("no run yet" in label for label in kills)
    missed = sum(outcome.missed for outcome in results)
    print(
        f"{len(kills)} kills in {len(results)} runs, {early} before the run existed, {missed} came too late; "
        f"{len(results) - len(bad)} runs equal the uninterrupted one, {len(bad)} do not"
    )
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
