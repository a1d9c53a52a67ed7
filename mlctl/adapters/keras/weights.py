"""The state of a training in one file, so that another process continues it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mlctl.adapters.keras.checkpoints import HEADER, TrainingState, pack_state, unpack_state
from mlctl.files import atomic_writer


def save_state(state: TrainingState, path: str) -> None:
    """Write a state; the file appears only when it is complete."""
    header, arrays = pack_state(state)
    named: dict[str, Any] = {f"a{number}": array for number, array in enumerate(arrays)}
    named[HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with atomic_writer(Path(path), part=Path(f"{path}.part")) as file:
        np.savez(file, **named)


def load_state(path: str, model: keras.Model) -> TrainingState:
    """Return the state in a file for a model; version 0.1 wrote the weights without seeds of random layers."""
    with np.load(path) as saved:
        if HEADER in saved.files:
            header = json.loads(saved[HEADER].tobytes())
            return unpack_state(header, [saved[f"a{number}"] for number in range(len(saved.files) - 1)])
        arrays = [saved[name] for name in saved.files]
    weights = {id(variable): array for variable, array in zip(model.weights, arrays, strict=False)}
    variables = [weights.get(id(variable), np.array(variable)) for variable in model.variables]
    return TrainingState(variables=[*variables, *arrays[len(model.weights) :]])
