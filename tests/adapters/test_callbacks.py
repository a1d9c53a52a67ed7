"""Callbacks in mlctl's training loop see what `Model.fit` shows them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.adapters.keras import runtime

runtime.import_keras()

import keras  # noqa: E402 - after import_keras, TensorFlow is silent

from mlctl.adapters.keras.callbacks import TrainingCallbacks  # noqa: E402
from mlctl.adapters.keras.fit import make_training_loop  # noqa: E402
from mlctl.adapters.keras.training_loop import Epoch, TrainingLoop, TrainingProgress  # noqa: E402
from mlctl.adapters.keras.training_state import read_state, write_state  # noqa: E402
from mlctl.data.dataset import Split  # noqa: E402
from mlctl.domain.objective import Objective  # noqa: E402
from mlctl.domain.outputs import Output  # noqa: E402
from mlctl.errors import BadDataError, UsageError  # noqa: E402
from tests.recording_listener import RecordingListener  # noqa: E402

ROWS, BATCH_SIZE, EPOCHS = 48, 16, 3
VALIDATION_ROWS = 24  # two batches, the last one smaller

Event = tuple[str, Any, dict[str, float]]


class Recorder(keras.callbacks.Callback):
    """Records each hook with its number and logs."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []

    def _add(self, hook: str, number: int | None, logs: Any) -> None:
        self.events.append((hook, number, {name: float(value) for name, value in (logs or {}).items()}))

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self._add("set_model", None, {})


def _hook(name: str) -> Any:
    if name.endswith(("train_begin", "train_end", "test_begin", "test_end")):
        return lambda self, logs=None: self._add(name, None, logs)
    return lambda self, number, logs=None: self._add(name, number, logs)


EPOCH_HOOKS = tuple(f"on_{what}_{end}" for what in ("train", "epoch", "test") for end in ("begin", "end"))
BATCH_HOOKS = tuple(f"on_{what}_batch_{end}" for what in ("train", "test") for end in ("begin", "end"))
EpochRecorder = type("EpochRecorder", (Recorder,), {name: _hook(name) for name in EPOCH_HOOKS})
BatchRecorder = type("BatchRecorder", (EpochRecorder,), {name: _hook(name) for name in BATCH_HOOKS})


def data() -> tuple[Split, Split]:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(ROWS + VALIDATION_ROWS, 4)).astype("float32")
    targets = (inputs @ np.arange(4)).astype("float32")
    return Split(inputs[:ROWS], targets[:ROWS]), Split(inputs[ROWS:], targets[ROWS:])


def build(optimizer: Any = None, **options: Any) -> keras.Model:
    runtime.start_session(0, runtime.FLOAT32)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer or keras.optimizers.Adam(0.1), "mse", metrics=["mae"], **options)
    return model


def fit(model: keras.Model, callbacks: Sequence[Any], epochs: int = EPOCHS) -> dict[str, list[float]]:
    """Train by `Model.fit`, in the order of mlctl's loop."""
    train, validation = data()

    class InOrder(keras.utils.PyDataset):
        epoch = 1

        def __len__(self) -> int:
            return ROWS // BATCH_SIZE

        def __getitem__(self, step: int) -> Any:
            order = np.random.default_rng([0, self.epoch]).permutation(ROWS)
            rows = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
            return train.inputs[rows], train.targets[rows]

        def on_epoch_begin(self) -> None:
            pass

    batches = InOrder()

    class NextOrder(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            batches.epoch = epoch + 1

    return model.fit(
        batches,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        validation_data=(validation.inputs, validation.targets),
        validation_batch_size=BATCH_SIZE,
        callbacks=[NextOrder(), *callbacks],
    ).history


def make_loop(
    model: keras.Model, callbacks: Sequence[Any], listener: RecordingListener | None = None
) -> TrainingLoop:
    train, validation = data()
    return make_training_loop(
        model,
        train,
        validation=validation,
        outputs=(Output(kind="values"),),
        batch_size=BATCH_SIZE,
        seed=0,
        listener=listener or RecordingListener(),
        callbacks=callbacks,
        epochs=EPOCHS,
    )


def run(
    model: keras.Model,
    callbacks: Sequence[Any],
    listener: RecordingListener | None = None,
    *,
    epochs: int = EPOCHS,
    objective: str = "val_loss",
) -> TrainingProgress:
    loop = make_loop(model, callbacks, listener)
    progress = TrainingProgress(Objective(objective, maximize=False))
    return loop.run(progress, epochs=epochs, patience=None, on_epoch_end=lambda epoch: None)


def rates(progress: TrainingProgress) -> list[float]:
    return [epoch.metrics["learning_rate"] for epoch in progress.epochs]


@pytest.mark.parametrize("recorder", [EpochRecorder, BatchRecorder])
def test_hooks_and_logs_are_those_of_fit(recorder: Any) -> None:
    by_fit, by_loop = recorder(), recorder()
    fit(build(), [by_fit])
    run(build(), [by_loop])
    assert [event[:2] for event in by_loop.events] == [event[:2] for event in by_fit.events]
    assert by_loop.params.keys() == by_fit.params.keys()
    assert {name: by_loop.params[name] for name in ("epochs", "steps")} == {"epochs": 3, "steps": 3}
    for (hook, number, expected), (_, _, logs) in zip(by_fit.events, by_loop.events, strict=True):
        found = {name: logs.get(name) for name in expected}
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5), (hook, number)


def test_large_pieces_are_kept_without_batch_hooks() -> None:
    assert not TrainingCallbacks([EpochRecorder()], model=build()).needs_batches
    assert TrainingCallbacks([BatchRecorder()], model=build()).needs_batches


@pytest.mark.parametrize(
    ("make", "needs"),
    [
        (lambda folder: keras.callbacks.ModelCheckpoint(str(folder / "m.keras")), False),
        (lambda folder: keras.callbacks.ModelCheckpoint(str(folder / "m.keras"), save_freq=2), True),
        (lambda folder: keras.callbacks.TensorBoard(str(folder)), False),
        (lambda folder: keras.callbacks.TensorBoard(str(folder), update_freq="batch"), True),
        (lambda folder: keras.callbacks.TerminateOnNaN(), False),
        (lambda folder: keras.callbacks.ReduceLROnPlateau(), False),
        (lambda folder: keras.callbacks.LambdaCallback(on_epoch_end=print), False),
        (lambda folder: keras.callbacks.LambdaCallback(on_train_batch_end=print), True),
    ],
)
def test_only_callbacks_that_need_it_are_told_of_each_batch(make: Any, needs: bool, tmp_path: Path) -> None:
    assert TrainingCallbacks([make(tmp_path)], model=build()).needs_batches is needs


def test_the_recorded_learning_rate_is_the_one_that_was_used() -> None:
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.1 / (epoch + 1))
    assert rates(run(build(), [scheduler])) == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_the_rate_falls_on_a_plateau_as_by_fit() -> None:
    plateau = partial(keras.callbacks.ReduceLROnPlateau, "val_mae", factor=0.1, patience=1, min_delta=9)
    history = fit(build(), [plateau()])
    assert rates(run(build(), [plateau()])) == pytest.approx(history["learning_rate"])
    assert history["learning_rate"][-1] < 0.1


def test_a_callback_ends_the_training_within_an_epoch() -> None:
    class Stop(BatchRecorder):  # type: ignore[misc, valid-type]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            super().on_train_batch_end(batch, logs)
            self.model.stop_training = self.model.stop_training or batch == 1

    by_fit, by_loop = Stop(), Stop()
    fit(build(), [by_fit])
    progress = run(build(), [by_loop])
    assert [event[:2] for event in by_loop.events] == [event[:2] for event in by_fit.events]
    assert len(progress.epochs) == 1


def test_early_stopping_ends_the_training() -> None:
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, min_delta=1e9, restore_best_weights=True)
    progress = run(build(), [stop])
    assert len(progress.epochs) == 2
    assert stop.stopped_epoch == 1


def test_the_best_weights_are_those_that_were_validated() -> None:
    class Spoil(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.set_weights([weight * 0 for weight in self.model.get_weights()])

    progress = run(build(), [Spoil()], epochs=1)
    assert np.abs(progress.best_weights[0]).max() > 0


def test_metrics_that_a_callback_adds_are_recorded() -> None:
    class Add(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["val_mine"] = 3.0 - epoch
            logs["note"] = "no number"

    progress = run(build(), [Add()], objective="val_mine")
    assert [epoch.metrics["val_mine"] for epoch in progress.epochs] == [3.0, 2.0, 1.0]
    assert progress.best is progress.epochs[-1]
    assert "note" not in progress.epochs[0].metrics


def test_terminate_on_nan_keeps_the_epochs_before() -> None:
    class Ruin(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                self.model.optimizer.learning_rate = float("inf")

    listener = RecordingListener()
    progress = run(build(), [Ruin(), keras.callbacks.TerminateOnNaN()], listener, epochs=5)
    assert [epoch.number for epoch in progress.epochs] == [1, 2]
    assert any("a callback has ended the training" in text for text in listener.messages)
    with pytest.raises(BadDataError, match="training has diverged"):
        run(build(), [Ruin()], epochs=5)


def test_files_of_callbacks_are_written(tmp_path: Path) -> None:
    run(
        build(),
        [
            keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch:02d}.keras")),
            keras.callbacks.TensorBoard(str(tmp_path / "board")),
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        ],
    )
    assert sorted(path.name for path in tmp_path.glob("*.keras")) == ["01.keras", "02.keras", "03.keras"]
    assert list(tmp_path.glob("board/validation/events*"))
    assert len(list(csv.DictReader((tmp_path / "log.csv").open()))) == EPOCHS


def test_backup_and_restore_is_left_out(tmp_path: Path) -> None:
    listener = RecordingListener()
    run(build(), [keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))], listener, epochs=1)
    assert any("mlctl resume" in text for text in listener.messages)
    assert not (tmp_path / "backup").exists()


def test_what_is_no_callback_is_refused() -> None:
    with pytest.raises(BadDataError, match="no Keras callback"):
        TrainingCallbacks([print], model=build())


def test_an_unknown_objective_lists_the_metrics() -> None:
    with pytest.raises(UsageError, match="does not measure") as error:
        run(build(), [], objective="val_accuracy")
    assert re.search(
        "loss, mae, val_loss, val_mae", error.value.hint.replace("val_mae, val_loss", "val_loss, val_mae")
    )


def test_pieces_follow_steps_per_execution() -> None:
    recorder = BatchRecorder()
    run(build(steps_per_execution=2), [recorder], epochs=1)
    ends = [number for hook, number, _ in recorder.events if hook == "on_train_batch_end"]
    assert ends == [1, 2]


# -- state ------------------------------------------------------------------------------------------------


def test_state_that_is_not_plain_is_named_once(tmp_path: Path) -> None:
    class Log(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.file = (tmp_path / "log").open("w")
            self.steps = iter(range(10))
            self.show, self.table, self.count = print, {"inputs": data()[0].inputs}, 0

    listener, log = RecordingListener(), Log()
    model = build()
    loop = make_loop(model, [log, keras.callbacks.TensorBoard(str(tmp_path))], listener)
    progress = TrainingProgress(Objective("val_loss", maximize=False))

    def on_epoch_end(_: Epoch) -> None:
        loop.read_state(progress)

    loop.run(progress, epochs=2, patience=None, on_epoch_end=on_epoch_end)
    log.file.close()
    [text] = [text for text in listener.messages if "not exact" in text]
    assert "Log.file" in text
    assert "Log.steps" in text
    assert not re.search("show|table|count|TensorBoard", text)


def test_large_arrays_that_do_not_change_are_not_saved() -> None:
    class Hold(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.changing = np.ones(100_000), np.ones(100_000)

    model, hold = build(), Hold()
    callbacks = TrainingCallbacks([hold], model=model)
    callbacks.train_begin(resumed=False)
    hold.changing[3] = 7
    state = read_state(model, callbacks)
    assert [path for path in state.arrays if path.startswith("callback.0")] == ["callback.0.changing"]
    again = Hold()
    others = TrainingCallbacks([again], model=model)
    others.train_begin(resumed=True)
    write_state(state, model, others)
    assert again.changing[3] == 7
    assert again.rows.sum() == 100_000


def test_containers_are_restored_in_place() -> None:
    class Share(keras.callbacks.Callback):
        def __init__(self, values: list[float]) -> None:
            super().__init__()
            self.values = values

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.values.append(epoch)

    model, values = build(), [1.0]
    callbacks = TrainingCallbacks([Share(values)], model=model)
    callbacks.train_begin(resumed=False)
    callbacks.epoch_end(5, {})
    state = read_state(model, callbacks)
    shared = [1.0]
    others = TrainingCallbacks([Share(shared)], model=model)
    others.train_begin(resumed=True)
    write_state(state, model, others)
    assert shared == values == [1.0, 4]
