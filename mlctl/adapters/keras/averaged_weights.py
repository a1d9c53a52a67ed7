"""The averaged weights of an optimizer with `use_ema`: they are validated and kept in place of the plain ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

Array = np.ndarray[Any, Any]


class AveragedWeights:
    """The averages that a model's optimizer keeps; there are none without `use_ema`."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._pairs = [pair for optimizer in _plain_optimizers(model) for pair in _averages(optimizer)]

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def get_weights(self) -> list[Array]:
        """Return the model's weights in the order of `Model.get_weights`, averaged where there is an average."""
        averages = {id(variable): average for variable, average in self._pairs}
        return [np.array(averages.get(id(weight), weight)) for weight in self._model.weights]

    @contextlib.contextmanager
    def in_model(self) -> Iterator[None]:
        """Put the averages into the model, and the plain weights back at the end."""
        plain = [np.array(variable) for variable, _ in self._pairs]
        for variable, average in self._pairs:
            variable.assign(average)
        try:
            yield
        finally:
            for (variable, _), weight in zip(self._pairs, plain, strict=True):
                variable.assign(weight)


def _plain_optimizers(model: keras.Model) -> list[Any]:
    """Return the compiled optimizer without its loss scaling, or the several that it consists of."""
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return list(getattr(optimizer, "optimizers", [optimizer]))


def _averages(optimizer: Any) -> list[tuple[Any, Any]]:
    if not getattr(optimizer, "use_ema", False) or not optimizer.built:
        return []
    pairs = zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True)
    return [(variable, average) for variable, average in pairs if average is not None]
