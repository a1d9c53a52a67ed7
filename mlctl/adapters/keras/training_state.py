"""Reads and writes the state of a training: variables, random generators, and the state of callbacks.

Variables are read in two parts. Those of the model and its optimizer have a fixed order, and are saved by position.
All others are saved by the path that leads to them: the variables of further optimizers, those that are plain
attributes of the model or of a layer, and the state of Keras's global random generator.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.random.seed_generator import global_seed_generator

from mlctl.adapters.keras import plain_values
from mlctl.adapters.keras.callbacks import NO_CALLBACKS, TrainingCallbacks
from mlctl.adapters.keras.checkpoints import TrainingState
from mlctl.errors import RefusedError

GLOBAL_SEED = "keras.random"
PYTHON_RANDOM, NUMPY_RANDOM, TORCH_RANDOM = "random", "numpy.random", "torch.random"

Array = np.ndarray[Any, Any]
Variable = Any  # keras.Variable or tf.Variable: both have a shape, assign() and numpy()


def read_state(
    model: keras.Model, callbacks: TrainingCallbacks = NO_CALLBACKS, *, phase: int = 0, over: bool = False
) -> TrainingState:
    """Return a copy of the present state."""
    arrays = {path: np.array(variable) for path, variable in _other_variables(model, callbacks)}
    generators = {
        PYTHON_RANDOM: plain_values.pack(random.getstate(), arrays, PYTHON_RANDOM, {}),
        NUMPY_RANDOM: plain_values.pack(np.random.get_state(legacy=False), arrays, NUMPY_RANDOM, {}),
    }
    if keras.backend.backend() == "torch":
        import torch

        arrays[TORCH_RANDOM] = torch.get_rng_state().numpy().copy()
    return TrainingState(
        variables=[np.array(variable) for variable in model_variables(model)],
        arrays=arrays,
        values={**generators, "callbacks": callbacks.pack(arrays)},
        phase=phase,
        over=over,
    )


def write_state(
    state: TrainingState, model: keras.Model, callbacks: TrainingCallbacks = NO_CALLBACKS
) -> None:
    """Set model, random generators and callbacks to a state; raise RefusedError if the model has other variables."""
    variables, others = model_variables(model), dict(_other_variables(model, callbacks))
    saved = {path: array for path, array in state.arrays.items() if path in others}
    if _shapes(variables) != _shapes(state.variables) or _shapes(others.values()) != _shapes(
        saved.get(path, others[path]) for path in others
    ):
        raise RefusedError(
            "the recipe builds another model than the one in the checkpoint",
            "start a new training: mlctl train",
        )
    for variable, value in zip(variables, state.variables, strict=True):
        variable.assign(value)
    for path, value in saved.items():
        others[path].assign(value)
    arrays = dict(state.arrays)
    if PYTHON_RANDOM in state.values:
        random.setstate(plain_values.unpack(state.values[PYTHON_RANDOM], arrays, None))
        np.random.set_state(plain_values.unpack(state.values[NUMPY_RANDOM], arrays, None))
    if TORCH_RANDOM in state.arrays and keras.backend.backend() == "torch":
        import torch

        torch.set_rng_state(torch.from_numpy(state.arrays[TORCH_RANDOM].copy()))
    callbacks.unpack(state.values.get("callbacks", []), arrays)


def model_variables(model: keras.Model) -> list[Variable]:
    """Return weights, seeds of random layers and the optimizer's state; metrics restart with every epoch."""
    optimizer = getattr(model, "optimizer", None)
    return [*model.variables, *(optimizer.variables if optimizer is not None else ())]


def find_optimizers(model: keras.Model) -> dict[str, keras.optimizers.Optimizer]:
    """Return all optimizers by the path that leads to them, the compiled one first."""
    optimizers = {"optimizer": model.optimizer} if getattr(model, "optimizer", None) is not None else {}
    known = {id(optimizer) for optimizer in optimizers.values()}
    for path, value in _walk(model, ()):
        if isinstance(value, keras.optimizers.Optimizer) and id(value) not in known:
            known.add(id(value))
            optimizers[path] = value
    return optimizers


def _shapes(variables: Any) -> list[tuple[int, ...]]:
    return [tuple(variable.shape) for variable in variables]


def _other_variables(model: keras.Model, callbacks: TrainingCallbacks) -> Iterator[tuple[str, Variable]]:
    """Yield every variable that `model_variables` and the metrics do not have, with its path."""
    yield GLOBAL_SEED, global_seed_generator().state
    known = {id(variable) for variable in [*model_variables(model), *model.metrics_variables]}
    for path, value in _walk(model, callbacks.callbacks):
        if isinstance(value, keras.optimizers.Optimizer):
            for number, variable in enumerate(value.variables):
                if id(variable) not in known:
                    known.add(id(variable))
                    yield f"{path}.{number}", variable
        elif id(value) not in known:
            known.add(id(value))
            yield path, value


def _walk(model: keras.Model, callbacks: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yield optimizers and variables with the path of attributes that leads to them.

    Layers of Keras itself are not searched: all their variables are tracked.
    """
    seen: set[int] = set()
    roots = [("model", model)]
    for layer in model._flatten_layers(include_self=False):
        if not type(layer).__module__.startswith("keras."):
            roots.append((f"layer.{len(roots)}", layer))
    roots += [(f"callback.{number}", callback) for number, callback in enumerate(callbacks)]
    for path, root in roots:
        for name, value in list(vars(root).items()):
            yield from _search(f"{path}.{name}", value, seen)


def _search(path: str, value: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if value is None or isinstance(value, str | bytes | int | float | np.ndarray) or id(value) in seen:
        return
    if isinstance(value, keras.Variable | tf.Variable):
        yield path, value
        return
    if isinstance(value, keras.optimizers.Optimizer):
        seen.add(id(value))
        yield path, value
        if isinstance(value._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            yield from _search(f"{path}.learning_rate", value._learning_rate, seen)
        return
    if isinstance(value, Mapping):
        seen.add(id(value))
        items: Iterator[tuple[Any, Any]] = iter(list(value.items()))
    elif isinstance(value, list | tuple | set | frozenset):
        seen.add(id(value))
        items = enumerate(list(value))
    elif isinstance(
        value,
        keras.random.SeedGenerator
        | keras.losses.Loss
        | keras.regularizers.Regularizer
        | keras.optimizers.schedules.LearningRateSchedule,
    ):
        seen.add(id(value))
        items = iter(list(vars(value).items()))
    else:
        return
    for name, item in items:
        yield from _search(f"{path}.{name}", item, seen)
