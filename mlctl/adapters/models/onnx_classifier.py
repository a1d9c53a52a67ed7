"""ONNX classifiers of scikit-learn and boosting libraries: their probabilities become the only answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
_LABELS = (onnx.TensorProto.INT64, onnx.TensorProto.STRING)


def keep_probabilities(model: onnx.ModelProto) -> tuple[str, ...]:
    """Make a classifier that answers labels and probabilities answer probabilities only; return its classes.

    A row's label is that of the highest probability, and its dictionary (ZipMap) has the same probabilities by class.
    Any other graph stays as it is, and this returns ().
    """
    graph = model.graph
    names = [output.name for output in graph.output]
    kinds = [output.type.tensor_type.elem_type for output in graph.output]  # 0: no tensor
    zipped = [node for node in graph.node if node.op_type == "ZipMap" and node.output[0] in names]
    found = {classes for node in zipped or graph.node if (classes := tuple(_class_names(node)))}
    if len(found) != 1 or sorted(kind in _LABELS for kind in kinds) not in ([False], [False, True]):
        return ()
    (classes,) = found
    name, kind = next(pair for pair in zip(names, kinds, strict=True) if pair[1] not in _LABELS)
    if zipped:
        name, kind = zipped[0].input[0], onnx.TensorProto.FLOAT
        others = [node for node in graph.node if node.op_type != "ZipMap"]
        del graph.node[:]
        graph.node.extend(others)
    elif kind not in _FLOATS:
        return ()
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info(name, kind, [None, len(classes)]))
    return classes


def _class_names(node: Any) -> Iterator[str]:
    for attribute in node.attribute:
        if attribute.name.startswith("classlabels_"):
            for value in onnx.helper.get_attribute_value(attribute):
                yield value.decode() if isinstance(value, bytes) else str(value)
