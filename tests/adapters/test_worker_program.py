"""What a training does if its workers die; the workers are fakes in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlctl.adapters.keras.training_state import model_variables
from mlctl.adapters.keras.worker_group import WorkerFailedError, WorkerLostError
from mlctl.adapters.keras.worker_job import overridden_step
from mlctl.adapters.keras.worker_program import WorkerProgram
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.domain.progress import NullProgress
from mlctl.errors import ChildFailedError


class Messages(NullProgress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


class FakeGroup:
    """A group whose "training" adds the number of batches to every variable; it fails as `script` says."""

    size, source, room = 2, "fake", 2

    def __init__(self, folder: Path) -> None:
        self.storage = SharedStorage(str(folder))
        self.errors: list[Exception] = []
        self.calls: list[str] = []
        self._state: list[Any] = []

    def start(self) -> None:
        self.calls.append("start")
        self.size = min(self.size, self.room)

    def close(self) -> None:
        pass

    def call(self, method: str, *arguments: Any) -> list[Any]:
        self.calls.append(method)
        if method == "train" and self.errors:
            raise self.errors.pop(0)
        if method == "begin_epoch":
            self._state = [np.array(value) for value in arguments[0]]
        if method == "train":
            count = arguments[1] - arguments[0]
            self._state = [value + np.asarray(count, value.dtype) for value in self._state]
            return [{"loss": 1.0}] * 2
        return [self._state if method == "state" else None, None]


@pytest.fixture
def group(tmp_path: Path) -> FakeGroup:
    return FakeGroup(tmp_path)


def make(group: FakeGroup, messages: Messages) -> WorkerProgram:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    parts = (np.zeros((10, 2), "float32"), np.zeros((10, 1), "float32"), None)
    return WorkerProgram(model, parts, 4, group=group, listener=messages)


def test_an_epoch_is_repeated_from_its_beginning_if_a_worker_dies(group: FakeGroup) -> None:
    messages = Messages()
    program = make(group, messages)
    before = [np.array(variable) for variable in model_variables(program.model)]
    program.begin_epoch(np.arange(10))
    program.train(0, 2)
    group.errors = [WorkerLostError("a node died"), WorkerLostError("another one")]
    program.train(2, 3)
    assert program.steps == 3
    assert program.metrics() == {"loss": 1.0}
    assert [text.partition(";")[0] for text in messages.texts] == ["a node died", "another one"]
    assert group.calls.count("start") == 2
    for variable, value in zip(model_variables(program.model), before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value + 3)  # three batches, none of them twice


def test_workers_that_always_die_and_a_model_that_fails_end_the_training(group: FakeGroup) -> None:
    program = make(group, Messages())
    program.begin_epoch(np.arange(10))
    group.errors = [WorkerLostError("no memory")] * 9
    with pytest.raises(ChildFailedError, match="died 5 times in one epoch: no memory"):
        program.train(0, 3)
    group.errors = [WorkerFailedError("ValueError: two\nlines")]
    with pytest.raises(ChildFailedError, match="a worker cannot train the model: ValueError: two lines"):
        program.train(0, 3)


def test_fewer_workers_go_on_if_there_is_no_room_for_all(group: FakeGroup) -> None:
    messages = Messages()
    program = make(group, messages)
    program.begin_epoch(np.arange(10))
    group.errors, group.room = [WorkerLostError("a node died")], 1
    program.train(0, 3)
    assert messages.texts[-1] == "1 of 2 workers found room on the cluster: these train the model"


def test_a_train_step_for_tensorflow_is_refused() -> None:
    class OwnStep(keras.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            with tf.GradientTape():
                return {}

    assert overridden_step(keras.Sequential()) is None
    assert overridden_step(OwnStep()) == "the train_step of OwnStep uses TensorFlow"
