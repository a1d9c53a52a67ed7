"""mlctl automl by the command itself: a leaderboard, a model that serves, an interrupt, a kill."""

from __future__ import annotations

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
from tests.trained import COMMAND

ASKED = ("automl", "prices.csv", "--target", "price", "--timeout", "30s")
QUICK = (
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
    frame = pd.DataFrame({"rooms": rng.integers(1, 9, 500), "area": rng.lognormal(4, 0.3, 500).round(1),
                          "town": rng.choice(["Bonn", "Oslo", "Porto"], 500)})  # fmt: skip
    frame["price"] = (frame["area"] * (3 + (frame["town"] == "Oslo")) + 9 * frame["rooms"]).round(2)
    frame.loc[::17, "area"] = np.nan
    frame.to_csv(folder / "prices.csv", index=False)
    frame.drop(columns="price")[:3].to_csv(folder / "three.csv", index=False)
    more = {"COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    return CommandLine(folder / "state", folder, more, patience_s=600)


def journal(mlctl: CommandLine, name: str) -> list[dict[str, Any]]:
    for path in (mlctl.state / "runs").glob("*/search.jsonl"):
        if json.loads((path.parent / "run.json").read_text())["run_name"] == name:
            return [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    return []


def begun(mlctl: CommandLine, name: str, fitted: int) -> subprocess.Popen[str]:
    """Begin a race, and return when so many models are fitted."""
    race = subprocess.Popen(
        [*COMMAND, *ASKED, "--set", "network.epochs=4", "--run-name", name, "-o", "json"], cwd=mlctl.cwd, env=mlctl.whole_environment(), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 300
    while sum(entry["kind"] == "end" for entry in journal(mlctl, name)) < fitted:
        assert time.monotonic() < end
        assert race.poll() is None, race.communicate()
        time.sleep(0.05)
    return race


def test_a_race_ends_in_one_run_with_its_models_and_one_that_serves(mlctl: CommandLine) -> None:
    answer = mlctl.json(
        *ASKED,
        "--timeout",
        "120s",
        *QUICK,
        "--register",
        "Prices",
        "--metric",
        "normalized_root_mean_squared_error",
    )
    assert (answer["status"], answer["ended"]) == ("FINISHED", "everything was tried")
    board = {one["model"]: one for one in answer["leaderboard"]}
    assert {"blend", "linear", "extratrees", "lightgbm-l1", "lightgbm-l2", "lightgbm-log"} <= set(board)
    scores = [one["score"] for one in answer["leaderboard"]]
    assert scores == sorted(scores)
    assert board["blend"]["score"] <= board["linear"]["score"]
    assert board["blend"]["run_id"] == answer["run_id"]
    assert board["lightgbm-l1"]["params"]["num_leaves"] == 8
    assert sum(one["weight"] for one in answer["leaderboard"]) == pytest.approx(1)
    assert answer["metrics"]["test_r2"] > 0.8
    assert {"test_mae", "test_rmse", "best_val_mae"} <= set(answer["metrics"])
    runs = {one["run_id"]: one for one in mlctl.json("runs", "list", "--limit", "0")}
    first = runs[board["linear"]["run_id"]]
    assert first["tags"]["mlflow.parentRunId"] == answer["run_id"]
    assert first["metrics"]["best_val_mae"] == pytest.approx(board["linear"]["metrics"]["val_mae"])
    files = {one["path"] for one in mlctl.json("runs", "artifacts", answer["run_id"])}
    assert {"leaderboard.csv", "search.jsonl", "plots/predicted_vs_actual.png"} <= files

    assert mlctl.json("runs", "show", "last")["run_id"] == answer["run_id"]

    folder = next(path.parent for path in mlctl.cwd.glob("mlruns/**/MLmodel"))
    needed = (folder / "requirements.txt").read_text()
    assert "onnxruntime" in needed
    assert not {"tensorflow", "keras", "lightgbm"} & {line.partition("==")[0] for line in needed.split()}
    said = mlctl.json("predict", "Prices/1", "three.csv")
    assert len(said["predictions"]) == 3
    assert all(50 < one["value"] < 1000 for one in said["predictions"])


def test_a_kill_loses_nothing_that_was_fitted_and_an_interrupt_logs_the_best(mlctl: CommandLine) -> None:
    race = begun(mlctl, "killed", 2)
    os.kill(race.pid, signal.SIGKILL)
    race.communicate()
    before = {entry["trial"]: entry["score"] for entry in journal(mlctl, "killed") if entry["kind"] == "end"}
    answer = mlctl.json("resume", "killed")
    assert answer["status"] == "FINISHED"
    assert answer["run_name"] == "killed"
    after = {one["model"]: one["score"] for one in answer["leaderboard"]}
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before) + 1
    assert answer["model_uri"]

    race = begun(mlctl, "stopped", 2)
    os.killpg(race.pid, signal.SIGINT)
    out, err = race.communicate(timeout=120)
    assert race.returncode == 130, err
    assert out == ""
    assert "is logged: models:/m-" in err
    assert "mlctl resume" in err
    shown = mlctl.json("runs", "show", "stopped")
    assert shown["status"] == "KILLED"
    assert shown["model_uri"] in err
    assert shown["metrics"]["test_mae"] > 0


CUT_SHORT = """
import os, signal, time

from mlctl.adapters import framework

framework.import_keras()
from mlctl.services.automl import fitting, race
from mlctl.__main__ import main

race.SMALL = 0  # no folds: models are fitted again, on all rows
fit = fitting.fit


def cut(spec, table, until, tick, rounds=0):
    if rounds:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    return fit(spec, table, until, tick, rounds)


fitting.fit = cut
main()
"""


def test_an_interrupt_while_models_are_fitted_again_logs_the_best_all_the_same(mlctl: CommandLine) -> None:
    asked = [*ASKED, "--families", "linear,extratrees", "--run-name", "cut", "-o", "json"]
    done = subprocess.run(
        [sys.executable, "-c", CUT_SHORT, *asked], cwd=mlctl.cwd, env=mlctl.whole_environment(),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    shown = mlctl.json("runs", "show", "cut")
    assert shown["status"] == "KILLED"
    assert shown["model_uri"] in done.stderr
    assert shown["metrics"]["test_mae"] > 0
    assert (shown["tags"]["mlctl.ended"], shown["tags"]["mlctl.refitted"]) == ("interrupted", "none")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("prices.csv", "--target", "price", "--metric", "mea"), "there is no metric 'mea'"),
        (("prices.csv", "--target", "price", "--families", "forest"), "there is no family"),
        (("prices.csv", "--target", "price", "--timeout", "2s"), "too short"),
        (("prices.csv", "--target", "price", "--set", "linear.strengh=1"), "linear is not told 'strengh'"),
        (("prices.csv", "--target", "price", "--metric", "auc"), "auc does not measure numbers"),
        (("digits",), "automl is for tables"),
    ],
)
def test_what_cannot_be_is_told(mlctl: CommandLine, arguments: tuple[str, ...], said: str) -> None:
    assert said in mlctl.fails(2, "automl", *arguments)


def test_a_dry_run_shows_what_would_be_tried(mlctl: CommandLine, tmp_path: Path) -> None:
    plan = mlctl.json("automl", "prices.csv", "--target", "price", "-n", "--families", "linear,extratrees")
    assert {one["family"] for one in plan["models"]} == {"linear", "extratrees"}
    assert plan["timeout_s"] == 60
