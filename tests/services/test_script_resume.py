"""A script that is killed with -9 and resumed ends as one that nobody disturbed: the same curves, model and scores."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training_run import client
from tests.zygote import Zygote

SCRIPT = """
import os
import pathlib
import signal

import keras
import numpy as np

keras.utils.set_random_seed(1)
x = np.random.rand(200, 8).astype("float32")
y = (x.sum(1) > 4).astype("int32")


class Killed(keras.callbacks.Callback):
    def __init__(self, where):
        self.where = where

    def on_epoch_begin(self, epoch, logs=None):
        file = pathlib.Path("kill")
        if file.exists() and file.read_text() == f"{self.where} {epoch}":
            file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def network(name):
    layers = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(2, "softmax")]
    model = keras.Sequential([keras.Input((8,)), *layers], name=name)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


teacher = network("teacher")
plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=1)
first = teacher.fit(x, y, epochs=4, verbose=0, callbacks=[plateau, Killed("first")])
teacher.layers[0].trainable = False
teacher.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
second = teacher.fit(x, y, epochs=2, verbose=0, callbacks=[Killed("second")])
student = network("student")
taught = teacher.predict(x, verbose=0).argmax(1)
third = student.fit(x, taught, epochs=4, validation_split=0.2, verbose=0, callbacks=[Killed("student")])
student.evaluate(x[:50], y[:50], verbose=0)
print("epochs", [len(history.history["loss"]) for history in (first, second, third)])
"""


@pytest.mark.slow
def test_a_killed_script_goes_on_bit_for_bit(
    zygote: Zygote, tmp_path: Path, empty_store: Callable[[Path], str]
) -> None:
    folder, uri = tmp_path / "state", empty_store(tmp_path)
    folder.mkdir()
    (folder / "train.py").write_text(SCRIPT)
    whole = zygote.start(["train", "train.py"], folder, tmp_path / "whole", uri)
    assert whole.wait() == 0, whole.output
    undisturbed = _histories(uri, _newest(uri))

    (folder / "kill").write_text("first 2")
    killed = zygote.start(["train", "train.py"], folder, tmp_path / "killed", uri)
    assert killed.wait() == -signal.SIGKILL, killed.output
    (folder / "kill").write_text("student 3")
    again = zygote.start(["resume", "last"], folder, tmp_path / "again", uri)
    assert again.wait() == -signal.SIGKILL, again.output
    resumed = zygote.start(["resume", "last"], folder, tmp_path / "resumed", uri)
    assert resumed.wait() == 0, resumed.output
    assert "epochs [4, 2, 4]" in resumed.output, "each History has all of its epochs"

    run = _newest(uri)
    assert run.info.status == "FINISHED"
    assert len(undisturbed) > 8
    assert _histories(uri, run) == undisturbed


def _newest(uri: str) -> Any:
    (experiment,) = [found for found in client(uri).search_experiments() if found.name == "train"]
    return client(uri).search_runs([experiment.experiment_id], order_by=["start_time DESC"])[0]


def _histories(uri: str, run: Any) -> dict[str, list[tuple[int, float]]]:
    """Return all points of a run's metrics."""
    return {
        name: sorted(
            (point.step, point.value) for point in client(uri).get_metric_history(run.info.run_id, name)
        )
        for name in run.data.metrics
    }
