"""Targets in the form that models are fitted to, and the way back from predictions to the target."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlctl.adapters.estimators.encoded_table import EncodedTable
from mlctl.adapters.estimators.spec import LOG, ModelSpec
from mlctl.adapters.models.onnx_graphs import OutputTransform

Array = np.ndarray[Any, Any]


def standardize_targets(spec: ModelSpec, targets: Array) -> tuple[OutputTransform, Array]:
    """Return standardized regression targets (n,), and the transform from predictions of them to the target."""
    values = np.log(targets) if spec.loss == LOG else targets
    mean, scale = float(values.mean()), float(values.std()) or 1.0
    transform = OutputTransform(scale=scale, mean=mean, exp=spec.loss == LOG)
    return transform, (values - mean) / scale


def class_transform(table: EncodedTable) -> OutputTransform:
    """Return the transform from raw scores (logits) to class probabilities."""
    return OutputTransform("sigmoid" if table.classes == 2 else "softmax")
