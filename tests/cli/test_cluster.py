"""A search and a training on a Ray cluster of two nodes, one of which dies."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from mlctl.data.builtin import synthetic
from tests.parts.command_line import CommandLine
from tests.trained import COMMAND, TINY

SLOW = TINY.replace(
    "        import keras\n", "        import time\n\n        import keras\n\n        time.sleep(2)\n"
)
SPACE = ("--space", "units=4..16:4", "--set", "learning_rate=0.01", "--finalists", "0")
PAUSING = """\
        import time

        class Pausing(keras.metrics.MeanMetricWrapper):
            def reset_state(self):
                super().reset_state()
                time.sleep(0.4)

        model.compile(
            keras.optimizers.Adam(hp.rate), loss="binary_crossentropy",
            metrics=["accuracy", Pausing(keras.losses.binary_crossentropy, name="paused")],
        )
        return model
"""
TIMEOUT_S = 200


@pytest.fixture
def mlctl(tmp_path: Path) -> CommandLine:
    (tmp_path / "tiny.py").write_text(TINY)
    (tmp_path / "slow.py").write_text(SLOW)
    return CommandLine(tmp_path / "state", tmp_path, {"COLUMNS": "100"}, timeout_s=600, warm=True)


def start(mlctl: CommandLine, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments, "-o", "json"],
        cwd=mlctl.cwd,
        env=mlctl.full_environment(),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    end = time.monotonic() + TIMEOUT_S
    while not (value := condition()):
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return value


def journal(mlctl: CommandLine, kind: str) -> list[dict[str, Any]]:
    for path in (mlctl.state / "runs").glob("*/search.jsonl"):
        entries = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
        return [entry for entry in entries if entry["kind"] == kind]
    return []


def busy_nodes(process: subprocess.Popen[str], task: str) -> list[tuple[psutil.Process, psutil.Process]]:
    """Return (raylet, worker) of the nodes that run a task with this prefix."""
    nodes = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            parent = child.parent()
            name = " ".join(child.cmdline()).removeprefix("ray::")
            if name.startswith(task) and parent and parent.name() == "raylet":
                nodes.append((parent, child))
        except psutil.NoSuchProcess:
            continue
    return nodes


@pytest.mark.live
@pytest.mark.skipif(not Path("/proc").exists(), reason="only on Linux do the nodes end with a killed search")
@pytest.mark.needs("ray")
def test_a_dead_node_loses_no_trial_and_a_killed_search_leaves_no_process(mlctl: CommandLine) -> None:
    arguments = ("./slow.py", *SPACE, "--algorithm", "grid", "--trials", "4")
    search = start(mlctl, "tune", *arguments, "--cluster", "local:2")
    wait_for(lambda: journal(mlctl, "end"), search)
    raylet, worker = wait_for(lambda: busy_nodes(search, "000"), search)[0]
    time.sleep(0.5)  # the trial trains for at least two seconds
    worker.suspend()  # like a node without a network: it comes back after another node got its trial
    raylet.kill()
    lost = wait_for(lambda: journal(mlctl, "lost"), search)
    worker.resume()
    assert len(lost) == 1
    wait_for(lambda: len(journal(mlctl, "end")) == 4, search)
    processes = psutil.Process(search.pid).children(recursive=True)
    os.kill(search.pid, signal.SIGKILL)
    search.wait()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    ends = journal(mlctl, "end")
    assert sorted(entry["trial"] for entry in ends) == ["0001", "0002", "0003", "0004"]
    assert {entry["state"] for entry in ends} == {"done"}
    repeated = [entry["trial"] for entry in journal(mlctl, "start") if entry["attempt"] == 2]
    assert repeated == [lost[0]["trial"]]


def test_invalid_cluster_options_are_refused(mlctl: CommandLine) -> None:
    for arguments, message in (
        (("--cluster", "ray://head:10001"), "need a storage that all of them can reach"),
        (("--cluster", "head"), "is not an address"),
        (("--storage", "/mnt/shared"), "needs --cluster"),
        (("--cluster", "local:2", "--memory", "much"), "is not a size"),
    ):
        assert message in mlctl.fails(2, "tune", "./tiny.py", *arguments)
    unreachable = ("--cluster", "ray://127.0.0.1:1", "--storage", str(mlctl.cwd))
    assert "do not reach sqlite" in mlctl.fails(2, "train", "./tiny.py", *unreachable)
    if importlib.util.find_spec("ray"):
        assert "no Ray cluster answers" in mlctl.fails(6, "tune", "./tiny.py", *unreachable)
    else:
        assert "needs ray" in mlctl.fails(5, "tune", "./tiny.py", *unreachable)


@pytest.mark.live
@pytest.mark.skipif(not Path("/proc").exists(), reason="only Linux shows the names of Ray's processes")
@pytest.mark.needs("ray")
def test_a_training_resumes_on_another_node_when_its_node_dies(mlctl: CommandLine) -> None:
    slow_epochs = TINY.replace("        return model\n", PAUSING)
    (mlctl.cwd / "paused.py").write_text(slow_epochs)
    training = start(mlctl, "train", "./paused.py", "--epochs", "8", "--cluster", "local:2")
    wait_for(lambda: list((mlctl.state / "runs").glob("*/checkpoints/0000[3-9]-*.ckpt")), training)
    raylet, _ = busy_nodes(training, "train ")[0]
    raylet.kill()
    out, err = training.communicate(timeout=TIMEOUT_S)
    assert training.returncode == 0, err
    answer = json.loads(out)
    assert answer["status"] == "FINISHED"
    assert "another node resumes the training" in err
    assert "resuming after epoch" in err
    assert answer["params"]["epochs"] == "8"
    assert len(mlctl.json("runs", "list")) == 1


@pytest.mark.live
@pytest.mark.skipif(not os.environ.get("MLCTL_TEST_LONG"), reason="takes a minute: set MLCTL_TEST_LONG=1")
@pytest.mark.skipif(not Path("/proc").exists(), reason="only Linux shows the names of Ray's processes")
@pytest.mark.needs("ray")
def test_a_dead_node_leaves_no_row_without_an_answer_and_none_with_two(mlctl: CommandLine) -> None:
    """Both nodes are at work when one is killed; the command is killed too, and continues."""
    mlctl("train", "housing", "--epochs", "1")
    model = str(next(mlctl.cwd.rglob("MLmodel")).parent)
    (mlctl.cwd / "rows").mkdir()
    rows = synthetic.make_housing(5000).drop(columns="median_house_value")
    for number in range(12):
        pd.concat([rows] * 20).to_parquet(mlctl.cwd / "rows" / f"{number:02}.parquet")
    out = mlctl.cwd / "answers.parquet"
    arguments = ("predict", model, "rows", "--out", str(out), "--cluster", "local:2")
    first = start(mlctl, *arguments)
    raylet, _ = wait_for(lambda: list(out.glob("part-*")) and busy_nodes(first, "Map"), first)[0]
    raylet.kill()
    wait_for(lambda: len(list(out.glob("part-*"))) >= 5, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    second = start(mlctl, *arguments)
    printed, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert json.loads(printed)["resumed"] >= 5 * 100_000
    answers = pd.read_parquet(out)
    assert len(answers) == 12 * 100_000
    assert answers.groupby("file")["row"].nunique().tolist() == [100_000] * 12
    assert {path.name[:5] for path in out.iterdir()} == {"part-"}
