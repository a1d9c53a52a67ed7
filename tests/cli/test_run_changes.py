"""Commands that change runs and experiments: stop, tag, rename, delete --where, restore."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlctl.adapters.runlog import stop_watch
from mlctl.adapters.runlog.stop_watch import StopWatch
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.heartbeat import HEARTBEAT, current_heartbeat
from mlctl.domain.stop_request import StopRequest
from tests.tracking_store import Answer

Mlctl = Callable[..., Answer]


@pytest.fixture
def run(own_store: str, mlctl: Mlctl) -> Callable[..., Any]:
    def call(*arguments: object, code: int = 0) -> Any:
        answer = mlctl(*arguments, "-o", "json")
        assert answer.code == code, answer.err
        return json.loads(answer.out) if answer.out else json.loads(answer.err.splitlines()[-1])["error"]

    return call


def test_tags_names_and_deleted_runs(own_store: str, run: Any) -> None:
    tagged = run("runs", "tag", "peak", "reviewed=yes", "owner=Bob")[0]
    assert (tagged["tags"]["reviewed"], tagged["tags"]["owner"]) == ("yes", "Bob")
    assert "reviewed" not in run("runs", "tag", "peak", "--remove", "reviewed")[0]["tags"]
    assert "no tag 'reviewed'" in run("runs", "tag", "peak", "--remove", "reviewed", code=3)["message"]
    assert "tag of mlctl itself" in run("runs", "tag", "peak", "mlctl.state=done", code=2)["message"]
    run("runs", "tag", "peak", code=2)
    assert run("runs", "rename", "peak", "summit")[0]["run_name"] == "summit"
    run("runs", "show", "peak", code=3)
    run("runs", "delete", code=2)
    where = ("--where", "best_val_f1 < 0.75", "-e", "toy")
    planned = [found["run_name"] for found in run("runs", "delete", *where, "--dry-run")]
    assert planned == [found["run_name"] for found in run("runs", "delete", *where, "--yes")]
    assert sorted(planned) == ["nan", "twin", "twin"]
    assert "no run matches" in run("runs", "delete", *where, "--yes", code=3)["message"]
    assert "several deleted runs" in run("runs", "restore", "twin", code=2)["message"]
    assert "no deleted run 'peak'" in run("runs", "restore", "peak", code=3)["message"]
    assert run("runs", "restore", "nan")[0]["change"] == "restored"
    assert run("runs", "show", "nan")["status"] == "FINISHED"


def test_experiments(own_store: str, run: Any, mlctl: Mlctl) -> None:
    created = run("experiments", "create", "new")
    assert created["change"] == "created"
    run("experiments", "create", "new", code=4)
    run("experiments", "rename", "new", "toy", code=4)
    assert run("experiments", "rename", "toy", "games")["name"] == "games"
    run("experiments", "rename", "toy", "x", code=3)
    assert mlctl("experiments", "delete", "games").code == 4  # nobody is there to ask
    run("experiments", "delete", "games", "--yes")
    assert "restore it" in run("experiments", "create", "games", code=4)["hint"]
    assert [one["run_name"] for one in run("runs", "list", "--limit", "0")] == ["stock", "lossy"]
    run("experiments", "restore", "toy", code=3)
    run("experiments", "restore", "games")
    assert len(run("runs", "list", "--limit", "0")) == 9


def running_run(store: str, heartbeat: str, **tags: str) -> str:
    client = TrackingStore(store).mlflow_client
    tags = {**tags, **({HEARTBEAT: heartbeat} if heartbeat else {})}
    return str(client.create_run("0", tags=tags).info.run_id)


def test_what_can_be_stopped(own_store: str, run: Any) -> None:
    assert "it is FINISHED" in run("runs", "stop", "peak", code=4)["message"]
    foreign = running_run(own_store, "")
    assert "nothing listens" in run("runs", "stop", foreign, code=4)["message"]
    lost = running_run(own_store, f"{time.time() - 900:.0f}")
    stopped = run("runs", "stop", lost, "--reason", "its node is gone")[0]
    assert (stopped["status"], stopped["change"]) == ("KILLED", "stopped")
    assert StopRequest.from_text(stopped["tags"]["mlctl.stop"]).reason == "its node is gone"
    search = running_run(own_store, current_heartbeat())
    trial = running_run(own_store, "", **{"mlctl.trial": "trial-7", "mlflow.parentRunId": search})
    assert run("runs", "stop", trial, "--no-wait")[0]["change"] == "asked to stop"
    assert "mlctl.stop.trial-7" in TrackingStore(own_store).get_run(search).tags


@pytest.fixture
def interruptible(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(stop_watch, "INTERVAL_S", 0.02)
    previous = signal.signal(signal.SIGTERM, stop_watch.interrupt)
    yield
    signal.signal(signal.SIGTERM, previous)


def test_a_request_interrupts_the_main_thread(own_store: str, interruptible: None) -> None:
    run_id, store = running_run(own_store, current_heartbeat()), TrackingStore(own_store)
    past = StopRequest(by="ada", at="2026-11-01T12:00+00:00").to_text()
    store.client.set_tag(run_id, "mlctl.stop", past)
    watch = StopWatch(own_store, run_id, {"mlctl.stop": past})  # the run was stopped, and is resumed now
    store.client.set_tag(run_id, "mlctl.stop.trial-1", past)
    deadline = time.monotonic() + 20
    while not watch.trials and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (watch.request, str(watch.trials["trial-1"])) == (None, "stopped by ada")
    request = threading.Timer(
        0.1, store.client.set_tag, [run_id, "mlctl.stop", "anything that a person has written"]
    )
    request.start()
    with pytest.raises(KeyboardInterrupt):
        time.sleep(20)
    assert str(watch.request) == "stopped by somebody: anything that a person has written"


def test_copies_and_moves(own_store: str, run: Any, mlctl: Mlctl, tmp_path: Path) -> None:
    original = run("runs", "show", "peak")
    (copy,) = run("runs", "copy", "peak", "--to", "archive")
    assert (copy["experiment"], copy["metrics"], copy["params"]) == (
        "archive", original["metrics"], original["params"],
    )  # fmt: skip
    assert copy["tags"]["mlctl.copied_from"] == original["run_id"] != copy["run_id"]
    artifacts = [artifact["path"] for artifact in run("runs", "artifacts", copy["run_id"])]
    assert artifacts == [artifact["path"] for artifact in run("runs", "artifacts", original["run_id"])]
    (moved,) = run("runs", "move", "steady", "--to", "archive")
    assert (moved["experiment"], moved["run_name"]) == ("archive", "steady")
    other = f"sqlite:///{tmp_path}/other.db"
    assert mlctl("runs", "move", "lossy", "--to", other).code == 4  # nobody is there to ask
    (gone,) = run("runs", "move", "lossy", "--to", other, "--yes")
    assert gone["experiment"] == "other"
    run("runs", "show", "lossy", code=3)
    training = running_run(own_store, current_heartbeat())
    refused = run("runs", "move", training, "--to", other, "--yes", code=4)
    assert "is still running" in refused["message"]


def test_nested_runs_go_with_their_run(own_store: str, run: Any, tmp_path: Path) -> None:
    client = TrackingStore(own_store).mlflow_client
    search = client.create_run("0", run_name="search").info.run_id
    tags = {"mlctl.trial": "trial-1", "mlflow.parentRunId": search}
    trial = client.create_run("0", run_name="trial", tags=tags).info.run_id
    client.create_run("0", run_name="epoch", tags={"mlflow.parentRunId": trial})
    for one in client.search_runs(["0"]):
        client.set_terminated(one.info.run_id)

    def family(uri: str, experiment: str) -> dict[str, str]:
        """Return the name of each run's parent."""
        store = TrackingStore(uri)
        runs = {found.run_id: found for found in store.search_runs(experiment=experiment)}
        names = {run_id: found.run_name for run_id, found in runs.items()}
        return {found.run_name: names.get(found.parent_run_id or "", "") for found in runs.values()}

    whole = {"search": "", "trial": "search", "epoch": "trial"}
    (copy,) = run("runs", "copy", "search", "--to", "copies")
    assert copy["run_id"] != search
    assert family(own_store, "copies") == whole
    run("runs", "move", search, "--to", "moved")
    assert family(own_store, "moved") == whole
    other = f"sqlite:///{tmp_path}/other.db"
    client.create_registered_model("Kept")
    client.create_model_version("Kept", "s3://models/1", trial)
    refused = run("runs", "move", search, "--to", other, "--yes", code=4)
    assert "is registered as Kept version 1" in refused["message"]
    client.delete_registered_model("Kept")
    run("runs", "move", search, "--to", other, "--yes")
    assert family(other, "moved") == whole
    assert family(own_store, "moved") == {}


def test_an_experiment_is_looked_for_where_there_is_no_store(
    mlctl: Mlctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/absent.db")
    for arguments in (("rename", "toy", "new"), ("delete", "toy", "--yes")):
        answer = mlctl("experiments", *arguments)
        assert answer.code == 3
        assert "there is no experiment 'toy'" in answer.err
    assert not (tmp_path / "absent.db").exists()
