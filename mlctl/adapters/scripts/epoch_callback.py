"""The Keras callback through which a run sees the epochs of a script's `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np


class EpochCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Calls a function at the beginning of a training, and another at the end of each epoch.

    It comes after the script's own callbacks, so that it sees what they add to the logs.
    """

    def __init__(
        self, on_begin: Callable[[Any], None], on_epoch: Callable[[int, dict[str, float]], None]
    ) -> None:
        """Take `on_begin(callback)` and `on_epoch(number, metrics)`; numbers count from 1."""
        super().__init__()
        self._on_begin = on_begin
        self._on_epoch = on_epoch

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Call the function."""
        self._on_begin(self)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Call the function with the epoch's metrics and the learning rate."""
        metrics = numbers(logs or {})
        if (rate := learning_rate(self.model)) is not None:
            metrics.setdefault("learning_rate", rate)
        self._on_epoch(epoch + 1, metrics)


def with_epoch_callback(callbacks: Any, callback: EpochCallback) -> Any:
    """Return the callbacks of `fit` with this one as the last: a list, or the CallbackList that the script made."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(callback)
        return callbacks
    given = callbacks if isinstance(callbacks, (list, tuple)) else [] if callbacks is None else [callbacks]
    return [*keras.tree.flatten(list(given)), callback]


def learning_rate(model: Any) -> float | None:
    """Return the present learning rate of a model's optimizer."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return None
    try:
        return float(np.asarray(optimizer.learning_rate))
    except (AttributeError, TypeError, ValueError):
        return None


def numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return the values of an epoch's logs that are single numbers."""
    found = {}
    for name, value in logs.items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError):
            continue
    return found
