"""The state of a script's `fit` at the end of an epoch, and how Keras's `fit` goes on from there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

from mlctl.adapters.keras.callbacks import TrainingCallbacks
from mlctl.adapters.keras.checkpoints import TrainingState
from mlctl.adapters.keras.training_state import read_state, write_state
from mlctl.domain.progress import ProgressListener
from mlctl.errors import RefusedError


class FitCallbacks(TrainingCallbacks):
    """The callbacks of a `fit` that is running: their state is read and set, and Keras calls their hooks."""

    def __init__(self, callbacks: Sequence[Any], listener: ProgressListener) -> None:
        super().__init__(listener=listener)
        self._given = tuple(callbacks)

    @property
    def callbacks(self) -> Sequence[Any]:
        """The script's own callbacks."""
        return self._given


def read_fit_state(
    model: Any, callbacks: FitCallbacks, *, fit: int, over: bool, values: Mapping[str, Any]
) -> TrainingState:
    """Return a copy of the present state of a model's fit number `fit`, with more JSON values."""
    state = read_state(model, callbacks, phase=fit, over=over)
    return TrainingState(
        variables=state.variables,
        arrays=state.arrays,
        values={**state.values, **values},
        phase=fit,
        over=over,
    )


def restore_fit_state(state: TrainingState, model: Any, callbacks: FitCallbacks) -> None:
    """Set model, optimizer, random generators and callbacks to a state.

    Raises RefusedError if the script has built another model.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)
    try:
        write_state(state, model, callbacks)
    except RefusedError as error:
        raise RefusedError(
            f"the script builds another model than the one in the checkpoint: {model.name}",
            "start a new run: mlctl train",
        ) from error


def restore_weights(state: TrainingState, model: Any) -> None:
    """Set the weights of a model that a later `fit` has trained further: its optimizer may be another one by now."""
    variables = list(model.variables)
    saved = state.variables[: len(variables)]
    if [tuple(variable.shape) for variable in variables] != [tuple(array.shape) for array in saved]:
        raise RefusedError(
            f"the script builds another model than the one in the checkpoint: {model.name}",
            "start a new run: mlctl train",
        )
    for variable, value in zip(variables, saved, strict=True):
        variable.assign(value)


def finished_history(model: Any, epochs: Sequence[Mapping[str, float]]) -> Any:
    """Return the History of a `fit` that an earlier process has finished, and give it to the model."""
    history = keras.callbacks.History()
    history.set_model(model)
    history.on_train_begin()
    for number, logs in enumerate(epochs):
        history.on_epoch_end(number, dict(logs))
    model.history = history
    model.stop_training = False
    return history


def prepend_history(history: Any, epochs: Sequence[Mapping[str, float]]) -> None:
    """Add the epochs of an earlier process to a History, as its first ones."""
    names = dict.fromkeys(name for logs in epochs for name in logs)
    for name in dict.fromkeys([*names, *history.history]):
        history.history[name] = [
            *(logs[name] for logs in epochs if name in logs),
            *history.history.get(name, []),
        ]
    history.epoch = [*range(len(epochs)), *history.epoch]


@contextlib.contextmanager
def after_epochs(epochs: int) -> Iterator[None]:
    """Let a `fit` that begins in this block draw its rows as after this number of epochs.

    On TensorFlow, Keras draws the order of arrays when it begins to read an epoch, from a generator that counts. On
    other backends it draws the order from a generator whose state is part of the checkpoint. Data of other kinds begins
    as at its first epoch.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    from keras.src.backend.tensorflow import trainer

    original = trainer.TFEpochIterator
    is_training = True  # the first one of a `fit`; the next one is that of its validation

    class ResumedIterator(original):  # type: ignore[misc, valid-type]
        def reset(self) -> None:
            nonlocal is_training
            super().reset()
            if is_training and isinstance(self.data_adapter, ArrayDataAdapter):
                for _ in range(epochs):
                    self._skip_epoch()
            is_training = False

        def _skip_epoch(self) -> None:
            with self.catch_stop_iteration():
                for begin, _, iterator in self:
                    if begin == 0:
                        next(iterator)  # draws the order

    trainer.TFEpochIterator = ResumedIterator
    try:
        yield
    finally:
        trainer.TFEpochIterator = original


def without_backup(callbacks: Sequence[Any], listener: ProgressListener) -> list[Any]:
    """Return a script's callbacks without BackupAndRestore, whose work mlctl does."""
    kept = [callback for callback in callbacks if not isinstance(callback, keras.callbacks.BackupAndRestore)]
    if len(kept) < len(callbacks):
        listener.message(
            "BackupAndRestore is left out: mlctl writes checkpoints, and mlctl resume continues from them"
        )
    return kept


def continue_files(callbacks: Sequence[Any]) -> None:
    """Let a CSVLogger of a resumed fit add to its file."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.CSVLogger):
            callback.append = True
