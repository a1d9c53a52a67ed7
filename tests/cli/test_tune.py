"""mlctl tune in real processes: searches, interrupts and kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.parts.command_line import CommandLine
from tests.trained import COMMAND, TINY
from tests.zygote import MlctlProcess, Zygote

SLOW = TINY.replace(
    "        import keras\n", "        import time\n\n        import keras\n\n        time.sleep(0.4)\n"
)
SPACE = ("--space", "units=4..16:4", "--set", "learning_rate=0.01")


@pytest.fixture
def mlctl(tmp_path: Path) -> CommandLine:
    (tmp_path / "tiny.py").write_text(TINY)
    (tmp_path / "slow.py").write_text(SLOW)
    return CommandLine(tmp_path / "state", tmp_path, {"COLUMNS": "100"}, timeout_s=600, warm=True)


def nested(mlctl: CommandLine, parent: str) -> dict[str, Any]:
    runs = mlctl.json("runs", "list", "--trials", "--limit", "0")
    children = [run for run in runs if run["tags"].get("mlflow.parentRunId") == parent]
    by_name = {run["run_name"]: run for run in children}
    assert len(by_name) == len(children)
    return by_name


def start_tune(mlctl: CommandLine, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "tune", *arguments, "-o", "json"],
        cwd=mlctl.cwd,
        env=mlctl.full_environment(),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def journal(mlctl: CommandLine) -> list[dict[str, Any]]:
    for path in (mlctl.state / "runs").glob("*/search.jsonl"):
        return [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    return []


def wait_for(mlctl: CommandLine, search: subprocess.Popen[str] | MlctlProcess, kind: str, count: int) -> None:
    end = time.monotonic() + 300
    while sum(entry["kind"] == kind for entry in journal(mlctl)) < count:
        assert time.monotonic() < end
        assert search.poll() is None, "the search has ended"
        time.sleep(0.05)


def test_a_search_logs_one_run_with_its_trials_plots_and_model(mlctl: CommandLine) -> None:
    printing = TINY.replace(
        "        import keras\n", "        import keras\n\n        print('building')\n", 1
    )
    # the output of a recipe is not part of the answer
    (mlctl.cwd / "tiny.py").write_text(f"{printing}\n\nprint('imported')\n")
    answer = mlctl.json(
        "tune", "./tiny.py", *SPACE, "--algorithm", "grid", "--trials", "9", "--register", "Tiny"
    )
    assert answer["status"] == "FINISHED"
    assert answer["ended"] == "4 of 4 combinations"
    assert answer["registered"] == "Tiny/1"
    assert {trial["params"]["units"] for trial in answer["trials"]} == {4, 8, 12, 16}
    scores = [trial["score"] for trial in answer["trials"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["params"]["units"] == str(answer["trials"][0]["params"]["units"])
    assert answer["metrics"]["test_accuracy"] > 0.5
    runs = nested(mlctl, answer["run_id"])
    assert {f"trial-{trial['trial']}" for trial in answer["trials"]} < set(runs)
    assert sum(name.startswith("trial-final") for name in runs) == 1
    first = runs[f"trial-{answer['trials'][0]['trial']}"]
    assert first["metrics"]["best_val_accuracy"] == scores[0]
    assert first["run_id"] == answer["trials"][0]["run_id"]
    files = {artifact["path"] for artifact in mlctl.json("runs", "artifacts", answer["run_id"])}
    assert {"search.jsonl", "space.json", "plots/importance.png", "plots/parallel_coordinates.png"} <= files
    watched = mlctl("runs", "watch", answer["run_id"]).stdout.splitlines()
    assert {line.split()[1] for line in watched if line.startswith("trial ")} == {
        "0001",
        "0002",
        "0003",
        "0004",
    }
    assert mlctl.json("runs", "show", "last")["run_id"] == answer["run_id"]  # not the newest trial
    assert "is finished" in mlctl.fails(4, "resume", answer["run_id"], "--trials", "10")


def test_invalid_options_are_refused(mlctl: CommandLine) -> None:
    for arguments, message in (
        (("--space", "unitz=1|2"), "declares no 'unitz'"),
        (("--algorithm", "hyperband", "--stop", "median"), "stops trials by itself"),
        (("--algorithm", "grid"), "a grid needs steps"),
        (("--stop", "bandit:slack=-1"), "too small"),
        (("--timeout", "soon"), "is not a duration"),
        (("--timeout", "0s"), "no time to search"),
        (("--objective", "val_accuracy:max"), "has no direction"),
    ):
        assert message in mlctl.fails(2, "tune", "./tiny.py", *arguments)


def test_a_dry_run_shows_the_space_and_trains_nothing(mlctl: CommandLine) -> None:
    plan = mlctl.json("tune", "./tiny.py", *SPACE, "-n", "--trials", "3")
    assert plan["space"] == {"units": "4..16:4"}
    assert (plan["size"], plan["trials"], plan["epochs"]) == (4, 3, 9)
    assert len(plan["first"]) == 3
    (mlctl.cwd / "mlctl.toml").write_text("[recipes.tiny]\nepochs = 2\nunits = 16\n")
    # a default does not exclude a value from the search
    plan = mlctl.json("tune", "./tiny.py", *SPACE, "-n", "--trials", "3")
    assert (plan["space"], plan["fixed"]["epochs"]) == ({"units": "4..16:4"}, 2)
    assert not (mlctl.cwd / "mlflow.db").exists()


SPAWNED = """
from mlctl.adapters.keras import runtime

runtime.is_fork_safe = lambda hardware: False  # as with a GPU driver, and on macOS
runtime.visible_gpus = lambda: ["3", "5"]
from mlctl.__main__ import main

main()
"""


def test_spawned_workers_get_one_gpu_each(mlctl: CommandLine) -> None:
    write_gpu = "        from pathlib import Path\n\n        Path(f'gpu-{os.getpid()}').write_text(os.environ.get('CUDA_VISIBLE_DEVICES', ''))\n"
    (mlctl.cwd / "tiny.py").write_text(
        TINY.replace("        import keras\n", f"        import os\n{write_gpu}        import keras\n", 1)
    )
    arguments = ["tune", "./tiny.py", *SPACE, "--trials", "3", "-P", "2", "--finalists", "0", "-o", "json"]
    result = subprocess.run(
        [sys.executable, "-c", SPAWNED, *arguments],
        cwd=mlctl.cwd,
        env=mlctl.full_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert {trial["state"] for trial in json.loads(result.stdout)["trials"]} == {"done"}
    assert {file.read_text() for file in mlctl.cwd.glob("gpu-*")} == {"", "3", "5"}  # and the final model's


def test_three_failed_trials_in_a_row_end_the_search_with_7(mlctl: CommandLine) -> None:
    broken = TINY.replace(
        "        import keras\n",
        "        if hp.units != 8:\n            raise ValueError('too wide')\n        import keras\n",
    )
    (mlctl.cwd / "tiny.py").write_text(broken)
    message = mlctl.fails(
        7, "tune", "./tiny.py", *SPACE, "--algorithm", "grid", "-P", "1", "--finalists", "0"
    )
    assert "3 trials in a row failed" in message
    assert "too wide" in message
    assert "tiny.py, line" in message
    failed = [run for run in mlctl.json("runs", "list", "--trials") if run["status"] == "FAILED"]
    assert sum("mlctl.trial" in run["tags"] for run in failed) == 3


@pytest.mark.skipif(
    not hasattr(signal, "SIGKILL") or not Path("/proc").exists(), reason="only Linux has parent death signals"
)
def test_killed_workers_and_a_killed_search_lose_no_trial(mlctl: CommandLine, zygote: Zygote) -> None:
    options = ("--algorithm", "bayesian", "--trials", "3", "-P", "1", "--finalists", "0")
    arguments = (str(mlctl.cwd / "slow.py"), *SPACE, *options)
    search = zygote.start(
        ["tune", *arguments], mlctl.state, mlctl.cwd / "log", f"sqlite:///{mlctl.cwd / 'mlflow.db'}"
    )
    wait_for(mlctl, search, "start", 1)
    worker = psutil.Process(search.pid).children(recursive=True)[-1]
    worker.kill()
    wait_for(mlctl, search, "lost", 1)
    wait_for(mlctl, search, "end", 2)
    processes = psutil.Process(search.pid).children(recursive=True)
    os.kill(search.pid, signal.SIGKILL)
    search.wait()
    _, alive = psutil.wait_procs(processes, timeout=1)
    # a zombie is dead, but its new parent has not reaped it yet
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    ended = [entry for entry in journal(mlctl) if entry["kind"] == "end"]
    parent = next((mlctl.state / "runs").glob("*/search.jsonl")).parent.name
    answer = mlctl.json("resume", parent)
    assert answer["run_id"] == parent
    assert [trial["state"] for trial in answer["trials"]] == ["done"] * 3
    runs = nested(mlctl, parent)
    assert sorted(runs) == ["trial-0001", "trial-0002", "trial-0003"]
    assert {run["status"] for run in runs.values()} == {"FINISHED"}
    before = {entry["trial"]: entry["score"] for entry in ended}
    assert {
        trial["trial"]: trial["score"] for trial in answer["trials"] if trial["trial"] in before
    } == before
    undisturbed = mlctl.json("tune", *arguments)
    assert [(trial["trial"], trial["params"], trial["score"]) for trial in undisturbed["trials"]] == [
        (trial["trial"], trial["params"], trial["score"]) for trial in answer["trials"]
    ]


@pytest.mark.long
def test_an_interrupted_search_on_a_table_resumes_with_its_objective(
    mlctl: CommandLine,
) -> None:
    rng = random.Random(1)
    rows = [(rng.random(), rng.random(), rng.choice("ab")) for _ in range(300)]
    lines = [f"{x:.4f},{y:.4f},{kind},{10 * x + y + (kind == 'a'):.4f}" for x, y, kind in rows]
    (mlctl.cwd / "table.csv").write_text("\n".join(["x,y,kind,price", *lines]))
    search = start_tune(
        mlctl,
        "table.csv",
        "--target",
        "price",
        "--trials",
        "8",
        "--epochs",
        "60",
        "-P",
        "2",
        "--finalists",
        "0",
        "--space",
        "units=16..64:16",
        "--set",
        "learning_rate=0.01",
        "--set",
        "layers=1",
        "--set",
        "bags=1",
        "--set",
        "members=1",
    )
    wait_for(mlctl, search, "end", 1)
    os.killpg(search.pid, signal.SIGINT)
    out, err = search.communicate(timeout=120)
    assert search.returncode == 130, err
    assert out == ""
    assert "mlctl resume" in err
    answer = mlctl.json("resume", "last")  # the newest run is one of its trials
    assert answer["objective"] == "min:val_rmse"
    assert len(answer["trials"]) == 8


PUBLISHED = {
    "two executions a trial, by a Gaussian process": (
        "mnist-mlp",
        "--algorithm",
        "bayesian",
        "--executions-per-trial",
        "2",
        "--space",
        "units=16..64:16",
        "--space",
        "optimizer=rmsprop|adam",
        "--set",
        "loss=sparse_categorical_crossentropy",
        "--set",
        "learning_rate=1e-3",
        "--set",
        "batch_size=128",
        "--epochs",
        "2",
        "--trials",
        "2",
    ),
    "choices at random, four at once, with a bandit": (
        "housing",
        "--trials",
        "4",
        "-P",
        "4",
        "--stop",
        "bandit:slack=0.1,interval=2,delay=1",
        "--objective",
        "min:val_mae",
        "--space",
        "batch_size=25|50|100",
        "--space",
        "epochs=5|10|15",
        "--space",
        "units=2..12:2",
        "--space",
        "units2=2..12:2",
        "--set",
        "learning_rate=3e-3",
        "--set",
        "layers=2",
    ),
    "epochs, batches and rates, in a table of the best": (
        "imdb",
        "--trials",
        "3",
        "--space",
        "epochs=1|2",
        "--space",
        "batch_size=250|500",
        "--space",
        "learning_rate=1e-3|1e-2",
        "--set",
        "units=10",
        "--set",
        "vocabulary=1000",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [name if name.startswith("two") else pytest.param(name, marks=pytest.mark.long) for name in PUBLISHED],
)
def test_published_searches_at_a_small_scale(mlctl: CommandLine, name: str) -> None:
    arguments = PUBLISHED[name]
    answer = mlctl.json("tune", *arguments, "--data", "synthetic", "--rows", "600", "--seed", "1")
    trials = int(arguments[arguments.index("--trials") + 1])
    assert len(answer["trials"]) == trials
    assert {trial["state"] for trial in answer["trials"]} <= {"done", "stopped"}
    assert answer["status"] == "FINISHED"
    assert any(name.startswith(("test_", "best_val_")) for name in answer["metrics"])
    assert answer["model_uri"]
