"""What a run records of a recipe: its modules, its data, and its own calls of MLflow; and what reproduce refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest

from mlctl import settings
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import NullProgress
from mlctl.domain.run import Run
from mlctl.errors import RefusedError
from mlctl.services.recipes.prepare import check_values, prepare
from mlctl.services.training import changes
from tests.recording_listener import RecordingListener
from tests.trained import TINY, Trained, train_here

NETWORK = "def activation():\n    return 'relu'\n"
RECIPE = TINY.replace("import numpy as np\n", "import numpy as np\nfrom network import activation\n", 1)
RECIPE = RECIPE.replace('activation="relu"', "activation=activation()")
RECIPE = RECIPE.replace('classes=("no", "yes"), source="generated"', 'classes=("no", "yes")')
RECIPE = RECIPE.replace("        y = (x", '        x *= np.load("scale.npy")\n        y = (x')


def write_recipe(folder: Path, recipe: str = RECIPE) -> None:
    import numpy as np

    (folder / "tiny.py").write_text(recipe)
    (folder / "network.py").write_text(NETWORK)
    np.save(folder / "scale.npy", np.ones(1, np.float32))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("records")
    write_recipe(folder)
    return train_here(folder, "./tiny.py", overrides={"epochs": "1"})


@pytest.fixture
def folder(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the recipe's folder, which is the working directory."""
    for name in ("tiny.py", "network.py", "scale.npy"):
        shutil.copy(trained.folder / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_of(trained: Trained) -> tuple[TrackingStore, Run]:
    store = TrackingStore(trained.uri)
    return store, store.get_run(trained.answer["run_id"])


def found_changes(trained: Trained, folder: Path) -> list[str]:
    """Return what resume and reproduce would name."""
    store, run = run_of(trained)
    _, resolved, changed = changes.resolve_recipe(store, run, "./tiny.py", folder / "record")
    values = check_values(resolved, {"epochs": "1"})
    prepared = prepare(settings.load({}), resolved, values, listener=NullProgress())
    return [*changed, *changes.data_changes(run, prepared)]


def test_the_modules_beside_a_recipe_are_artifacts(trained: Trained) -> None:
    client = mlflow.MlflowClient(trained.uri)
    run_id = trained.answer["run_id"]
    assert Path(client.download_artifacts(run_id, "code/network.py")).read_text() == NETWORK
    assert "from network import" in Path(client.download_artifacts(run_id, "recipe.py")).read_text()


def test_data_without_a_digest_gets_one(trained: Trained) -> None:
    assert len(trained.answer["data"]["sha256"]) == 64
    assert trained.answer["data"]["source"] == "tiny.py"


def test_nothing_has_changed(trained: Trained, folder: Path) -> None:
    assert found_changes(trained, folder) == []


def test_a_changed_module_is_named(trained: Trained, folder: Path) -> None:
    (folder / "network.py").write_text(NETWORK.replace("relu", "tanh"))
    assert found_changes(trained, folder) == ["code (network.py)"]


def test_a_module_that_lacks_what_the_recipe_imports_is_named(trained: Trained, folder: Path) -> None:
    (folder / "network.py").write_text("")
    with pytest.raises(RefusedError, match=r"has changed: code \(network.py\)"):
        found_changes(trained, folder)


def test_a_changed_file_of_the_data_is_named(trained: Trained, folder: Path) -> None:
    import numpy as np

    np.save(folder / "scale.npy", np.full(1, 2, np.float32))
    assert found_changes(trained, folder) == ["data (scale.npy)"]


def test_data_that_is_made_otherwise_is_named(trained: Trained, folder: Path) -> None:
    (folder / "tiny.py").write_text(RECIPE.replace("default_rng(0)", "default_rng(1)"))
    changed = found_changes(trained, folder)
    assert len(changed) == 2
    assert changed[0].startswith("code (")
    assert changed[1].startswith("data (SHA-256 ")


@pytest.mark.parametrize("gone", ["network.py", "tiny.py"])
def test_files_that_are_gone_are_restored(trained: Trained, folder: Path, gone: str) -> None:
    (folder / gone).unlink()
    assert found_changes(trained, folder) == []
    assert (folder / "record/recipe/tiny.py").exists()
    assert (folder / "record/recipe/network.py").exists()


def test_a_run_of_an_earlier_version_has_no_digests(trained: Trained, folder: Path) -> None:
    import dataclasses

    store, run = run_of(trained)
    assert run.data is not None
    tags = {name: value for name, value in run.tags.items() if name != "mlctl.code_files"}
    old = dataclasses.replace(run, tags=tags, data=dataclasses.replace(run.data, sha256="", files={}))
    _, resolved, changed = changes.resolve_recipe(store, old, "./tiny.py", folder)
    assert changed == []
    prepared = prepare(settings.load({}), resolved, check_values(resolved, {}), listener=NullProgress())
    assert changes.data_changes(old, prepared) == []


# -- MLflow's calls inside a recipe ---------------------------------------------------------------------------

INSIDE = TINY.replace(
    "        rng = np",
    """        import mlflow
        mlflow.set_experiment("another")
        mlflow.tensorflow.autolog()
        with mlflow.start_run(run_name="mine"):
            mlflow.log_params({"loader": "npy", "epochs": 77})
            mlflow.set_tag("stage", "load")
        rng = np""",
).replace(
    "        inputs = keras",
    """        import mlflow
        mlflow.log_param("architecture", "one layer")
        mlflow.log_metric("rows", len(data.train))
        mlflow.log_text("a note", "notes/build.txt")
        assert mlflow.active_run().info.run_id
        inputs = keras""",
)
INSIDE += """
    def callbacks(self, hp, data):
        import keras
        import mlflow

        def log(epoch, logs):
            mlflow.log_metrics({"loss": 100.0, "weird@name": float(epoch)}, step=epoch)

        return [keras.callbacks.LambdaCallback(on_epoch_end=log)]
"""


def runs_of(uri: str) -> list[Any]:
    client = mlflow.MlflowClient(uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(ids))


def test_calls_of_mlflow_inside_a_recipe_belong_to_its_run(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(INSIDE)
    uri_before, active_before = mlflow.get_tracking_uri(), mlflow.active_run()
    trained = train_here(tmp_path, "./tiny.py", overrides={"epochs": "2"})
    assert (mlflow.get_tracking_uri(), mlflow.active_run()) == (uri_before, active_before)
    [run] = runs_of(trained.uri)
    assert run.info.status == "FINISHED"
    assert run.info.run_name != "mine"
    assert run.data.params["loader"] == "npy"
    assert run.data.params["architecture"] == "one layer"
    assert run.data.params["epochs"] == "2"
    assert run.data.tags["stage"] == "load"
    assert run.data.metrics["rows"] == 80
    client = mlflow.MlflowClient(trained.uri)
    assert [client.get_experiment_by_name(name) for name in ("another",)] == [None]
    assert Path(client.download_artifacts(run.info.run_id, "notes/build.txt")).read_text() == "a note"
    points = client.get_metric_history(run.info.run_id, "weird_name")
    assert [(point.step, point.value) for point in points] == [(0, 0.0), (1, 1.0)]
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [point.step for point in losses] == [1, 2]
    assert all(point.value < 100 for point in losses)


def test_calls_of_mlflow_in_an_offline_run_are_in_its_journal(tmp_path: Path) -> None:
    from mlctl.services.training.sync import sync

    (tmp_path / "tiny.py").write_text(INSIDE)
    trained = train_here(tmp_path, "./tiny.py", overrides={"epochs": "1"}, offline=True)
    assert not (tmp_path / "mlflow.db").exists()
    assert trained.answer["params"]["architecture"] == "one layer"
    assert trained.answer["metrics"]["rows"] == 80
    import dataclasses

    loaded = dataclasses.replace(settings.load({"tracking_uri": trained.uri}), state_dir=tmp_path / "state")
    sync(loaded, RecordingListener())
    [run] = runs_of(trained.uri)
    assert run.data.params["loader"] == "npy"
    assert run.data.metrics["rows"] == 80


def test_a_parameter_keeps_its_first_value(tmp_path: Path) -> None:
    recipe = TINY.replace(
        "        inputs = keras",
        '        import mlflow\n        mlflow.log_param("a", 1)\n        mlflow.log_param("a", 2)\n        inputs = keras',
    )
    (tmp_path / "tiny.py").write_text(recipe)
    from mlctl.errors import BadDataError

    with pytest.raises(
        BadDataError, match=r"tiny.py, line \d+: building its model failed: MlflowException: Changing"
    ):
        train_here(tmp_path, "./tiny.py", overrides={"epochs": "1"})
    [run] = runs_of(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert run.info.status == "FAILED"


# -- names of metrics -------------------------------------------------------------------------------------------


def test_a_metric_whose_name_mlflow_refuses_is_recorded(tmp_path: Path) -> None:
    recipe = TINY.replace(
        'metrics=["accuracy"]', 'metrics=["accuracy", keras.metrics.BinaryAccuracy("top@2")]'
    ).replace('maximize("val_accuracy")', 'maximize("val_top@2")')
    (tmp_path / "tiny.py").write_text(recipe)
    trained = train_here(tmp_path, "./tiny.py", overrides={"epochs": "2"})
    [run] = runs_of(trained.uri)
    assert {"top_2", "val_top_2", "best_val_top_2", "val_accuracy", "loss"} <= set(run.data.metrics)
    assert run.data.tags["mlctl.objective"] == "max:val_top_2"
    points = mlflow.MlflowClient(trained.uri).get_metric_history(run.info.run_id, "val_top_2")
    assert [point.step for point in points] == [1, 2]
