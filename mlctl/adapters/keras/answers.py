"""What a built model answers for a row: names and shapes of its outputs, and the activation of each last layer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf
from keras.src.models.functional import Functional

from mlctl.adapters.keras import batches
from mlctl.adapters.keras.train_step import fixed_batch_size, forward
from mlctl.data.trees import Tree, count_rows, map_tree, take_rows
from mlctl.errors import BadDataError

PROBED_ROWS = 32

Array = np.ndarray[Any, Any]
LastActivation = Literal["softmax", "sigmoid", "linear", "other", "unknown"]

_ACTIVATIONS: Mapping[str, LastActivation] = {
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "linear": "linear",
    "log_softmax": "linear",  # a softmax of it is the softmax itself
}
# layers that change the shape of what the layer before them answers, or nothing
_TRANSPARENT = [
    "Reshape",
    "Flatten",
    "Permute",
    "RepeatVector",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Identity",
    "Dropout",
    "UpSampling2D",
    "Squeeze",
    "ExpandDims",
    "Transpose",
    "GetItem",
    "TimeDistributed",
    "Cast",
]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One output of a built model.

    Attributes:
        name: The output's name as Keras has it; "" for the only output.
        shape: Shape of a row's answer; None for a length that differs.
        activation: The activation of the last layer.
        sample: Answers to a few rows; None for a model whose layers tell everything.
    """

    name: str
    shape: tuple[int | None, ...]
    activation: LastActivation
    sample: Array | None = None

    @property
    def units(self) -> int | None:
        """Length of the last axis; None if it differs, or a row's answer is a single number without axes."""
        return self.shape[-1] if self.shape else 1


Answers = tuple[Answer, ...]

_known: WeakKeyDictionary[keras.Model, Answers] = WeakKeyDictionary()


def describe_answers(model: keras.Model, inputs: Tree | None = None) -> Answers:
    """Return each output of a model.

    Args:
        model: a compiled model.
        inputs: encoded rows, for a model whose layers do not tell what it answers; None: as they were told before.

    Returns nothing for a model that only trains, and has no forward pass.
    """
    if isinstance(model, keras.Sequential) and not model.built and inputs is not None:
        _build_sequential(model, inputs)
    if isinstance(model, keras.Sequential) and model.built and getattr(model, "_functional", None):
        return _from_tensors(model._functional, model.outputs[0])
    if isinstance(model, Functional):
        return _from_tensors(model, model._outputs_struct)
    if model not in _known and inputs is not None:
        _known[model] = _probe(model, inputs)
    return _known.get(model, ())


def with_samples(model: keras.Model, answers: Answers, inputs: Tree) -> Answers:
    """Return the outputs of a model with its answers to a few rows."""
    probed = {answer.name: answer.sample for answer in _probe(model, inputs)}
    return tuple(dataclasses.replace(answer, sample=probed.get(answer.name)) for answer in answers)


def output_tree(value: Any) -> Tree:
    """Return what a model answers as a tree: a list is a tuple."""
    if isinstance(value, Mapping):
        return {str(name): output_tree(part) for name, part in value.items()}
    return tuple(map(output_tree, value)) if isinstance(value, (list, tuple)) else value


def named(value: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return a model's answer, or targets of the same form, by output name."""
    tree = output_tree(value)
    if isinstance(tree, dict):
        if len(tree) == 1 == len(names):
            return {names[0]: next(iter(tree.values()))}
        return {name: tree[name] for name in names}
    return dict(zip(names, tree if isinstance(tree, tuple) else (tree,), strict=True))


def _from_tensors(model: keras.Model, outputs: Any) -> Answers:
    tree = output_tree(outputs)
    if isinstance(tree, (dict, tuple)) and len(tree) > 1:
        names = list(tree) if isinstance(tree, dict) else list(model.output_names)
        tensors = list(tree.values()) if isinstance(tree, dict) else list(tree)
        if any(isinstance(tensor, (dict, tuple)) for tensor in tensors):
            raise BadDataError(
                "the model's outputs are nested", "return one dict or list of outputs from the model"
            )
    else:
        names, tensors = [""], [_only(tree)]
    return tuple(
        Answer(name=name, shape=tuple(tensor.shape[1:]), activation=last_activation(tensor))
        for name, tensor in zip(_unique(names), tensors, strict=True)
    )


def _probe(model: keras.Model, inputs: Tree) -> Answers:
    """Return the outputs of a model by a forward pass of a few rows, which changes no variable."""
    if not can_predict(model):
        return ()
    rows = fixed_batch_size(model) or min(PROBED_ROWS, count_rows(inputs))
    tensors = map_tree(batches.as_tensor, take_rows(inputs, np.arange(rows) % count_rows(inputs)))
    with keras.StatelessScope():
        tree = output_tree(forward(model, tensors))
    if isinstance(tree, dict) and len(tree) > 1:
        named_outputs = dict(tree)
    elif isinstance(tree, tuple) and len(tree) > 1:
        names = getattr(model, "output_names", None) or [f"output_{place}" for place in range(len(tree))]
        named_outputs = dict(zip(names, tree, strict=True))
    else:
        named_outputs = {"": _only(tree)}
    return tuple(
        Answer(
            name=name,
            shape=tuple(answer.shape[1:]),
            activation=_layer_activation(model.layers[-1])
            if isinstance(model, keras.Sequential)
            else "unknown",
            sample=np.asarray(keras.ops.convert_to_numpy(answer), np.float32)
            if not isinstance(answer, tf.RaggedTensor)
            else None,
        )
        for name, answer in named_outputs.items()
    )


def _build_sequential(model: keras.Sequential, inputs: Tree) -> None:
    """Build a sequential model for any number of rows: a call would fix the number of these rows."""
    tensors = map_tree(batches.as_tensor, inputs)
    if tf.is_tensor(tensors):
        model.build((None, *tensors.shape[1:]))


def can_predict(model: keras.Model) -> bool:
    """Return whether a model has a forward pass; one with an own `train_step` may have none."""
    return isinstance(model, (Functional, keras.Sequential)) or type(model).call is not keras.Model.call


def last_activation(tensor: Any) -> LastActivation:
    """Return the activation that made a symbolic output, looking through layers that only change its shape."""
    history = getattr(tensor, "_keras_history", None)
    for _ in range(10):
        if history is None:
            return "unknown"
        operation = history.operation
        if isinstance(operation, (Functional, keras.Sequential)):
            inner = keras.tree.flatten(operation.outputs)[history.tensor_index]
            return last_activation(inner)
        if type(operation).__name__ not in _TRANSPARENT and not (
            isinstance(operation, keras.layers.Activation)
            and operation.activation is keras.activations.linear
        ):
            return _layer_activation(operation)
        if isinstance(operation, keras.layers.TimeDistributed):
            return _layer_activation(operation.layer)
        arguments = operation._inbound_nodes[history.node_index].input_tensors
        history = getattr(arguments[0], "_keras_history", None) if arguments else None
    return "unknown"


def _layer_activation(layer: Any) -> LastActivation:
    kind = type(layer).__name__
    if kind in ("Softmax", "Sigmoid", "LogSoftmax"):  # layers and operations
        return "linear" if kind == "LogSoftmax" else "softmax" if kind == "Softmax" else "sigmoid"
    if isinstance(layer, keras.layers.Wrapper) and hasattr(layer, "layer"):
        return _layer_activation(layer.layer)
    if isinstance(layer, keras.Sequential) and layer.layers:
        return _layer_activation(layer.layers[-1])
    module = type(layer).__module__
    if module.startswith("keras.") and hasattr(layer, "activation"):
        if isinstance(layer, keras.layers.RNN):
            return "other"
        name = getattr(layer.activation, "__name__", "")
        return _ACTIVATIONS.get(name, "other")
    if module.startswith("keras.src.ops") and kind in (
        "Add",
        "Subtract",
        "Multiply",
        "Matmul",
        "Dot",
        "Einsum",
    ):
        return "linear"
    return "unknown"


def bytes_per_row(model: keras.Model, inputs: Tree) -> int:
    """Return an upper bound of the memory that one row needs in a forward pass: the sizes of all layers' outputs.

    Lengths that differ are taken from the inputs. Of a model that is no graph of layers, it is what TensorFlow's graph
    of the forward pass would hold.
    """
    lengths = [length for leaf in keras.tree.flatten(inputs) for length in getattr(leaf, "shape", ())[1:]]
    longest = max((int(length) for length in lengths if length), default=1)
    if isinstance(model, (Functional, keras.Sequential)) and model.built:
        shapes = [
            (tensor.shape, np.dtype(_plain_type(tensor.dtype)).itemsize)
            for layer in model._flatten_layers()
            for node in layer._inbound_nodes
            for tensor in node.output_tensors
        ]
    else:
        specs = keras.tree.map_structure(_one_row_spec, inputs)
        graph = tf.function(lambda tree: forward(model, tree)).get_concrete_function(specs).graph
        shapes = [
            (tensor.shape.as_list(), tensor.dtype.size)
            for operation in graph.get_operations()
            if operation.type not in ("Placeholder", "ReadVariableOp", "Const")
            for tensor in operation.outputs
            if tensor.shape.rank
        ]
    return sum(math.prod(length or longest for length in shape[1:]) * size for shape, size in shapes)


def _one_row_spec(leaf: Any) -> Any:
    if isinstance(leaf, tf.RaggedTensor):
        return tf.RaggedTensorSpec(
            [None, *leaf.shape[1:]], leaf.dtype, leaf.ragged_rank, leaf.row_splits.dtype
        )
    return tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype)


def _plain_type(dtype: str) -> str:
    return {"bfloat16": "float16", "string": "uint64"}.get(dtype, dtype)


def _only(tree: Any) -> Any:
    while isinstance(tree, (dict, tuple)):
        if len(tree) != 1:
            raise BadDataError("the model's outputs are nested", "return one dict or list of outputs")
        tree = next(iter(tree.values())) if isinstance(tree, dict) else tree[0]
    return tree


def _unique(names: Sequence[str]) -> list[str]:
    """Return names with a number after those that were there before, as Keras names metrics."""
    return [
        f"{name}_{names[:place].count(name)}" if name in names[:place] else name
        for place, name in enumerate(names)
    ]
