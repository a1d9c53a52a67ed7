"""A search of a script's arguments, and a script that searches with KerasTuner: killed, resumed, and compared."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.parts import eventually
from tests.training_run import client
from tests.zygote import Zygote

TRAIN = """
import argparse
import os

import keras
import mlflow
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--mode")
parser.add_argument("--units", type=int)
arguments = parser.parse_args()
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(arguments.units), keras.layers.Dense(1)])
model.compile("sgd", "mse", metrics=["mae"])
with mlflow.start_run():
    model.fit(x[:40], x[:40, :1], validation_data=(x[40:50], x[40:50, :1]), epochs=2, verbose=2)
    mlflow.log_metric("size", arguments.units)
    if arguments.mode == "raises":
        raise ValueError("no more")
    if arguments.mode == "dies":
        os._exit(3)
    model.evaluate(x[50:], x[50:, :1])
"""

TUNER = """
import sys
import time

import keras
import keras_tuner
import numpy as np

x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")


def build(hp):
    units = [hp.Int(f"units_{number}", 2, 8) for number in range(hp.Int("depth", 1, 2))]
    model = keras.Sequential([*(keras.layers.Dense(count) for count in units), keras.layers.Dense(1)])
    model.compile(hp.Choice("optimizer", ["sgd", "adam"]), "mse", metrics=["mae"])
    return model


class Slow(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        time.sleep(0.05)


tuner = keras_tuner.Hyperband(
    build, objective="val_mae", max_epochs=3, directory="searches", project_name="mine", overwrite=True
)
tuner.search(x[:40], x[:40, :1], validation_data=(x[40:50], x[40:50, :1]), verbose=0, callbacks=[Slow()])
print(tuner.get_best_models(1)[0].evaluate(x[50:], x[50:, :1], verbose=0))
"""


def entries(state: Path, name: str, kind: str) -> list[dict[str, Any]]:
    """Return the lines of one kind in a file of the only run's record."""
    path = next(state.glob(f"runs/*/{name}"), None)
    lines = path.read_text().splitlines() if path else []
    return [entry for entry in map(json.loads, lines) if entry["kind"] == kind]


def runs_by_name(uri: str) -> tuple[Any, dict[str, Any]]:
    """Return the only run without a parent, and its nested runs by the names of their trials."""
    mlflow_client = client(uri)
    (experiment,) = [found for found in mlflow_client.search_experiments() if found.name == "train"]
    runs = mlflow_client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return parent, {run.data.tags["mlctl.trial"]: run for run in runs if run is not parent}


@pytest.mark.slow
def test_a_killed_search_of_a_script_continues(
    zygote: Zygote, tmp_path: Path, empty_store: Callable[[Path], str]
) -> None:
    state, uri = tmp_path / "state", empty_store(tmp_path)
    state.mkdir()
    (state / "train.py").write_text(TRAIN)
    command = ["tune", "train.py", "--space", "mode=good|raises|dies", "--algorithm", "grid", "-P", "2"]
    options = ["--objective", "min:val_mae", "--max-failures", "9", "--", "--units", "4"]
    search = zygote.start([*command, *options], state, tmp_path / "log", uri)
    eventually(lambda: bool(entries(state, "search.jsonl", "end")) or search.poll() is not None, 180)
    search.send(signal.SIGKILL)
    search.wait()
    ended = {entry["trial"] for entry in entries(state, "search.jsonl", "end")}
    assert ended, search.output
    starts = Counter(entry["trial"] for entry in entries(state, "search.jsonl", "start"))

    resumed = zygote.start(["resume", "last", "-o", "json"], state, tmp_path / "resumed", uri)
    assert resumed.wait() == 0, resumed.output
    parent, trials = runs_by_name(uri)
    good, raises, dies = (trials[name] for name in ("0001", "0002", "0003"))
    assert good.data.params == {"mode": "good", "units": "4"}
    assert good.data.metrics.keys() >= {"val_mae", "best_val_mae", "test_mae", "size"}
    history = client(uri).get_metric_history(good.info.run_id, "val_mae")
    assert [point.step for point in history] == [1, 2]
    assert (raises.info.status, dies.info.status) == ("FAILED", "FAILED")
    line = TRAIN.splitlines().index('        raise ValueError("no more")') + 1
    assert raises.data.tags["mlctl.error"] == f"train.py, line {line}: ValueError: no more"
    assert "exit code 3" in dies.data.tags["mlctl.error"]
    assert "started 3 times" in dies.data.tags["mlctl.error"]
    assert [file.path for file in client(uri).list_artifacts(raises.info.run_id)] == ["output.log"]
    output = (tmp_path / "resumed").read_text() + (tmp_path / "log").read_text()
    assert "ValueError: no more" in output

    assert parent.info.status == "FINISHED"
    assert parent.data.params.items() >= {"mode": "good", "units": "4"}.items()
    assert parent.data.metrics["test_mae"] == pytest.approx(good.data.metrics["test_mae"])
    assert parent.data.metrics["trials"] == 3
    artifact = client(uri).download_artifacts(parent.info.run_id, "search.jsonl", str(tmp_path))
    lines = [json.loads(line) for line in Path(artifact).read_text().splitlines()]
    again = Counter(line["trial"] for line in lines if line["kind"] == "start")
    assert {trial: again[trial] for trial in ended} == {trial: starts[trial] for trial in ended}
    models = client(uri).search_logged_models([parent.info.experiment_id])
    assert [model.source_run_id for model in models] == [parent.info.run_id], "trials log no model"


@pytest.mark.slow
def test_a_killed_search_of_keras_tuner_continues(
    zygote: Zygote, tmp_path: Path, empty_store: Callable[[Path], str]
) -> None:
    state, uri = tmp_path / "state", empty_store(tmp_path)
    state.mkdir()
    (state / "train.py").write_text(TUNER)
    run = zygote.start(["train", "train.py"], state, tmp_path / "log", uri)
    eventually(lambda: len(entries(state, "tuner.jsonl", "trial")) >= 2 or run.poll() is not None, 180)
    run.send(signal.SIGKILL)
    run.wait()
    before = entries(state, "tuner.jsonl", "trial")
    assert len(before) >= 2, run.output

    resumed = zygote.start(["resume", "last"], state, tmp_path / "resumed", uri)
    assert resumed.wait() == 0, resumed.output
    assert f"continues after {len(before)} finished trial(s), although the script says overwrite=True" in (
        resumed.output
    )
    parent, trials = runs_by_name(uri)
    # the trial that the kill has cut off may keep its run
    cut_off = [trial.info.status for trial in trials.values() if trial.info.status != "FINISHED"]
    assert cut_off in ([], ["KILLED"])
    trials = {name: trial for name, trial in trials.items() if trial.info.status == "FINISHED"}
    for number, entry in enumerate(before, 1):
        values = entry["state"]["hyperparameters"]["values"]
        recorded = trials[f"{number:04d}"]
        assert recorded.data.params.items() >= {name: str(value) for name, value in values.items()}.items()
        assert recorded.data.metrics["best_val_mae"] == entry["results"]["metrics"]["val_mae"]
        points = client(uri).get_metric_history(recorded.info.run_id, "val_mae")
        assert len({point.step for point in points}) == len(points), "a finished trial is not trained again"
    assert len(trials) > len(before)
    best = min(trials.values(), key=lambda trial: trial.data.metrics["best_val_mae"])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best_val_mae"] == pytest.approx(best.data.metrics["best_val_mae"])
    assert parent.data.params["units_0"] == best.data.params["units_0"]
    assert "test_mae" in parent.data.metrics
    assert len(client(uri).search_logged_models([parent.info.experiment_id])) == 1
