"""Training on what the frozen beginning of a model answers: it is computed once for each row, and not in every epoch."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mlctl.adapters.keras import multi_gpu
from mlctl.adapters.keras.predictors import Predictor
from mlctl.adapters.keras.train_step import fixed_batch_size, is_plain
from mlctl.data.dataset import Split
from mlctl.data.trees import count_rows, is_nested, take_rows

MAX_BYTES_IN_MEMORY = 512_000_000  # of a split's features; more are kept in a temporary file
ROWS_AT_ONCE = 2048  # whose features are computed before they are stored

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class FrozenStart:
    """A model in two parts that share its layers.

    Attributes:
        features: the frozen beginning, which answers each row the same way in every epoch.
        rest: the trained layers, which take what `features` answers; compiled with the model's optimizer.
    """

    features: keras.Model
    rest: keras.Model

    def compute(self, split: Split) -> Split:
        """Return a split whose inputs are the features of its rows, in memory or in a temporary file."""
        rows, predictor = count_rows(split.inputs), Predictor(self.features)
        shape = (rows, *self.features.output_shape[1:])
        is_large = 4 * int(np.prod(shape)) > MAX_BYTES_IN_MEMORY
        found = _in_temporary_file(shape) if is_large else np.empty(shape, np.float32)
        for start in range(0, rows, ROWS_AT_ONCE):
            taken = np.arange(start, min(start + ROWS_AT_ONCE, rows))
            found[taken[0] : taken[-1] + 1] = predictor.predict(take_rows(split.inputs, taken))
        return dataclasses.replace(split, inputs=found)


def split_off(model: keras.Model, train: Split) -> FrozenStart | None:
    """Return a model's frozen beginning and the rest; None if it has none, or is not a plain model of one input.

    The beginning consists of layers that are not trained and do not draw random numbers, and it has weights.
    `train` are the encoded rows to train on.
    """
    if not is_plain(model) or model.run_eagerly or fixed_batch_size(model) or train.is_stream:
        return None
    if multi_gpu.count_devices(model) > 1 or getattr(model.optimizer, "use_ema", False):
        return None
    graph = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    if graph is None or len(graph.inputs) != 1 or len(graph.outputs) != 1 or is_nested(train.inputs):
        return None
    border = _border(graph)
    if border is None or None in border.shape[1:]:
        return None
    rest = keras.Model(border, graph.outputs[0])
    rest.compile(**model._compile_config.config)
    return FrozenStart(keras.Model(graph.inputs[0], border), rest)


def _border(model: keras.Model) -> Any:
    """Return the only tensor that leads from frozen layers to the others; None if there is not exactly one."""
    frozen = {id(tensor) for tensor in model.inputs}
    border: dict[int, Any] = {}
    has_weights = False
    for node in _nodes(model):
        if all(id(tensor) in frozen for tensor in node.input_tensors) and _answers_alike(node):
            frozen.update(id(tensor) for tensor in node.outputs)
            has_weights = has_weights or bool(getattr(node.operation, "weights", ()))
        else:
            border.update({id(tensor): tensor for tensor in node.input_tensors if id(tensor) in frozen})
    tensors = list(border.values())
    is_input = any(tensor is tensors[0] for tensor in model.inputs) if tensors else True
    return tensors[0] if has_weights and len(tensors) == 1 and not is_input else None


def _nodes(model: keras.Model) -> Iterator[Any]:
    """Yield the calls of a model's layers, each after those that it depends on."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from (node for node in model._nodes_by_depth[depth] if not node.is_input)


def _answers_alike(node: Any) -> bool:
    """Return whether a call answers the same input with the same output in every step of a training."""
    layer = node.operation
    if not isinstance(layer, keras.Layer):
        return True  # such as a slice or a sum
    parts = list(layer._flatten_layers())
    if any(not type(part).__module__.startswith("keras.") for part in parts):  # may do anything
        return False
    if any(part.weights and part.trainable for part in parts):
        return False
    return not any(map(_is_random, parts))  # Keras trains them also where they are called with training=False


def _is_random(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Dropout):
        return bool(layer.rate > 0)
    return hasattr(layer, "seed_generator") or hasattr(layer, "generator")


def _in_temporary_file(shape: tuple[int, ...]) -> Array:
    """Return an array in a file that has no name any more, so that it vanishes with the process."""
    with tempfile.NamedTemporaryFile(prefix="mlctl-features-", delete=False) as file:
        path = Path(file.name)
    found = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    path.unlink()
    return found
