"""Keras callbacks in mlctl's training loop: their hooks are called as `Model.fit` calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from mlctl.adapters.keras import plain_values
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.errors import BadDataError

TRAIN_BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
TEST_BATCH_HOOKS = ("on_test_batch_begin", "on_test_batch_end")
SET_BY_KERAS = frozenset({"_model", "params"})
# attributes of Keras's own callbacks that they make anew when a training begins
MADE_ANEW = frozenset({"csv_file", "writer", "_writers", "_prev_summary_state", "_batch_trace_context"})

Array = np.ndarray[Any, Any]


class TrainingCallbacks:
    """The callbacks of one training, or of one phase of it.

    Attributes:
        callbacks: those of the recipe, and Keras's History.
        needs_batches: whether a callback wants to know of every batch; else batches are trained in large pieces.
        has_test_batch_hooks: whether a callback wants to know of every validation batch.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        *,
        model: keras.Model | None = None,
        epochs: int = 1,
        steps: int = 1,
        listener: ProgressListener | None = None,
    ) -> None:
        self._listener = listener or NullProgress()
        self._model = model
        self._list: keras.callbacks.CallbackList | None = None
        self._checksums: dict[str, int] = {}
        self._named = False
        given = self._accepted(callbacks)
        self.needs_batches = any(_needs_every_batch(callback) for callback in given)
        self._has_batch_hooks = any(_overrides(callback, TRAIN_BATCH_HOOKS) for callback in given)
        self.has_test_batch_hooks = any(_overrides(callback, TEST_BATCH_HOOKS) for callback in given)
        if given:
            self._list = keras.callbacks.CallbackList(
                given, add_history=True, model=model, epochs=epochs, steps=steps, verbose=0
            )
            # hooks are called in this thread, so that a callback's state is complete at the end of an epoch
            self._list._async_train = self._list._async_test = False

    @property
    def callbacks(self) -> Sequence[Any]:
        """The callbacks, with Keras's History; none if there are none in the recipe."""
        return self._list.callbacks if self._list else ()

    @property
    def stop_training(self) -> bool:
        """Whether a callback has stopped the training."""
        return bool(self._list and self._model is not None and self._model.stop_training)

    @property
    def swaps_averages(self) -> bool:
        """Whether a callback puts the averaged weights into the model during validation."""
        return any(isinstance(callback, keras.callbacks.SwapEMAWeights) for callback in self.callbacks)

    def train_begin(self, *, resumed: bool) -> None:
        """Call on_train_begin; a CSVLogger of a resumed training adds to its file."""
        if self._list is None or self._model is None:
            return
        self._model.stop_training = False
        for callback in self.callbacks:
            if resumed and isinstance(callback, keras.callbacks.CSVLogger):
                callback.append = True
        self._list.on_train_begin()
        for number, callback in enumerate(self.callbacks):
            for name, value in _attributes(callback):
                self._checksums.update(plain_values.checksums(value, f"callback.{number}.{name}"))

    def train_end(self, logs: Mapping[str, float] | None) -> None:
        """Call on_train_end with the logs of the last epoch."""
        if self._list is not None:
            self._list.on_train_end(logs)

    def epoch_begin(self, number: int) -> None:
        """Call on_epoch_begin; `number` counts from 1, Keras's epochs count from 0."""
        if self._list is not None:
            self._list.on_epoch_begin(number - 1)

    def epoch_end(self, number: int, logs: dict[str, Any]) -> None:
        """Call on_epoch_end; callbacks may add to `logs`, which a CallbackList would give them as a copy."""
        for callback in self.callbacks:
            callback.on_epoch_end(number - 1, logs)

    def train_batch_begin(self, batch: int) -> None:
        """Call on_train_batch_begin with the number of a piece's first batch."""
        if self._list is not None and self._has_batch_hooks:
            self._list.on_train_batch_begin(batch)

    def train_batch_end(self, batch: int, logs: Any) -> None:
        """Call on_train_batch_end with the number of a piece's last batch; `logs()` returns the running metrics."""
        if self._list is not None and self._has_batch_hooks:
            self._list.on_train_batch_end(batch, logs())

    def test_begin(self) -> None:
        """Call on_test_begin."""
        if self._list is not None:
            self._list.on_test_begin()

    def test_end(self, logs: Mapping[str, float]) -> None:
        """Call on_test_end with the metrics of the validation."""
        if self._list is not None:
            self._list.on_test_end(dict(logs))

    def test_batch_begin(self, batch: int) -> None:
        """Call on_test_batch_begin."""
        if self._list is not None:
            self._list.on_test_batch_begin(batch)

    def test_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        """Call on_test_batch_end with the running metrics."""
        if self._list is not None:
            self._list.on_test_batch_end(batch, dict(logs))

    def pack(self, arrays: dict[str, Array]) -> list[dict[str, Any]]:
        """Return the plain attributes of each callback as JSON, and add their arrays to `arrays`."""
        packed, inexact = [], []
        for number, callback in enumerate(self.callbacks):
            values: dict[str, Any] = {}
            for name, value in _attributes(callback):
                try:
                    entry = plain_values.pack(value, arrays, f"callback.{number}.{name}", self._checksums)
                except plain_values.NotPlainError as error:
                    if not (name in MADE_ANEW and _is_keras(callback)):
                        inexact.append(f"{type(callback).__name__}.{name} ({error})")
                    continue
                if entry is not plain_values.CONSTANT:
                    values[name] = entry
            packed.append({"class": type(callback).__name__, "values": values})
        self._name_inexact(inexact)
        return packed

    def unpack(self, packed: Sequence[Mapping[str, Any]], arrays: Mapping[str, Array]) -> None:
        """Set the attributes that `pack` returned; callbacks that are new or gone are left alone."""
        for callback, entry in zip(self.callbacks, packed, strict=False):
            if type(callback).__name__ != entry["class"]:
                continue
            for name, value in entry["values"].items():
                current = getattr(callback, name, None)
                setattr(callback, name, plain_values.unpack(value, dict(arrays), current))

    def _name_inexact(self, attributes: list[str]) -> None:
        if attributes and not self._named:
            self._named = True
            self._listener.message(
                f"a resumed training is not exact for {', '.join(attributes)}: "
                "only plain values of callbacks are part of a checkpoint"
            )

    def _accepted(self, callbacks: Sequence[Any]) -> list[Any]:
        """Return the callbacks to call; raise BadDataError if one is none."""
        accepted = []
        for callback in keras.tree.flatten(list(callbacks or ())):
            if not isinstance(callback, keras.callbacks.Callback):
                raise BadDataError(
                    f"callbacks() returned {type(callback).__name__}, which is no Keras callback",
                    "return a list of keras.callbacks.Callback",
                )
            if isinstance(callback, keras.callbacks.BackupAndRestore):
                self._listener.message(
                    "BackupAndRestore is left out: mlctl writes a checkpoint after every epoch, "
                    "and mlctl resume continues from it"
                )
                continue
            accepted.append(callback)
        return accepted


NO_CALLBACKS = TrainingCallbacks()


def _attributes(callback: Any) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vars(callback).items() if name not in SET_BY_KERAS]


def _is_keras(callback: Any) -> bool:
    """Return whether a callback is one of Keras's own, or a subclass of one."""
    return any(
        base.__module__.startswith("keras.") and base is not keras.callbacks.Callback
        for base in type(callback).__mro__
        if issubclass(base, keras.callbacks.Callback)
    )


def _overrides(callback: Any, hooks: Sequence[str]) -> bool:
    return any(not getattr(getattr(callback, hook), "_is_default", False) for hook in hooks)


def _needs_every_batch(callback: Any) -> bool:
    """Return whether a callback wants to know of every batch.

    Some of Keras's own have hooks for batches that do nothing in their usual form, or that can wait for the end
    of a piece.
    """
    hooks = [hook for hook in TRAIN_BATCH_HOOKS if not getattr(getattr(callback, hook), "_is_default", False)]
    if not all(str(getattr(callback, hook).__module__).startswith("keras.") for hook in hooks):
        return True
    if isinstance(callback, keras.callbacks.ModelCheckpoint):
        return bool(callback.save_freq != "epoch")
    if isinstance(callback, keras.callbacks.TensorBoard):
        return bool(
            callback.update_freq != "epoch" or callback._should_trace or callback.write_steps_per_second
        )
    return bool(hooks) and not isinstance(
        callback, keras.callbacks.TerminateOnNaN | keras.callbacks.ProgbarLogger
    )
