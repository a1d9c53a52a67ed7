"""Training on several devices equals training on one.

The devices are two halves of one CPU. TensorFlow divides the CPU before its first operation, so that these
trainings need a process of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CASES = [
    (devices, rows, optimizer)
    for devices in (1, 2)
    for rows, optimizer in ((96, "adam"), (96, "sgd"), (65, "adam"))
]
TRAIN_CASES = """
import json, sys
import keras, numpy as np, tensorflow as tf
from mlctl.adapters.keras import multi_gpu, programs
from mlctl.data.dataset import Split

half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [half] * 2)
results = []
for devices, rows, optimizer in json.loads(sys.argv[1]):
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    random = np.random.default_rng(3)
    inputs = random.normal(size=(rows, 6)).astype(np.float32)
    targets = (inputs.sum(axis=1, keepdims=True) > 0).astype(np.float32)
    with multi_gpu.mirrored_scope([f"CPU:{number}" for number in range(devices)]):
        layers = [keras.layers.Dense(8, "relu"), keras.layers.Dense(1, "sigmoid")]
        model = keras.Sequential([keras.Input((6,)), *layers])
        model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    program = programs.make_program(model, Split(inputs, targets), 32)
    for _ in range(3):
        program.begin_epoch(np.arange(rows))
        model.reset_metrics()
        program.train(0, 1)
        program.train(1, program.steps)
    metrics = dict(program.metrics())
    metrics["loss_after"] = programs.make_predictor(model).evaluate(Split(inputs, targets)).metrics["loss"]
    weights = np.concatenate([array.ravel() for array in model.get_weights()]).tolist()
    steps = int(model.optimizer.iterations.numpy())
    results.append([multi_gpu.count_devices(model), metrics, weights, steps])
print(json.dumps(results))
"""

RUN_COMMAND = """
from mlctl.adapters.keras import runtime
runtime.import_keras()
import tensorflow as tf
from mlctl.adapters.keras import multi_gpu

half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [half] * 2)
multi_gpu.distribution_scope = lambda data, batch_size: multi_gpu.mirrored_scope(["CPU:0", "CPU:1"])
from mlctl.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def results() -> dict[tuple[int, int, str], Any]:
    command = [sys.executable, "-c", TRAIN_CASES, json.dumps(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(CASES, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_two_devices_train_as_one_does(results: dict[tuple[int, int, str], Any], optimizer: str) -> None:
    one_device, metrics, weights, steps = results[1, 96, optimizer]
    two_devices, other_metrics, other_weights, other_steps = results[2, 96, optimizer]
    assert (one_device, two_devices) == (1, 2)
    assert other_steps == steps == 9
    assert other_metrics == pytest.approx(metrics, abs=1e-5)
    assert other_weights == pytest.approx(weights, abs=1e-5)


def test_batch_of_one_row_is_trained_on_both_devices(results: dict[tuple[int, int, str], Any]) -> None:
    _, metrics, weights, steps = results[2, 65, "adam"]  # the last batch has one row
    _, _, expected, _ = results[1, 65, "adam"]
    assert weights == pytest.approx(expected, abs=1e-5)
    assert all(value == value for value in metrics.values())
    assert steps == 9


@pytest.mark.long
def test_model_trained_on_two_devices_is_logged_as_one_model(tmp_path: Path) -> None:
    arguments = [
        "train",
        "mnist",
        "--data",
        "synthetic",
        "--rows",
        "300",
        "--epochs",
        "2",
        "--batch-size",
        "64",
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN_COMMAND, *arguments, "--precision", "mixed_bfloat16", "-o", "json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "training on 2 GPUs" in done.stderr
    run = json.loads(done.stdout)  # the model has dropout; the logged one was checked against the trained one
    assert (run["status"], run["metrics"]["test_accuracy"] > 0.2) == ("FINISHED", True)
