"""Training on another Keras backend than TensorFlow, in one worker process or in several of a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.cli.test_cluster import start, wait_for
from tests.parts.command_line import CommandLine
from tests.trained import TINY

pytestmark = pytest.mark.needs("jax")
# batches of 16 of 77 rows: the last one has 13, which two workers cannot share
RAGGED = TINY.replace("slice(80), slice(80, 100)", "slice(77), slice(80, 100)")
SLOW = (
    RAGGED.replace("epochs, batch_size, learning_rate = 3,", "epochs, batch_size, learning_rate = 8,")
    .replace(
        "        import keras\n",
        """\
        import time

        import keras

        class Pause(keras.metrics.Mean):
            def reset_state(self):
                super().reset_state()
                time.sleep(0.5)

            def update_state(self, y, predictions, sample_weight=None):
                super().update_state(predictions)

""",
        1,
    )
    .replace('metrics=["accuracy"]', 'metrics=["accuracy", Pause(name="paused")]')
)

SCRIPT = """\
import os
import pathlib
import signal

import keras
import numpy as np

assert keras.backend.backend() == "jax"
keras.utils.set_random_seed(1)
x = np.random.rand(200, 6).astype("float32")
y = (x.sum(1) > 3).astype("int32")


class Killed(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        file = pathlib.Path("kill")
        if file.exists() and epoch == 2:
            file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


layers = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(2, "softmax")]
model = keras.Sequential([keras.Input((6,)), *layers])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=5, validation_split=0.2, verbose=0, callbacks=[Killed()])
model.evaluate(x[:50] + 1, y[:50], verbose=0)
"""


@pytest.fixture
def mlctl(tmp_path: Path) -> CommandLine:
    (tmp_path / "tiny.py").write_text(RAGGED)
    (tmp_path / "slow.py").write_text(SLOW)
    return CommandLine(tmp_path / "state", tmp_path, {"COLUMNS": "100"}, timeout_s=600, warm=True)


def losses(mlctl: CommandLine, run_id: str) -> list[float]:
    with contextlib.closing(sqlite3.connect(next(mlctl.cwd.glob("*.db")))) as store:
        query = "SELECT value FROM metrics WHERE run_uuid = ? AND key = 'loss' ORDER BY step"
        return [value for (value,) in store.execute(query, (run_id,))]


def wait_for_epoch(process: Any, number: int) -> bool:
    return any(line.startswith(f"epoch {number}/") for line in process.stderr)


def workers_of(process: Any) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if "mlctl.adapters.keras.worker" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def test_a_recipe_trains_and_predicts_on_jax(mlctl: CommandLine) -> None:
    jax = {"KERAS_BACKEND": "jax"}
    run = mlctl.json("train", "tiny.py", env=jax)
    assert run["status"] == "FINISHED"
    assert run["params"]["backend"] == "jax"
    assert run["metrics"]["test_accuracy"] > 0.5
    assert losses(mlctl, run["run_id"])[1] < losses(mlctl, run["run_id"])[0]
    # a model of no backend: what answers is the ONNX export of the Keras model on TensorFlow
    assert len(mlctl.json("predict", run["run_id"], "--sample", "3", env=jax)["predictions"]) == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("train", "imdb", "--data", "synthetic", "--rows", "200"), "sparse"),
        (("train", "tiny.py", "--folds", "2"), "--folds"),
        (("tune", "tiny.py", "--space", "units=4,8", "--trials", "2"), "TensorFlow only"),
    ],
)
def test_what_jax_cannot_do_is_refused_before_anything_starts(
    mlctl: CommandLine, arguments: tuple[str, ...], reason: str
) -> None:
    done = mlctl(*arguments, code=None, env={"KERAS_BACKEND": "jax"})
    assert done.returncode in (2, 5)
    assert reason in done.stderr
    assert mlctl.json("runs", "list") == []


def test_a_script_that_would_train_on_a_cluster_is_refused_on_jax(mlctl: CommandLine) -> None:
    (mlctl.cwd / "script.py").write_text(SCRIPT)
    arguments = ("train", "script.py", "--cluster", "local:1")
    message, _ = mlctl.error(5, *arguments, env={"KERAS_BACKEND": "jax"})
    assert message == "KERAS_BACKEND is jax, but mlctl train SCRIPT --cluster trains on TensorFlow only"


@pytest.mark.long
def test_a_script_on_jax_is_killed_resumed_logged_and_served_as_any_other(mlctl: CommandLine) -> None:
    (mlctl.cwd / "script.py").write_text(SCRIPT)
    jax = {"KERAS_BACKEND": "jax"}
    whole = mlctl.json("train", "script.py", env=jax)
    assert whole["params"]["backend"] == "jax"
    (mlctl.cwd / "kill").touch()
    assert mlctl("train", "script.py", code=None, env=jax).returncode == -signal.SIGKILL
    resumed = mlctl.json("resume", "last")  # on the run's backend
    assert losses(mlctl, resumed["run_id"]) == losses(mlctl, whole["run_id"])
    for run in (whole, resumed):
        assert run["tags"]["mlctl.runtime"] == "onnxruntime"
        assert run["metrics"]["test_accuracy"] == whole["metrics"]["test_accuracy"]
    (mlctl.cwd / "rows.json").write_text(json.dumps({"inputs": [[0.1] * 6]}))
    assert len(mlctl.json("predict", resumed["run_id"], "rows.json", env=jax)["predictions"]) == 1


def test_workers_must_share_a_batch_equally(mlctl: CommandLine) -> None:
    arguments = ("train", "tiny.py", "--cluster", "local:1", "--workers", "3")
    message, hint = mlctl.error(2, *arguments)
    assert message == "3 workers cannot share batches of 16 rows"
    assert "--batch-size 18" in hint


@pytest.mark.long
@pytest.mark.needs("ray")
@pytest.mark.skipif(
    not Path("/proc").exists(), reason="only Linux shows the command lines of other processes"
)
def test_two_workers_train_as_one_although_both_trainings_are_interrupted(mlctl: CommandLine) -> None:
    mlctl.environment["KERAS_BACKEND"] = "jax"
    first = start(mlctl, "train", "./slow.py")
    assert wait_for_epoch(first, 3)
    first.kill()
    first.communicate()
    del mlctl.environment["KERAS_BACKEND"]
    alone = mlctl.json("resume", "last")  # on the run's backend
    training = start(mlctl, "train", "./slow.py", "--cluster", "local:2", "--workers", "2")
    workers = wait_for(lambda: len(found := workers_of(training)) == 2 and found, training)
    assert wait_for_epoch(training, 3)
    os.kill(workers[1].pid, signal.SIGKILL)
    printed, err = training.communicate(timeout=300)
    assert training.returncode == 0, err
    together = json.loads(printed)
    assert "start again from the last checkpoint" in err
    assert len(mlctl.json("runs", "list")) == 2
    np.testing.assert_allclose(losses(mlctl, together["run_id"]), losses(mlctl, alone["run_id"]), rtol=1e-4)
    assert together["metrics"]["test_accuracy"] == alone["metrics"]["test_accuracy"]
    assert together["model_uri"]
