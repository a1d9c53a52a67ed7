"""Keras's lookup and text layers as single operations, for the export to ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from keras.src.utils import tf_utils

from mlctl.adapters.models.export_error import ExportError

PUNCTUATION = r'[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']'


def lookup(operations: Any) -> Callable[..., Any]:
    """Return a replacement for `IndexLookup._lookup_dense`: one operation for the table, its mask and its default."""

    def lookup_dense(layer: Any, inputs: Any) -> Any:
        keys, values, default = _table(layer)
        several_oov = layer.num_oov_indices > 1 and not layer.invert
        if several_oov and (inputs.dtype == tf.string or layer.oov_method == "farmhash"):
            raise ExportError(f"ONNX has no operator for hashes (layer {layer.name})")
        found = operations.node(
            [inputs],
            inputs.shape,
            tf.string if layer.invert and isinstance(default, str) else layer._value_dtype,
            kind="lookup",
            keys=keys,
            values=values,
            default=default,
            # Keras fails for a key that is not in the vocabulary
            strict=layer.num_oov_indices == 0 and not layer.invert,
        )
        if not several_oov:
            return found
        oov = tf.math.floormod(inputs, layer.num_oov_indices) + layer._oov_start_index()
        return tf.where(tf.equal(found, default), oov, found)

    return lookup_dense


def vectorize(operations: Any) -> Callable[..., Any]:
    """Return a replacement for `TextVectorization.call`: one operation that splits, looks up and encodes."""

    def call(layer: Any, inputs: Any) -> Any:
        if layer._ragged or layer._lookup_layer.sparse:
            raise ExportError(f"ONNX has no ragged or sparse tensors (layer {layer.name})")
        if callable(layer._split):
            raise ExportError(f"ONNX has no operator for the layer's own split function (layer {layer.name})")
        texts = tf_utils.ensure_tensor(inputs, dtype=tf.string)
        if layer._standardize in ("lower", "lower_and_strip_punctuation"):
            texts = tf.strings.lower(texts)
        if layer._standardize in ("strip_punctuation", "lower_and_strip_punctuation"):
            texts = tf.strings.regex_replace(texts, PUNCTUATION, "")
        if callable(layer._standardize):
            texts = layer._standardize(texts)
        table = layer._lookup_layer
        if table.num_oov_indices > 1:
            raise ExportError(f"ONNX has no operator for hashes (layer {layer.name})")
        keys, values, default = _table(table)
        mode, length = layer._output_mode, layer._output_sequence_length
        depth = 0
        if mode != "int":
            depth = table.max_tokens if table.pad_to_max_tokens else table._frozen_vocab_size
        return operations.node(
            [texts if layer._split is None else tf.reshape(texts, [-1])],
            [None, length if mode == "int" else depth],
            tf.int64 if mode == "int" else tf.float32,
            kind="texts",
            split=layer._split,
            ngrams=tuple(layer._ngrams or ()),
            keys=keys,
            values=values,
            default=default,
            mode=mode,
            length=length,
            depth=depth,
            weights=table.idf_weights_const.numpy() if mode == "tf_idf" else None,
        )

    return call


def _table(layer: Any) -> tuple[list[Any], list[Any], Any]:
    """Return keys, values and default of a lookup layer, with its mask token as a key."""
    with tf.init_scope():
        table = layer.lookup_table
        if hasattr(table, "export"):
            keys, values = table.export()
        else:
            keys, values = tf.raw_ops.LookupTableExportV2(
                table_handle=table.resource_handle, Tkeys=table.key_dtype, Tvalues=table.value_dtype
            )
    content = dict(zip(_plain(keys), _plain(values), strict=True))
    if layer.mask_token is not None:
        key, value = _plain([layer._mask_key])[0], _plain([layer._mask_value])[0]
        content[key] = value
    return list(content), list(content.values()), _plain([layer._default_value])[0]


def _plain(values: Any) -> list[Any]:
    """Return a tensor's or list's items as str or int."""
    items = [np.asarray(value).item() for value in (values.numpy() if hasattr(values, "numpy") else values)]
    return [item.decode("utf-8") if isinstance(item, bytes) else item for item in items]
