"""Batches as `Model.fit` gives them to a training step: tensors of inputs, targets and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mlctl.adapters.keras.tensors import to_tensor
from mlctl.data.class_numbers import class_numbers
from mlctl.data.dataset import Split, needs_dense
from mlctl.data.trees import Tree, is_nested, leaves, map_tree
from mlctl.domain.outputs import Outputs
from mlctl.errors import BadDataError

Array = np.ndarray[Any, Any]
Parts = tuple[Any, Any, Any]  # inputs, targets and weights; targets and weights may be None


def pack(parts: Parts) -> Any:
    """Return a batch as `train_step` takes it: (x, y, w), (x, y), (x,), or a single array x."""
    inputs, targets, weights = parts
    if weights is not None and is_nested(targets) and not is_nested(weights):
        weights = map_tree(lambda _: weights, targets)
    return keras.utils.pack_x_y_sample_weight(inputs, targets, weights)


def map_parts(function: Any, parts: Parts) -> Parts:
    """Return the parts with a function applied to every array."""
    inputs, targets, weights = (None if part is None else map_tree(function, part) for part in parts)
    return inputs, targets, weights


def count(parts: Parts) -> Any:
    """Return the number of rows in a batch of tensors, as a tensor."""
    leaf = leaves(parts[0])[0]
    return leaf.nrows() if isinstance(leaf, tf.RaggedTensor) else tf.shape(leaf)[0]


def as_plain_array(leaf: Any) -> Any:
    """Return an array of a type that TensorFlow takes; floats get the width that Keras computes with.

    A table becomes an array. An array of objects becomes an array of texts, or a ragged tensor if its rows have
    different lengths. Tensors stay as they are, and so does what is on disk.
    """
    if tf.is_tensor(leaf) or isinstance(leaf, tf.RaggedTensor):
        return leaf
    if needs_dense(leaf):
        leaf = leaf.dense()
    array = leaf.to_numpy() if hasattr(leaf, "iloc") else np.asanyarray(leaf)
    if array.dtype.kind == "O":
        array = _from_objects(array)
    if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.dtype != keras.config.floatx():
        return array.astype(keras.config.floatx())
    return array


def as_tensor(leaf: Any) -> Any:
    """Return an array of any type as a tensor, on the array's own memory if that is possible."""
    plain = as_plain_array(leaf)
    return plain if tf.is_tensor(plain) or isinstance(plain, tf.RaggedTensor) else to_tensor(plain)


def is_on_disk(tree: Tree) -> bool:
    """Return whether an array of the tree is a memory-mapped file, or a view of one."""
    return any(_is_memmap(leaf) for leaf in leaves(tree))


def class_weighted(split: Split, class_weight: Mapping[Any, float] | None, outputs: Outputs) -> Any:
    """Return a split's weights times the weight of each row's class.

    `class_weight` has the weights by class number, by the label as the targets have it, or by the class's name.
    """
    if not class_weight or split.targets is None:
        return split.weights
    weights = class_weights_of(split.targets, class_weight, outputs)
    if split.weights is None:
        return weights
    if is_nested(split.weights):
        raise BadDataError(
            "class_weight does not go together with weights for each output", "multiply them in load()"
        )
    own = np.asarray(split.weights, np.float32)
    return own * weights.reshape(-1, *[1] * (own.ndim - 1))


def class_weights_of(targets: Any, class_weight: Mapping[Any, float], outputs: Outputs) -> Array:
    """Return the weight of each row's class: float32 (n,)."""
    if is_nested(targets):
        raise BadDataError(
            "class_weight is for models with one output",
            "return weights for each row in load(): Split(x, y, weights)",
        )
    output = outputs[0] if outputs else None
    labels = np.asarray(targets)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    by_label = {_plain(label): weight for label, weight in class_weight.items()}
    if labels.ndim == 1 and set(by_label) >= set(map(_plain, np.unique(labels))):
        found = [by_label[_plain(label)] for label in labels]
        return np.asarray(found, np.float32)
    if output is None or output.kind != "classes":
        if labels.dtype.kind not in "biuf" or labels.ndim > 2:
            raise BadDataError(
                "class_weight needs one class for each row", "return weights in load() instead"
            )
        numbers = labels.argmax(axis=-1) if labels.ndim == 2 else np.round(labels).astype(int)
        return np.asarray([by_label.get(int(number), 1.0) for number in numbers], np.float32)
    names = {name: number for number, name in enumerate(output.classes)}
    weight_of = np.ones(len(output.classes), np.float32)
    for label, weight in by_label.items():
        number = label if isinstance(label, int) else names.get(str(label))
        if number is None or not 0 <= number < len(weight_of):
            raise BadDataError(
                f"class_weight has the class {label!r}, which the data does not have",
                f"name its classes, or number them from 0 to {len(weight_of) - 1}",
            )
        weight_of[number] = weight
    return weight_of[class_numbers(targets, output.classes, "targets", output.numbering)]


def _plain(label: Any) -> Any:
    """Return a NumPy label as a Python value; whole numbers as int."""
    label = label.item() if hasattr(label, "item") else label
    label = label.decode() if isinstance(label, bytes) else label
    return int(label) if isinstance(label, (bool, float)) and label == int(label) else label


def _is_memmap(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def _from_objects(array: Array) -> Any:
    first = next((value for value in array.flat if value is not None), None)
    if isinstance(first, (str, bytes)) or first is None:
        texts = ["" if value is None else value for value in array.ravel().tolist()]
        return np.array(texts, object).reshape(array.shape)
    if np.ndim(first):
        rows = [np.asarray(row).tolist() for row in array]
        return tf.ragged.constant(rows, dtype=_ragged_type(array))
    return np.asarray(array.tolist())


def _ragged_type(rows: Array) -> Any:
    kinds = {np.asarray(row).dtype.kind for row in rows if len(row)}
    if kinds & {"U", "S", "O"}:
        return tf.string
    return keras.config.floatx() if "f" in kinds else tf.int64
