"""Keras's methods as the export to ONNX needs them: inference alone, in operations that ONNX has.

Layers that look up or split texts become one node each, which `onnx_operators` knows. Seeds are not advanced, so that
augmentation leaves no trace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import numpy as tf_numpy
from keras.src.layers.preprocessing.index_lookup import IndexLookup
from keras.src.utils import numerical_utils

from mlctl.adapters.models import keras_texts
from mlctl.adapters.models.export_error import ExportError

_MARKER = "mlctl:"  # start of the token of a PyFunc node that stands for an operation of ours
_lock = threading.Lock()  # the replaced methods belong to classes


@dataclass
class Operations:
    """The operations of ours that the trace met."""

    described: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def node(self, inputs: Sequence[Any], shape: Any, dtype: Any, **description: Any) -> Any:
        """Return the output of a new node for an operation of ours."""
        token = f"{_MARKER}{len(self.described)}"
        self.described[token] = description
        answer = tf.raw_ops.PyFuncStateless(input=list(inputs), token=token, Tout=[dtype])[0]
        answer.set_shape(shape)
        return answer


@contextmanager
def inference_only() -> Iterator[Operations]:
    """Replace methods of Keras for the time of a trace."""
    operations = Operations()
    replaced: list[tuple[Any, str, Callable[..., Any]]] = [
        (keras.random.SeedGenerator, "next", _constant_seed),
        (numerical_utils, "encode_categorical_inputs", partial(_encode_categories, operations)),
        (tf_numpy, "argmax", partial(_extreme, tf.argmax)),
        (tf_numpy, "argmin", partial(_extreme, tf.argmin)),
        (IndexLookup, "_lookup_dense", keras_texts.lookup(operations)),
        (keras.layers.TextVectorization, "call", keras_texts.vectorize(operations)),
        (keras.layers.Hashing, "call", _refuse("ONNX has no operator for hashes")),
        (keras.layers.HashedCrossing, "call", _refuse("ONNX has no operator for hashes")),
    ]
    with _lock, ExitStack() as stack:
        for owner, name, replacement in replaced:
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield operations


def _constant_seed(generator: Any, ordered: bool = True) -> Any:
    """Return a seed without advancing the generator: inference has no random numbers."""
    return tf.constant([0, 0], generator.state.dtype)


def _extreme(operator: Callable[..., Any], x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the index of the greatest or least value. Keras tells -0.0 from 0.0, which ONNX cannot."""
    values = tf.convert_to_tensor(x)
    found = operator(
        tf.reshape(values, [-1]) if axis is None else values, axis=axis or 0, output_type=tf.int32
    )
    if not keepdims:
        return found
    return tf.reshape(found, [1] * values.shape.rank) if axis is None else tf.expand_dims(found, axis)


def _refuse(reason: str) -> Callable[..., Any]:
    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        raise ExportError(f"{reason} (layer {layer.name})")

    return call


def _encode_categories(
    operations: Operations,
    inputs: Any,
    output_mode: str,
    depth: int,
    dtype: Any,
    sparse: bool = False,
    count_weights: Any = None,
    backend_module: Any = None,
) -> Any:
    """Encode categories as Keras does, with dense operators alone."""
    if output_mode == "int":
        return tf.cast(inputs, dtype)
    if sparse:
        raise ExportError("ONNX has no sparse tensors")
    inputs = tf.convert_to_tensor(inputs)
    if inputs.shape.rank == 0:
        inputs = tf.expand_dims(inputs, -1)
    if output_mode == "one_hot":
        if inputs.shape.rank > 1 and inputs.shape[-1] == 1:
            inputs = tf.squeeze(inputs, -1)
        return tf.one_hot(tf.cast(inputs, tf.int64), depth, dtype=dtype)
    # Keras takes (n,) as one sample of n categories, and counts any other shape along its second axis
    indices = tf.cast(inputs, tf.int64)
    if inputs.shape.rank == 2:  # one-hot rows would take n * length * depth numbers
        parts = [indices] if count_weights is None else [indices, tf.cast(count_weights, tf.float32)]
        mode = "count" if output_mode == "count" else "multi_hot"
        bag = operations.node(parts, [None, depth], tf.float32, kind="bag", mode=mode, depth=depth)
        return tf.cast(bag, dtype)
    hot = tf.one_hot(indices, depth, dtype=dtype)
    axis = 1 if inputs.shape.rank > 1 else 0
    if output_mode == "multi_hot":
        return tf.reduce_max(hot, axis=axis)
    if count_weights is not None:
        hot = hot * tf.expand_dims(tf.cast(count_weights, dtype), -1)
    return tf.reduce_sum(hot, axis=axis)
