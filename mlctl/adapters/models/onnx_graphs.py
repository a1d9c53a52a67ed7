"""Models of every family as ONNX graphs of one form, and several of them blended into one.

A graph takes `encoded` (n, width) float32 and gives `answer`: (n, 1) in the target's unit or of the positive
class, or (n, classes) probabilities. What scores it is ONNX Runtime alone: no library that trained a part of it.
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

from mlctl.adapters.models.tree_ensembles import Ensemble
from mlctl.errors import ChildFailedError
from mlctl.serving.scoring import onnx_runner

OPSET, TREES_OPSET, FORMAT = 18, 3, 10  # what ONNX Runtime 1.20, the oldest that we ask for, reads
GIVEN, ANSWER = "encoded", "answer"
TOLERANCE = 1e-4
CHECKED_ROWS = 512

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Link:
    """From a model's raw sums to answers: "identity", "sigmoid" or "softmax"; or x * scale + mean, then exp."""

    name: str = "identity"
    scale: float = 1.0
    mean: float = 0.0
    exp: bool = False

    def __call__(self, raw: Array) -> Array:
        """Return what the graph's nodes make of raw (n, k)."""
        if self.name == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-raw)))
        if self.name == "softmax":
            powers = np.exp(raw - raw.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        values = raw * self.scale + self.mean
        return np.asarray(np.exp(values) if self.exp else values)


def of_trees(ensemble: Ensemble, width: int, columns: Sequence[int], link: Link) -> bytes:
    """Return trees as a graph; they know the features `columns` of the `width` by their place among those."""
    places = np.asarray(columns, np.int64)
    trees, outputs = ensemble.trees, len(ensemble.base)
    sizes = np.array([len(tree.left) for tree in trees])
    leaf = np.concatenate([tree.left < 0 for tree in trees])
    number = np.concatenate([np.arange(size) for size in sizes])
    tree_of = np.repeat(np.arange(len(trees)), sizes)
    values = np.concatenate([tree.values for tree in trees])
    kept = (values != 0) & leaf[:, None]
    kept[leaf & ~kept.any(axis=1), 0] = True  # every leaf says something, if it is nothing
    at, output = np.nonzero(kept)
    feature = np.concatenate([tree.feature for tree in trees])

    def joined(name: str) -> Array:
        return np.concatenate([getattr(tree, name) for tree in trees])

    node = helper.make_node(
        "TreeEnsembleRegressor", [GIVEN], ["raw"], domain="ai.onnx.ml",
        n_targets=outputs, aggregate_function="SUM", base_values=list(ensemble.base),
        nodes_treeids=tree_of.tolist(), nodes_nodeids=number.tolist(),
        nodes_featureids=np.where(leaf, 0, places[np.where(leaf, 0, feature)]).tolist(),
        nodes_values=joined("threshold").tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=np.where(leaf, 0, joined("left")).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, joined("right")).tolist(),
        target_treeids=tree_of[at].tolist(), target_nodeids=number[at].tolist(),
        target_ids=output.tolist(), target_weights=values[at, output].tolist(),
    )  # fmt: skip
    return _model([node, *_linked(link)], [], width, outputs)


def of_linear(weights: Array, bias: Array, width: int, columns: Sequence[int], link: Link) -> bytes:
    """Return a linear model, weights (features, outputs), as a graph."""
    whole = np.zeros((width, weights.shape[1]), np.float32)
    whole[list(columns)] = weights
    node = helper.make_node("Gemm", [GIVEN, "weights", "bias"], ["raw"])
    constants = [
        numpy_helper.from_array(whole, "weights"),
        numpy_helper.from_array(bias.astype(np.float32), "bias"),
    ]
    return _model([node, *_linked(link)], constants, width, weights.shape[1])


def of_exported(path: Path, width: int, columns: Sequence[int]) -> bytes:
    """Return a graph that Keras has exported, fed with some of the features."""
    inner = compose.add_prefix(onnx.load(str(path)), "keras_")
    given, made = inner.graph.input[0].name, inner.graph.output[0].name
    outputs = inner.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    nodes = [
        helper.make_node("Gather", [GIVEN, "columns"], [given], axis=1),
        *inner.graph.node,
        helper.make_node("Identity", [made], [ANSWER]),
    ]
    constants = [numpy_helper.from_array(np.asarray(columns, np.int64), "columns"), *inner.graph.initializer]
    return _model(nodes, constants, width, outputs, list(inner.opset_import))


def blended(parts: Sequence[tuple[float, bytes]], offset: float = 0.0) -> bytes:
    """Return the weighted sum of graphs of one form as a graph of that form.

    With an `offset`, which is added in the end, answers are float64.
    """
    nodes: list[Any] = []
    constants: list[Any] = []
    terms: list[str] = []
    opsets: dict[str, int] = {}
    width = outputs = 0
    for number, (weight, part) in enumerate(parts):
        prefix = f"m{number}_"
        one = compose.add_prefix(onnx.load_from_string(part), prefix)
        for used in one.opset_import:
            opsets[used.domain] = max(used.version, opsets.get(used.domain, 0))
        nodes.append(helper.make_node("Identity", [GIVEN], [prefix + GIVEN]))
        nodes += one.graph.node
        constants += one.graph.initializer
        constants.append(numpy_helper.from_array(np.float32(weight), prefix + "weight"))
        nodes.append(helper.make_node("Mul", [prefix + ANSWER, prefix + "weight"], [prefix + "term"]))
        terms.append(prefix + "term")
        width, outputs = (
            side[0].type.tensor_type.shape.dim[1].dim_value for side in (one.graph.input, one.graph.output)
        )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    if not offset:
        nodes.append(helper.make_node("Sum", terms, [ANSWER]))
        return _model(nodes, constants, width, outputs, imports)
    nodes += [
        helper.make_node("Sum", terms, ["apart"]),
        helper.make_node("Cast", ["apart"], ["apart64"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["apart64", "offset"], [ANSWER]),
    ]
    constants.append(numpy_helper.from_array(np.float64(offset), "offset"))
    return _model(nodes, constants, width, outputs, imports, TensorProto.DOUBLE)


def answers(graph: bytes, encoded: Array) -> Array:
    """Return what ONNX Runtime answers for encoded (n, width), as a served model does."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(graph)
        file.flush()
        run = onnx_runner(file.name)
    return run(np.ascontiguousarray(encoded, np.float32))


def check(graph: bytes, encoded: Array, wanted: Array, spread: float) -> None:
    """Raise ChildFailedError where a graph answers other than (n, k) `wanted`, which its library answers.

    They may differ by a small share of the targets' `spread`, or of the answers' own where that is greater.
    """
    found = answers(graph, encoded[:CHECKED_ROWS])
    scale = max(spread, float(np.ptp(wanted))) or 1.0  # all targets are one
    apart = float(np.abs(found - wanted[:CHECKED_ROWS]).max()) / scale
    if not apart <= TOLERANCE:
        raise ChildFailedError(
            f"its export answers otherwise by {apart:.2g}", "leave the family out with --families"
        )


def _linked(link: Link) -> list[Any]:
    if link.name == "sigmoid":
        return [helper.make_node("Sigmoid", ["raw"], [ANSWER])]
    if link.name == "softmax":
        return [helper.make_node("Softmax", ["raw"], [ANSWER], axis=1)]
    values = ANSWER if not link.exp else "logarithm"
    nodes = [
        _constant("scale", link.scale), _constant("mean", link.mean),
        helper.make_node("Mul", ["raw", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], [values]),
    ]  # fmt: skip
    return nodes + ([helper.make_node("Exp", [values], [ANSWER])] if link.exp else [])


def _constant(name: str, value: float) -> Any:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.float32(value), name))


def _model(
    nodes: Sequence[Any], constants: Sequence[Any], width: int, outputs: int, opsets: Sequence[Any] = (),
    kind: int = TensorProto.FLOAT,
) -> bytes:  # fmt: skip
    graph = helper.make_graph(
        list(nodes), "mlctl",
        [helper.make_tensor_value_info(GIVEN, TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info(ANSWER, kind, ["n", outputs])],
        list(constants),
    )  # fmt: skip
    known = list(opsets) or [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREES_OPSET)]
    return bytes(helper.make_model(graph, opset_imports=known, ir_version=FORMAT).SerializeToString())
