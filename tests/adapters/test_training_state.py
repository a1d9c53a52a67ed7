"""A training that continues from its checkpoint ends with the same weights as one without a break, bit for bit."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.adapters.keras import runtime

runtime.import_keras()

import keras  # noqa: E402 - after import_keras, TensorFlow is silent
import tensorflow as tf  # noqa: E402

from mlctl.adapters.keras import checkpoints  # noqa: E402
from mlctl.adapters.keras.fit import make_training_loop  # noqa: E402
from mlctl.adapters.keras.phases import TrainingPhase, run_phases  # noqa: E402
from mlctl.adapters.keras.training_loop import Epoch, TrainingLoop, TrainingProgress  # noqa: E402
from mlctl.adapters.keras.training_state import find_optimizers, read_state, write_state  # noqa: E402
from mlctl.adapters.keras.weights import load_state, save_state  # noqa: E402
from mlctl.data.dataset import Split  # noqa: E402
from mlctl.domain.objective import Objective  # noqa: E402
from mlctl.domain.outputs import Output  # noqa: E402
from mlctl.errors import RefusedError  # noqa: E402
from mlctl.recipes.members import MemberNetwork, member_values  # noqa: E402
from tests.recording_listener import RecordingListener  # noqa: E402

Array = np.ndarray[Any, Any]
EPOCHS = 6


def data() -> tuple[Split, Split]:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(120, 6)).astype("float32")
    targets = (inputs @ np.arange(6) + rng.normal(size=120)).astype("float32")
    return Split(inputs[:80], targets[:80]), Split(inputs[80:], targets[80:])


def compiled(optimizer: Any = None, *layers: Any) -> keras.Model:
    model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(1)])
    model.compile(optimizer or keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
    return model


@dataclass
class Program:
    """What a recipe's author writes."""

    build: Callable[[], keras.Model]
    callbacks: Callable[[], Sequence[keras.callbacks.Callback]] = tuple
    phases: Sequence[TrainingPhase] = (TrainingPhase(epochs=EPOCHS),)
    objective: str = "val_loss"
    listener: RecordingListener = field(default_factory=RecordingListener)


class _KilledError(Exception):
    pass


def train(program: Program, folder: Path, *, kill_after: int = 0) -> tuple[list[Array], TrainingProgress]:
    """Train from the checkpoint in a folder, if it has one; return the last weights and the progress."""
    runtime.start_session(0, runtime.FLOAT32)
    train_split, validation = data()
    model, callbacks = program.build(), program.callbacks()
    progress = TrainingProgress(Objective(program.objective, maximize=False))
    checkpoint = checkpoints.load_newest(folder)
    if checkpoint:
        progress.restore(checkpoint)
    writer = checkpoints.CheckpointWriter(folder, lambda _: None, 1e9)

    def on_epoch_end(epoch: Epoch, loop: TrainingLoop) -> None:
        writer.write(progress.make_checkpoint(loop.read_state(progress)))
        if epoch.number == kill_after:
            raise _KilledError

    make_loop = partial(
        make_training_loop,
        model,
        train_split,
        validation=validation,
        outputs=(Output(kind="values"),),
        batch_size=16,
        seed=0,
        listener=program.listener,
        callbacks=callbacks,
        epochs=EPOCHS,
    )
    try:
        run_phases(
            program.phases,
            model,
            make_loop,
            progress=progress,
            epochs=EPOCHS,
            patience=None,
            on_epoch_end=on_epoch_end,
            listener=program.listener,
            state=checkpoint.state if checkpoint else None,
        )
    finally:
        writer.close()
    return model.get_weights(), progress


def assert_exact(program: Program, folder: Path, *, kill_after: int) -> TrainingProgress:
    """Assert that a training with a break equals one without, and return its progress."""
    weights, whole = train(program, folder / "whole")
    with pytest.raises(_KilledError):
        train(program, folder / "killed", kill_after=kill_after)
    random.seed(99)  # a new process starts with other generators
    np.random.seed(99)
    resumed_weights, resumed = train(program, folder / "killed")
    assert [epoch.metrics for epoch in resumed.epochs] == [epoch.metrics for epoch in whole.epochs]
    for one, other in zip(weights, resumed_weights, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(whole.best_weights, resumed.best_weights, strict=True):
        np.testing.assert_array_equal(one, other)
    return resumed


# -- models -----------------------------------------------------------------------------------------------


class Jitter(keras.layers.Layer):
    """Adds noise of Keras's global generator."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        return inputs + 0.1 * keras.random.normal(keras.ops.shape(inputs)) if training else inputs


class TwoOptimizers(keras.Model):
    """Trains its layers with optimizers of their own, in containers, and counts its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.answer = keras.layers.Dense(8, "relu"), keras.layers.Dense(1)
        self.others = {"list": [keras.optimizers.Adam(0.01)]}
        self.steps = tf.Variable(0.0, trainable=False)

    def call(self, inputs: Any) -> Any:
        return self.answer(self.hidden(inputs))

    def train_step(self, data: Any) -> dict[str, Any]:
        inputs, targets = data
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_mean(tf.square(self(inputs)[:, 0] - tf.reshape(targets, [-1])))
            loss *= 1 + 1 / (1 + self.steps)
        for layer, optimizer in ((self.hidden, self.others["list"][0]), (self.answer, self.optimizer)):
            variables = layer.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self.steps.assign_add(1.0)
        return {"loss": loss}


class Stateful(keras.callbacks.Callback):
    """Changes the learning rate by all that it remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.recent: deque[float] = deque(maxlen=3)
        self.best = {"value": np.float32(np.inf), "epochs": (0, None)}
        self.mean = np.zeros(2)
        self.seen: set[str] = set()
        self.rng = np.random.default_rng(3)
        self.memory = Memory()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.losses.append(logs["val_loss"])
        self.recent.append(logs["loss"])
        self.best["value"] = min(self.best["value"], np.float32(logs["loss"]))
        self.best["epochs"] = (epoch, None)
        self.mean += logs["loss"]
        self.seen.add(str(epoch))
        self.memory.count += 1
        # a function of everything, so that a lost value changes the weights
        total = sum(self.losses) + sum(self.recent) + float(self.best["value"]) + self.mean.sum()
        total += len(self.seen) + self.rng.random() + self.memory.count
        total += random.random() + np.random.random()
        self.model.optimizer.learning_rate = 0.01 + 0.0001 * (total % 7)


@dataclass
class Memory:
    """An object of a user's own."""

    count: int = 0


def plateau() -> list[keras.callbacks.Callback]:
    return [keras.callbacks.ReduceLROnPlateau(monitor="val_mae", factor=0.5, patience=1, min_delta=2.0)]


def freeze(model: keras.Model) -> None:
    model.layers[0].trainable = False
    model.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"])


def unfreeze(model: keras.Model) -> None:
    model.layers[0].trainable = True
    model.compile(keras.optimizers.SGD(0.001, momentum=0.9), "mse", metrics=["mae"])


PHASES = (
    TrainingPhase(name="head", epochs=2, start=freeze),
    TrainingPhase(name="all", epochs=4, start=unfreeze),
)


def two_optimizers() -> keras.Model:
    model = TwoOptimizers()
    model.compile(keras.optimizers.RMSprop(0.01))
    return model


def members() -> keras.Model:
    inputs = keras.Input((6,))
    values = member_values(inputs, units=8, depth=2, dropout=0.2, members=2, bags=3, outputs=1)
    encode = partial(keras.ops.reshape, newshape=(-1, 1))
    model = MemberNetwork(
        inputs, values, values, encode=encode, loss=keras.losses.mean_absolute_error, bags=3, metrics=["mae"]
    )
    model.compile(
        keras.optimizers.AdamW(0.01, clipnorm=1.0, use_ema=True, ema_momentum=0.9), "mae", metrics=["mae"]
    )
    return model


PROGRAMS: dict[str, Program] = {
    "layers of Keras": Program(
        lambda: compiled(
            keras.optimizers.Nadam(keras.optimizers.schedules.ExponentialDecay(1e-2, 5, 0.8)),
            keras.layers.GaussianNoise(0.1),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
        )
    ),
    "keras.random": Program(lambda: compiled(None, Jitter())),
    "ReduceLROnPlateau": Program(compiled, plateau),
    "a callback with state": Program(compiled, lambda: [Stateful()]),
    "two optimizers": Program(two_optimizers, objective="val_mae"),
    "averaged weights": Program(lambda: compiled(keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.9))),
    "averaged weights, swapped by a callback": Program(
        lambda: compiled(keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.9)),
        lambda: [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
    ),
    "members in bags": Program(members, lambda: [keras.callbacks.EarlyStopping("val_mae", patience=4)]),
    "gradient accumulation": Program(
        lambda: compiled(keras.optimizers.Adam(0.01, gradient_accumulation_steps=3))
    ),
    "loss scale": Program(lambda: compiled(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_resumed_weights_are_equal(name: str, tmp_path: Path) -> None:
    assert_exact(PROGRAMS[name], tmp_path, kill_after=3)


@pytest.mark.parametrize("kill_after", [1, 2, 4])
def test_phases_resume_at_any_epoch(kill_after: int, tmp_path: Path) -> None:
    program = Program(lambda: compiled(None, keras.layers.Dense(4)), plateau, PHASES)
    progress = assert_exact(program, tmp_path, kill_after=kill_after)
    assert [epoch.metrics["phase"] for epoch in progress.epochs] == [1, 1, 2, 2, 2, 2]
    assert [round(epoch.metrics["learning_rate"], 4) for epoch in progress.epochs][:3] == [0.05, 0.05, 0.001]
    messages = [text for text in program.listener.messages if text.startswith("phase")]
    assert messages[:2] == ["phase 1 of 2: head, 2 epochs", "phase 2 of 2: all, 4 epochs"]


def test_a_phase_that_a_callback_stops_is_followed_by_the_next(tmp_path: Path) -> None:
    class StopAtFirst(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 0

    program = Program(lambda: compiled(None, keras.layers.Dense(4)), lambda: [StopAtFirst()], PHASES)
    progress = assert_exact(program, tmp_path, kill_after=1)
    assert [epoch.metrics["phase"] for epoch in progress.epochs] == [1, 2, 2, 2, 2]


def test_a_stopped_training_stays_stopped(tmp_path: Path) -> None:
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, min_delta=1e9, restore_best_weights=True)
    program = Program(compiled, lambda: [stop])
    _, progress = train(program, tmp_path)
    assert len(progress.epochs) == 2
    _, again = train(program, tmp_path)
    assert len(again.epochs) == 2


def test_averages_are_validated_and_kept(tmp_path: Path) -> None:
    _, progress = train(PROGRAMS["averaged weights"], tmp_path)
    _, validation = data()
    model = compiled()
    assert progress.best is not None
    model.set_weights(progress.best_weights)
    loss = model.evaluate(validation.inputs, validation.targets, verbose=0)[0]
    assert progress.best.metrics["val_loss"] == pytest.approx(loss, rel=1e-4)
    _, plain = train(Program(lambda: compiled(keras.optimizers.SGD(0.01))), tmp_path / "plain")
    assert plain.epochs[0].metrics["loss"] == progress.epochs[0].metrics["loss"]
    assert plain.epochs[0].metrics["val_loss"] < progress.epochs[0].metrics["val_loss"]
    assert any("averaged weights" in text for text in PROGRAMS["averaged weights"].listener.messages)


# -- what is found and what is refused ----------------------------------------------------------------------


def test_all_optimizers_are_found() -> None:
    model = two_optimizers()
    assert list(find_optimizers(model)) == ["optimizer", "model.others.list.0"]


def test_the_rates_of_all_optimizers_are_recorded(tmp_path: Path) -> None:
    _, progress = train(PROGRAMS["two optimizers"], tmp_path)
    rates = {name: value for name, value in progress.epochs[0].metrics.items() if "learning_rate" in name}
    assert rates == {
        "learning_rate": pytest.approx(0.01),
        "learning_rate_others.list.0": pytest.approx(0.01),
    }


def test_another_model_is_refused() -> None:
    state = read_state(compiled())
    with pytest.raises(RefusedError, match="another model"):
        write_state(state, compiled(None, keras.layers.Dense(3)))


def test_a_state_of_version_0_1_is_written_to_the_model() -> None:
    model, other = compiled(), compiled()
    for each in (model, other):
        each.optimizer.build(each.trainable_variables)
    state = read_state(model)
    old = checkpoints.unpack_state({"epoch": 1}, list(state.variables))
    write_state(old, other)
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])


def test_a_trials_file_keeps_the_state(tmp_path: Path) -> None:
    model = compiled(None, keras.layers.Dropout(0.5))
    model.optimizer.build(model.trainable_variables)
    path = str(tmp_path / "trial.npz")
    state = read_state(model, phase=1, over=True)
    save_state(state, path)
    loaded = load_state(path, model)
    assert (loaded.phase, loaded.over) == (1, True)
    assert loaded.values == json.loads(json.dumps(state.values))
    assert list(loaded.arrays) == list(state.arrays)


def test_a_trials_file_of_version_0_1_loads(tmp_path: Path) -> None:
    model, other = compiled(None, keras.layers.Dropout(0.5)), compiled(None, keras.layers.Dropout(0.5))
    for each in (model, other):
        each.optimizer.build(each.trainable_variables)
    model.optimizer.iterations.assign(7)
    path = tmp_path / "trial.npz"
    np.savez(path, *model.get_weights(), *[np.array(variable) for variable in model.optimizer.variables])
    write_state(load_state(str(path), other), other)
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])
    assert int(other.optimizer.iterations) == 7


@pytest.mark.parametrize("has_rows", [True, False])  # earlier versions wrote none
def test_a_training_continued_after_any_epoch_keeps_the_same_epoch_among_near_ties(has_rows: bool) -> None:
    scores = [0.92, 0.95, 0.975, 0.97, 0.97, 0.99, 0.985, 0.985, 0.98, 0.97]
    losses = [0.30, 0.25, 0.22, 0.21, 0.20, 0.19, 0.18, 0.17, 0.16, 0.15]
    epochs = [
        Epoch(number, {"val_accuracy": score, "val_loss": loss}, 0.1, 289)
        for number, (score, loss) in enumerate(zip(scores, losses, strict=True), 1)
    ]
    whole = _progress_of(epochs)
    assert whole.best is epochs[7]  # epoch 9 is further than one standard error from epoch 6
    assert int(whole.best_weights[0]) == 8
    for cut in range(1, len(epochs)):
        first = _progress_of(epochs[:cut])
        checkpoint = first.make_checkpoint(checkpoints.TrainingState(variables=[]))
        if not has_rows:
            checkpoint = replace(checkpoint, epochs=[values[:3] for values in checkpoint.epochs])
        continued = TrainingProgress(Objective("val_accuracy", maximize=True))
        continued.restore(checkpoint)
        assert continued.best is not None
        assert first.best is not None
        assert continued.best.number == first.best.number
        _add(continued, epochs[cut:])
        assert continued.best.number == 8
        assert int(continued.best_weights[0]) == 8


def _progress_of(epochs: Sequence[Epoch]) -> TrainingProgress:
    progress = TrainingProgress(Objective("val_accuracy", maximize=True))
    _add(progress, epochs)
    return progress


def _add(progress: TrainingProgress, epochs: Sequence[Epoch]) -> None:
    for epoch in epochs:
        progress.validation_rows = epoch.validation_rows
        progress.add(epoch, lambda number=epoch.number: [np.array(number)])  # type: ignore[misc]
