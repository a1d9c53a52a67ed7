"""mlctl runs: list, show, diff, plot, artifacts, delete and watch."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    assert re.search(r"^\+\d+ columns: choose with --columns", mlctl("runs", "list").err)


@pytest.mark.unit
def test_list_shows_the_chosen_columns(mlctl: Mlctl) -> None:
    answer = mlctl("runs", "list", "-e", "toy", "--columns", "epochs,tags.owner,started,val_f1", "-o", "csv")
    assert answer.out.splitlines()[0] == "run,id,params.epochs,tags.owner,started,val_f1"


@pytest.fixture
def search(own_store: str) -> dict[str, str]:
    """Add a search with three trials, one of them stopped, and a trial of a deleted search; return ids by name."""
    import mlflow

    client = mlflow.MlflowClient(own_store)
    experiment = client.get_experiment_by_name("toy").experiment_id

    def log(name: str, value: float, minutes_ago: float, **tags: str) -> str:
        run_id = log_run(client, experiment, name, [value], hours_ago=minutes_ago / 60, epochs=name)
        for key, text in tags.items():
            client.set_tag(run_id, {"parent": "mlflow.parentRunId"}.get(key, f"mlctl.{key}"), text)
        return run_id

    ids = {"search": log("search", 0.8, 20, kind="search"), "gone": log("gone", 0.7, 19, kind="search")}
    for number, value in enumerate((0.8, 0.6, 0.4), start=1):
        state = "done" if number < 3 else "stopped"
        tags = {"parent": ids["search"], "trial": f"{number:04}", "state": state}
        ids[tags["trial"]] = log(f"trial-{number:04}", value, 18 - number, **tags)
    log("final-0001", 0.8, 12, parent=ids["search"], trial="final-0001")
    log("alone", 0.5, 11, parent=ids["gone"], trial="0001")
    client.delete_run(ids["gone"])
    return ids


@pytest.mark.unit
def test_trials_are_folded_into_their_search(mlctl: Mlctl, search: dict[str, str]) -> None:
    listed = json.loads(mlctl("runs", "list", "-o", "json", "-l", "3").out)
    assert [(run["run_name"], run["trials"]) for run in listed] == [("alone", 0), ("search", 3), ("stock", 0)]
    assert names(mlctl("runs", "list", "-o", "json", "-l", "1")) == ["alone"]
    sorted_runs = json.loads(mlctl("runs", "list", "-o", "json", "-s", "-best_val_f1", "-l", "5").out)
    assert [run["trials"] for run in sorted_runs if run["run_name"] == "search"] == [3]
    by_duration = names(mlctl("runs", "list", "-e", "toy", "-o", "json", "--sort", "duration"))
    assert by_duration.count("search") == 1
    assert not {"trial-0001", "final-0001"} & set(by_duration)


@pytest.mark.unit
def test_trials_are_listed_below_their_search(mlctl: Mlctl, search: dict[str, str]) -> None:
    listed = names(mlctl("runs", "list", "--trials", "-o", "json", "-l", "6"))
    assert listed == ["alone", "search", "final-0001", "trial-0001", "trial-0002", "trial-0003"]


@pytest.mark.unit
def test_a_filter_that_matches_a_trial_shows_it(mlctl: Mlctl, search: dict[str, str]) -> None:
    def listed(where: str) -> list[str]:
        return names(mlctl("runs", "list", "-o", "json", "--where", where))

    assert listed("best_val_f1 = 0.6") == ["trial-0002", "twin"]
    assert listed("params.epochs = trial-0001") == ["trial-0001"]
    assert listed("status = stopped") == ["trial-0003"]
    assert "trial-0003" not in listed("status = finished and started > 1h")
    assert listed("recipe = toy and started > 1h") == ["alone", "search"]


@pytest.mark.unit
def test_folding_takes_two_more_requests_at_most(
    mlctl: Mlctl, search: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlctl.adapters.tracking.store import TrackingStore

    calls: list[str] = []
    for name in ("search_runs", "get_runs"):
        original = getattr(TrackingStore, name)

        def count(
            self: TrackingStore, *args: Any, _name: str = name, _call: Any = original, **kwargs: Any
        ) -> Any:
            calls.append(_name)
            return _call(self, *args, **kwargs)

        monkeypatch.setattr(TrackingStore, name, count)
    mlctl("runs", "list", "-l", "1")
    assert calls == ["search_runs", "get_runs"]
    calls.clear()
    mlctl("runs", "list", "-e", "toy", "--sort", "-started")
    assert calls == ["search_runs", "get_runs", "search_runs"]  # also for the search of a lonely trial


@pytest.mark.unit
@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_gets_a_line_per_run_with_the_name_of_its_score(
    mlctl: Mlctl, search: dict[str, str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    answer = mlctl("runs", "list", "-e", "toy")
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) == 1 + 9 + 1  # header, runs, caption
    row = next(line for line in lines if line.startswith("search"))
    assert "3 trials of toy" in row
    assert "val_f1 0.8 " in row
    assert "val_f1 0.9*" in next(line for line in lines if line.startswith("peak"))
    assert "val_f1 0.995" in next(
        line for line in lines if line.startswith("stand-in")
    )  # alone with its data
    assert "0.995*" not in answer.out
    assert "FAILED" in next(line for line in lines if line.startswith("broken"))
    assert "FINISHED" not in answer.out
    assert answer.err.count("\n") == 2
    assert re.search(
        r"^\+\d+ columns: choose with --columns NAME,… or all, or -o json$", answer.err, re.MULTILINE
    )


@pytest.mark.unit
def test_a_pipe_has_scores_only_and_all_columns_if_asked(mlctl: Mlctl) -> None:
    header = mlctl("runs", "list", "-e", "toy", "-o", "csv").out.splitlines()[0]
    assert header == (
        "run,id,experiment,status,started,duration,recipe,data,best_val_f1,test_accuracy,val_f1"
    )
    everything = mlctl("runs", "list", "-e", "toy", "-o", "csv", "--columns", "all").out.splitlines()[0]
    assert {"params.optimizer", "val_loss", "tags.owner", "best_epoch"} <= set(everything.split(","))


@pytest.mark.unit
def test_a_list_without_runs_says_why(mlctl: Mlctl, tmp_path: Path) -> None:
    found = mlctl("runs", "list", "-e", "toy", "--where", "best_val_f1 > 3")
    assert (found.code, found.out.strip()) == (0, "none of 7 runs in toy matches best_val_f1 > 3")
    empty = f"sqlite:///{tmp_path}/none.db"
    assert mlctl("runs", "list", "--tracking-uri", empty).out.strip() == "no runs"
    for arguments in (["--where", "a >> 3"], ["--sort", "nope"], ["--columns", "nope"]):
        assert mlctl("runs", "list", "--tracking-uri", empty, *arguments).code == 2
    assert not (tmp_path / "none.db").exists()


@pytest.mark.unit
def test_best_says_which_run_it_is_and_why(mlctl: Mlctl) -> None:
    answer = mlctl("runs", "diff", "best", "best", "-e", "toy")
    assert answer.out.startswith("both are the same run: stand-in (")
    notes = [line for line in answer.err.splitlines() if line.startswith("best: ")]
    assert len(notes) == 1
    assert re.fullmatch(r"best: stand-in \([0-9a-f]{8}\), highest val_f1 in toy \(0.995\)", notes[0])
    lowest = mlctl("runs", "show", "best:-best_val_f1").err.splitlines()[0]
    assert re.fullmatch(r"best: nan \([0-9a-f]{8}\), lowest val_f1 in all experiments \(0.4\)", lowest)


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
    assert mlctl("runs", "diff", "peak", "peak").out.startswith("both are the same run: peak (")


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

    client = mlflow.MlflowClient(own_store, registry_uri=own_store)
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
