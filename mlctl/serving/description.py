"""What an endpoint tells about itself: the answers to GET /version and GET /model."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson

import mlctl
from mlctl.domain.column_reading import readings_to_json
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.pictures import takes_pictures
from mlctl.serving.payloads.signature import TensorSpec


def versions(model: ServedModel, served: ServedVersion) -> dict[str, str]:
    """Return the answer to GET /version."""
    return {
        "mlflow": _mlflow_version(),
        "mlctl": mlctl.__version__,
        "name": served.name,
        "version": served.version,
        "run_id": model.info.run_id,
        "model_uri": served.uri,
        "runtime": model.info.runtime,
        "reason": model.runtime_reason,
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
        "pictures": takes_pictures(tensor, full_scale=model.full_scale, by_mlctl=info.by_mlctl),
        "run_id": info.run_id,
        "created": info.created,
        "keys": needs_key,
        "tensor": None if tensor is None else {"dtype": tensor.dtype, "shape": tensor.shape},
        "inputs": [_describe_tensor(spec) for spec in model.signature.all_tensors],
        "outputs": _describe_outputs(model),
        "columns": [
            {"name": column.name, "kind": column.kind, "required": column.required}
            for column in model.signature.columns
        ],
        "choices": model.choices,
        "readings": readings_to_json(model.readings),
        "takes_gaps": model.takes_gaps,
        "example": orjson.Fragment(model.example) if model.example else None,
    }


def _describe_tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": spec.shape}


def _describe_outputs(model: ServedModel) -> list[dict[str, Any]]:
    """Return what each output means, and its type and shape."""
    specs = {spec.name: spec for spec in model.signature.outputs}
    meanings = {output.name: output.to_json() for output in model.info.outputs}
    if len(meanings) == len(specs) == 1:  # a single output needs no name
        (meaning,), (spec,) = meanings.values(), specs.values()
        return [{**_describe_tensor(spec), **meaning}]
    names = [output.name for output in model.info.outputs] or list(specs)
    return [
        {**(_describe_tensor(specs[name]) if name in specs else {"name": name}), **meanings.get(name, {})}
        for name in names
    ]


def _mlflow_version() -> str:
    for name in ("mlflow", "mlflow-skinny"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
