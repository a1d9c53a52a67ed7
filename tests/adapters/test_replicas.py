"""Training on several devices is training on one, with every batch shared out.

The devices are two halves of one CPU: TensorFlow divides it before its first operation, so that the trainings have
a process of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CASES = [(devices, rows, optimizer) for devices in (1, 2) for rows, optimizer in ((96, "adam"), (96, "sgd"), (65, "adam"))]  # fmt: skip
TRAINING = """
import json, sys
import keras, numpy as np, tensorflow as tf
from mlctl.adapters import programs, replicas

half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [half] * 2)
told = []
for devices, rows, optimizer in json.loads(sys.argv[1]):
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    random = np.random.default_rng(3)
    inputs = random.normal(size=(rows, 6)).astype(np.float32)
    targets = (inputs.sum(axis=1, keepdims=True) > 0).astype(np.float32)
    with replicas.scope([f"CPU:{number}" for number in range(devices)]):
        layers = [keras.layers.Dense(8, "relu"), keras.layers.Dense(1, "sigmoid")]
        model = keras.Sequential([keras.Input((6,)), *layers])
        model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    program = programs.program_for(model, inputs, targets, 32)
    for _ in range(3):
        program.begin_epoch(np.arange(rows))
        model.reset_metrics()
        program.train(0, 1)
        program.train(1, program.steps)
    found = dict(programs.results(model))
    _, found["later"] = programs.predict(programs.predictor_for(model, inputs), inputs, targets)
    weights = np.concatenate([one.ravel() for one in model.get_weights()]).tolist()
    told.append([replicas.count(model), found, weights, int(model.optimizer.iterations.numpy())])
print(json.dumps(told))
"""

WHOLE = """
from mlctl.adapters import framework
framework.import_keras()
import tensorflow as tf
from mlctl.adapters import replicas

half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [half] * 2)
replicas.scope_for = lambda data, batch_size: replicas.scope(["CPU:0", "CPU:1"])
from mlctl.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def trained() -> dict[tuple[int, int, str], Any]:
    command = [sys.executable, "-c", TRAINING, json.dumps(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(CASES, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_two_devices_learn_what_one_learns(trained: dict[tuple[int, int, str], Any], optimizer: str) -> None:
    one, reached, weights, steps = trained[1, 96, optimizer]
    two, reached_too, weights_too, steps_too = trained[2, 96, optimizer]
    assert (one, two) == (1, 2)
    assert steps_too == steps == 9
    assert reached_too == pytest.approx(reached, abs=1e-5)
    assert weights_too == pytest.approx(weights, abs=1e-5)


def test_a_batch_of_one_row_is_trained_on_by_both(trained: dict[tuple[int, int, str], Any]) -> None:
    _, reached, weights, steps = trained[2, 65, "adam"]  # the last batch has one row
    _, _, wanted, _ = trained[1, 65, "adam"]
    assert weights == pytest.approx(wanted, abs=1e-5)
    assert all(value == value for value in reached.values())
    assert steps == 9


def test_what_several_devices_have_trained_is_logged_as_one_model(tmp_path: Path) -> None:
    asked = ["train", "mnist", "--data", "synthetic", "--rows", "300", "--epochs", "2", "--batch-size", "64"]
    done = subprocess.run(
        [sys.executable, "-c", WHOLE, *asked, "--precision", "mixed_bfloat16", "-o", "json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "training on 2 GPUs" in done.stderr
    run = json.loads(done.stdout)  # it has dropout, and the logged model answers as the trained one did
    assert (run["status"], run["metrics"]["test_accuracy"] > 0.2) == ("FINISHED", True)
