"""A request's body to predictions: what kind of body it is, what it must hold, and what the model says to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from email.message import Message
from typing import Any

import orjson

from mlctl.errors import did_you_mean
from mlctl.serving import tables
from mlctl.serving.model import Model
from mlctl.serving.request_error import RequestError, bad, quoted, unsupported
from mlctl.serving.tensors import to_tensor

KEYS = ("inputs", "instances", "dataframe_split", "dataframe_records")
JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
PARQUETS = (PARQUET, "application/x-parquet", "application/parquet")

Prediction = Callable[[], Any]


def prediction(
    model: Model, body: bytes, content_type: str, limit: int = 10_000_000
) -> tuple[int, Prediction] | None:  # fmt: skip
    """Return how many rows are asked for, and what answers them when called.

    `limit` is how many bytes a packed file may hold. None leaves the request to MLflow's own application: a
    signature that is neither a tensor nor a table of simple columns. Raises Refusal for what the client got wrong.
    """
    kind = _kind(content_type)
    if not body:
        raise bad("the body is empty", f"send JSON with one of {', '.join(KEYS)}")
    if kind != JSON:
        return _file(model, body, kind, limit)
    document = _parsed(body, gaps_as_nan=bool(model.signature.columns))
    key = _key(document, model)
    if key is None:
        return None
    value, signature = document[key], model.signature
    if signature.tensor is not None and key in ("inputs", "instances"):
        if not isinstance(value, list):
            raise bad(f"{key} is {_named(value)}", f"wanted is {signature.tensor}: nested lists")
        array = to_tensor(value, body, signature.tensor, model.full_scale)
        return len(array), lambda: model.predict_tensor(array)
    if signature.tensor is not None:
        raise bad(f"this model takes a tensor, not {key}", f"send inputs: {signature.tensor}")
    if signature.columns:
        columns = tables.from_json(key, value, signature)
        return len(next(iter(columns.values()))), lambda: model.predict_table(columns)
    return None


def _file(model: Model, body: bytes, kind: str, limit: int) -> tuple[int, Prediction] | None:
    signature = model.signature
    if signature.tensor is not None:
        raise unsupported(f"this model takes a tensor, not {kind}", f"send JSON, inputs: {signature.tensor}")
    if not signature.columns:
        return None
    if kind == CSV:
        columns = tables.from_csv(body, signature, model.ours)
    else:
        columns = tables.from_parquet(body, signature, limit)
    return len(next(iter(columns.values()))), lambda: model.predict_table(columns)


def _kind(content_type: str) -> str:
    """Return which of the three kinds of body this is; none said counts as JSON."""
    if content_type in ("", JSON):
        return JSON
    header = Message()
    header["content-type"] = content_type
    kind = header.get_content_type() if "/" in content_type else content_type
    if kind not in (JSON, CSV, *PARQUETS):
        raise unsupported(f"{quoted(content_type)} is not taken", f"send {JSON}, {CSV} or {PARQUET}")
    for name, value in header.get_params([])[1:]:
        if name.lower() != "charset":
            raise unsupported(f"the content type's parameter {quoted(name)} is not known", "leave it out")
        if str(value).lower() not in ("utf-8", "utf8"):
            raise unsupported(f"charset {quoted(str(value))} is not taken", "send UTF-8")
    return PARQUET if kind in PARQUETS else kind


def _parsed(body: bytes, gaps_as_nan: bool) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        document = _leniently(body) if gaps_as_nan and b"NaN" in body else None
        if document is None:
            raise _broken(body, exc) from None
    if not isinstance(document, dict):
        raise bad(f"the body is {_named(document)}, not a JSON object", f"wanted is one of {', '.join(KEYS)}")
    return document


def _leniently(body: bytes) -> Any:
    """Read the NaN that pandas and Python write for a gap, which is not JSON; None where that fails too."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _broken(body: bytes, exc: orjson.JSONDecodeError) -> RequestError:
    said = str(exc)
    if "recursion" in said.lower() or "depth" in said.lower():  # orjson has said it both ways
        return bad("the JSON is nested too deeply", "a tensor has one level of lists a dimension")
    if "utf-8" in said.lower() or "surrogate" in said.lower():
        return bad("the body is not valid UTF-8", "send JSON in UTF-8")
    if "infinit" in said:
        return bad(f"the number at line {exc.lineno}, column {exc.colno} is too large", "send finite numbers")
    near = body[max(0, exc.pos - 10) : exc.pos + 20].decode("utf-8", "replace")
    if number := re.match(rb"[\s,\[]*(-?(?:NaN|Infinity))", body[max(0, exc.pos - 1) : exc.pos + 12]):
        word = number.group(1).decode()
        return bad(f"{word} at character {exc.pos}: JSON has no such number", "send finite numbers")
    return bad(
        f"the JSON breaks at line {exc.lineno}, column {exc.colno}: {said.partition(':')[0]}",
        f"near {quoted(near)}",
    )


def _key(document: dict[str, Any], model: Model) -> str | None:
    """Return the one key that holds the data; None where only MLflow can say what the document means."""
    found = [key for key in KEYS if key in document]
    unknown = [key for key in document if key not in KEYS and key != "params"]
    simple = model.signature.tensor is not None or bool(model.signature.columns)
    if not simple and (not found or unknown):
        return None  # a chat or completion payload, among others
    if unknown:
        near = did_you_mean(unknown[0], KEYS)
        raise bad(f"unknown key {quoted(unknown[0])}", near or f"known are {', '.join(KEYS)}")
    if len(found) != 1:
        said = f"found {' and '.join(found)}" if found else "none of the keys is there"
        raise bad(f"{said}; exactly one holds the data", f"send one of {', '.join(KEYS)}")
    if "params" in document:
        if model.signature.params:
            return None
        if document["params"]:
            raise bad("this model takes no params", "leave the key params out")
    return found[0]


def _named(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict, str)):
        return {"list": "a list", "dict": "a dictionary", "str": "a text"}[type(value).__name__]
    return "a number"
