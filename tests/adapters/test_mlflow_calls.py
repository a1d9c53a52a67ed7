"""MLflow's calls inside a recipe are collected, and everything around them is as before."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest

from mlctl.adapters.runlog.mlflow_calls import MlflowCalls
from mlctl.adapters.system.import_hooks import after_import


class Recorded:
    """A UserRecorder that keeps what it is given."""

    run_id = "a" * 32

    def __init__(self) -> None:
        self.params: dict[str, str] = {}
        self.points: list[Any] = []
        self.tags: dict[str, str] = {}
        self.files: dict[str, str] = {}

    def log_user_params(self, values: dict[str, str]) -> None:
        self.params |= values

    def log_user_metrics(self, points: Any) -> None:
        self.points += [point[:3] for point in points]

    def set_tags(self, values: dict[str, str]) -> None:
        self.tags |= values

    def log_user_artifact(self, file: Path, path: str) -> None:
        self.files[path] = file.read_text()


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path}/real.db"


def test_calls_before_and_after_the_run_exists_are_written_in_order(uri: str) -> None:
    calls, recorded = MlflowCalls(), Recorded()
    calls.begin(uri)
    with calls.collect():
        mlflow.log_param("early", 1)
        mlflow.log_metric("m", 0.5, step=3)
        mlflow.log_text("text", "folder/a.txt")
        history = mlflow.MlflowClient().get_metric_history(calls.run_id, "m")
        assert [(point.step, point.value) for point in history] == [(3, 0.5)]
    assert recorded.params == {}
    calls.attach(recorded, uri)
    with calls.collect(), mlflow.start_run(run_name="mine", description="a note") as run:
        assert run.info.run_id == recorded.run_id
        mlflow.log_metrics({"m": 0.75}, step=4)
        mlflow.set_tag("mlctl.recipe", "another")
        with mlflow.start_run(nested=True):
            mlflow.log_param("nested", True)
    assert recorded.params == {"early": "1", "nested": "True"}
    assert recorded.files == {"folder/a.txt": "text"}
    assert recorded.tags == {"mlflow.note.content": "a note"}
    assert recorded.points == []  # until it is known which metrics mlctl records itself
    calls.detach(recorded)
    assert recorded.points == [("m", 0.5, 3), ("m", 0.75, 4)]
    assert not Path("real.db").exists()
    assert not Path("mlflow.db").exists()


def test_what_was_active_before_is_so_afterwards(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "b" * 32)
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.set_tracking_uri
    calls = MlflowCalls()
    calls.begin(uri)
    with contextlib.suppress(ValueError), calls.collect(), calls.collect():
        mlflow.start_run()
        mlflow.set_tracking_uri("sqlite:///other.db")
        raise ValueError("a fault of the recipe")
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.set_tracking_uri) == before
    assert mlflow.active_run() is None


def test_other_runs_and_models_are_those_of_the_real_store(uri: str) -> None:
    client = mlflow.MlflowClient(uri, registry_uri=uri)
    other = client.create_run(client.create_experiment("other"))
    client.log_param(other.info.run_id, "p", "v")
    client.create_registered_model("base")
    calls = MlflowCalls()
    calls.begin(uri)
    with calls.collect():
        assert mlflow.get_run(other.info.run_id).data.params == {"p": "v"}
        assert mlflow.MlflowClient().get_registered_model("base").name == "base"
    assert len(client.search_runs([other.info.experiment_id])) == 1


def test_mlflow_is_noticed_when_a_recipe_imports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported_later.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    noticed: list[Any] = []
    with after_import("imported_later", lambda: noticed.append(sys.modules["imported_later"].value)):
        assert noticed == []
        import imported_later  # type: ignore[import-not-found]

        assert noticed == [imported_later.value]
    with after_import("imported_later", lambda: noticed.append("again")):
        pass
    assert noticed == [1, "again"]
    finders = len(sys.meta_path)
    with after_import("never_imported", lambda: None):
        assert len(sys.meta_path) == finders + 1
    assert len(sys.meta_path) == finders
