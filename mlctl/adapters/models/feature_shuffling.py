"""Repeated predictions for the same rows with a few features changed, for permutation importance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Array = np.ndarray[Any, Any]


class PerturbedPredictor:
    """Predicts rows (n, width) in which some features are replaced.

    If the model begins with a Dense layer, the sums of that layer are kept, and only their change is added. A
    prediction then costs what the changed features cost, not what the width costs.
    """

    def __init__(self, model: keras.Model, inputs: Array) -> None:
        self._inputs = inputs
        self._kernel: Array | None = None
        self._first_values = inputs
        layers: Sequence[Any] = [model]
        is_sequential = isinstance(model, keras.Sequential) and model.layers
        if is_sequential and type(model.layers[0]) is keras.layers.Dense:
            first, *layers = model.layers
            self._kernel = keras.ops.convert_to_numpy(first.kernel).astype(np.float32)
            self._first_values = inputs @ self._kernel
            if first.bias is not None:
                self._first_values += keras.ops.convert_to_numpy(first.bias)
            layers = [keras.layers.Activation(first.activation, dtype=first.dtype_policy), *layers]
        self._layers = layers
        self._predict = tf.function(self._predict_graph, reduce_retracing=True)

    def __call__(self, columns: Sequence[int] = (), features: Array | None = None) -> Array:
        """Return predictions (n, k); `features` (n, len(columns)) replaces these columns of the rows."""
        values = self._first_values
        if features is not None and self._kernel is not None:
            values = values + (features - self._inputs[:, columns]) @ self._kernel[columns]
        elif features is not None:
            values = values.copy()
            values[:, columns] = features
        return np.asarray(self._predict(values), np.float32)

    def _predict_graph(self, values: tf.Tensor) -> tf.Tensor:
        for layer in self._layers:
            values = layer(values, training=False)
        return values
