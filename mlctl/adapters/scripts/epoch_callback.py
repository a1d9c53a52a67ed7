"""The Keras callback through which a run sees the epochs of a script's `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from mlctl.adapters.keras.training_state import find_optimizers
from mlctl.adapters.scripts.plain_values import shortest


class EndCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Calls a function with the model's weights when a training ends.

    It comes before the script's own callbacks, which may restore the weights of an earlier epoch then.
    """

    def __init__(self, on_end: Callable[[list[Any]], None]) -> None:
        super().__init__()
        self._on_end = on_end

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Call the function."""
        self._on_end(self.model.get_weights())


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
        self._on_epoch(epoch + 1, metrics_of(self.model, logs))


def listed(callbacks: Any) -> list[Any]:
    """Return the callbacks that are given to `fit` as a list."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return [
            callback for callback in callbacks.callbacks if not isinstance(callback, keras.callbacks.History)
        ]
    if callbacks is None:
        return []
    given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    return [callback for callback in keras.tree.flatten(list(given)) if callback is not None]


def metrics_of(model: Any, logs: Mapping[str, Any] | None) -> dict[str, float]:
    """Return an epoch's metrics, with the learning rate of each optimizer that the model uses."""
    metrics = numbers(logs or {})
    for name, rate in learning_rates(model).items():
        metrics.setdefault(name, rate)
    return metrics


def learning_rates(model: Any) -> dict[str, float]:
    """Return the present learning rate of each optimizer in use: of further ones under their attributes' names."""
    optimizers = named_optimizers(model)
    rates = {}
    for name, optimizer in optimizers.items():
        try:
            if len(optimizers) == 1 or int(optimizer.iterations):
                rate = shortest(float(np.asarray(optimizer.learning_rate)))
                rates["learning_rate" if name == "optimizer" else f"{name}_learning_rate"] = rate
        except (AttributeError, TypeError, ValueError):
            continue
    return rates


def named_optimizers(model: Any) -> dict[str, Any]:
    """Return all optimizers of a model by the names of their attributes; those of a plain one are known without a search."""
    own = getattr(model, "optimizer", None)
    found = {"optimizer": own} if own is not None else {}
    if type(model).train_step is keras.Model.train_step:
        return found
    try:
        optimizers = find_optimizers(model)
    except Exception:  # a model whose attributes cannot be read
        return found
    for path, optimizer in optimizers.items():
        name, number = path.rpartition(".")[2], 2
        while found.get(name, optimizer) is not optimizer:
            name, number = f"{path.rpartition('.')[2]}_{number}", number + 1
        found[name] = optimizer
    return found


def numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return the values of an epoch's logs that are single numbers."""
    found = {}
    for name, value in logs.items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError):
            continue
    return found
