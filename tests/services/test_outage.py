"""A training loses nothing if its tracking server is stopped, paused, killed or answers with errors."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from mlctl.adapters.runlog.trial_runs import TrialRuns, count_unsent, send_unsent
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import MlctlError
from tests.mlflow_server import MlflowServer, Proxy, running
from tests.parts import eventually, free_port
from tests.parts import postgres as postgres_part
from tests.trained import TINY
from tests.training_run import assert_complete, client, kinds, only_run, record
from tests.zygote import Zygote

pytestmark = pytest.mark.live

EmptyStore = Callable[[Path], str]
EPOCHS = 3
# epochs take long enough for a test to break the server in one of them
RECIPE = f"""{TINY}
    def callbacks(self, hp, data):
        import time

        import keras

        return [keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: time.sleep(0.2))]
"""
SHORT_TIMEOUT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3"}
OUTAGE = "the training continues, and mlctl tries again"


def train_command(state: Path, experiment: str, *options: str) -> list[str]:
    """Write a recipe to the state folder, which is the working directory; return a command that trains it."""
    state.mkdir(parents=True, exist_ok=True)
    (state / "tiny.py").write_text(RECIPE)
    return ["train", "tiny.py", "--epochs", str(EPOCHS), "--experiment", experiment, *options]


def trial_runs(
    store: TrackingStore,
    experiment_id: str,
    parent_id: str,
    folder: Path,
    *,
    tags: Mapping[str, str] | None = None,
    report_error: Callable[[MlctlError], None] = lambda error: None,
) -> TrialRuns:
    return TrialRuns(
        store,
        experiment_id=experiment_id,
        parent_id=parent_id,
        folder=folder,
        tags=tags or {},
        report_error=report_error,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: EmptyStore) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("sqlite-server")
    with running(folder, empty_store(folder)) as server:
        yield server


@pytest.fixture
def proxy(server: MlflowServer) -> Iterator[Proxy]:
    proxy = Proxy(server.uri)
    yield proxy
    proxy.close()


def test_server_pauses_during_an_epoch(zygote: Zygote, server: MlflowServer, tmp_path: Path) -> None:
    state = tmp_path / "state"
    run = zygote.start(
        train_command(state, tmp_path.name), state, tmp_path / "log", server.uri, **SHORT_TIMEOUT
    )
    eventually(lambda: kinds(state)["metrics"] >= 1, 120, 0.005)
    server.send(signal.SIGSTOP)
    try:
        eventually(lambda: OUTAGE in run.output, 120)
    finally:
        server.send(signal.SIGCONT)
    assert run.wait() == 0, run.output
    assert run.output.count(OUTAGE) == 1, run.output
    assert_complete(server.uri, tmp_path.name, EPOCHS)
    assert record(state) is None


def test_server_hangs_at_the_end(zygote: Zygote, server: MlflowServer, tmp_path: Path) -> None:
    state = tmp_path / "state"
    run = zygote.start(train_command(state, tmp_path.name), state, tmp_path / "log", server.uri)
    eventually(lambda: kinds(state)["model"] >= 1, 120, 0.002)
    server.send(signal.SIGSTOP)
    try:
        eventually(lambda: kinds(state)["finish"] >= 1, 120)
        assert run.wait() == 0, run.output
    finally:
        server.send(signal.SIGCONT)
    assert "mlctl sync" in run.output
    assert "not sent yet" in run.output
    synced = zygote.start(["sync"], state, tmp_path / "log2", server.uri)
    assert synced.wait() == 0, synced.output
    assert_complete(server.uri, tmp_path.name, EPOCHS)
    assert record(state) is None


def test_server_answers_500(zygote: Zygote, proxy: Proxy, tmp_path: Path) -> None:
    state = tmp_path / "state"
    run = zygote.start(train_command(state, tmp_path.name), state, tmp_path / "log", proxy.uri)
    eventually(lambda: kinds(state)["metrics"] >= 1, 120, 0.005)
    proxy.choose_fault = lambda number, path: "500"
    eventually(lambda: OUTAGE in run.output, 120)
    eventually(lambda: kinds(state)["model"] >= 1, 120)  # the training continues meanwhile
    proxy.choose_fault = lambda number, path: ""
    assert run.wait() == 0, run.output
    assert run.output.count(OUTAGE) == 1, run.output
    assert_complete(proxy.uri, tmp_path.name, EPOCHS)


@pytest.mark.parametrize(
    "environment",
    [{}, pytest.param({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5"}, marks=pytest.mark.long)],
    ids=["", "retries"],
)
def test_first_answer_of_each_request_is_lost(
    environment: dict[str, str], zygote: Zygote, proxy: Proxy, tmp_path: Path
) -> None:
    """The server has done the request, so mlctl sends it again, and it counts once."""
    state = tmp_path / "state"
    run = zygote.start(train_command(state, tmp_path.name), state, tmp_path / "log", proxy.uri, **environment)
    eventually(lambda: kinds(state)["params"] >= 1, 120, 0.005)
    paths: set[str] = set()

    def lose_first(number: int, path: str) -> str:
        is_new = path.partition("?")[0] not in paths
        paths.add(path.partition("?")[0])
        return "lost" if is_new and "health" not in path else ""

    proxy.choose_fault = lose_first
    assert run.wait() == 0, run.output
    for attempt in range(30):  # the end of a run does not wait forever, and a sync gives up at once
        if record(state) is None:
            break
        synced = zygote.start(["sync"], state, tmp_path / f"sync{attempt}", proxy.uri, **environment)
        assert synced.wait() in {0, 6}
    proxy.choose_fault = lambda number, path: ""
    for request in ("log-batch", "logged-models", "outputs", "MLmodel", "runs/update"):
        assert any(request in fault for fault in proxy.faults), (request, proxy.faults)
    assert_complete(proxy.uri, tmp_path.name, EPOCHS)


def test_model_of_a_request_that_timed_out_is_deleted(
    zygote: Zygote, server: MlflowServer, proxy: Proxy, tmp_path: Path
) -> None:
    late_ids: list[str] = []

    def create_another(number: int, path: str) -> str:
        if "MLmodel" in path and not late_ids:
            late_ids.append("being created")
            mlflow_client, run = client(server.uri), only_run(server.uri, tmp_path.name)
            model = mlflow_client.create_logged_model(run.info.experiment_id, "tiny", run.info.run_id)
            late_ids[:] = [model.model_id]
        return ""

    proxy.choose_fault = create_another
    state = tmp_path / "state"
    run = zygote.start(train_command(state, tmp_path.name), state, tmp_path / "log", proxy.uri)
    assert run.wait() == 0, run.output
    sent_run = assert_complete(server.uri, tmp_path.name, EPOCHS)
    assert late_ids
    assert sent_run.data.tags["mlctl.model_uri"] != f"models:/{late_ids[0]}"


def test_trial_whose_answers_are_lost_has_one_run(proxy: Proxy, tmp_path: Path) -> None:
    store = TrackingStore(proxy.uri)
    experiment = store.client.create_experiment("lost answers of a search")
    parent = store.client.create_run(experiment).info.run_id
    paths: set[str] = set()

    def lose_first(number: int, path: str) -> str:
        is_new = path not in paths
        paths.add(path)
        return "lost" if is_new else ""

    proxy.choose_fault = lose_first
    errors: list[MlctlError] = []
    runs = trial_runs(store, experiment, parent, tmp_path, report_error=errors.append)
    runs.begin("0", {"units": 16}, 1000)
    runs.epoch("0", 1, {"loss": 0.5}, 1001)
    runs.end("0", "FINISHED", {"score": 0.9}, {"mlctl.epochs": 1}, 1002)
    assert runs.finish(30)
    assert errors
    assert {fault.rpartition("/")[2] for fault in proxy.faults} >= {"create", "log-batch", "update"}
    (run,) = store.client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert (run.info.status, run.data.params) == ("FINISHED", {"units": "16"})
    assert run.data.metrics == {"loss": 0.5, "score": 0.9}


def test_later_process_sends_unsent_trials(proxy: Proxy, tmp_path: Path) -> None:
    store = TrackingStore(proxy.uri)
    experiment = store.client.create_experiment(tmp_path.name)
    parent = store.client.create_run(experiment).info.run_id
    runs = trial_runs(store, experiment, parent, tmp_path, tags={"mlctl.recipe": "digits"})
    runs.begin("1", {"units": 16}, 1000)
    eventually(lambda: count_unsent(tmp_path) == 0, 60)
    proxy.choose_fault = lambda number, path: "500"
    runs.epoch("1", 1, {"loss": 0.5}, 1001)
    runs.end("1", "FINISHED", {"score": 0.9}, {"mlctl.state": "done"}, 1002)
    runs.begin("2", {"units": 32}, 1003)
    assert not runs.finish(0.5)
    assert count_unsent(tmp_path) == 4  # finish ends the second as KILLED
    proxy.choose_fault = lambda number, path: ""
    messages: list[str] = []
    for expected in (4, 0):
        sent = send_unsent(
            store, experiment_id=experiment, parent_id=parent, folder=tmp_path, report=messages.append
        )
        assert sent == expected
    assert messages == []
    by_trial = {
        run.data.tags["mlctl.trial"]: run
        for run in store.client.search_runs([experiment])
        if "mlctl.trial" in run.data.tags
    }
    assert {
        trial: (run.info.status, run.data.tags["mlctl.state"], run.data.params, run.data.metrics)
        for trial, run in by_trial.items()
    } == {
        "1": ("FINISHED", "done", {"units": "16"}, {"loss": 0.5, "score": 0.9}),
        "2": ("KILLED", "interrupted", {"units": "32"}, {}),
    }
    assert by_trial["2"].data.tags["mlctl.recipe"] == "digits"


def test_trial_whose_run_is_deleted_does_not_block_others(server: MlflowServer, tmp_path: Path) -> None:
    store = TrackingStore(server.uri)
    experiment = store.client.create_experiment(tmp_path.name)
    parent = store.client.create_run(experiment).info.run_id
    errors: list[MlctlError] = []
    runs = trial_runs(store, experiment, parent, tmp_path, report_error=errors.append)
    runs.begin("1", {"units": 16}, 1000)
    eventually(lambda: "1" in runs.ids, 60)
    store.client.delete_run(runs.ids["1"])
    runs.epoch("1", 1, {"loss": 0.5}, 1001)
    runs.end("1", "FINISHED", {}, {"mlctl.state": "done"}, 1002)
    runs.begin("2", {"units": 32}, 1003)
    runs.end("2", "FINISHED", {"score": 0.8}, {"mlctl.state": "done"}, 1004)
    assert runs.finish(10)
    assert len(errors) == 1
    assert "refuses updates of trial 1" in errors[0].message
    trials = [run for run in store.client.search_runs([experiment]) if "mlctl.trial" in run.data.tags]
    assert [(run.info.status, run.data.metrics) for run in trials] == [("FINISHED", {"score": 0.8})]


def test_search_whose_store_goes_away_is_complete_after_sync(
    zygote: Zygote, proxy: Proxy, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "tiny.py").write_text(TINY)
    command = (
        "tune tiny.py --trials 3 --epochs 2 -P 1 --finalists 0"
        f" --space units=4..16:4 --experiment {tmp_path.name}"
    )
    search = zygote.start(command.split(), state, tmp_path / "log", proxy.uri)
    eventually(lambda: "trial 0001 " in search.output or search.poll() is not None, 120, 0.01)
    proxy.choose_fault = lambda number, path: "500"
    assert search.wait() == 0, search.output
    assert "mlctl sync" in search.output
    proxy.choose_fault = lambda number, path: ""
    synced = zygote.start(["sync"], state, tmp_path / "log2", proxy.uri)
    assert synced.wait() == 0, synced.output
    mlflow_client = client(proxy.uri)
    experiment = mlflow_client.get_experiment_by_name(tmp_path.name)
    runs = mlflow_client.search_runs([experiment.experiment_id])
    trials = {run.data.tags["mlctl.trial"]: run for run in runs if "mlctl.trial" in run.data.tags}
    assert sorted(trials) == ["0001", "0002", "0003"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in trials.values():
        points = mlflow_client.get_metric_history(run.info.run_id, "val_loss")
        assert [point.step for point in points] == [1, 2]
    assert record(state) is None


def test_server_is_away_at_the_start(zygote: Zygote, server: MlflowServer, tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    elsewhere = tmp_path / "refused"
    refused = zygote.start(train_command(elsewhere, tmp_path.name), elsewhere, tmp_path / "log", away)
    assert refused.wait() == 6, refused.output
    assert record(elsewhere) is None

    state = tmp_path / "state"
    offline = zygote.start(train_command(state, tmp_path.name, "--offline"), state, tmp_path / "log2", away)
    assert offline.wait() == 0, offline.output
    assert "mlctl sync" in offline.output
    folder = record(state)
    assert folder
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(
        text.replace(away, server.uri)
    )  # as if the server had come back at its address
    syncs = [zygote.start(["sync"], state, tmp_path / f"sync{n}", server.uri) for n in range(2)]
    assert [sync.wait() for sync in syncs] == [0, 0], [sync.output for sync in syncs]
    assert_complete(server.uri, tmp_path.name, EPOCHS)
    assert record(state) is None
    again = zygote.start(["sync"], state, tmp_path / "log3", server.uri)
    assert again.wait() == 0, again.output


def test_killed_server_comes_back_for_sync(zygote: Zygote, tmp_path: Path, backend: str) -> None:
    """Killed in an epoch, back for a sync, killed in the upload of the model, back for two syncs at once."""
    state = tmp_path / "state"
    with running(tmp_path / "server", backend) as server:
        run = zygote.start(train_command(state, tmp_path.name), state, tmp_path / "log", server.uri)
        eventually(lambda: kinds(state)["metrics"] >= 1, 120, 0.005)
        server.end()
        assert run.wait() == 0, run.output
        assert run.output.count(OUTAGE) == 1, run.output
        assert "mlctl sync" in run.output
        assert kinds(state)["metrics"] == EPOCHS + 1  # with the metrics of the kept model
        folder = record(state)
        assert folder
        assert (folder / "model" / "MLmodel").exists()

        server.start()
        first = zygote.start(["sync"], state, tmp_path / "log2", server.uri)
        eventually(lambda: any(folder.glob("model_id*")) or first.poll() is not None, 60, 0.002)
        server.send(signal.SIGSTOP)
        assert first.poll() is None, first.output
        server.end()
        assert first.wait() == 6, first.output

        restarted = threading.Thread(target=server.start)
        restarted.start()
        away = zygote.start(["sync"], state, tmp_path / "log3", server.uri)  # probably too early
        restarted.join()
        assert away.wait() in {0, 6}
        syncs = [zygote.start(["sync"], state, tmp_path / f"sync{n}", server.uri) for n in range(2)]
        assert [sync.wait() for sync in syncs] == [0, 0], [sync.output for sync in syncs]
        assert_complete(server.uri, tmp_path.name, EPOCHS)
        assert record(state) is None
        server.end(signal.SIGTERM)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres", marks=[pytest.mark.needs("postgres"), pytest.mark.long]),
    ]
)
def backend(request: pytest.FixtureRequest, tmp_path: Path, empty_store: EmptyStore) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield empty_store(tmp_path)
        return
    with postgres_part.running() as server:
        named = server.uri(server.new_database())
        before = os.environ.get("PGPASSWORD")
        os.environ["PGPASSWORD"] = postgres_part.PASSWORD
        yield named.replace("postgresql://", "postgresql+psycopg2://")
        os.environ.pop("PGPASSWORD") if before is None else os.environ.update(PGPASSWORD=before)
