"""mlctl automl in real processes: the leaderboard, the served model, interrupts and kills."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.parts.command_line import CommandLine
from tests.zygote import MlctlProcess, Zygote

COMMAND_LINE = ("automl", "prices.csv", "--target", "price", "--timeout", "30s")
FAST_OPTIONS = (
    "--families",
    "lightgbm,extratrees,linear",
    "--set",
    "lightgbm.num_leaves=8",
    "--set",
    "lightgbm.rounds=20",
)


@pytest.fixture(scope="module")
def mlctl(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    folder = tmp_path_factory.mktemp("automl")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "rooms": rng.integers(1, 9, 500),
            "area": rng.lognormal(4, 0.3, 500).round(1),
            "town": rng.choice(["Bonn", "Oslo", "Porto"], 500),
        }
    )
    frame["price"] = (frame["area"] * (3 + (frame["town"] == "Oslo")) + 9 * frame["rooms"]).round(2)
    frame.loc[::17, "area"] = np.nan
    frame.to_csv(folder / "prices.csv", index=False)
    frame.drop(columns="price")[:3].to_csv(folder / "three.csv", index=False)
    more = {"COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    return CommandLine(folder / "state", folder, more, timeout_s=600, warm=True)


@pytest.fixture(scope="module")
def cold(mlctl: CommandLine) -> CommandLine:
    """The same, but each process imports everything itself."""
    return dataclasses.replace(mlctl, warm=False)


def journal(mlctl: CommandLine, name: str) -> list[dict[str, Any]]:
    for path in (mlctl.state / "runs").glob("*/search.jsonl"):
        if json.loads((path.parent / "run.json").read_text())["run_name"] == name:
            return [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    return []


def start_automl(
    mlctl: CommandLine, zygote: Zygote, name: str, *options: str, fitted: int
) -> MlctlProcess:  # fmt: skip
    """Start mlctl automl, and return its process when this many models are fitted."""
    table = str(mlctl.cwd / "prices.csv")
    arguments = ["automl", table, "--target", "price", "--timeout", "300s", *options, "--run-name", name]
    uri = f"sqlite:///{mlctl.cwd / 'mlflow.db'}"
    process = zygote.start(arguments, mlctl.state, mlctl.cwd / f"{name}.log", uri, **mlctl.environment)
    end = time.monotonic() + 300
    while sum(entry["kind"] == "end" for entry in journal(mlctl, name)) < fitted:
        assert time.monotonic() < end
        assert process.poll() is None, process.output
        time.sleep(0.05)
    return process


def test_a_run_logs_all_models_and_one_that_serves(mlctl: CommandLine, cold: CommandLine) -> None:
    answer = cold.json(
        *COMMAND_LINE,
        "--timeout",
        "300s",
        *FAST_OPTIONS,
        "--register",
        "Prices",
        "--metric",
        "normalized_root_mean_squared_error",
    )
    assert (answer["status"], answer["ended"]) == ("FINISHED", "everything was tried")
    leaderboard = {entry["model"]: entry for entry in answer["leaderboard"]}
    assert {"blend", "linear", "extratrees", "lightgbm-l1", "lightgbm-l2", "lightgbm-log"} <= set(leaderboard)
    scores = [entry["score"] for entry in answer["leaderboard"]]
    assert scores == sorted(scores)
    assert leaderboard["blend"]["score"] <= leaderboard["linear"]["score"]
    assert leaderboard["blend"]["run_id"] == answer["run_id"]
    assert leaderboard["lightgbm-l1"]["params"]["num_leaves"] == 8
    assert sum(entry["weight"] for entry in answer["leaderboard"]) == pytest.approx(1)
    assert sum(entry["duration_s"] for entry in answer["leaderboard"]) <= answer["phases"]["models"]
    phases = ["reading the data and starting", "features", "models", "starting TensorFlow"]
    assert list(answer["phases"])[:4] == phases
    assert answer["phases"]["starting TensorFlow"] > 0.2  # no model has imported it before
    assert answer["metrics"]["test_r2"] > 0.8
    assert {"test_mae", "test_rmse", "best_val_mae"} <= set(answer["metrics"])
    runs = {entry["run_id"]: entry for entry in mlctl.json("runs", "list", "--trials", "--limit", "0")}
    first = runs[leaderboard["linear"]["run_id"]]
    assert first["tags"]["mlflow.parentRunId"] == answer["run_id"]
    assert first["metrics"]["best_val_mae"] == pytest.approx(leaderboard["linear"]["metrics"]["val_mae"])
    files = {entry["path"] for entry in mlctl.json("runs", "artifacts", answer["run_id"])}
    assert {"leaderboard.csv", "search.jsonl", "plots/predicted_vs_actual.png"} <= files

    assert mlctl.json("runs", "show", "last")["run_id"] == answer["run_id"]

    folder = next(path.parent for path in mlctl.cwd.glob("mlruns/**/MLmodel"))
    needed = (folder / "requirements.txt").read_text()
    assert "onnxruntime" in needed
    assert not {"tensorflow", "keras", "lightgbm"} & {line.partition("==")[0] for line in needed.split()}
    answer = mlctl.json("predict", "Prices/1", "three.csv")
    assert len(answer["predictions"]) == 3
    assert all(50 < entry["value"] < 1000 for entry in answer["predictions"])


def test_a_killed_run_resumes_with_its_models_and_an_interrupt_logs_the_best(
    mlctl: CommandLine, zygote: Zygote
) -> None:
    families = ("--families", "linear,lightgbm,extratrees,network", "--set", "lightgbm.rounds=50")
    process = start_automl(mlctl, zygote, "killed", *families, "--set", "network.epochs=2", fitted=2)
    process.send(signal.SIGKILL)
    process.wait()
    before = {entry["trial"]: entry["score"] for entry in journal(mlctl, "killed") if entry["kind"] == "end"}
    answer = mlctl.json("resume", "killed")
    assert answer["status"] == "FINISHED"
    assert answer["run_name"] == "killed"
    after = {entry["model"]: entry["score"] for entry in answer["leaderboard"]}
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before) + 1
    assert any(name.startswith("network") for name in after)
    assert answer["model_uri"]

    process = start_automl(mlctl, zygote, "stopped", fitted=2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(120) == 130, process.output
    assert "is logged: models:/m-" in process.output
    assert "mlctl resume" in process.output
    shown = mlctl.json("runs", "show", "stopped")
    assert shown["status"] == "KILLED"
    assert shown["model_uri"] in process.output
    assert shown["metrics"]["test_mae"] > 0


INTERRUPTED_FIT = """
import os, signal, time

from mlctl.adapters.keras import runtime

runtime.import_keras()
from mlctl.services.automl import encode, fitting
from mlctl.__main__ import main

encode.MIN_ROWS_WITHOUT_FOLDS = 0  # so that models are fitted again on all rows
fit_model = fitting.fit_model


def interrupted_fit(spec, table, *, rounds=0, **options):
    if rounds:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    return fit_model(spec, table, rounds=rounds, **options)


fitting.fit_model = interrupted_fit
main()
"""


def test_an_interrupt_during_the_final_fits_logs_the_best(mlctl: CommandLine) -> None:
    arguments = [*COMMAND_LINE, "--families", "linear,extratrees", "--run-name", "cut", "-o", "json"]
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_FIT, *arguments],
        cwd=mlctl.cwd,
        env=mlctl.full_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (130, ""), result.stderr
    shown = mlctl.json("runs", "show", "cut")
    assert shown["status"] == "KILLED"
    assert shown["model_uri"] in result.stderr
    assert shown["metrics"]["test_mae"] > 0
    assert (shown["tags"]["mlctl.ended"], shown["tags"]["mlctl.refitted"]) == ("interrupted", "none")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prices.csv", "--target", "price", "--metric", "mea"), "there is no metric 'mea'"),
        (("prices.csv", "--target", "price", "--families", "forest"), "there is no family"),
        (("prices.csv", "--target", "price", "--timeout", "2s"), "too short"),
        (
            ("prices.csv", "--target", "price", "--set", "linear.strengh=1"),
            "linear has no parameter 'strengh'",
        ),
        (("prices.csv", "--target", "price", "--metric", "auc"), "auc does not measure numbers"),
        (("digits",), "automl is for tables"),
    ],
)
def test_invalid_options_are_refused(mlctl: CommandLine, arguments: tuple[str, ...], message: str) -> None:
    assert message in mlctl.fails(2, "automl", *arguments)


def test_a_dry_run_shows_the_models_to_fit(mlctl: CommandLine, tmp_path: Path) -> None:
    plan = mlctl.json("automl", "prices.csv", "--target", "price", "-n", "--families", "linear,extratrees")
    assert {entry["family"] for entry in plan["models"]} == {"linear", "extratrees"}
    assert plan["timeout_s"] == 60
