"""A tracking server that is stopped, paused, killed or that answers nonsense costs a training nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlctl.adapters.runlog.trial_runs import TrialRuns, send_unsent, waiting
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import MlctlError
from tests.mlflow_server import MlflowServer, Proxy, running
from tests.parts import eventually, free_port
from tests.parts import postgres as postgres_part
from tests.training_run import assert_whole, client, kinds, only_run, record
from tests.zygote import Zygote

EPOCHS = 3
IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3"}
TOLD = "training goes on, and mlctl tries again"


def train(experiment: str, *more: str) -> list[str]:
    return ["train", "digits", "--epochs", str(EPOCHS), "--experiment", experiment, *more]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("sqlite-server")
    with running(folder, f"sqlite:///{folder}/mlflow.db") as server:
        yield server


@pytest.fixture
def proxy(server: MlflowServer) -> Iterator[Proxy]:
    proxy = Proxy(server.uri)
    yield proxy
    proxy.close()


def test_paused_during_an_epoch(zygote: Zygote, server: MlflowServer, tmp_path: Path) -> None:
    state = tmp_path / "state"
    run = zygote.start(train(tmp_path.name), state, tmp_path / "log", server.uri, **IMPATIENT)
    eventually(lambda: kinds(state)["metrics"] >= 1, 120, 0.005)
    server.send(signal.SIGSTOP)
    try:
        eventually(lambda: TOLD in run.said, 60)
    finally:
        server.send(signal.SIGCONT)
    assert run.wait() == 0, run.said
    assert run.said.count(TOLD) == 1, run.said
    assert_whole(server.uri, tmp_path.name, EPOCHS)
    assert record(state) is None


def test_hanging_at_the_end(zygote: Zygote, server: MlflowServer, tmp_path: Path) -> None:
    state = tmp_path / "state"
    run = zygote.start(train(tmp_path.name), state, tmp_path / "log", server.uri)
    eventually(lambda: kinds(state)["model"] >= 1, 120, 0.002)
    server.send(signal.SIGSTOP)
    try:
        eventually(lambda: kinds(state)["finish"] >= 1, 60)
        started = time.monotonic()
        assert run.wait() == 0, run.said
        assert time.monotonic() - started < 30
    finally:
        server.send(signal.SIGCONT)
    assert "mlctl sync" in run.said
    assert "not sent yet" in run.said
    synced = zygote.start(["sync"], state, tmp_path / "log2", server.uri)
    assert synced.wait() == 0, synced.said
    assert_whole(server.uri, tmp_path.name, EPOCHS)
    assert record(state) is None


def test_answering_500(zygote: Zygote, proxy: Proxy, tmp_path: Path) -> None:
    state = tmp_path / "state"
    run = zygote.start(train(tmp_path.name), state, tmp_path / "log", proxy.uri)
    eventually(lambda: kinds(state)["metrics"] >= 1, 120, 0.005)
    proxy.spoil = lambda number, path: "500"
    eventually(lambda: TOLD in run.said, 60)
    eventually(lambda: kinds(state)["model"] >= 1, 120)  # the training goes on meanwhile
    proxy.spoil = lambda number, path: ""
    assert run.wait() == 0, run.said
    assert run.said.count(TOLD) == 1, run.said
    assert_whole(proxy.uri, tmp_path.name, EPOCHS)


@pytest.mark.parametrize("environment", [{}, {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5"}], ids=["", "retries"])
def test_every_other_answer_is_lost(
    environment: dict[str, str], zygote: Zygote, proxy: Proxy, tmp_path: Path
) -> None:
    """The server did what was asked, and nobody heard: all of it is sent again, and counts once."""
    state = tmp_path / "state"
    run = zygote.start(train(tmp_path.name), state, tmp_path / "log", proxy.uri, **environment)
    eventually(lambda: kinds(state)["params"] >= 1, 120, 0.005)
    seen: set[str] = set()

    def first_time(number: int, path: str) -> str:
        new = path.partition("?")[0] not in seen
        seen.add(path.partition("?")[0])
        return "lost" if new and "health" not in path else ""

    proxy.spoil = first_time
    assert run.wait() == 0, run.said
    for attempt in range(30):  # the end of a run does not wait for ever, and a sync gives up at once
        if record(state) is None:
            break
        synced = zygote.start(["sync"], state, tmp_path / f"sync{attempt}", proxy.uri, **environment)
        assert synced.wait() in {0, 6}
    proxy.spoil = lambda number, path: ""
    for what in ("log-batch", "logged-models", "outputs", "MLmodel", "runs/update"):
        assert any(what in one for one in proxy.spoiled), (what, proxy.spoiled)
    assert_whole(proxy.uri, tmp_path.name, EPOCHS)


def test_a_model_that_a_given_up_request_makes_late_is_taken_away(
    zygote: Zygote, server: MlflowServer, proxy: Proxy, tmp_path: Path
) -> None:
    late: list[str] = []

    def meanwhile(number: int, path: str) -> str:
        if "MLmodel" in path and not late:
            late.append("on its way")
            asked, run = client(server.uri), only_run(server.uri, tmp_path.name)
            made = asked.create_logged_model(run.info.experiment_id, "model", run.info.run_id)
            late[:] = [made.model_id]
        return ""

    proxy.spoil = meanwhile
    run = zygote.start(train(tmp_path.name), tmp_path / "state", tmp_path / "log", proxy.uri)
    assert run.wait() == 0, run.said
    whole = assert_whole(server.uri, tmp_path.name, EPOCHS)
    assert late
    assert whole.data.tags["mlctl.model_uri"] != f"models:/{late[0]}"


def test_a_trial_whose_answers_are_lost_has_one_run(proxy: Proxy, tmp_path: Path) -> None:
    store = TrackingStore(proxy.uri)
    experiment = store.client.create_experiment("lost answers of a search")
    parent = store.client.create_run(experiment).info.run_id
    seen: set[str] = set()

    def first_time(number: int, path: str) -> str:
        new = path not in seen
        seen.add(path)
        return "lost" if new else ""

    proxy.spoil = first_time
    told: list[MlctlError] = []
    runs = TrialRuns(store, experiment, parent, {"mlctl.kind": "trial"}, tmp_path, told.append)
    runs.begin("0", {"units": 16}, 1000)
    runs.epoch("0", 1, {"loss": 0.5}, 1001)
    runs.end("0", "FINISHED", {"score": 0.9}, 1, {"mlctl.epochs": 1}, 1002)
    assert runs.finish(30)
    assert told
    assert {one.rpartition("/")[2] for one in proxy.spoiled} >= {"create", "log-batch", "update"}
    (run,) = store.client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert (run.info.status, run.data.params) == ("FINISHED", {"units": "16"})
    assert run.data.metrics == {"loss": 0.5, "score": 0.9}


def test_trials_that_a_store_has_not_taken_are_sent_by_a_later_process(proxy: Proxy, tmp_path: Path) -> None:
    store = TrackingStore(proxy.uri)
    experiment = store.client.create_experiment(tmp_path.name)
    parent = store.client.create_run(experiment).info.run_id
    runs = TrialRuns(store, experiment, parent, {"mlctl.recipe": "digits"}, tmp_path, lambda error: None)
    runs.begin("1", {"units": 16}, 1000)
    eventually(lambda: waiting(tmp_path) == 0, 20)
    proxy.spoil = lambda number, path: "500"
    runs.epoch("1", 1, {"loss": 0.5}, 1001)
    runs.end("1", "FINISHED", {"score": 0.9}, 1, {"mlctl.state": "done"}, 1002)
    runs.begin("2", {"units": 32}, 1003)
    assert not runs.finish(0.5)
    assert waiting(tmp_path) == 4  # the second, which nobody ended, is ended as KILLED
    proxy.spoil = lambda number, path: ""
    said: list[str] = []
    assert send_unsent(store, experiment, parent, tmp_path, said.append) == 4
    assert send_unsent(store, experiment, parent, tmp_path, said.append) == 0
    assert said == []
    found = {
        one.data.tags["mlctl.trial"]: one
        for one in store.client.search_runs([experiment])
        if "mlctl.trial" in one.data.tags
    }
    assert {
        name: (one.info.status, one.data.tags["mlctl.state"], one.data.params, one.data.metrics)
        for name, one in found.items()
    } == {
        "1": ("FINISHED", "done", {"units": "16"}, {"loss": 0.5, "score": 0.9}),
        "2": ("KILLED", "interrupted", {"units": "32"}, {}),
    }
    assert found["2"].data.tags["mlctl.recipe"] == "digits"


def test_a_trial_whose_run_is_deleted_holds_up_no_other(server: MlflowServer, tmp_path: Path) -> None:
    store = TrackingStore(server.uri)
    experiment = store.client.create_experiment(tmp_path.name)
    parent = store.client.create_run(experiment).info.run_id
    told: list[MlctlError] = []
    runs = TrialRuns(store, experiment, parent, {}, tmp_path, told.append)
    runs.begin("1", {"units": 16}, 1000)
    eventually(lambda: "1" in runs.ids, 20)
    store.client.delete_run(runs.ids["1"])
    runs.epoch("1", 1, {"loss": 0.5}, 1001)
    runs.end("1", "FINISHED", {}, 1, {"mlctl.state": "done"}, 1002)
    runs.begin("2", {"units": 32}, 1003)
    runs.end("2", "FINISHED", {"score": 0.8}, 1, {"mlctl.state": "done"}, 1004)
    assert runs.finish(10)
    assert len(told) == 1
    assert "refuses what trial 1" in told[0].message
    found = [one for one in store.client.search_runs([experiment]) if "mlctl.trial" in one.data.tags]
    assert [(one.info.status, one.data.metrics) for one in found] == [("FINISHED", {"score": 0.8})]


def test_a_search_whose_store_goes_away_is_whole_after_sync(
    zygote: Zygote, proxy: Proxy, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    asked = ["tune", "digits", "--trials", "3", "--epochs", "2", "-P", "1", "--finalists", "0",
             "--space", "units=16..64:16", "--experiment", tmp_path.name]  # fmt: skip
    search = zygote.start(asked, state, tmp_path / "log", proxy.uri)
    eventually(lambda: "trial 0001 " in search.said or search.poll() is not None, 120, 0.01)
    proxy.spoil = lambda number, path: "500"
    assert search.wait() == 0, search.said
    assert "mlctl sync" in search.said
    proxy.spoil = lambda number, path: ""
    synced = zygote.start(["sync"], state, tmp_path / "log2", proxy.uri)
    assert synced.wait() == 0, synced.said
    asked_store = client(proxy.uri)
    runs = asked_store.search_runs([asked_store.get_experiment_by_name(tmp_path.name).experiment_id])
    trials = {one.data.tags["mlctl.trial"]: one for one in runs if "mlctl.trial" in one.data.tags}
    assert sorted(trials) == ["0001", "0002", "0003"]
    assert {one.info.status for one in runs} == {"FINISHED"}
    for one in trials.values():
        points = asked_store.get_metric_history(one.info.run_id, "val_loss")
        assert [point.step for point in points] == [1, 2]
    assert record(state) is None


def test_away_at_the_start(zygote: Zygote, server: MlflowServer, tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    refused = zygote.start(train(tmp_path.name), tmp_path / "refused", tmp_path / "log", away)
    assert refused.wait() == 6, refused.said
    assert record(tmp_path / "refused") is None

    state = tmp_path / "state"
    offline = zygote.start(train(tmp_path.name, "--offline"), state, tmp_path / "log2", away)
    assert offline.wait() == 0, offline.said
    assert "mlctl sync" in offline.said
    folder = record(state)
    assert folder
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace(away, server.uri))  # the server is back, where it was
    both = [zygote.start(["sync"], state, tmp_path / f"sync{n}", server.uri) for n in range(2)]
    assert [one.wait() for one in both] == [0, 0], [one.said for one in both]
    assert_whole(server.uri, tmp_path.name, EPOCHS)
    assert record(state) is None
    again = zygote.start(["sync"], state, tmp_path / "log3", server.uri)
    assert again.wait() == 0, again.said


def test_dead_for_good_then_synced(zygote: Zygote, tmp_path: Path, backend: str) -> None:
    """Killed in an epoch, back for the sync, killed in the model's upload, back again for two syncs at once."""
    state = tmp_path / "state"
    with running(tmp_path / "server", backend) as server:
        run = zygote.start(train(tmp_path.name), state, tmp_path / "log", server.uri)
        eventually(lambda: kinds(state)["metrics"] >= 1, 120, 0.005)
        server.end()
        assert run.wait() == 0, run.said
        assert run.said.count(TOLD) == 1, run.said
        assert "mlctl sync" in run.said
        assert kinds(state)["metrics"] == EPOCHS + 1  # with what the kept model reached
        folder = record(state)
        assert folder
        assert (folder / "model" / "MLmodel").exists()

        server.start()
        first = zygote.start(["sync"], state, tmp_path / "log2", server.uri)
        eventually(lambda: (folder / "model_id").exists() or first.poll() is not None, 60, 0.002)
        server.send(signal.SIGSTOP)
        assert first.poll() is None, first.said
        server.end()
        assert first.wait() == 6, first.said

        restarted = threading.Thread(target=server.start)
        restarted.start()
        away = zygote.start(["sync"], state, tmp_path / "log3", server.uri)  # too early, as likely as not
        restarted.join()
        assert away.wait() in {0, 6}
        both = [zygote.start(["sync"], state, tmp_path / f"sync{n}", server.uri) for n in range(2)]
        assert [one.wait() for one in both] == [0, 0], [one.said for one in both]
        assert_whole(server.uri, tmp_path.name, EPOCHS)
        assert record(state) is None
        server.end(signal.SIGTERM)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/mlflow.db"
        return
    with postgres_part.running() as server:
        named = server.uri(server.new_database())
        before = os.environ.get("PGPASSWORD")
        os.environ["PGPASSWORD"] = postgres_part.PASSWORD
        yield named.replace("postgresql://", "postgresql+psycopg2://")
        os.environ.pop("PGPASSWORD") if before is None else os.environ.update(PGPASSWORD=before)
