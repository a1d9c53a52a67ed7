"""Writes the nodes of a sub-graph, into a graph of our own or into one that skl2onnx builds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from onnx import helper, numpy_helper

OPSET, ML_OPSET, IR_VERSION = (
    19,
    5,
    10,
)  # supported by ONNX Runtime 1.20, the oldest version that mlctl requires
SKLEARN_ML_OPSET = 3  # skl2onnx writes no later one
ML_DOMAIN = "ai.onnx.ml"

Array = np.ndarray[Any, Any]


class GraphWriter(Protocol):
    """Adds nodes and constants with names of their own."""

    def node(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node of ONNX's own domain, or a TreeEnsemble; return the name of its output."""

    def constant(self, value: Any) -> str:
        """Add a constant; return its name."""


class OwnGraph:
    """A graph that is built from its first node to its last."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def node(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, list(inputs), [output], domain=_domain(operator), **attributes)
        )
        return output

    def constant(self, value: Any) -> str:
        """Add a constant; return its name."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(to_tensor(value, name))
        return name

    def serialize(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> bytes:
        """Return the model with these inputs and outputs (value infos)."""
        graph = helper.make_graph(self.nodes, "mlctl", list(inputs), list(outputs), self.initializers)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML_DOMAIN, ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        return bytes(model.SerializeToString())


class SklearnGraph:
    """A part of a graph that skl2onnx builds: its scope gives names, its container takes the nodes."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope = scope
        self._container = container

    def node(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = output or self._scope.get_unique_variable_name(operator)
        domain = _domain(operator)
        self._container.add_node(
            operator,
            list(inputs),
            [output],
            op_domain=domain,
            op_version=SKLEARN_ML_OPSET if domain else OPSET,
            name=self._scope.get_unique_operator_name(operator),
            **attributes,
        )
        return output

    def constant(self, value: Any) -> str:
        """Add a constant; return its name."""
        name = str(self._scope.get_unique_variable_name("constant"))
        self._container.initializers.append(to_tensor(value, name))
        return name


def to_tensor(value: Any, name: str = "") -> Any:
    """Return an array as an ONNX tensor; texts of any NumPy type are texts."""
    array = np.asarray(value)
    return numpy_helper.from_array(array.astype(object) if array.dtype.kind == "U" else array, name)


def _domain(operator: str) -> str:
    return ML_DOMAIN if operator == "TreeEnsemble" else ""
