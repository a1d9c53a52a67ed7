"""Encode a model's answers as MLflow's server does: with all their digits, and dates in ISO 8601.

Two things differ: a missing or infinite number is null, because NaN is not JSON, and so is pandas' NA.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME


def encode(answers: Any) -> bytes:
    """Return the body of an answer."""
    predictions = {"predictions": to_plain(answers)}
    try:
        return orjson.dumps(predictions, _to_json, _OPTIONS)
    except orjson.JSONEncodeError:  # a whole number of more than 64 bits, or half a surrogate pair
        return json.dumps(_without_nan(to_json_types(predictions))).encode()


def to_plain(answers: Any) -> Any:
    """Return a model's answers as lists and dictionaries; a DataFrame or Series becomes a list of records."""
    if isinstance(answers, np.ndarray):
        return answers.tolist()
    if hasattr(answers, "to_dict"):
        frame = answers if hasattr(answers, "columns") else answers.to_frame()
        return frame.to_dict(orient="records")
    return answers


def to_json_types(answers: Any) -> Any:
    """Return answers as the types of JSON."""
    plain = to_plain(answers)
    if isinstance(plain, Mapping):
        return {_to_key(key): to_json_types(value) for key, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [to_json_types(value) for value in plain]
    if plain is None or isinstance(plain, (str, bool, int, float)):
        return plain.item() if isinstance(plain, np.generic) else plain
    return to_json_types(_to_json(plain))


def _to_json(value: Any) -> Any:
    """Return a value that JSON has no type for as MLflow's encoder does. Raises TypeError if it has none either."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (bytes, bytearray)):
        return base64.encodebytes(value).decode("ascii")
    if hasattr(value, "isoformat"):  # a date or time, of pandas too
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if hasattr(value, "to_dict"):
        return to_plain(value)
    if type(value).__name__ == "NAType":
        return None
    raise TypeError(f"the model answered with a {type(value).__name__}, which JSON cannot hold")


def _to_key(key: Any) -> str:
    if isinstance(key, bool) or key is None:
        return json.dumps(key)
    return str(key)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return [_without_nan(item) for item in value] if isinstance(value, list) else value
