"""SimpleImputer as ONNX nodes: ONNX's own operator for it knows neither float64 nor texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlctl.adapters.conversion.graph_writer import SklearnGraph
from mlctl.adapters.models.export_error import ExportError
from mlctl.serving.conversion.scorer import MISSING_TEXT

DOUBLE = 11  # type of ONNX


def register() -> None:
    """Make skl2onnx use this conversion."""
    from skl2onnx import update_registered_converter
    from sklearn.impute import SimpleImputer

    update_registered_converter(SimpleImputer, "MlctlSimpleImputer", _shapes, _convert)


def _shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, StringTensorType

    width = len(operator.raw_operator.statistics_)
    is_text = all(isinstance(given.type, StringTensorType) for given in operator.inputs)
    operator.outputs[0].type = (StringTensorType if is_text else DoubleTensorType)([None, width])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    from skl2onnx.common.data_types import StringTensorType

    model, writer = operator.raw_operator, SklearnGraph(scope, container)
    if model.add_indicator:
        raise ExportError("SimpleImputer with add_indicator has no ONNX form here")
    parts = [given.full_name for given in operator.inputs]
    is_text = isinstance(operator.outputs[0].type, StringTensorType)
    if not is_text:
        parts = [writer.node("Cast", [part], to=DOUBLE) for part in parts]
    rows = parts[0] if len(parts) == 1 else writer.node("Concat", parts, axis=1)
    if is_text:
        is_none = model.missing_values is None or model.missing_values != model.missing_values
        gap = MISSING_TEXT if is_none else str(model.missing_values)
        is_gap = writer.node("Equal", [rows, writer.constant(np.array([gap]))])
        fills = np.array([[str(value) for value in model.statistics_]])
    else:
        fills = np.asarray(model.statistics_, np.float64).reshape(1, -1)
        if np.isnan(fills).any():
            raise ExportError("SimpleImputer leaves out a column that is always empty")
        if model.missing_values != model.missing_values:
            is_gap = writer.node("IsNaN", [rows])
        else:
            is_gap = writer.node("Equal", [rows, writer.constant(np.full(1, float(model.missing_values)))])
    writer.node("Where", [is_gap, writer.constant(fills), rows], operator.outputs[0].full_name)
