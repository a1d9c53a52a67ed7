"""A model's answers to the same rows again and again, a few features of them changed each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Array = np.ndarray[Any, Any]


class Changed:
    """Answers to rows (n, width) of which some features are other than they were.

    Where a model begins with a Dense layer, the sums of that layer are kept, and what changes of them is added:
    an answer then costs what the changed features cost, and not what the width does.
    """

    def __init__(self, model: keras.Model, inputs: Array) -> None:
        self._inputs = inputs
        self._kernel: Array | None = None
        self._before = inputs
        layers: Sequence[Any] = [model]
        if (
            isinstance(model, keras.Sequential)
            and model.layers
            and type(model.layers[0]) is keras.layers.Dense
        ):
            first, *layers = model.layers
            self._kernel = keras.ops.convert_to_numpy(first.kernel).astype(np.float32)
            self._before = inputs @ self._kernel
            if first.bias is not None:
                self._before += keras.ops.convert_to_numpy(first.bias)
            layers = [keras.layers.Activation(first.activation, dtype=first.dtype_policy), *layers]
        self._layers = layers
        self._piece = tf.function(self._traced, reduce_retracing=True)

    def __call__(self, places: Sequence[int] = (), features: Array | None = None) -> Array:
        """Return predictions (n, k) where the features at these places are those, (n, places)."""
        given = self._before
        if features is not None and self._kernel is not None:
            given = given + (features - self._inputs[:, places]) @ self._kernel[places]
        elif features is not None:
            given = given.copy()
            given[:, places] = features
        return np.asarray(self._piece(given), np.float32)

    def _traced(self, given: tf.Tensor) -> tf.Tensor:
        for layer in self._layers:
            given = layer(given, training=False)
        return given
