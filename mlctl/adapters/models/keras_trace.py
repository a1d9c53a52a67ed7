"""A Keras model as a TensorFlow graph of its inference alone, with all weights as constants."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from mlctl.adapters.models.export_error import ExportError
from mlctl.adapters.models.keras_inference import inference_only
from mlctl.data.trees import leaves
from mlctl.domain.outputs import Output

ANSWER = "answer"  # name of the only output

Array = np.ndarray[Any, Any]
Tree = Any


@dataclass(frozen=True)
class InputSpec:
    """One input of the graph: `shape` without the rows, with None for a free length."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype of arrays for this input: object for texts."""
        return np.dtype(object if self.dtype == "string" else self.dtype)


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A frozen graph. `operations` describes the nodes that stand for operations of ours, by token."""

    graph_def: Any
    inputs: Mapping[str, str]  # tensor in the graph -> name
    outputs: Mapping[str, str]
    operations: Mapping[str, Mapping[str, Any]]


def input_specs(model: keras.Model, encoded: Tree) -> list[InputSpec]:
    """Return the graph's inputs, in the order of the leaves of `encoded`.

    Inputs are named by the keys of `encoded` if it is a dict, else as the Keras model's inputs. A model that declares
    no inputs has free lengths of ids if it takes shorter rows.
    """
    arrays, names = leaves(encoded), _leaf_names(encoded)
    declared = _declared_inputs(model, encoded)
    is_free = not declared and _takes_shorter_ids(model, encoded)
    specs = []
    for number, (array, name) in enumerate(zip(arrays, names, strict=True)):
        tensor = declared[number] if declared else None
        if tensor is None:
            dtype = "string" if array.dtype.kind in "OUS" else str(array.dtype)
            # Keras casts floats to its own precision, and leaves integers as they are
            dtype = keras.config.floatx() if dtype.startswith("float") else dtype
            shape = (None,) if is_free and _is_row_of_ids(array) else array.shape[1:]
            specs.append(InputSpec(name or f"input_{number}", dtype, shape))
        else:
            shape = tuple(tensor.shape[1:])
            specs.append(InputSpec(name or tensor.name, keras.backend.standardize_dtype(tensor.dtype), shape))
    return specs


def pack(encoded: Tree, values: Sequence[Any]) -> Tree:
    """Return a tree of the form of `encoded` with these leaves."""
    remaining = iter(values)

    def fill(tree: Tree) -> Tree:
        if isinstance(tree, Mapping):
            return {name: fill(part) for name, part in tree.items()}
        return tuple(fill(part) for part in tree) if isinstance(tree, tuple) else next(remaining)

    return fill(encoded)


def call_model(model: keras.Model, encoded: Tree, outputs: Sequence[Output]) -> dict[str, Any]:
    """Return what the model answers at inference, by output name, with the outputs' activations."""
    answers = model(encoded, training=False)
    activations = {output.name: output.activation for output in outputs}
    if not isinstance(answers, (Mapping, list, tuple)):
        return {ANSWER: _activate(answers, outputs[0].activation if outputs else "")}
    if isinstance(answers, Mapping):
        named = {str(name): answer for name, answer in answers.items()}
    else:
        names = [output.name for output in outputs]
        if len(names) != len(answers) or not all(names):
            names = getattr(model, "output_names", None) or []
        if len(set(names)) != len(answers):
            names = [f"output_{number}" for number in range(len(answers))]
        named = dict(zip(names, answers, strict=True))
    if len(named) == 1:
        return {ANSWER: _activate(next(iter(named.values())), outputs[0].activation if outputs else "")}
    order = [name for name in activations if name in named]
    order += [name for name in named if name not in order]
    return {name: _activate(named[name], activations.get(name, "")) for name in order}


def trace(model: keras.Model, encoded: Tree, specs: Sequence[InputSpec], outputs: Sequence[Output]) -> Traced:
    """Return the model's inference as a frozen graph. Raises ExportError for what has no ONNX form."""
    signature = [
        tf.TensorSpec((None, *spec.shape), spec.dtype, name=f"input_{number}")
        for number, spec in enumerate(specs)
    ]
    names: list[str] = []

    def infer(*values: Any) -> tuple[Any, ...]:
        answers = call_model(model, pack(encoded, values), outputs)
        if any(not tf.is_tensor(answer) for answer in answers.values()):
            raise ExportError("the model answers with sparse or ragged tensors")
        names[:] = answers
        return tuple(tf.identity(answer) for answer in answers.values())

    with inference_only() as operations:
        # graphs of Keras layers hold the ops of what was traced first: an own graph for this trace
        function = tf.function(infer, input_signature=signature, autograph=False)
        concrete = function.get_concrete_function()
    _require_pure(concrete.graph, model)
    graph_def = _freeze(concrete)
    placeholders = [tensor.name for tensor in concrete.inputs[: len(specs)]]
    return Traced(
        graph_def=graph_def,
        inputs=dict(zip(placeholders, (spec.name for spec in specs), strict=True)),
        outputs=dict(zip((tensor.name for tensor in concrete.outputs), names, strict=True)),
        operations=operations.described,
    )


def layer_of(node_name: str, model: keras.Model) -> str:
    """Return " (layer NAME)" for the innermost layer that a graph's node belongs to; "" if there is none."""
    names = {layer.name for layer in model._flatten_layers()}
    for scope in reversed(node_name.split("/")[:-1]):
        for name in (scope, re.sub(r"_\d+$", "", scope)):
            if name in names and name != model.name:
                return f" (layer {name})"
    return ""


def _require_pure(graph: Any, model: keras.Model) -> None:
    """Raise ExportError if the inference changes variables or draws random numbers for its answer."""
    for operation in graph.get_operations():
        if re.fullmatch(r"Assign\w*VariableOp", operation.type):
            raise ExportError(
                f"the model changes its variables at inference{layer_of(operation.name, model)}"
            )


def _leaf_names(encoded: Tree, prefix: str = "") -> list[str]:
    """Return the name of each leaf from the dicts' keys; "" for a leaf that has none."""
    if isinstance(encoded, Mapping):
        return [
            leaf
            for name, part in encoded.items()
            for leaf in _leaf_names(part, f"{prefix}_{name}" if prefix else str(name))
        ]
    if isinstance(encoded, tuple):
        return [
            leaf
            for number, part in enumerate(encoded)
            for leaf in _leaf_names(part, f"{prefix}_{number}" if prefix else "")
        ]
    return [prefix]


def _declared_inputs(model: keras.Model, encoded: Tree) -> list[Any]:
    """Return the model's own input tensors in the order of the leaves of `encoded`; none if it has none."""
    if not isinstance(model, (keras.Sequential, keras.models.Model)) or not getattr(model, "inputs", None):
        return []
    if isinstance(encoded, Mapping):
        struct = getattr(model, "_inputs_struct", None)
        by_name = struct if isinstance(struct, Mapping) else {}
        by_name = {**{tensor.name: tensor for tensor in model.inputs}, **by_name}
        found = [by_name.get(name) for name in encoded]
        return found if all(tensor is not None for tensor in found) else []
    count = len(leaves(encoded))
    return list(model.inputs) if len(model.inputs) == count else []


def _is_row_of_ids(array: Array) -> bool:
    return array.dtype.kind in "iu" and array.ndim == 2 and array.shape[1] > 1


def _takes_shorter_ids(model: keras.Model, encoded: Tree) -> bool:
    """Return whether a built model answers rows of ids that are half as long."""
    arrays = leaves(encoded)
    if not model.built or not any(_is_row_of_ids(array) for array in arrays):
        return False
    shorter = [array[:1, : array.shape[1] // 2] if _is_row_of_ids(array) else array[:1] for array in arrays]
    try:
        model(pack(encoded, [tf.constant(array) for array in shorter]), training=False)
    except Exception:
        return False
    return True


def _activate(answer: Any, activation: str) -> Any:
    if activation == "sigmoid":
        return keras.ops.sigmoid(answer)
    return keras.ops.softmax(answer, axis=-1) if activation == "softmax" else answer


def _freeze(concrete: Any) -> Any:
    """Return the graph of a traced function with its variables and captured arrays as constants."""
    captured = {
        placeholder.op.name: value
        for value, placeholder in concrete.graph.captures
        if value.dtype not in (tf.resource, tf.variant)
    }
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False, aggressive_inlining=True)
    graph_def = frozen.graph.as_graph_def(add_shapes=True)
    functions = graph_def.library.function
    for part in [
        *graph_def.node,
        *functions,
        *(node for function in functions for node in function.node_def),
    ]:
        # TensorFlow does not inline what XLA compiles, such as Keras's grouped convolutions
        for attribute in ("_XlaMustCompile", "_noinline"):
            part.attr.pop(attribute, None)
    for node in graph_def.node:
        if node.op == "Placeholder" and node.name in captured:
            value = captured[node.name]
            node.op = "Const"
            node.attr.clear()
            node.attr["dtype"].type = value.dtype.as_datatype_enum
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.numpy()))
    return graph_def
