"""The table of differences from MLflow's server in docs/serve.md is true, row by row."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlctl.serving.payloads.answers import encode
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.prediction import parse_request

from .test_like_stock import read_by_mlflow
from .test_requests import CSV, PARQUET, columns, parquet, parse, tensor

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"
HEADING = "### What differs from `mlflow models serve`"
# a row's request: schema, body, content type, and the column or tensor that the row shows
COLUMN = {
    kind: [{"type": kind, "name": "c", "required": True}] for kind in ("integer", "long", "float", "double")
}
COLUMN |= {kind: [{"type": kind, "name": "c", "required": True}] for kind in ("boolean", "string")}
OPTIONAL = {kind: [{"type": kind, "name": "c", "required": False}] for kind in COLUMN}
NAMED = tensor("float64", -1, name="a") + tensor("float64", -1, name="b")


def records(value: str, key: str = "dataframe_records") -> str:
    return f'{{"{key}": [{{"c": {value}}}]}}'


ROWS: dict[str, list[tuple[Any, ...]]] = {
    "`2147483648` in a column of the type `integer`": [(COLUMN["integer"], records("2147483648"))],
    "`1e39` in a column of the type `float`, or in a float32 tensor": [
        (COLUMN["float"], records("1e39")),
        (tensor("float32", -1), '{"inputs": [1e39]}'),
    ],
    "`1.5` for a whole number": [
        (COLUMN["integer"], records("1.5")),
        (tensor("int64", -1), '{"inputs": [1.5]}'),
    ],
    "`9007199254740993.0`, whose digits no float holds, for a whole number": [
        (COLUMN["long"], records("9007199254740993.0")),
        (tensor("int64", -1), '{"inputs": [9007199254740993.0]}'),
    ],
    "`Infinity`, or `inf` in a CSV": [
        (COLUMN["double"], records("Infinity")),
        (COLUMN["double"], "c\ninf\n", CSV),
        (tensor("float64", -1), '{"inputs": [Infinity]}'),
    ],
    'a text for a number, `"1.5"`': [
        (COLUMN["double"], records('"1.5"')),
        (tensor("float64", -1), '{"inputs": ["1.5"]}'),
    ],
    "`true` for a number": [
        (COLUMN["double"], records("true")),
        (tensor("float64", -1), '{"inputs": [true]}'),
    ],
    "a number for a text, `5`": [(COLUMN["string"], records("5"))],
    'a list for a text, `["good"]`': [(COLUMN["string"], '{"instances": [["good"]]}')],
    '`2` or `"no"` for true or false': [
        (COLUMN["boolean"], records("2")),
        (COLUMN["boolean"], records('"no"')),
        (tensor("bool", -1), '{"inputs": [2]}'),
    ],
    "`null` in a boolean column that is required": [(COLUMN["boolean"], records("null"))],
    "`null` in an optional boolean column": [(OPTIONAL["boolean"], records("null"))],
    "`null` in an optional column of whole numbers": [
        (OPTIONAL["long"], records("null")),
        (OPTIONAL["integer"], records("null")),
    ],
    "`null` in a text column, under `inputs` or `instances`": [
        (COLUMN["string"], records("null", "inputs")),
        (COLUMN["string"], records("null", "instances")),
    ],
    "`null` in a tensor of texts": [(tensor("str", -1), '{"inputs": [null]}')],
    "lists with `1` and `9223372036854775809` in a table, for a uint64 tensor": [
        (
            tensor("uint64", -1, 1, name="a"),
            '{"dataframe_split": {"columns": ["a"], "data": [[[1]], [[9223372036854775809]]]}}',
        )
    ],
    "NaN or `null` for a Keras model": [
        (tensor("float64", -1), '{"inputs": [NaN]}', "", {"is_keras": True}),
        (tensor("float64", -1), '{"inputs": [null]}', "", {"is_keras": True}),
        (COLUMN["double"], records("NaN"), "", {"is_keras": True}),
    ],
    "no rows": [
        (COLUMN["double"], '{"dataframe_split": {"columns": ["c"], "data": []}}'),
        (COLUMN["double"], '{"inputs": []}'),
        (COLUMN["double"], "c\n", CSV),
    ],
    "none of the model's columns, if all are optional": [
        (OPTIONAL["double"], '{"dataframe_records": [{"d": 1.5}]}'),
        (OPTIONAL["double"], "d\n1.5\n", CSV),
    ],
    "a CSV row with more cells than the header": [(COLUMN["double"], "c\n1,2\n", CSV)],
    "a CSV that names a column twice": [(COLUMN["double"], "c,c\n1,2\n", CSV)],
    "named tensors with different numbers of rows": [(NAMED, '{"inputs": {"a": [1], "b": [1, 2]}}')],
    "a CSV for a tensor whose rows are lists of numbers": [(tensor("float64"), "a,b\n1.5,2.5\n", CSV)],
    'texts as names of numbered columns, `{"0": 1.5}`': [
        ([{"type": "double", "name": 0, "required": True}], '{"dataframe_records": [{"0": 1.5}]}')
    ],
    "a Parquet column of another type of numbers, if its values fit": [
        (COLUMN["long"], parquet(c=np.array([5.0])), PARQUET)
    ],
}


def documented() -> dict[str, tuple[str, str]]:
    """Return the table's rows: the request, and what MLflow and mlctl do."""
    table = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {request.strip(): (stock.strip(), own.strip()) for request, stock, own in rows[2:]}


def check(result: Any, cell: str) -> None:
    """Fail if a cell does not have this status, or not this value after it."""
    assert cell[:3] == ("400" if isinstance(result, Exception) else "200"), result
    if shown := re.fullmatch(r"200: `(.*)`", cell):
        found = next(iter(result.values())) if isinstance(result, Mapping) else result
        values = found.tolist()
        assert shown[1] == repr(values if found.ndim > 1 else values[0])


def ask_mlflow(schema: Any, body: Any, content_type: str) -> Any:
    import pandas as pd

    sent = body.encode() if isinstance(body, str) else body
    try:
        found = read_by_mlflow(schema, sent, content_type)
    except Exception as exc:
        return exc
    return {name: found[name].to_numpy() for name in found} if isinstance(found, pd.DataFrame) else found


def ask_mlctl(schema: Any, body: Any, content_type: str, **options: Any) -> Any:
    try:
        return parse(schema, body, content_type, **options).inputs
    except RequestError as error:
        return error if error.status == 400 else None


@pytest.mark.parametrize("request_", ROWS)
def test_a_row_of_the_table_is_true(request_: str) -> None:
    stock, own = documented()[request_]
    for schema, body, *rest in ROWS[request_]:
        content_type, options = (*rest, *("", {})[len(rest) :])
        check(ask_mlflow(schema, body, content_type), stock)
        check(ask_mlctl(schema, body, content_type, **options), own)


def test_an_answer_that_is_nan_is_null() -> None:
    from mlflow.pyfunc import scoring_server

    assert documented()["an answer that is NaN"] == ("200: `NaN`, which is not JSON", "200: `null`")
    written = io.StringIO()
    scoring_server.predictions_to_json([float("nan")], written)
    assert written.getvalue() == '{"predictions": [NaN]}'
    assert encode([float("nan")]) == b'{"predictions":[null]}'


def test_a_model_that_fails_is_a_mistake_of_the_client_only_if_a_value_is_missing() -> None:
    assert documented()["a model that fails"] == ("400", "500, or 400 if a value is missing")
    model: Any = SimpleNamespace(
        signature=parse_signature(),
        info=SimpleNamespace(by_mlctl=False),
        takes_gaps=True,
        readings={},
        predict_table=fail,
    )
    call = parse_request(model, records("1.5").encode(), "")
    assert call is not None
    with pytest.raises(ZeroDivisionError):  # the application answers 500
        call.predict()
    call = parse_request(model, records("NaN").encode(), "")
    assert call is not None
    with pytest.raises(
        RequestError, match='the missing value in row 0, column "c": no gaps, please'
    ) as error:
        call.predict()
    assert error.value.status == 400


def fail(columns: Any) -> Any:
    raise ZeroDivisionError("no gaps, please\nand a second line")


def parse_signature() -> Any:
    from mlctl.serving.payloads.signature import read_signature

    return read_signature({"inputs": json.dumps(COLUMN["double"])})


def test_a_compressed_body_is_refused_by_mlflow() -> None:
    """test_bad_input.py sends one to an endpoint."""
    assert documented()["a body compressed with gzip"] == ("400", "200")
    assert isinstance(ask_mlflow(columns(), gzip.compress(b'{"inputs": []}'), ""), Exception)


def test_every_row_of_the_table_is_tested() -> None:
    tested = {*ROWS, "an answer that is NaN", "a model that fails", "a body compressed with gzip"}
    assert set(documented()) == tested
