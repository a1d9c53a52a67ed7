"""Writes ONNX nodes one after the other, with names that no other node of the graph has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]


class NodeWriter:
    """Collects nodes and initializers. Their names start with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._prefix, self._count = prefix, 0

    def node(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = output or self.name(operator)
        node = helper.make_node(
            operator, list(inputs), [output], name=self.name(f"{operator}_node"), **attributes
        )
        self.nodes.append(node)
        return output

    def constant(self, value: Any) -> str:
        """Add a constant; return its name. Integers become int64, texts stay texts."""
        array = np.asarray(value)
        if array.dtype.kind in "iu":
            array = array.astype(np.int64)
        name = self.name("constant")
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def name(self, suffix: str) -> str:
        """Return a name that is new."""
        self._count += 1
        return f"{self._prefix}/{suffix}_{self._count}"
