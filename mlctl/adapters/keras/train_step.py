"""One training step of a model as `Model.fit` makes it, for use in a graph; every variable is made before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.models.functional import Functional

from mlctl.adapters.keras import batches, multi_gpu
from mlctl.adapters.keras.batches import Parts
from mlctl.adapters.keras.fused_adam import use_fused_kernel
from mlctl.data.trees import leaves, map_tree

OVERRIDABLE = ("train_step", "compute_loss", "compute_metrics")


class TrainStep:
    """The training step of a model.

    Creating it builds the model, its optimizer and its metrics, and leaves weights and random generators as they are.

    Attributes:
        model: the compiled model.
        batch_size: the number of rows that every batch must have, if the model has a fixed one; else None.
    """

    def __init__(self, model: keras.Model, example: Parts) -> None:
        """Build the model.

        Args:
            model: a compiled model.
            example: tensors of a few rows in the form of every batch; a whole batch, if its size is fixed.
        """
        self.model = model
        self.batch_size = fixed_batch_size(model)
        self._logs: dict[str, tf.Variable] = {}
        example = _with_declared_inputs(model, example)
        is_distributed = multi_gpu.count_devices(model) > 1
        with model.distribute_strategy.scope():
            if is_plain(model) or model.run_eagerly:
                _build_by_forward_pass(model, example)
            elif is_distributed:
                model._symbolic_build(data_batch=batches.pack(example))
            else:
                self._build_by_training_step(example)
            model.reset_metrics()
        if not is_distributed:  # the fused kernel does not average gradients over devices
            use_fused_kernel(model.optimizer)

    def __call__(self, parts: Parts) -> None:
        """Train on one batch of tensors."""
        _convert_nothing(self._run)(parts)

    def metrics(self) -> dict[str, float]:
        """Return the metrics since the last reset, as `Model.fit` reports them after an epoch.

        These are the model's own metrics, or what the last step returned if it returned something else.
        """
        results = current_metrics(self.model)
        if not self._logs or set(results) == set(self._logs):
            return results
        return {name: float(np.mean(value.numpy())) for name, value in self._logs.items()}

    def _run(self, parts: Parts) -> None:
        logs = multi_gpu.train_step(self.model, _with_declared_inputs(self.model, parts))
        for name, variable in self._logs.items():
            variable.assign(tf.reduce_mean(tf.cast(logs[name], tf.float32)))

    def _build_by_training_step(self, example: Parts) -> None:
        """Trace a training step, which creates what the model's own code creates; nothing is executed."""
        model, size = self.model, self.batch_size
        step = tf.function(_convert_nothing(lambda parts: model.train_step(batches.pack(parts))))
        specs = batches.map_parts(lambda leaf: _spec(leaf, size), example)
        logs = step.get_concrete_function(specs).structured_outputs
        if isinstance(logs, Mapping) and set(logs) != set(model.get_metrics_result()):
            self._logs = {name: tf.Variable(0.0, trainable=False) for name in logs}


def current_metrics(model: keras.Model) -> dict[str, float]:
    """Return the model's running metrics as numbers."""
    return {name: float(np.mean(value)) for name, value in model.get_metrics_result().items()}


def is_plain(model: keras.Model) -> bool:
    """Return whether a model is made of layers alone: a functional or sequential one that trains as Keras does."""
    is_layers = isinstance(model, (keras.Sequential, Functional))
    return is_layers and not any(overrides(model, method) for method in (*OVERRIDABLE, "call"))


def overrides(model: keras.Model, method: str) -> bool:
    """Return whether a model's own class has this method, or the object has it as an attribute."""
    originals = (keras.Model, keras.Sequential, Functional)
    return method in vars(model) or not any(
        getattr(type(model), method, None) is getattr(original, method, None) for original in originals
    )


def fixed_batch_size(model: keras.Model) -> int | None:
    """Return the number of rows that a model's inputs are declared with; None if any number will do."""
    try:
        inputs = model.inputs
    except (AttributeError, ValueError):
        return None
    if isinstance(model, keras.Sequential) and not any(map(_is_stateful, model.layers)):
        return None  # it may have the size of the first rows that it was called with
    sizes = {tensor.shape[0] for tensor in inputs or () if tensor.shape} - {None}
    return int(next(iter(sizes))) if sizes else None


def find_stateful(model: keras.Model) -> str | None:
    """Return the name of the first layer that remembers earlier batches; None if there is none."""
    return next((layer.name for layer in model._flatten_layers() if _is_stateful(layer)), None)


def _is_stateful(layer: Any) -> bool:
    return bool(
        getattr(layer, "stateful", False) or getattr(getattr(layer, "layer", None), "stateful", False)
    )


def forward(model: keras.Model, inputs: Any, *, training: bool = False) -> Any:
    """Return what a model answers, whether its `call` takes `training` or not."""
    inputs = as_declared(model, inputs)
    return model(inputs, training=training) if model._call_has_training_arg else model(inputs)


def as_declared(model: keras.Model, inputs: Any) -> Any:
    """Return ragged inputs padded with zeros, unless the model declares ragged ones."""
    if not any(isinstance(leaf, tf.RaggedTensor) for leaf in leaves(inputs)) or _takes_ragged(model):
        return inputs
    return map_tree(lambda leaf: leaf.to_tensor() if isinstance(leaf, tf.RaggedTensor) else leaf, inputs)


def _takes_ragged(model: keras.Model) -> bool:
    try:
        return any(getattr(tensor, "ragged", False) for tensor in model.inputs or ())
    except (AttributeError, ValueError):
        return False


def _build_by_forward_pass(model: keras.Model, example: Parts) -> None:
    """Run the model on the example; what that changes in variables is forgotten."""
    inputs, targets, weights = example
    with keras.StatelessScope(collect_losses=True):
        predictions = forward(model, inputs)
        model._compute_loss(inputs, targets, predictions, sample_weight=weights, training=False)
        model.compute_metrics(inputs, targets, predictions, sample_weight=weights)
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def _with_declared_inputs(model: keras.Model, parts: Parts) -> Parts:
    return as_declared(model, parts[0]), *parts[1:]


def _spec(leaf: Any, rows: int | None) -> Any:
    shape = [rows, *leaf.shape[1:]]
    if isinstance(leaf, tf.RaggedTensor):
        return tf.RaggedTensorSpec(shape, leaf.dtype, leaf.ragged_rank, leaf.row_splits.dtype)
    return tf.TensorSpec(shape, leaf.dtype)


def _convert_nothing(function: Any) -> Any:
    """Keep TensorFlow from rewriting a user's Python code, as `Model.fit` does."""
    return tf.autograph.experimental.do_not_convert(function)
