"""Training on several devices is training on one, with every batch shared out.

The devices are two halves of one CPU: TensorFlow divides it before its first operation, so that each training
has a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TRAINING = """
import json, sys
import keras, numpy as np, tensorflow as tf
from mlctl.adapters import programs, replicas

devices, rows, optimizer = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [half] * 2)
keras.utils.set_random_seed(3)
random = np.random.default_rng(3)
inputs = random.normal(size=(rows, 6)).astype(np.float32)
targets = (inputs.sum(axis=1, keepdims=True) > 0).astype(np.float32)
with replicas.scope([f"CPU:{number}" for number in range(devices)]):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1, "sigmoid")])
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
program = programs.program_for(model, inputs, targets, 32)
for _ in range(3):
    program.begin_epoch(np.arange(rows))
    model.reset_metrics()
    program.train(0, 1)
    program.train(1, program.steps)
found = dict(programs.results(model))
_, found["later"] = programs.predict(programs.predictor_for(model, inputs), inputs, targets)
state = [np.array(one).tolist() for one in model.optimizer.variables]
print(json.dumps([replicas.count(model), found, [one.tolist() for one in model.get_weights()], state]))
"""


def trained(devices: int, rows: int, optimizer: str) -> tuple[int, dict[str, float], list, list]:
    command = [sys.executable, "-c", TRAINING, str(devices), str(rows), optimizer]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return tuple(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_two_devices_learn_what_one_learns(optimizer: str) -> None:
    one, reached, weights, _ = trained(1, 96, optimizer)
    two, reached_too, weights_too, _ = trained(2, 96, optimizer)
    assert (one, two) == (1, 2)
    assert reached_too == pytest.approx(reached, abs=1e-5)
    assert [flat(one) for one in weights_too] == [pytest.approx(flat(one), abs=1e-5) for one in weights]


def test_a_batch_of_one_row_is_shared_out() -> None:
    _, reached, weights, state = trained(2, 65, "adam")  # the last batch has one row: both get it
    _, _, wanted, _ = trained(1, 65, "adam")
    assert [flat(one) for one in weights] == [pytest.approx(flat(one), abs=1e-5) for one in wanted]
    assert all(value == value for value in reached.values())
    assert 9 in state  # batches counted once, not once a device


def flat(values: object) -> list[float]:
    return [one for part in values for one in flat(part)] if isinstance(values, list) else [values]
