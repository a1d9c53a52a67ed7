"""ONNX graphs of one form: models of all families, Keras models that were exported, and blends of them.

A graph of that form takes `encoded` (n, width) float32 and returns `answer`: (n, 1) values in the target's unit,
(n, 1) probabilities of the positive class, or (n, classes) probabilities. ONNX Runtime alone runs it, without the
libraries that trained its parts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from mlctl.adapters.models.tree_ensembles import TreeEnsemble
from mlctl.errors import ChildFailedError
from mlctl.serving import scoring

# supported by ONNX Runtime 1.20, the oldest version that mlctl requires
OPSET, ML_OPSET, IR_VERSION = 18, 3, 10
INPUT, OUTPUT = "encoded", "answer"  # saved models contain these names
TOLERANCE = 1e-4
MAX_CHECKED_ROWS = 512
MAX_ENCODED_VALUES = 1 << 25
MIN_PROBABILITY = 1e-6  # float32 tells 1 - 1e-6 from 1

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class OutputTransform:
    """Maps a model's raw sums (n, k) to its predictions.

    `kind` is "sigmoid", "softmax" or "identity". The last one returns raw * scale + mean, or its exponential if
    `exp` is set.
    """

    kind: str = "identity"
    scale: float = 1.0
    mean: float = 0.0
    exp: bool = False

    def __call__(self, raw: Array) -> Array:
        """Return the predictions (n, k), as the graph's nodes compute them."""
        if self.kind == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-raw)))
        if self.kind == "softmax":
            powers = np.exp(raw - raw.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        values = raw * self.scale + self.mean
        return np.asarray(np.exp(values) if self.exp else values)


def from_trees(
    ensemble: TreeEnsemble, width: int, columns: Sequence[int], transform: OutputTransform
) -> bytes:
    """Return trees as a graph. Their feature i is the input's column `columns[i]` of `width`."""
    trees, outputs = ensemble.trees, len(ensemble.base)
    sizes = np.array([len(tree.left) for tree in trees])
    is_leaf = np.concatenate([tree.left < 0 for tree in trees])
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    values = np.concatenate([tree.values for tree in trees])
    has_value = (values != 0) & is_leaf[:, None]
    # ONNX requires a value for every leaf, even if it is 0
    has_value[is_leaf & ~has_value.any(axis=1), 0] = True
    nodes, outputs_of_values = np.nonzero(has_value)
    features = np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees]))
    input_columns = np.asarray(columns, np.int64)[features]
    thresholds = np.concatenate([tree.threshold for tree in trees])
    left = np.concatenate([tree.left for tree in trees])
    right = np.concatenate([tree.right for tree in trees])
    node = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        ["raw"],
        domain="ai.onnx.ml",
        n_targets=outputs,
        aggregate_function="SUM",
        base_values=list(ensemble.base),
        nodes_treeids=tree_ids.tolist(),
        nodes_nodeids=node_ids.tolist(),
        nodes_featureids=np.where(is_leaf, 0, input_columns).tolist(),
        nodes_values=thresholds.tolist(),
        nodes_modes=np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=np.where(is_leaf, 0, left).tolist(),
        nodes_falsenodeids=np.where(is_leaf, 0, right).tolist(),
        target_treeids=tree_ids[nodes].tolist(),
        target_nodeids=node_ids[nodes].tolist(),
        target_ids=outputs_of_values.tolist(),
        target_weights=values[nodes, outputs_of_values].tolist(),
    )
    return _serialize([node, *_transform_nodes(transform)], [], width=width, outputs=outputs)


def from_linear(
    weights: Array, bias: Array, width: int, columns: Sequence[int], transform: OutputTransform
) -> bytes:
    """Return a linear model as a graph: weights (len(columns), outputs), bias (outputs,)."""
    full_weights = np.zeros((width, weights.shape[1]), np.float32)
    full_weights[list(columns)] = weights
    node = helper.make_node("Gemm", [INPUT, "weights", "bias"], ["raw"])
    constants = [
        numpy_helper.from_array(full_weights, "weights"),
        numpy_helper.from_array(bias.astype(np.float32), "bias"),
    ]
    nodes = [node, *_transform_nodes(transform)]
    return _serialize(nodes, constants, width=width, outputs=weights.shape[1])


def from_keras_export(path: Path, width: int, columns: Sequence[int]) -> bytes:
    """Return a graph that feeds `columns` of the input to a model that `keras_export` wrote."""
    inner = compose.add_prefix(onnx.load(str(path)), "keras_")
    input_name, output_name = inner.graph.input[0].name, inner.graph.output[0].name
    outputs = inner.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    nodes = [
        helper.make_node("Gather", [INPUT, "columns"], [input_name], axis=1),
        *inner.graph.node,
        helper.make_node("Identity", [output_name], [OUTPUT]),
    ]
    constants = [numpy_helper.from_array(np.asarray(columns, np.int64), "columns"), *inner.graph.initializer]
    return _serialize(nodes, constants, width=width, outputs=outputs, opsets=list(inner.opset_import))


def apply_temperature(probabilities: Array, temperature: float) -> Array:
    """Return probabilities (n, k) whose logits are divided by `temperature`: above 1, they are less extreme."""
    clipped = np.clip(probabilities, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    if clipped.shape[1] == 1:
        return np.asarray(1 / (1 + ((1 - clipped) / clipped) ** (1 / temperature)))
    return OutputTransform("softmax")(np.log(clipped) / temperature)


def blend_graphs(
    parts: Sequence[tuple[float, bytes]], offset: float = 0.0, temperature: float = 1.0
) -> bytes:
    """Return the sum of graphs, each times its weight, as a graph of the same form.

    If `offset` is not 0, it is added to the sum, and the output is float64. If `temperature` is not 1, the sum are
    probabilities, and it changes them (see `apply_temperature`).
    """
    nodes: list[Any] = []
    constants: list[Any] = []
    terms: list[str] = []
    versions: dict[str, int] = {}
    width = outputs = 0
    for number, (weight, part) in enumerate(parts):
        prefix = f"m{number}_"
        model = compose.add_prefix(onnx.load_from_string(part), prefix)
        for opset in model.opset_import:
            versions[opset.domain] = max(opset.version, versions.get(opset.domain, 0))
        nodes.append(helper.make_node("Identity", [INPUT], [prefix + INPUT]))
        nodes += model.graph.node
        constants += model.graph.initializer
        constants.append(numpy_helper.from_array(np.float32(weight), prefix + "weight"))
        nodes.append(helper.make_node("Mul", [prefix + OUTPUT, prefix + "weight"], [prefix + "term"]))
        terms.append(prefix + "term")
        width, outputs = (
            tensors[0].type.tensor_type.shape.dim[1].dim_value
            for tensors in (model.graph.input, model.graph.output)
        )
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    if temperature != 1.0:
        nodes.append(helper.make_node("Sum", terms, ["sum"]))
        nodes += _temperature_nodes(temperature, outputs)
        return _serialize(nodes, constants, width=width, outputs=outputs, opsets=opsets)
    if not offset:
        nodes.append(helper.make_node("Sum", terms, [OUTPUT]))
        return _serialize(nodes, constants, width=width, outputs=outputs, opsets=opsets)
    nodes += [
        helper.make_node("Sum", terms, ["sum"]),
        helper.make_node("Cast", ["sum"], ["sum64"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["sum64", "offset"], [OUTPUT]),
    ]
    constants.append(numpy_helper.from_array(np.float64(offset), "offset"))
    return _serialize(
        nodes, constants, width=width, outputs=outputs, opsets=opsets, output_type=TensorProto.DOUBLE
    )


def run_graph(graph: bytes, encoded: Array) -> Array:
    """Return what ONNX Runtime predicts for encoded rows (n, width), as a served model does."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(graph)
        file.flush()
        run = scoring.onnx_runner(file.name)
    return np.asarray(run(np.ascontiguousarray(encoded, np.float32)))


def run_encoded(graph: bytes, encoder: Any, raw: Any) -> Array:
    """Return what a graph predicts for raw rows (a DataFrame), which are encoded in batches that bound the memory."""
    size = max(1, MAX_ENCODED_VALUES // encoder_width(encoder))
    parts = [run_graph(graph, encoder(raw.iloc[start : start + size])) for start in range(0, len(raw), size)]
    return np.concatenate(parts)


def encoder_width(encoder: Any) -> int:
    """Return the number of features that an encoder makes of a row."""
    return int(encoder.width) if hasattr(encoder, "width") else len(encoder.mean)


def check_graph(graph: bytes, encoded: Array, expected: Array, target_deviation: float) -> None:
    """Raise ChildFailedError if a graph does not predict `expected` (n, k), the predictions of its library.

    The tolerance is relative to the targets' deviation, or to the range of the predictions if that is greater.
    """
    predictions = run_graph(graph, encoded[:MAX_CHECKED_ROWS])
    scale = max(target_deviation, float(np.ptp(expected))) or 1.0  # 0: all targets are equal
    difference = float(np.abs(predictions - expected[:MAX_CHECKED_ROWS]).max()) / scale
    if not difference <= TOLERANCE:
        raise ChildFailedError(
            f"the exported model's predictions differ by {difference:.2g}",
            "leave the family out of --families",
        )


def _transform_nodes(transform: OutputTransform) -> list[Any]:
    """Return the nodes from the tensor `raw` to the output."""
    if transform.kind == "sigmoid":
        return [helper.make_node("Sigmoid", ["raw"], [OUTPUT])]
    if transform.kind == "softmax":
        return [helper.make_node("Softmax", ["raw"], [OUTPUT], axis=1)]
    values = "logarithm" if transform.exp else OUTPUT
    nodes = [
        _constant("scale", transform.scale),
        _constant("mean", transform.mean),
        helper.make_node("Mul", ["raw", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], [values]),
    ]
    return nodes + ([helper.make_node("Exp", [values], [OUTPUT])] if transform.exp else [])


def _temperature_nodes(temperature: float, outputs: int) -> list[Any]:
    """Return the nodes from the tensor `sum`, probabilities, to the output."""
    nodes = [
        _constant("low", MIN_PROBABILITY),
        _constant("high", 1 - MIN_PROBABILITY),
        _constant("factor", 1 / temperature),
        helper.make_node("Clip", ["sum", "low", "high"], ["clipped"]),
        helper.make_node("Log", ["clipped"], ["log"]),
    ]
    if outputs > 1:
        return [
            *nodes,
            helper.make_node("Mul", ["log", "factor"], ["logits"]),
            helper.make_node("Softmax", ["logits"], [OUTPUT], axis=1),
        ]
    return [
        *nodes,
        _constant("one", 1.0),
        helper.make_node("Sub", ["one", "clipped"], ["rest"]),
        helper.make_node("Log", ["rest"], ["log_rest"]),
        helper.make_node("Sub", ["log", "log_rest"], ["logit"]),
        helper.make_node("Mul", ["logit", "factor"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], [OUTPUT]),
    ]


def _constant(name: str, value: float) -> Any:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.float32(value), name))


def _serialize(
    nodes: Sequence[Any],
    constants: Sequence[Any],
    *,
    width: int,
    outputs: int,
    opsets: Sequence[Any] = (),
    output_type: int = TensorProto.FLOAT,
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "mlctl",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info(OUTPUT, output_type, ["n", outputs])],
        list(constants),
    )
    imports = list(opsets) or [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    return bytes(helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION).SerializeToString())
