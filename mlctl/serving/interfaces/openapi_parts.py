"""Parts of an OpenAPI document that several of its sections use."""

from __future__ import annotations

from typing import Any

import orjson

from mlctl.serving.interfaces.schemas import Schema

MAX_EXAMPLE_BYTES = 20_000  # longer examples would only be in the way
JSON = "application/json"
Operation = dict[str, Any]


def error_response(description: str, schema: str) -> dict[str, Any]:
    """Return a response with a schema of the components."""
    return {"description": description, "content": {JSON: {"schema": reference(schema)}}}


def reference(name: str) -> Schema:
    """Return the reference to a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def read_example(body: bytes | None) -> Any:
    """Return the JSON in a body, if it is short enough to be read; else None."""
    if body is None or len(body) > MAX_EXAMPLE_BYTES:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
