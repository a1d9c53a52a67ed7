"""From a request to a prediction: recognise the payload, have it checked, and prepare the model's call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from typing import Any

import orjson

from mlctl.errors import did_you_mean
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads import tables
from mlctl.serving.payloads.named_tensors import (
    Tensors,
    tensors_from_columns,
    tensors_from_json,
    tensors_from_table,
)
from mlctl.serving.payloads.request_error import RequestError, bad_request, quote, unsupported_media_type
from mlctl.serving.payloads.tensors import holds_only_numbers, tensor_from_json

KEYS = ("inputs", "instances", "dataframe_split", "dataframe_records")
KEYS_TEXT = ", ".join(KEYS)
JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
PARQUET_TYPES = (PARQUET, "application/x-parquet", "application/parquet")
DEFAULT_MAX_BYTES = 10_000_000


@dataclass(frozen=True)
class PredictionCall:
    """A checked request: its number of rows, the call that returns the model's answers, and the checked input."""

    rows: int
    predict: Callable[[], Any]
    inputs: Any


def parse_request(
    model: ServedModel, body: bytes, content_type: str, *, max_bytes: int = DEFAULT_MAX_BYTES
) -> PredictionCall | None:
    """Return the call that answers a request; None if only MLflow's own application can read it.

    That is so for signatures that are neither tensors nor a table of simple columns.

    Args:
        model: The model that will answer.
        body: The request's body, decompressed.
        content_type: Its Content-Type header; "" means JSON.
        max_bytes: Largest size that a compressed file may unpack to.

    Raises:
        RequestError: The client made a mistake.
    """
    kind = _parse_content_type(content_type)
    if not body:
        raise bad_request("the body is empty", f"send JSON with one of {KEYS_TEXT}")
    signature = model.signature
    if kind != JSON:
        return _parse_file(model, body, kind, max_bytes)
    document = _parse_json(body, nan_as_gap=bool(signature.columns))
    key = _data_key(document, model)
    if key is None:
        return None
    value = document[key]
    if signature.tensor is not None:
        if key not in ("inputs", "instances"):
            raise bad_request(f"this model takes a tensor, not {key}", f"send inputs: {signature.tensor}")
        if not isinstance(value, list):
            raise bad_request(
                f"{key} is {_type_name(value)}", f"send nested lists that form {signature.tensor}"
            )
        only_numbers = holds_only_numbers(body, keys=1)
        array = tensor_from_json(value, signature.tensor, model.full_scale, only_numbers=only_numbers)
        return PredictionCall(len(array), lambda: model.predict_tensors(array), array)
    if signature.tensors:
        if key in ("inputs", "instances"):
            return _tensors_call(model, tensors_from_json(value, signature.tensors, body))
        return _tensors_call(model, tensors_from_table(key, value, signature))
    if signature.columns:
        return _table_call(model, tables.columns_from_json(key, value, signature))
    return None


def _parse_file(model: ServedModel, body: bytes, kind: str, max_bytes: int) -> PredictionCall | None:
    signature = model.signature
    if signature.tensor is not None:
        raise unsupported_media_type(
            f"this model takes a tensor, not {kind}", f"send JSON, inputs: {signature.tensor}"
        )
    table = signature.as_table if signature.tensors else signature
    if table is None:
        raise unsupported_media_type(
            f"this model takes lists of values, not {kind}", "send JSON, inputs: a tensor for each name"
        )
    if not table.columns:
        return None
    if kind == CSV:
        columns = tables.columns_from_csv(body, table, by_mlctl=model.info.by_mlctl)
    else:
        columns = tables.columns_from_parquet(body, table, max_bytes=max_bytes)
    if signature.tensors:
        return _tensors_call(model, tensors_from_columns(columns, signature))
    return _table_call(model, columns)


def _tensors_call(model: ServedModel, tensors: Tensors) -> PredictionCall:
    rows = len(next(iter(tensors.values())))
    return PredictionCall(rows, lambda: model.predict_tensors(tensors), tensors)


def _table_call(model: ServedModel, columns: tables.Columns) -> PredictionCall:
    return PredictionCall(len(next(iter(columns.values()))), lambda: model.predict_table(columns), columns)


def _parse_content_type(content_type: str) -> str:
    """Return JSON, CSV or PARQUET."""
    if content_type in ("", JSON):
        return JSON
    header = Message()
    header["content-type"] = content_type
    kind = header.get_content_type() if "/" in content_type else content_type
    if kind not in (JSON, CSV, *PARQUET_TYPES):
        raise unsupported_media_type(
            f"content type {quote(content_type)} is not supported", f"send {JSON}, {CSV} or {PARQUET}"
        )
    for name, value in header.get_params([])[1:]:
        if name.lower() != "charset":
            raise unsupported_media_type(
                f"the parameter {quote(name)} of the content type is not supported", "remove it"
            )
        if str(value).lower() not in ("utf-8", "utf8"):
            raise unsupported_media_type(f"charset {quote(str(value))} is not supported", "send UTF-8")
    return PARQUET if kind in PARQUET_TYPES else kind


def _parse_json(body: bytes, *, nan_as_gap: bool) -> dict[str, Any]:
    """Return the JSON object in a body.

    NaN is not JSON, but pandas and Python write it for a missing value, so `nan_as_gap` accepts it for tables.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        try:
            document = json.loads(body) if nan_as_gap and b"NaN" in body else None
        except (ValueError, RecursionError):
            document = None
        if document is None:
            raise _json_error(body, exc) from None
    if not isinstance(document, dict):
        raise bad_request(
            f"the body is {_type_name(document)}, not a JSON object",
            f"send an object with one of {KEYS_TEXT}",
        )
    return document


def _json_error(body: bytes, exc: orjson.JSONDecodeError) -> RequestError:
    text = str(exc)
    if "recursion" in text.lower() or "depth" in text.lower():  # the wording depends on orjson's version
        return bad_request("the JSON is nested too deeply", "a tensor has one level of lists per dimension")
    if "utf-8" in text.lower() or "surrogate" in text.lower():
        return bad_request("the body is not valid UTF-8", "send JSON in UTF-8")
    position = f"line {exc.lineno}, column {exc.colno}"
    if "infinit" in text:
        return bad_request(f"the number at {position} is too large", "send finite numbers")
    if match := re.match(rb"[\s,\[]*(-?(?:NaN|Infinity))", body[max(0, exc.pos - 1) : exc.pos + 12]):
        word = match.group(1).decode()
        return bad_request(f"{word} at character {exc.pos} is not a JSON number", "send finite numbers")
    nearby = body[max(0, exc.pos - 10) : exc.pos + 20].decode("utf-8", "replace")
    return bad_request(f"the JSON breaks at {position}: {text.partition(':')[0]}", f"near {quote(nearby)}")


def _data_key(document: dict[str, Any], model: ServedModel) -> str | None:
    """Return the key that holds the data; None if only MLflow can interpret the document."""
    present = [key for key in KEYS if key in document]
    unknown = [key for key in document if key not in KEYS and key != "params"]
    if not model.signature.is_known and (not present or unknown):
        return None  # such as the payload of a chat or completion
    if unknown:
        suggestion = did_you_mean(unknown[0], KEYS)
        raise bad_request(f"unknown key {quote(unknown[0])}", suggestion or f"send one of {KEYS_TEXT}")
    if len(present) != 1:
        problem = f"the body has {' and '.join(present)}" if present else "the body has none of the data keys"
        raise bad_request(f"{problem}; exactly one must hold the data", f"send one of {KEYS_TEXT}")
    if "params" in document:
        if model.signature.params:
            return None
        if document["params"]:
            raise bad_request("this model takes no params", "remove the key params")
    return present[0]


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "a text"
    if isinstance(value, list):
        return "a list"
    return "a dictionary" if isinstance(value, dict) else "a number"
