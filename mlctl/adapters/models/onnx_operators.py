"""Operations of TensorFlow graphs that tf2onnx does not know, as ONNX operators.

tf2onnx turns each into a node of the domain `mlctl`. `expand` replaces these nodes by ONNX operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from mlctl.adapters.models import onnx_resize, onnx_strings
from mlctl.adapters.models.onnx_nodes import NodeWriter

DOMAIN = "mlctl"
ML_OPSET, CONTRIB_OPSET, STRING_OPSET = 3, 1, 20
Description = Mapping[str, Any]


def op_handlers(operations: dict[str, Description]) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """Return tf2onnx's handlers for operations that `expand` writes; `operations` are those of the trace."""

    def mark(kind: str, *attributes: str) -> tuple[Callable[..., Any], list[Any]]:
        def handle(context: Any, node: Any, name: str, arguments: Any) -> None:
            values = {key: node.get_attr_value(key) for key in attributes}
            _mark(context, node, {"kind": kind, **values}, operations)

        return handle, []

    def handle_operation(context: Any, node: Any, name: str, arguments: Any) -> None:
        token = node.get_attr_value("token")
        token = token.decode() if isinstance(token, bytes) else token
        if token in operations:
            _mark(context, node, operations[token], operations)

    def handle_resize(context: Any, node: Any, name: str, arguments: Any) -> None:
        if description := onnx_resize.describe_resize(context, node):
            _mark(context, node, description, operations, inputs=1)

    return {
        "PyFuncStateless": (handle_operation, []),
        "Erfc": mark("erfc"),
        "Expm1": mark("expm1"),
        "Log1p": mark("log1p"),
        **dict.fromkeys(onnx_resize.OPERATORS, (handle_resize, [])),
        "OneHot": mark("one_hot", "axis"),
        "Bucketize": mark("bucketize", "boundaries"),
        "StringLower": mark("lower"),
        "StringUpper": mark("upper"),
        "StringStrip": mark("strip"),
        "StaticRegexReplace": mark("replace", "pattern", "rewrite", "replace_global"),
    }


def expand(model: onnx.ModelProto, operations: Mapping[str, Description]) -> onnx.ModelProto:
    """Replace the nodes of the domain `mlctl` by ONNX operators, in place; return the model."""
    described = dict(operations)
    domains: set[str] = set()
    _expand_graph(model.graph, described, domains)
    for node in _all_nodes(model.graph):
        if node.op_type == "Resize":
            onnx_resize.modernize(node)
    versions = {opset.domain: opset.version for opset in model.opset_import if opset.domain != DOMAIN}
    used = {node.domain for node in _all_nodes(model.graph)} | {""}
    versions = {domain: version for domain, version in versions.items() if domain in used}
    if domains:
        versions.update({"ai.onnx.ml": ML_OPSET, "com.microsoft": CONTRIB_OPSET})
        versions[""] = max(versions[""], STRING_OPSET)
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions.items())
    return model


def is_ours(node: Any) -> bool:
    """Return whether a node stands for an operation that `expand` replaces."""
    return bool(node.domain == DOMAIN)


def _mark(
    context: Any, node: Any, description: Description, operations: dict[str, Description], inputs: int = 0
) -> None:
    """Make a node of tf2onnx's graph one of ours, with its first `inputs` inputs, or all.

    Its description is found by its token.
    """
    if inputs:
        context.replace_inputs(node, node.input[:inputs])
    token = f"node:{len(operations)}:{node.name}"
    operations[token] = description
    node.type, node.domain = "Operation", DOMAIN
    for key in list(node.attr):
        del node.attr[key]
    node.set_attr("token", token)


def _expand_graph(graph: Any, operations: Mapping[str, Description], domains: set[str]) -> None:
    nodes: list[Any] = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _expand_graph(attribute.g, operations, domains)
        if not is_ours(node):
            nodes.append(node)
            continue
        token = helper.get_node_attr_value(node, "token").decode()
        description = operations[token]
        writer = NodeWriter(node.name)
        inputs, output = list(node.input), node.output[0]
        _WRITERS[description["kind"]](writer, inputs, output, description)
        nodes += writer.nodes
        graph.initializer.extend(writer.initializers)
        if description["kind"] not in _PLAIN:
            domains.add(description["kind"])
    del graph.node[:]
    graph.node.extend(nodes)


def _all_nodes(graph: Any) -> list[Any]:
    found = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += _all_nodes(attribute.g)
    return found


def _erfc(write: NodeWriter, inputs: Sequence[str], output: str, description: Description) -> None:
    write.node("Sub", [write.constant(np.float32(1)), write.node("Erf", inputs)], output)


def _expm1(write: NodeWriter, inputs: Sequence[str], output: str, description: Description) -> None:
    write.node("Sub", [write.node("Exp", inputs), write.constant(np.float32(1))], output)


def _log1p(write: NodeWriter, inputs: Sequence[str], output: str, description: Description) -> None:
    write.node("Log", [write.node("Add", [inputs[0], write.constant(np.float32(1))])], output)


def _bucketize(write: NodeWriter, inputs: Sequence[str], output: str, description: Description) -> None:
    """Count the boundaries that are not above a value; NaN is above all."""
    boundaries = write.constant(np.asarray(description["boundaries"], np.float32))
    values = write.node("Cast", inputs, to=TensorProto.FLOAT)
    values = write.node("Unsqueeze", [values, write.constant(np.array([-1]))])
    is_passed = write.node("Not", [write.node("Less", [values, boundaries])])
    counts = write.node("Cast", [is_passed], to=TensorProto.INT32)
    write.node("ReduceSum", [counts, write.constant(np.array([-1]))], output, keepdims=0)


def _bag(write: NodeWriter, inputs: Sequence[str], output: str, description: Description) -> None:
    weights = inputs[1] if len(inputs) > 1 else ""
    onnx_strings.write_bag(write, inputs[0], output, description["depth"], description["mode"], weights)


def _one_hot(write: NodeWriter, inputs: Sequence[str], output: str, description: Description) -> None:
    """Mark each index; one that is negative or too large marks nothing, as in TensorFlow."""
    indices, depth = (write.node("Cast", [name], to=TensorProto.INT64) for name in inputs[:2])
    is_negative = write.node("Less", [indices, write.constant(0)])
    indices = write.node("Where", [is_negative, depth, indices])  # ONNX counts from the end
    ends = write.constant(np.array([0, 1], np.float32))
    hot = write.node("OneHot", [indices, depth, ends], axis=int(description["axis"]))
    write.node("Where", [write.node("Cast", [hot], to=TensorProto.BOOL), inputs[2], inputs[3]], output)


_PLAIN = ("erfc", "expm1", "log1p", "bucketize", "one_hot", "resize")  # operators of every opset
_WRITERS: dict[str, Callable[[NodeWriter, Sequence[str], str, Description], None]] = {
    "erfc": _erfc,
    "expm1": _expm1,
    "log1p": _log1p,
    "bucketize": _bucketize,
    "resize": onnx_resize.write_resize,
    "one_hot": _one_hot,
    "bag": _bag,
    "lookup": onnx_strings.write_lookup,
    "texts": onnx_strings.write_texts,
    "lower": onnx_strings.write_case,
    "upper": onnx_strings.write_case,
    "strip": onnx_strings.write_strip,
    "replace": onnx_strings.write_replace,
}
