"""Scripts that talk to MLflow themselves: their first run is mlctl's, and nothing is logged twice."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlctl.adapters.scripts.execution import find_program
from mlctl.domain.script import ScriptRequest
from mlctl.errors import ChildFailedError, ConfigurationError, MlctlError, UnreachableError
from mlctl.services.scripts.script_run import run_script
from mlctl.settings import load
from tests.script_run import Lines, logging_here, program_here

HEAD = """
import keras, mlflow, numpy as np
keras.utils.set_random_seed(3)
rng = np.random.default_rng(0)
x = rng.normal(size=(96, 4)).astype("float32")
y = (x[:, 0] > 0).astype("int64")

def make(name=None):
    layers = [keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")]
    model = keras.Sequential(layers, name=name)
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy", metrics=["accuracy"])
    return model

def fit(model, **options):
    return model.fit(x[:64], y[:64], validation_data=(x[64:], y[64:]), epochs=3, batch_size=16, verbose=0, **options)
"""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a store holds after a script, and what the user was told."""

    client: Any
    messages: list[str]
    run: Any  # that of mlctl, as MLflow has it
    error: MlctlError | None = None

    @property
    def runs(self) -> dict[str, Any]:
        """All runs that are not deleted, by name."""
        ids = [found.experiment_id for found in self.client.search_experiments()]
        return {found.info.run_name: found for found in self.client.search_runs(ids)}

    def experiment(self) -> str:
        """Return the name of the run's experiment."""
        return str(self.client.get_experiment(self.run.info.experiment_id).name)

    def models(self) -> dict[str, Any]:
        """Return all logged models by name; no two have the same."""
        ids = [found.experiment_id for found in self.client.search_experiments()]
        found = self.client.search_logged_models(ids)
        assert len({model.name for model in found}) == len(found)
        return {model.name: model for model in found}

    def steps(self, metric: str) -> list[int]:
        """Return the steps of a metric."""
        return sorted(point.step for point in self.client.get_metric_history(self.run.info.run_id, metric))

    def artifacts(self) -> set[str]:
        """Return the names of the artifacts in the run's top folder."""
        return {found.path for found in self.client.list_artifacts(self.run.info.run_id)}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs; to copy it is faster than to make one."""
    import mlflow

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(autouse=True)
def _without_active_runs() -> Iterator[None]:
    import mlflow

    assert mlflow.active_run() is None
    yield
    assert mlflow.active_run() is None


def run(
    folder: Path,
    empty_store: Path,
    code: str,
    *arguments: str,
    store: str = "mlflow.db",
    overrides: dict[str, str] | None = None,
    environment: dict[str, str] | None = None,
    save: bool = True,
    **options: Any,
) -> Held:
    """Run a script; return what the store that it shall use holds. Other stores of the folder exist, too."""
    import mlflow

    for name in ("mlflow.db", store):
        if not (folder / name).exists():
            shutil.copy(empty_store, folder / name)
    path = folder / "train.py"
    path.write_text(f"{HEAD}\n{textwrap.dedent(code)}", encoding="utf-8")
    lines, error, run_id = Lines(), None, None
    with program_here(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        names = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")
        before = [os.environ.get(name) for name in names]
        settings = load({"state_dir": str(folder / ".state"), **(overrides or {})})
        request = ScriptRequest(script=str(path), arguments=arguments, folder=str(folder), **options)
        try:
            with logging_here([], save=save):
                _, found = run_script(settings, request, find_program(str(path), ""), lines)
            run_id = None if options.get("offline") else found.run_id
        except MlctlError as failure:
            error = failure
        assert [os.environ.get(name) for name in names] == before
    client = mlflow.MlflowClient(f"sqlite:///{folder / store}")
    if run_id is None:
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        run_id = next(
            (one.info.run_id for one in client.search_runs(ids) if "mlctl.script" in one.data.tags), None
        )
    return Held(
        client=client, messages=lines.messages, run=client.get_run(run_id) if run_id else None, error=error
    )


def test_a_model_that_the_script_logs_is_the_runs_one_model(tmp_path: Path, empty_store: Path) -> None:
    """As system 0: own store, run around fit, parameters, metrics and log_model after it."""
    code = """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--epoch")
        parser.add_argument("--batchsize")
        args = parser.parse_args()
        mlflow.set_tracking_uri("sqlite:///own.db")
        client = mlflow.MlflowClient()
        model = make()
        with mlflow.start_run():
            history = fit(model)
            mlflow.log_param("epochs", 3)
            mlflow.log_param("batch_size", 16)
            mlflow.log_param("learning_rate", 0.5)
            mlflow.log_param("optimizer", "mine")
            mlflow.log_metric("Accuracy", np.mean(history.history["val_accuracy"]))
            mlflow.log_metric("F1 Score", 0.25)
            signature = mlflow.models.infer_signature(x, model.predict(x, verbose=0))
            info = mlflow.keras.log_model(model, "KerasModel", signature=signature, registered_model_name="Reviews")
        loaded = mlflow.keras.load_model(info.model_uri)
        assert np.allclose(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
        served = mlflow.pyfunc.load_model(f"runs:/{info.run_id}/KerasModel")
        assert np.allclose(served.predict(x), model.predict(x, verbose=0), atol=1e-5)
        assert info.signature == signature and info.registered_model_version
    """
    held = run(tmp_path, empty_store, code, "--epoch", "3", "--batchsize", "16", store="own.db")
    assert held.error is None
    (only,) = held.runs.values()
    params, metrics = only.data.params, only.data.metrics
    assert {"epoch": "3", "batchsize": "16", "epochs": "3", "learning_rate": "0.5"}.items() <= params.items()
    assert params["optimizer"] == "SGD"
    assert any("optimizer as mine" in line for line in held.messages)
    assert metrics["F1 Score"] == 0.25
    assert held.steps("val_accuracy") == held.steps("loss") == [1, 2, 3]
    assert held.steps("Accuracy") == [0]
    assert list(held.models()) == ["KerasModel"]
    assert metrics["best_epoch"] == 3  # the weights that it has logged
    version = held.client.get_model_version("Reviews", "1")
    assert (
        version.source
        == only.data.tags["mlctl.model_uri"]
        == f"models:/{held.models()['KerasModel'].model_id}"
    )
    assert any("own.db, which the script has chosen" in line for line in held.messages)
    assert held.run.info.status == "FINISHED"


def test_what_autologging_would_log_is_the_runs_model(tmp_path: Path, empty_store: Path) -> None:
    """As system 1: autolog, load the model back, evaluate it, register it and move it to a stage."""
    code = """
        import mlflow.tensorflow
        mlflow.tensorflow.autolog()
        with mlflow.start_run(run_name="mnist-run-2", description="a note") as started:
            fit(make())
            uri = f"runs:/{started.info.run_id}/model"
            assert mlflow.get_artifact_uri("model").endswith("artifacts/model")
        loaded = mlflow.tensorflow.load_model(uri)
        loss, accuracy = loaded.evaluate(x[64:], y[64:], verbose=0)
        mlflow.register_model(uri, "MNIST-Keras")
        mlflow.MlflowClient().transition_model_version_stage("MNIST-Keras", 1, "Production")
        assert mlflow.last_active_run().info.run_id == started.info.run_id
        assert mlflow.get_run(started.info.run_id).info.status == "FINISHED"
    """
    held = run(tmp_path, empty_store, code)
    assert held.error is None
    assert list(held.runs) == ["mnist-run-2"]
    assert held.run.data.tags["mlflow.note.content"] == "a note"
    assert held.experiment() == "train"
    (model,) = held.models().values()
    assert model.name == "model"
    version = held.client.get_model_version("MNIST-Keras", "1")
    assert version.current_stage == "Production"
    assert version.source == held.run.data.tags["mlctl.model_uri"] == f"models:/{model.model_id}"
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert held.steps(name) == [1, 2, 3]
    assert held.run.data.metrics["test_loss"] == pytest.approx(
        held.run.data.metrics["best_val_loss"], rel=1e-4
    )
    assert any("test_* are of the validation data" in line for line in held.messages)


def test_own_callbacks_nested_runs_and_artifacts_join_the_run(tmp_path: Path, empty_store: Path) -> None:
    """As system 3: names before the first run, a logging callback, a model in a nested run, pictures."""
    code = """
        mlflow.set_experiment("image-classifier")
        mlflow.set_tag("mlflow.runName", "three-conv-layers")

        class Log(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
                    mlflow.log_metric(name, logs[name], step=epoch)
                mlflow.log_metric("own", 2 * epoch, step=epoch)

        model = make()
        history = fit(model, callbacks=[Log(), mlflow.keras.MlflowCallback()])
        with mlflow.start_run(nested=True, run_name="inner"):
            mlflow.log_param("img_height", 64)
            info = mlflow.keras.log_model(model, "model")
        mlflow.keras.load_model(f"runs:/{info.run_id}/model")
        mlflow.keras.log_model(model, name="second", pip_requirements=["keras"])
        for number, value in enumerate(history.history["loss"]):
            mlflow.log_metric("loss", value, step=number)
        mlflow.log_metric("val_accuracy", 0.125)
        open("accuracy.png", "wb").write(b"png")
        mlflow.log_artifact("accuracy.png")
        mlflow.log_dict({"a": 1}, "folder/a.json")
        mlflow.log_table({"a": [1]}, "table.json")
        mlflow.log_table({"a": [2]}, "table.json")
        mlflow.log_image(np.zeros((8, 8, 3), "uint8"), key="dog", step=1)
        mlflow.log_input(mlflow.data.from_numpy(x, name="numbers"), context="training")
        mlflow.log_metrics({"late": 1}, step=5, synchronous=False)
        run_id = mlflow.active_run().info.run_id
        client = mlflow.MlflowClient()
        client.log_metric(run_id, "client", 1.5)
        client.log_batch(run_id, params=[mlflow.entities.Param("client", "2")])
        assert mlflow.get_run(run_id).data.params["client"] == "2"
        assert {found.path for found in client.list_artifacts(run_id)} >= {"accuracy.png", "folder", "table.json"}
        assert mlflow.artifacts.load_dict(f"runs:/{run_id}/folder/a.json") == {"a": 1}
        assert mlflow.load_table("table.json", run_ids=[run_id])["a"].tolist() == [1, 2]
        assert [point.value for point in client.get_metric_history(run_id, "own")] == [0, 2, 4]
        assert run_id in set(mlflow.search_runs()["run_id"])
        mlflow.end_run()
        with mlflow.start_run(run_id=run_id):
            mlflow.log_param("again", 1)
        with mlflow.start_run(run_name="later"):
            mlflow.log_param("later", 1)
    """
    held = run(tmp_path, empty_store, code)
    assert held.error is None
    assert held.experiment() == "image-classifier"
    assert set(held.runs) == {"three-conv-layers", "inner", "later"}
    assert held.run.info.run_name == "three-conv-layers"
    inner, later = held.runs["inner"], held.runs["later"]
    assert inner.data.params == {"img_height": "64"}
    assert inner.data.tags["mlflow.parentRunId"] == held.run.info.run_id
    assert later.data.params == {"later": "1"}
    assert "mlflow.parentRunId" not in later.data.tags
    for name in ("loss", "accuracy", "val_loss"):
        assert held.steps(name) == [1, 2, 3]
    assert held.steps("val_accuracy") == [0, 1, 2, 3]  # with the value that it logs after fit
    assert held.steps("own") == [0, 1, 2]
    assert held.steps("late") == [5]
    assert "validation_loss" not in held.run.data.metrics
    assert {"again": "1", "client": "2"}.items() <= held.run.data.params.items()
    assert held.artifacts() >= {"accuracy.png", "folder", "images", "table.json"}
    assert set(held.models()) == {"model", "second"}
    model = held.models()["model"]  # of both runs
    assert held.run.data.tags["mlctl.model_uri"] == f"models:/{model.model_id}"
    assert model.source_run_id == inner.info.run_id
    assert [output.model_id for output in inner.outputs.model_outputs] == [model.model_id]
    assert model.model_id in {output.model_id for output in held.run.outputs.model_outputs}
    assert "numbers" in {found.dataset.name for found in held.run.inputs.dataset_inputs}


def test_a_run_follows_a_script_that_chooses_after_it_has_trained(tmp_path: Path, empty_store: Path) -> None:
    code = """
        fit(make())
        mlflow.set_tracking_uri("sqlite:///late.db")
        mlflow.set_experiment("chosen")
        with mlflow.start_run(run_name="late", tags={"k": "v"}):
            mlflow.log_metric("m", 1)
        mlflow.end_run()
        with mlflow.start_run(run_id=mlflow.last_active_run().info.run_id):
            mlflow.end_run("KILLED")
        mlflow.keras.autolog(log_models=False)
        with mlflow.start_run(run_name="second"):
            fit(make("other"))
    """
    held = run(tmp_path, empty_store, code, store="late.db")
    assert held.error is None
    assert (held.experiment(), held.run.info.run_name, held.run.info.status) == ("chosen", "late", "KILLED")
    assert held.run.data.tags["k"] == "v"
    assert held.steps("loss") == [1, 2, 3]
    assert held.steps("m") == [0]
    assert len(held.models()) == 1
    second = held.runs["second"]
    assert second.info.experiment_id == held.run.info.experiment_id
    assert second.data.metrics["val_loss"] == held.run.data.metrics["other_val_loss"]
    first = type(held.client)(f"sqlite:///{tmp_path}/mlflow.db")
    assert first.search_runs([found.experiment_id for found in first.search_experiments()]) == []


def test_options_win_over_what_the_script_chooses(tmp_path: Path, empty_store: Path) -> None:
    code = """
        mlflow.set_tracking_uri("http://<address of your server>:5000")
        mlflow.set_experiment("own")
        with mlflow.start_run(run_name="own"):
            mlflow.log_param("p", 1)
        raise ValueError("after its run has ended")
    """
    overrides = {"tracking_uri": f"sqlite:///{tmp_path}/given.db", "experiment": "given"}
    held = run(
        tmp_path, empty_store, code, store="given.db", overrides=overrides, run_name="given", save=False
    )
    assert isinstance(held.error, ChildFailedError)
    assert held.run.info.status == "FAILED"
    assert (held.experiment(), held.run.info.run_name) == ("given", "given")
    assert held.run.data.params == {"p": "1"}
    assert [line.partition(":")[0] for line in held.messages] == ["tracking store", "experiment", "run name"]
    assert all(line.endswith("is not used") for line in held.messages)
    assert {found.name for found in held.client.search_experiments()} == {"Default", "given"}


def test_a_store_that_cannot_be_is_one_line(tmp_path: Path, empty_store: Path) -> None:
    code = """
        mlflow.set_tracking_uri("http://<address of your server>:5000")
        with mlflow.start_run():
            pass
    """
    held = run(tmp_path, empty_store, code)
    assert isinstance(held.error, ConfigurationError)
    assert "http://<address of your server>:5000" in held.error.message
    assert "--tracking-uri" in held.error.hint
    assert held.runs == {}


def test_the_run_of_mlflow_run_is_the_scripts(tmp_path: Path, empty_store: Path) -> None:
    import mlflow

    shutil.copy(empty_store, tmp_path / "mlflow.db")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run_id = client.create_run(client.create_experiment("project")).info.run_id
    code = """
        import os
        mlflow.set_experiment("own")
        with mlflow.start_run() as started:
            assert started.info.run_id == os.environ["EXPECTED"]
            mlflow.log_param("p", 1)
    """
    environment = {"MLFLOW_RUN_ID": run_id, "EXPECTED": run_id}
    held = run(tmp_path, empty_store, code, environment=environment, save=False)
    assert held.error is None
    assert held.run.info.run_id == run_id
    assert held.run.data.params == {"p": "1"}
    assert held.messages[0] == "experiment: project; the script's own, own, is not used"
    assert len(held.runs) == 1


def test_offline_the_scripts_own_calls_are_recorded(tmp_path: Path, empty_store: Path) -> None:
    from mlctl.adapters.runlog.journal import Journal

    code = """
        mlflow.set_experiment("own")
        with mlflow.start_run(run_name="named") as started:
            model = make()
            fit(model)
            mlflow.log_param("p", 1)
            mlflow.log_metric("q", 2)
            mlflow.log_text("text", "t.txt")
            info = mlflow.keras.log_model(model, name="mine", registered_model_name="R")
            for uri in (info.model_uri, f"runs:/{started.info.run_id}/mine"):
                mlflow.keras.load_model(uri)
            data = mlflow.get_run(started.info.run_id).data
            assert (data.params["p"], data.metrics["q"]) == ("1", 2)
            with mlflow.start_run(nested=True):
                mlflow.log_param("lost", 1)
    """
    held = run(tmp_path, empty_store, code, offline=True)
    assert held.error is None
    (folder,) = (tmp_path / ".state" / "runs").iterdir()
    journal = Journal(folder)
    assert (journal.header["experiment"], journal.header["run_name"]) == ("own", "named")
    kinds = [entry["kind"] for entry in journal.entries()]
    assert kinds.count("model") == 1
    assert (journal.files / "t.txt").read_text() == "text"
    assert any("--offline" in line and "nests" in line for line in held.messages)
    assert any("not registered as R" in line for line in held.messages)
    assert held.runs == {}


def test_an_outage_does_not_stop_the_scripts_own_calls(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlctl.adapters.runlog import recorder
    from mlctl.adapters.runlog.journal import Journal
    from mlctl.adapters.runlog.run_sender import RunSender

    def is_away(sender: RunSender, entry: Any) -> None:
        raise UnreachableError("the store is away")

    monkeypatch.setattr(RunSender, "_send_points", is_away)
    monkeypatch.setattr(recorder, "PATIENCE_S", 0.1)
    code = """
        with mlflow.start_run() as started:
            mlflow.log_metric("m", 1)
            mlflow.log_param("p", 1)
            client = mlflow.MlflowClient()
            data = client.get_run(started.info.run_id).data
            assert (data.metrics["m"], data.params["p"]) == (1, "1")
            assert [point.value for point in client.get_metric_history(started.info.run_id, "m")] == [1]
            mlflow.log_text("text", "t.txt")
    """
    held = run(tmp_path, empty_store, code, save=False)
    assert held.error is None
    assert any("records of this run were not sent yet" in line for line in held.messages)
    (folder,) = (tmp_path / ".state" / "runs").iterdir()
    assert (Journal(folder).files / "t.txt").read_text() == "text"
