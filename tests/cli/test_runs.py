"""mlctl runs: list, show, diff, plot, artifacts, delete and watch."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tracking_store import Answer, log_run

Mlctl = Callable[..., Answer]
pytestmark = pytest.mark.usefixtures("store")


def names(answer: Answer) -> list[str]:
    assert answer.code == 0, answer.err
    return [run["run_name"] for run in json.loads(answer.out)]


@pytest.mark.unit
def test_list_is_newest_first_and_limited(mlctl: Mlctl) -> None:
    assert names(mlctl("runs", "list", "-o", "json", "--limit", "3")) == ["stock", "lossy", "nan"]
    assert len(names(mlctl("runs", "list", "-o", "json", "--limit", "0"))) == 9
    assert "the first 3 runs; use --limit 0 for all" in mlctl("runs", "list", "--limit", "3").out
    assert "--limit 0" not in mlctl("runs", "list", "--limit", "9").out


@pytest.mark.unit
def test_runs_without_the_sort_value_come_last(mlctl: Mlctl) -> None:
    descending = names(mlctl("runs", "list", "-e", "toy", "--sort", "-best_val_f1", "-o", "json"))
    ascending = names(mlctl("runs", "list", "-e", "toy", "--sort", "best_val_f1", "-o", "json"))
    assert descending == ["stand-in", "peak", "steady", "twin", "twin", "nan", "broken"]
    assert ascending == ["nan", "twin", "twin", "steady", "peak", "stand-in", "broken"]


@pytest.mark.unit
def test_list_sorts_parameters_as_numbers_and_by_several_keys(mlctl: Mlctl) -> None:
    listed = names(
        mlctl(
            "runs",
            "list",
            "-e",
            "toy",
            "-w",
            "status = FINISHED",
            "--sort",
            "learning_rate,-run",
            "-o",
            "json",
        )
    )
    assert listed == ["twin", "steady", "stand-in", "peak", "nan", "twin"]


@pytest.mark.unit
def test_best_value_of_each_metric_is_marked_but_not_in_csv(mlctl: Mlctl) -> None:
    table = mlctl("runs", "list", "-e", "toy", "--limit", "0", "-w", "not data = synthetic").out
    peak = next(line for line in table.splitlines() if line.startswith("peak"))
    assert "0.9*" in peak
    assert "* best in this list" in table
    written = mlctl("runs", "list", "-e", "toy", "-o", "csv").out
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(written))}
    assert float(rows["peak"]["best_val_f1"]) == 0.9
    assert len(rows["peak"]["id"]) == 32
    assert rows["broken"]["best_val_f1"] == ""


@pytest.mark.unit
def test_synthetic_data_is_shown_at_any_width(mlctl: Mlctl, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in ("60", "80", "120"):
        monkeypatch.setenv("COLUMNS", width)
        answer = mlctl("runs", "list")
        assert "synthetic" in next(line for line in answer.out.splitlines() if line.startswith("stand-in"))
        assert max(map(len, answer.out.splitlines())) <= int(width)
    monkeypatch.setenv("COLUMNS", "60")
    assert "; not shown: " in mlctl("runs", "list").err


@pytest.mark.unit
def test_list_shows_the_chosen_columns(mlctl: Mlctl) -> None:
    answer = mlctl("runs", "list", "-e", "toy", "--columns", "epochs,tags.owner,started,val_f1", "-o", "csv")
    assert answer.out.splitlines()[0] == "run,id,params.epochs,tags.owner,started,val_f1"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["list", "--sort", "-best_valf1"], 2, "did you mean best_val_f1?"),
        (["list", "--columns", "epoch"], 2, "did you mean epochs?"),
        (["list", "--where", "val_f1 >"], 2, "the filter ends"),
        (["list", "--experiment", "tooy"], 3, "toy"),
        (["show", "peek"], 3, "did you mean peak?"),
        (["plot", "peak", "--metric", "val_f2"], 3, "did you mean val_f1?"),
        (["plot", "peak", "--save", "curves.xyz"], 2, "curves.png"),
        (["artifacts", "peak", "--get", "histery.csv"], 3, "did you mean history.csv?"),
        (["delete", "peak"], 4, "add --yes"),
    ],
)
def test_mistakes_are_explained(mlctl: Mlctl, arguments: list[str], code: int, message: str) -> None:
    answer = mlctl("runs", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.unit
def test_show_starts_with_the_kept_model_and_has_histories(mlctl: Mlctl) -> None:
    text = mlctl("runs", "show", "peak").out
    lines = [line.split() for line in text.splitlines()]
    order = [line[0] for line in lines if line and line[0] in {"best_val_f1", "test_accuracy", "val_f1"}]
    assert order == ["best_val_f1", "test_accuracy", "val_f1"]
    assert ["val_f1", "0.8", "0.7", "0.9", "▁█▅"] in lines
    assert "train 1,000" in text
    assert "history.csv" in text


def test_ascii_stream_gets_ascii_sparklines(filled: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mlctl", "runs", "show", "peak"], cwd=filled,
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "_@+" in result.stdout
    assert "INFO" not in result.stderr


@pytest.mark.unit
def test_diff_shows_only_what_differs(mlctl: Mlctl) -> None:
    diff = json.loads(mlctl("runs", "diff", "peak", "steady", "-o", "json").out)
    assert diff["params"] == {"epochs": ["10", "20"]}  # 0.01 and 1e-2 are the same number
    assert diff["metrics"]["best_val_f1"] == [0.9, 0.85]
    assert diff["verdicts"]["best_val_f1"] == "worse"
    assert "val_f1" not in diff["verdicts"]  # the last epoch is not the kept model
    assert diff["data"] == diff["code"] == {}
    other = json.loads(mlctl("runs", "diff", "peak", "stand-in", "-o", "json").out)
    assert other["data"]["source"] == ["bundled", "synthetic"]
    assert mlctl("runs", "diff", "peak", "peak").out.strip() == "no differences"


def test_plot_draws_in_the_terminal_and_to_a_file(mlctl: Mlctl, tmp_path: Path) -> None:
    single = mlctl("runs", "plot", "peak").out
    assert single.startswith("val_f1")
    assert any(0x2800 < ord(mark) < 0x2900 for mark in single)
    several = mlctl("runs", "plot", "peak", "steady", "--save", tmp_path / "curves.png").out
    assert "A peak" in several
    assert "B steady" in several
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    again = mlctl("runs", "plot", "peak", "--save", tmp_path / "curves.png")
    assert again.code == 4
    rows = list(csv.reader(io.StringIO(mlctl("runs", "plot", "peak", "-o", "csv").out)))
    assert rows[2][2:] == ["2", "0.9"]


@pytest.mark.unit
def test_artifacts_are_listed_and_downloaded(mlctl: Mlctl, tmp_path: Path) -> None:
    listed = json.loads(mlctl("runs", "artifacts", "peak", "-o", "json").out)
    assert [artifact["path"] for artifact in listed] == ["history.csv", "plots", "plots/loss.txt"]
    answer = mlctl("runs", "artifacts", "peak", "--get", "history.csv", "--to", tmp_path, "-o", "json")
    assert Path(json.loads(answer.out)["file"]).read_text() == "epoch,val_f1\n1,0.7\n"
    assert mlctl("runs", "artifacts", "peak", "--get", "history.csv", "--to", tmp_path).code == 4
    assert mlctl("runs", "artifacts", "peak", "--get", "history.csv", "--to", tmp_path, "--yes").code == 0
    assert mlctl("runs", "artifacts", "peak", "--get", "plots/loss.txt", "--to", tmp_path / "deep").code == 0
    assert mlctl("runs", "artifacts", "peak", "--get", "plots", "--to", tmp_path).code == 0
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    assert files >= {"history.csv", "deep/loss.txt", "plots/loss.txt"}
    assert not any(".fetching" in file for file in files)


@pytest.mark.unit
def test_delete_refuses_registered_runs(mlctl: Mlctl, own_store: str) -> None:
    import mlflow

    client = mlflow.MlflowClient(own_store)
    run_id = json.loads(mlctl("runs", "show", "steady", "-o", "json").out)["run_id"]
    client.create_registered_model("shop")
    client.create_model_version("shop", f"runs:/{run_id}/model", run_id)
    refused = mlctl("runs", "delete", "peak", "steady", "--yes")
    assert refused.code == 4
    assert "shop version 1" in refused.err
    assert mlctl("runs", "delete", "peak", "--dry-run").code == 0
    assert mlctl("runs", "show", "peak").code == 0
    assert mlctl("runs", "delete", "peak", "--yes").code == 0
    assert mlctl("runs", "show", "peak").code == 3
    assert mlctl("runs", "show", "steady").code == 0


@pytest.mark.unit
def test_watch_prints_each_epoch_once_and_ends_with_the_run(mlctl: Mlctl, own_store: str) -> None:
    import mlflow

    client = mlflow.MlflowClient(own_store)
    experiment = client.get_experiment_by_name("toy").experiment_id
    run_id = log_run(client, experiment, "running", [0.5], hours_ago=0, status=None)

    def train() -> None:
        for epoch in (2, 3):
            time.sleep(1.5)
            client.log_metric(run_id, "val_loss", 1 / epoch, step=epoch)
            client.log_metric(run_id, "val_f1", epoch / 10, step=epoch)
        client.set_terminated(run_id, "FINISHED")

    trainer = threading.Thread(target=train)
    trainer.start()
    answer = mlctl("runs", "watch", "running")
    trainer.join()
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "epoch 1/10  val_f1 0.5  val_loss 1",
        "epoch 2/10  val_f1 0.2  val_loss 0.5",
        "epoch 3/10  val_f1 0.3  val_loss 0.3333",
        "running FINISHED",
    ]


def test_interrupted_watch_exits_with_130(filled: Path) -> None:
    uri = f"sqlite:///{filled}/mlflow.db"
    watching = subprocess.Popen(
        [sys.executable, "-m", "mlctl", "runs", "watch", "stock", "--tracking-uri", uri],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("epoch 0")
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert "the run continues" in err
