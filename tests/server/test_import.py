"""mlctl import: what another store holds is the same in this one, as MLflow's own client reads both."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command_line import CommandLine
from tests.parts.fake_server import fake_server
from tests.tracking_store import Answer

Mlctl = Callable[..., Answer]


@pytest.fixture(scope="module")
def file_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file store that MLflow itself has written: two runs, a deleted one, models, versions."""
    import mlflow
    import numpy as np
    from mlflow.entities import DatasetInput, InputTag, LoggedModelOutput, Metric, Param

    folder = tmp_path_factory.mktemp("old") / "mlruns"
    uri = f"file://{folder}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        # a test before this one in the same worker may have chosen another store
        patch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
        client = mlflow.MlflowClient(uri, uri)
        experiment = client.create_experiment("fraud", tags={"team": "risk"})
        client.create_registered_model("Fraud", {"owner": "ada"}, "finds fraud")
        for number in range(3):
            run_id = client.create_run(
                experiment, run_name=f"r{number}", start_time=1000 + number
            ).info.run_id
            values = [1.0, math.nan, math.inf, -math.inf, 0.5]
            metrics = [Metric("val/loss", value, 2000 + step, step) for step, value in enumerate(values)]
            client.log_batch(run_id, metrics, [Param("a b/c", "ü"), Param("lr", "0.1")])
            client.set_tag(run_id, "note", "line\n" * 3)
            client.log_text(run_id, "hello", "notes/a.txt")
            dataset = mlflow.data.from_numpy(np.arange(4.0), name="d")._to_mlflow_entity()
            client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])])
            model = client.create_logged_model(
                experiment, "net", run_id, tags={"k": "v"}, params={"units": "8"}
            )
            client.log_batch(run_id, [Metric("f1", 0.9, 1, 1, model_id=model.model_id, run_id=run_id)])
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=2)])
            location = Path(model.artifact_location.removeprefix("file://"))
            location.mkdir(parents=True)
            (location / "MLmodel").write_text(f"model_id: {model.model_id}\n")
            client.finalize_logged_model(model.model_id, "READY")
            client.create_model_version(
                "Fraud", f"models:/{model.model_id}", run_id, {"x": "y"}, model_id=model.model_id
            )
            client.set_terminated(run_id, "FINISHED", 3000)
        source = f"{client.get_run(run_id).info.artifact_uri}/notes"
        client.create_model_version("Fraud", source, run_id)
        client.set_registered_model_alias("Fraud", "champion", "2")
        client.delete_run(run_id)
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlctl_here: Mlctl) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, code: int = 0, into: str = "new.db") -> Any:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/{into}")
        answer = mlctl_here(*arguments, "-o", "json")
        assert answer.code == code, answer.err
        return json.loads(answer.out) if answer.out else json.loads(answer.err.splitlines()[-1])["error"]

    return call


@pytest.fixture
def mlctl_here(capsys: pytest.CaptureFixture[str]) -> Mlctl:
    from mlctl.cli.app import run as run_command

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run_command([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


def finite(value: float) -> float:
    """Return a value as MLflow's databases store it, which know no infinity."""
    return math.copysign(1.7976931348623157e308, value) if math.isinf(value) else value


def content(uri: str) -> dict[str, Any]:
    """Return what MLflow's client reads from a store, without addresses of artifacts, but with their content."""
    import mlflow

    client = mlflow.MlflowClient(uri, uri)
    experiments = {one.name: one for one in client.search_experiments() if one.name != "Default"}
    found: dict[str, Any] = {}
    for name, experiment in experiments.items():
        for run in client.search_runs([experiment.experiment_id]):
            run_id = run.info.run_id
            files = client.list_artifacts(run_id, "notes")
            found[run_id] = {
                "experiment": (name, experiment.tags.get("team")),
                "info": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time),
                "data": (
                    run.data.params,
                    run.data.tags,
                    str(sorted((key, finite(value)) for key, value in run.data.metrics.items())),
                ),
                "points": str(
                    [
                        (finite(p.value), p.step, p.timestamp)
                        for p in client.get_metric_history(run_id, "val/loss")
                    ]
                ),
                "inputs": [
                    (one.dataset.to_dictionary(), one.tags[0].value) for one in run.inputs.dataset_inputs
                ],
                "outputs": [(one.model_id, one.step) for one in run.outputs.model_outputs],
                "files": [(file.path, file.file_size) for file in files],
            }
        for model in client.search_logged_models([experiment.experiment_id]):
            metrics = [(one.key, one.value, one.step, one.run_id) for one in model.metrics or ()]
            files = client.list_logged_model_artifacts(model.model_id)
            found[model.model_id] = (
                model.name,
                str(model.status),
                model.params,
                model.tags,
                metrics if model.source_run_id in found else "",
                [file.path for file in files],
            )
    for model in client.search_registered_models():
        versions = sorted(
            client.search_model_versions(f"name = '{model.name}'"), key=lambda one: int(one.version)
        )
        found[model.name] = (
            model.description,
            model.tags,
            {alias: int(version) for alias, version in model.aliases.items()},
            [(one.version, one.run_id, one.tags, one.creation_timestamp) for one in versions],
        )
    return found


def test_a_file_store(file_store: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = shutil.copytree(file_store, tmp_path / "elsewhere" / "mlruns")  # as from another machine
    planned = run("import", moved, "--dry-run")
    assert (planned["runs"], planned["models"], planned["versions"]) == (2, 3, 4)
    assert not (tmp_path / "new.db").exists()
    report = run("import", moved)
    assert (report["runs"], report["present"], report["models"], report["versions"]) == (2, 0, 3, 4)
    assert report["files"] == 5
    again = run("import", moved)
    assert (again["runs"], again["present"], again["models"], again["versions"]) == (0, 2, 0, 0)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    old, new = content(f"file://{file_store}"), content(f"sqlite:///{tmp_path}/new.db")
    assert old == new
    shutil.rmtree(moved)
    assert run("runs", "artifacts", "r1")  # they are copies
    run("import", f"{tmp_path}/new.db", into="second.db")  # a database
    assert content(f"sqlite:///{tmp_path}/second.db") == new


def test_the_imported_folder_can_be_deleted(file_store: Path, tmp_path: Path, run: Any) -> None:
    """MLflow would put new artifacts into `mlruns` beside the database, which is the folder that is imported."""
    old = shutil.copytree(file_store, tmp_path / "mlruns")
    before = sorted(path.relative_to(old) for path in old.rglob("*"))
    run("import", "mlruns")
    assert sorted(path.relative_to(old) for path in old.rglob("*")) == before
    shutil.rmtree(old)
    assert "notes/a.txt" in [artifact["path"] for artifact in run("runs", "artifacts", "r1")]
    assert len(list((tmp_path / "mlruns-imported").rglob("MLmodel"))) == 3


def test_a_database_that_a_server_uses(
    file_store: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Artifacts go to where the server finds them, and come from there."""
    from mlflow import MlflowClient

    monkeypatch.setenv("MLCTL_STATE_DIR", str(tmp_path / "state"))
    uri, folder = f"sqlite:///{tmp_path}/new.db", tmp_path / "mlartifacts"
    line = CommandLine(tmp_path / "state", tmp_path)
    place = {"root": str(tmp_path), "backend": uri, "bucket": None, "direct": False}
    with fake_server(line, place=place, artifacts=str(folder)):
        report = run("import", file_store, "-e", "fraud")
        assert report["files"] == len([path for path in folder.rglob("*") if path.is_file()]) == 5
        copied = MlflowClient(uri).get_run(run("runs", "show", "r1")["run_id"])
        assert copied.info.artifact_uri.startswith("mlflow-artifacts:/")
        assert run("import", uri, into="second.db")["files"] == 5
        run("runs", "copy", "r1", "--to", "copies")
        assert len(list(folder.rglob("a.txt"))) == 3
    shutil.rmtree(tmp_path / "state")
    refused = run("import", uri, into="third.db", code=4)
    assert "behind a tracking server" in refused["message"]
    assert run("import", uri, "--no-artifacts", into="fourth.db")["runs"] == 3


def test_an_import_that_was_interrupted(file_store: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlctl.services.server import import_store

    monkeypatch.setattr(import_store, "BATCH", 1)
    copies = iter(range(100))

    def copy_once(*arguments: Any) -> None:
        if next(copies) == 1:
            raise KeyboardInterrupt
        original(*arguments)

    original = import_store.copy_folder
    monkeypatch.setattr(import_store, "copy_folder", copy_once)
    run("import", file_store, code=130)
    report = run("import", file_store)
    assert (report["runs"], report["present"], report["models"]) == (1, 1, 3)


def test_parts_and_faults(file_store: Path, tmp_path: Path, run: Any) -> None:
    damaged = shutil.copytree(file_store, tmp_path / "damaged")
    first, _ = sorted(
        path
        for path in damaged.glob("*/*/meta.yaml")
        if b"deleted" not in path.read_bytes() and "models" not in str(path)
    )[-2:]
    first.write_text("")
    report = run("import", damaged, "-e", "fraud", "--no-artifacts")
    assert (report["runs"], report["files"], report["registered_models"]) == (1, 0, 0)
    assert f"run {first.parent.name} is damaged" in report["notes"][0]
    assert "no experiment 'x'" in run("import", damaged, "-e", "x", code=3)["message"]
    assert "no run" in run("import", damaged, "--run", "0" * 32, code=2)["message"]
    assert "no MLflow file store" in run("import", tmp_path, code=3)["message"]
    assert "there is no store" in run("import", "nowhere", code=3)["message"]
    (tmp_path / "text.db").write_text("text")
    run("import", tmp_path / "text.db", code=8)


def test_a_server_of_mlflow_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no logged models, and the client's own filter for prompts finds no model there."""
    from mlflow.entities.model_registry import RegisteredModel
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND
    from mlflow.store.entities import PagedList

    from mlctl.adapters.importing.server_source import ServerSource
    from mlctl.domain.importing import SourceExperiment

    class Client:
        store = property(lambda self: self)

        def _get_registry_client(self) -> Client:
            return self

        def search_logged_models(self, **_: Any) -> Any:
            raise MlflowException("no such endpoint", ENDPOINT_NOT_FOUND)

        def search_registered_models(self, *, filter_string: str = "", **_: Any) -> Any:
            return PagedList([] if filter_string else [RegisteredModel("Fraud")], None)

        def search_model_versions(self, **_: Any) -> Any:
            return PagedList([], None)

    monkeypatch.setattr("mlctl.adapters.tracking.store.TrackingStore.mlflow_client", Client())
    source = ServerSource("http://127.0.0.1:9")
    assert source.models(SourceExperiment(key="1", name="fraud")) == []
    assert [model.name for model in source.registered_models()] == ["Fraud"]


@pytest.mark.live
def test_a_server(server: str, filled: Path, tmp_path: Path, run: Any) -> None:
    report = run("import", server)
    assert report["runs"] == 9
    assert content(f"sqlite:///{tmp_path}/new.db") == content(f"sqlite:///{filled}/mlflow.db")
