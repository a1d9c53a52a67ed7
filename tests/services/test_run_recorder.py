"""`mlctl.keras`: a script or a notebook records its run itself, or joins that of `mlctl train`."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.script_run import run_here
from tests.training_run import client

LOOP = """
import keras, numpy as np
import mlctl.keras
keras.utils.set_random_seed(1)
x = np.ones((8, 3), "float32")
net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
kept = []
def epochs(recorder):
    for epoch in range(3):
        net.set_weights([np.full(array.shape, epoch + 1.0) for array in net.get_weights()])
        recorder.epoch({"loss": float("nan"), "val_loss": [2.0, 1.0, 3.0][epoch], "note": np.float32(epoch)})
"""


def test_a_loop_of_its_own_joins_the_run(tmp_path: Path) -> None:
    found = run_here(
        tmp_path,
        f"""{LOOP}
recorder = mlctl.keras.RunRecorder(params={{"depth": 2}})
recorder.model(net, inputs=x)
epochs(recorder)
recorder.log_params({{"depth": 3}})
recorder.close()
""",
        save=True,
    )
    assert found.history("val_loss") == {1: 2.0, 2: 1.0, 3: 3.0}
    assert (found.metrics["best_epoch"], found.metrics["best_val_loss"]) == (2, 1.0)
    assert found.params["depth"] == "2"
    assert found.params["own_depth"] == "3"
    assert found.load_model().predict(found.names["x"])[0, 0] == pytest.approx(
        8
    )  # the weights of the second epoch
    assert {"history.csv", "model_summary.txt"} <= found.artifacts()


def test_the_model_of_a_loop_may_be_named_last_or_not_at_all(tmp_path: Path) -> None:
    code = f"{LOOP}\nepochs(mlctl.keras.RunRecorder())\n"
    found = run_here(tmp_path, f"{code}\nmlctl.keras.log(net)")
    assert found.metrics["best_epoch"] == 3
    assert found.logged is not None
    assert found.logged[0][0, 0] == 3
    alone = run_here(tmp_path, code)
    assert alone.logged is None
    assert alone.history("val_loss") == {1: 2.0, 2: 1.0, 3: 3.0}
    assert "history.csv" in alone.artifacts()


def test_as_a_callback_it_records_nothing_twice(tmp_path: Path) -> None:
    code = """
import keras, numpy as np
from mlctl.keras import RunRecorder
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((8, 3)), np.ones(8), epochs=2, verbose=0, callbacks=[RunRecorder()])
"""
    found = run_here(tmp_path, code)
    assert list(found.history("loss")) == [1, 2]
    assert "callbacks" not in found.params


def test_importing_it_is_light() -> None:
    code = "import sys, mlctl.keras; print([name for name in ('keras', 'tensorflow', 'mlflow', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_plain_python_makes_a_run_that_ends_with_the_process(tmp_path: Path) -> None:
    code = """
    import sys
    import keras, numpy as np
    import mlctl.keras

    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype("float32")
    y = x[:, 0]

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    stop = keras.callbacks.EarlyStopping("loss", patience=5, restore_best_weights=True)
    model.fit(x[:40], y[:40], validation_split=0.2, epochs=3, verbose=0,
              callbacks=[mlctl.keras.RunRecorder(run_name="mine", tags={"team": "a"}), stop])
    print(model.evaluate(x[40:], y[40:], verbose=0))
    with mlctl.keras.RunRecorder(run_name="second") as recorder:
        recorder.epoch({"loss": 1.0})
        raise RuntimeError("an error")
    """
    (tmp_path / "train.py").write_text(textwrap.dedent(code))
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    done = subprocess.run(
        [sys.executable, "train.py", "--lr", "3"],
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("RuntimeError: an error")
    mlflow_client = client(uri)
    experiment = mlflow_client.get_experiment_by_name("train")
    assert experiment is not None, done.stderr
    runs = {run.info.run_name: run for run in mlflow_client.search_runs([experiment.experiment_id])}
    run, second = runs["mine"], runs["second"]
    assert (run.info.status, second.info.status) == ("FINISHED", "FAILED"), done.stderr
    assert run.data.params["lr"] == "3"
    assert run.data.params["epochs"] == "3"
    assert run.data.tags["team"] == "a"
    assert run.data.tags["mlctl.data.splits"] == '{"train":32,"validation":8}'
    assert len(mlflow_client.get_metric_history(run.info.run_id, "val_loss")) == 3
    assert run.data.metrics["test_loss"] > 0
    assert run.data.tags["mlctl.model_uri"]
    assert second.data.metrics == {"loss": 1.0}
