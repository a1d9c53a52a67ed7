"""What OpenAPI says of the routes of the Open Inference Protocol."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson

from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.interfaces.open_inference.example import example_request
from mlctl.serving.interfaces.open_inference.inputs import describe_inputs
from mlctl.serving.interfaces.openapi_parts import (
    JSON,
    MAX_EXAMPLE_BYTES,
    Operation,
    error_response,
    reference,
)
from mlctl.serving.interfaces.schemas import Schema
from mlctl.serving.model import ServedModel

TAG = "Open Inference Protocol"

_ERROR_SCHEMA: Schema = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}
_TENSOR_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
    "required": ["name", "shape", "datatype"],
}
_ANSWER_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": reference("InferenceTensor")},
    },
    "required": ["model_name", "outputs"],
}
RESPONSES = {
    "InferenceError": error_response("The request is wrong or cannot be answered.", "InferenceError")
}


def describe_schemas(model: ServedModel) -> dict[str, Schema]:
    """Return the schemas of the components."""
    return {
        "InferenceTensor": _TENSOR_SCHEMA,
        "InferenceRequest": _request_schema(model),
        "InferenceAnswer": _ANSWER_SCHEMA,
        "InferenceError": _ERROR_SCHEMA,
    }


def _request_schema(model: ServedModel) -> Schema:
    """Return the schema of a request, with the name, datatype and shape of each input."""
    entries = describe_inputs(model.signature)
    tensor = _TENSOR_SCHEMA["properties"]
    forms = [
        {
            "title": entry["name"],
            "properties": {
                **tensor,
                "name": {"type": "string"} if len(entries) == 1 else {"const": entry["name"]},
                "datatype": {"type": "string", "examples": [entry["datatype"]]},
                "shape": tensor["shape"] | {"description": f"{entry['shape']}; -1 stands for any length."},
            },
            "required": _TENSOR_SCHEMA["required"],
        }
        for entry in entries
    ]
    output = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
        "required": ["name"],
    }
    items = {"anyOf": forms} if forms else reference("InferenceTensor")
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "minItems": 1, "items": items},
            "outputs": {"type": "array", "items": output},
        },
        "required": ["inputs"],
    }


def describe_paths(model: ServedModel, served: ServedVersion) -> dict[str, Any]:
    """Return the paths of the Open Inference Protocol."""
    name = f"/v2/models/{quote(served.name, safe='')}"
    roots = {name: ""}
    if served.version:
        roots[f"{name}/versions/{quote(served.version, safe='')}"] = "OfVersion"
    found: dict[str, Any] = {
        "/v2": {"get": _get("serverMetadata", "The server's name and extensions")},
        "/v2/health/live": {"get": _get("serverLive", "Whether the process runs")},
        "/v2/health/ready": {"get": _get("serverReady", "Whether another request would be taken")},
    }
    for root, suffix in roots.items():
        found[root] = {"get": _get(f"modelMetadata{suffix}", "The model's inputs and outputs")}
        found[f"{root}/ready"] = {"get": _get(f"modelReady{suffix}", "Whether the model can answer")}
        if model.signature.is_known:
            found[f"{root}/infer"] = {"post": _infer(model, suffix)}
    return found


def _infer(model: ServedModel, suffix: str) -> Operation:
    media: dict[str, Any] = {"schema": reference("InferenceRequest")}
    example = example_request(model)
    if example is not None and len(orjson.dumps(example)) <= MAX_EXAMPLE_BYTES:
        media["examples"] = {"example": {"summary": "Logged with the model", "value": example}}
    return {
        "operationId": f"infer{suffix}",
        "summary": "Predict with tensors",
        "description": "Bytes of tensors may follow the JSON; Inference-Header-Content-Length is its length then.",
        "tags": [TAG],
        "requestBody": {"required": True, "content": {JSON: media}},
        "responses": {
            "200": {
                "description": "The predictions.",
                "content": {
                    JSON: {"schema": reference("InferenceAnswer")},
                    "application/octet-stream": {"schema": {"description": "JSON, and bytes of tensors."}},
                },
            },
            "default": {"$ref": "#/components/responses/InferenceError"},
        },
    }


def _get(name: str, summary: str) -> Operation:
    return {
        "operationId": name,
        "summary": summary,
        "tags": [TAG],
        "responses": {
            "200": {"description": "Yes.", "content": {JSON: {"schema": {"type": "object"}}}},
            "default": {"$ref": "#/components/responses/InferenceError"},
        },
    }
