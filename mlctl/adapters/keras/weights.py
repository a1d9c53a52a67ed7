"""A model's weights and its optimizer's state in one file, so that another process continues its training."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from mlctl.files import atomic_writer


def save_weights(model: keras.Model, path: str) -> None:
    """Write weights and optimizer state; the file appears only when it is complete."""
    optimizer_state = [variable.numpy() for variable in model.optimizer.variables]
    with atomic_writer(Path(path), part=Path(f"{path}.part")) as file:
        np.savez(file, *model.get_weights(), *optimizer_state)


def load_weights(model: keras.Model, path: str) -> None:
    """Set the weights and optimizer state that `save_weights` wrote."""
    with np.load(path) as saved:
        arrays = [saved[name] for name in saved.files]
    count = len(model.get_weights())
    model.set_weights(arrays[:count])
    for variable, value in zip(model.optimizer.variables, arrays[count:], strict=True):
        variable.assign(value)
