"""What an endpoint tells about itself: the answers to GET /version and GET /model."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson

import mlctl
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.model import ServedModel


def versions(model: ServedModel, served: ServedVersion) -> dict[str, str]:
    """Return the answer to GET /version."""
    return {
        "mlflow": _mlflow_version(),
        "mlctl": mlctl.__version__,
        "name": served.name,
        "version": served.version,
        "run_id": model.info.run_id,
        "model_uri": served.uri,
    }


def describe(model: ServedModel, served: ServedVersion, *, needs_key: bool) -> dict[str, Any]:
    """Return the answer to GET /model, from which the web page builds its form."""
    info, tensor = model.info, model.signature.tensor
    return {
        "name": served.name,
        "version": served.version,
        "task": info.task,
        "classes": info.classes,
        "unit": info.unit,
        "recipe": info.recipe,
        "runtime": info.runtime,
        "full_scale": model.full_scale,
        "keys": needs_key,
        "tensor": None if tensor is None else {"dtype": tensor.dtype, "shape": tensor.shape},
        "columns": [
            {"name": column.name, "kind": column.kind, "required": column.required}
            for column in model.signature.columns
        ],
        "example": orjson.Fragment(model.example) if model.example else None,
    }


def _mlflow_version() -> str:
    for name in ("mlflow", "mlflow-skinny"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
