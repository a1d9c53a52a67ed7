"""Read the JSON of a request, or say where it breaks."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

import orjson

from mlctl.domain.numbers import exact_number
from mlctl.serving.payloads.request_error import RequestError, bad_request, quote


def read_json(body: bytes) -> Any:
    """Return the document in a body. Raises RequestError.

    What json of the standard library accepts besides JSON is accepted too, because clients in Python send it: NaN,
    a byte order mark, UTF-16. Whole numbers below -2^63 or from 2^64 on lose digits; see `read_exactly`.
    """
    if body.startswith(codecs.BOM_UTF8):
        body = body[len(codecs.BOM_UTF8) :]
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        if b"NaN" not in body and b"Infinity" not in body and json.detect_encoding(body) == "utf-8":
            raise _json_error(body, exc) from None
        try:
            return read_exactly(body)
        except (ValueError, RecursionError):
            raise _json_error(body, exc) from None


def read_exactly(body: bytes) -> Any:
    """Return the document in a body with whole numbers of any size, also those that are written as 1e18.

    This takes several times longer than `read_json`. Raises ValueError and RecursionError.
    """
    return json.loads(body, parse_float=_parse_float)


def _parse_float(text: str) -> int | float:
    number = exact_number(text)
    return float(text) if number is None else number  # infinity is refused with its position


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
