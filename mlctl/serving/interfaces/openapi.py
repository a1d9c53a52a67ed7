"""The description of an endpoint in the terms of OpenAPI 3.1, with the schemas of the model that it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mlctl
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.interfaces import schemas
from mlctl.serving.interfaces.open_inference import openapi as open_inference
from mlctl.serving.interfaces.openapi_parts import JSON, Operation, error_response, read_example, reference
from mlctl.serving.interfaces.schemas import Schema
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.pictures import takes_pictures
from mlctl.serving.prediction import RequestParser
from mlctl.serving.router import Route

_ERRORS = {
    400: "The request is wrong: the message says what, and where.",
    401: "The API key is missing or wrong.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The content type or encoding is not supported.",
    500: "The model failed. The log has the reason, under the request's id.",
    503: "Too many requests are waiting. Retry-After says when to try again.",
    504: "The model did not answer in time.",
}
_ERROR_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "error_code": {"type": "string", "examples": ["BAD_REQUEST"]},
        "message": {"type": "string", "description": "What is wrong."},
        "hint": {"type": "string", "description": "What to do."},
    },
    "required": ["error_code", "message"],
}
# what OpenAPI says of the routes that are the same for every model, if the endpoint has them
_OTHER_ROUTES: dict[str, tuple[str, str, str]] = {
    "/ping": ("Whether the endpoint can answer", "text/plain", ""),
    "/health": ("Whether the endpoint can answer", "text/plain", ""),
    "/ready": ("Whether another request would be taken", "text/plain", ""),
    "/version": ("The versions of the model, mlctl and MLflow", JSON, "object"),
    "/model": ("The model: its input, its outputs, and an example", JSON, "object"),
    "/metrics": ("Metrics for Prometheus", "text/plain", ""),
    "/openapi.json": ("This description", JSON, "object"),
}


def describe_api(
    model: ServedModel,
    served: ServedVersion,
    *,
    routes: Sequence[Route],
    needs_key: bool = False,
    strict: bool = False,
    example_answer: bytes | None = None,
) -> dict[str, Any]:
    """Return the OpenAPI document.

    Args:
        model: The model that the endpoint serves.
        served: Its name and version.
        routes: The endpoint's routes.
        needs_key: Whether those that are not public need an API key.
        strict: The endpoint refuses unknown columns, names and keys, and gaps in required columns.
        example_answer: Body of the answer to the model's example, or None.
    """
    signature, info = model.signature, model.info
    parser = RequestParser(model, strict=strict)
    inputs = schemas.InputSchemas(
        signature,
        model.choices,
        table_rules=parser.table_rules(),
        tensor_rules=parser.tensor_rules(),
        takes_pictures=_takes_pictures(model),
    )
    paths = [route.path for route in routes]
    described: dict[str, Any] = {}
    if "/invocations" in paths:
        described["/invocations"] = {"post": _invocations(model, example_answer, needs_key=needs_key)}
    if "/feedback" in paths:
        described["/feedback"] = {"post": _feedback()}
    if "/v2/" in paths:
        described |= open_inference.describe_paths(model, served)
    for path in paths:
        if path in _OTHER_ROUTES:
            described[path] = {"get": _get(path)}
    for route in routes:
        if route.is_public:
            for operation in described.get(route.path, {}).values():
                operation["security"] = []
    outputs = list(info.outputs)
    components: dict[str, Any] = {
        "schemas": {
            "Request": _request_schema(inputs.forms()),
            "Answer": _answer_document(schemas.answer_schema(signature, outputs)),
            "DetailedAnswer": _detailed_document(schemas.detailed_answer_schema(outputs)),
            "Error": _ERROR_SCHEMA,
            **open_inference.describe_schemas(model),
        },
        "responses": {
            **{f"Error{status}": error_response(text, "Error") for status, text in _ERRORS.items()},
            **open_inference.RESPONSES,
        },
    }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": served.name,
            "version": served.version or "unversioned",
            "description": _description(model),
        },
        "paths": described,
        "components": components,
    }
    if needs_key:
        components["securitySchemes"] = {
            "apiKey": {"type": "http", "scheme": "bearer", "description": "A key that mlctl keys new wrote."}
        }
        document["security"] = [{"apiKey": []}]
    return document


def _description(model: ServedModel) -> str:
    info = model.info
    parts = [
        info.recipe and f"Recipe {info.recipe}.",
        info.task and f"Task: {info.task}.",
        info.run_id and f"Run {info.run_id}.",
        info.created and f"Saved {info.created}.",
        f"Served by mlctl {mlctl.__version__}.",
    ]
    return " ".join(part for part in parts if part)


def _invocations(model: ServedModel, example_answer: bytes | None, *, needs_key: bool) -> Operation:
    media: dict[str, Any] = {JSON: {"schema": reference("Request")}}
    if (example := read_example(model.example)) is not None:
        media[JSON]["examples"] = {"example": {"summary": "Logged with the model", "value": example}}
    if (columns := _columns_of_files(model)) is not None:
        text = f"A header with the names of the columns, then the rows: {columns}"
        media["text/csv"] = {"schema": {"type": "string", "description": text}}
        media["application/vnd.apache.parquet"] = {"schema": {"description": "A file with these columns."}}
    if _takes_pictures(model):
        for media_type in ("image/png", "image/jpeg"):
            media[media_type] = {"schema": {"description": "The file of one picture."}}
        media["multipart/form-data"] = {"schema": {"description": "Picture files, one for each row."}}
    answer: dict[str, Any] = {"schema": {"anyOf": [reference("Answer"), reference("DetailedAnswer")]}}
    if (answered := read_example(example_answer)) is not None:
        answer["examples"] = {"example": {"summary": "The answer to the example", "value": answered}}
    return {
        "operationId": "predict",
        "summary": "Predict",
        "description": "MLflow's scoring protocol: clients of mlflow models serve need no change.",
        "tags": ["predictions"],
        "parameters": [
            {
                "name": "details",
                "in": "query",
                "description": "Answer with labels, probabilities, unit, version and request id.",
                "schema": {"type": "boolean", "default": False},
            },
            {
                "name": "X-Request-ID",
                "in": "header",
                "description": "Identifier of the request for the log; the answer repeats it.",
                "schema": {"type": "string", "pattern": r"^[\w.-]{1,64}$"},
            },
        ],
        "requestBody": {"required": True, "content": media},
        "responses": {
            "200": {
                "description": "The predictions.",
                "headers": {
                    name: {"schema": {"type": "string"}}
                    for name in ("X-Request-ID", "X-Model", "X-Model-Version")
                },
                "content": {JSON: answer},
            },
            **{
                str(status): {"$ref": f"#/components/responses/Error{status}"}
                for status in _ERRORS
                if needs_key or status != 401
            },
        },
    }


def _takes_pictures(model: ServedModel) -> bool:
    return takes_pictures(model.signature.tensor, full_scale=model.full_scale, by_mlctl=model.info.by_mlctl)


def _columns_of_files(model: ServedModel) -> str | None:
    """Return what columns a CSV or Parquet file has; None if the model takes no files."""
    signature = model.signature
    if signature.tensor is not None:
        width = signature.tensor.shape[1:]
        return f"{max(width[0], 0) or 'any number of'} columns" if len(width) == 1 else None
    table = signature.as_table if signature.tensors else signature
    return ",".join(table.names) if table is not None and table.columns else None


def _feedback() -> Operation:
    truth: Schema = {"description": "What was right: a value or class; a list for several rows."}
    entry: Schema = {
        "type": "object",
        "properties": {"request_id": {"type": "string"}, "truth": truth},
        "required": ["request_id", "truth"],
    }
    schema: Schema = {"anyOf": [entry, {"type": "array", "items": entry}]}
    stored: Schema = {"type": "object", "properties": {"stored": {"type": "integer"}}}
    return {
        "operationId": "feedback",
        "summary": "Tell what the right answer was",
        "description": "The X-Request-ID header of an answer is its request_id.",
        "tags": ["predictions"],
        "requestBody": {"required": True, "content": {JSON: {"schema": schema}}},
        "responses": {
            "200": {"description": "It was stored.", "content": {JSON: {"schema": stored}}},
            "400": {"$ref": "#/components/responses/Error400"},
            "404": error_response("The endpoint logs no requests.", "Error"),
        },
    }


def _get(path: str) -> Operation:
    summary, media_type, kind = _OTHER_ROUTES[path]
    schema = {"type": kind} if kind else {}
    return {
        "operationId": path.strip("/").replace(".", "_"),
        "summary": summary,
        "tags": ["endpoint"],
        "responses": {"200": {"description": summary, "content": {media_type: {"schema": schema}}}},
    }


def _request_schema(forms: Mapping[str, Schema]) -> Schema:
    """Return the schema of a body, which has exactly one of these keys."""
    return {
        "type": "object",
        "oneOf": [
            {"title": key, "properties": {key: schema}, "required": [key]} for key, schema in forms.items()
        ],
    }


def _answer_document(predictions: Schema) -> Schema:
    return {"type": "object", "properties": {"predictions": predictions}, "required": ["predictions"]}


def _detailed_document(predictions: Schema) -> Schema:
    text: Schema = {"type": "string"}
    output = {
        "type": "object",
        "properties": {
            "name": text,
            "kind": {"enum": ["classes", "labels", "values", "pixels", "sequence", "none"]},
            "classes": {"type": "array", "items": text},
            "unit": text,
        },
    }
    properties: dict[str, Schema] = {
        "model": text,
        "version": text,
        "request_id": text,
        "outputs": {"type": "array", "items": output},
        "predictions": predictions,
    }
    return {"type": "object", "properties": properties, "required": list(properties)}
