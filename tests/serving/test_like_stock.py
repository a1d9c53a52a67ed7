"""Requests are read as MLflow reads them, or refused for a reason that docs/serve.md lists.

Hypothesis draws a signature and a request. MLflow's own parsing and schema enforcement run in the same process.
Whatever mlctl accepts is also compared with the values that were sent, to the last digit.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from mlctl.serving.payloads.answers import encode
from mlctl.serving.payloads.frames import has_integer_gaps, to_mlflow_frame
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.signature import ModelSignature, read_signature
from mlctl.serving.prediction import PredictionCall, parse_request

DRAWS = int(os.environ.get("MLCTL_TEST_DRAWS", "0")) or (20_000 if os.environ.get("MLCTL_TEST_LONG") else 300)
KINDS = ("double", "float", "long", "integer", "boolean", "string")
DTYPES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
)
# what mlctl refuses and MLflow takes; each is a row of the table in docs/serve.md
REFUSALS = (
    r"is not a (number|whole number|text)|is not true or false",
    r"is outside -?\d+\.\.\d+",
    r"is too large",
    r"no rows|is empty",
    r"NaN at .* is not a number",
    r"names the column .* twice|repeated columns",
    r"lists and values are mixed|has \d+ entries, but the first has|not rectangular",
    r"row \d+ has \d+ values",
    r"other names than row 0",
)
WHOLE = st.one_of(
    st.integers(-300, 300),
    st.sampled_from([2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63)]),
    st.sampled_from([-(2**63) - 1, 2**64 - 1, 2**64, 10**30, 65504, 65536, 255, 256, 127, 128, -128, -129]),
)
FLOATS = st.one_of(
    st.floats(-1e6, 1e6, width=32),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.5, 1.0, -1.0, 1e39, -1e39, 3.5e38, 7e4, 1e18, 9007199254740993.0, 1e300, 5e-324]),
)
GAPS = st.sampled_from([None, math.nan])
ODD = st.one_of(
    GAPS,
    st.booleans(),
    WHOLE,
    FLOATS,
    st.text("ab 1-é", max_size=4),
    st.sampled_from(["1.5", "NaN", "1_000"]),
)
USUAL = {
    "double": st.one_of(FLOATS, WHOLE),
    "float": st.one_of(FLOATS, WHOLE),
    "long": WHOLE,
    "integer": WHOLE,
    "boolean": st.booleans(),
    "string": st.text(
        st.characters(exclude_characters="\0", codec="utf-8"), max_size=5
    ),  # NumPy drops a last \0
    "small integer": st.one_of(*[st.integers(0, 100)] * 4, WHOLE),  # which most types hold
    "small float": st.one_of(*[st.floats(-6e4, 6e4, width=16)] * 4, FLOATS),
}
ABSENT = object()
draws = settings(
    max_examples=DRAWS,
    deadline=None,
    derandomize=DRAWS == 300,
    database=None,
    phases=(
        Phase.generate,
    ),  # the requests are short, and the tests slow under the tracing that shortens them
    suppress_health_check=list(HealthCheck),
)


def cells(kind: str, *, gaps: bool) -> st.SearchStrategy[Any]:
    usual = st.one_of(USUAL[kind], USUAL[kind], USUAL[kind], GAPS) if gaps else USUAL[kind]
    return st.integers(0, 19).flatmap(lambda number: ODD if number == 0 else usual)


fewer_draws = settings(parent=draws, max_examples=DRAWS // 3)


def kind_of(dtype: str) -> str:
    """Return the usual values of a tensor."""
    named = {"bool": "boolean", "str": "string"}
    return named.get(dtype) or ("small float" if "float" in dtype else "small integer")


@st.composite
def table_requests(draw: st.DrawFn) -> tuple[list[dict[str, Any]], str, list[dict[str, Any]], dict[str, Any]]:
    """Return the schema, the form, the rows and the document of a request for a table."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    schema = [
        {"type": kind, "name": f"c{number}", "required": draw(st.booleans())}
        for number, kind in enumerate(kinds)
    ]
    sent = [column for column in schema if column["required"] or draw(st.booleans())]
    if not sent or draw(st.integers(0, 29)) == 0:  # now and then, a required column is forgotten
        sent = draw(st.permutations(schema))[:1]
    extra = [{"name": "extra", "type": "string"}] if draw(st.integers(0, 4)) == 0 else []
    columns = draw(st.permutations([*sent, *extra]))
    gaps = draw(st.booleans())
    rows = [
        {column["name"]: draw(cells(column["type"], gaps=gaps)) for column in columns}
        for _ in range(draw(st.integers(1, 3)))
    ]
    form = draw(
        st.sampled_from(["dataframe_split", "dataframe_records", "inputs", "instances", "inputs by name"])
    )
    if form == "dataframe_split":
        names = [column["name"] for column in columns]
        document: Any = {form: {"columns": names, "data": [list(row.values()) for row in rows]}}
    elif form == "inputs by name":
        document = {"inputs": {name: [row[name] for row in rows] for name in rows[0]}}
    else:
        document = {form: rows}
    return schema, form, rows, document


@st.composite
def tensor_requests(draw: st.DrawFn) -> tuple[list[dict[str, Any]], str, Any]:
    """Return the schema, the key and the nested lists of a request for an unnamed tensor."""
    dtype = draw(st.sampled_from([*DTYPES, *DTYPES, "bool", "str"]))
    width, depth = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = [-1, width, 2][:depth]
    schema = [{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}]
    kind = kind_of(dtype)
    cell = cells(kind, gaps=draw(st.booleans()) and "float" in dtype)
    count = draw(st.integers(1, 3))

    def nested(sizes: list[int]) -> Any:
        return [nested(sizes[1:]) for _ in range(sizes[0])] if sizes else draw(cell)

    value = nested([count, *shape[1:]])
    key = draw(st.sampled_from(["inputs", "instances", "dataframe_split"]))
    if key == "dataframe_split" and depth != 2:
        key = "inputs"
    if draw(st.integers(0, 19)) == 0:
        value = value[0] if depth > 1 else [value]  # another shape
    return schema, key, {"data": value} if key == "dataframe_split" else value


@st.composite
def named_requests(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, list[Any]], Any]:
    """Return the schema, the values by name and the document of a request for named tensors."""
    schema, values = [], {}
    count = draw(st.integers(1, 3))
    for number in range(draw(st.integers(1, 3))):
        dtype = draw(st.sampled_from([*DTYPES, "bool", "str"]))
        kind = kind_of(dtype)
        sizes = draw(st.sampled_from([[], [1], [2]]))
        cell = cells(kind, gaps="float" in dtype)
        name = f"t{number}"
        schema.append(
            {"type": "tensor", "name": name, "tensor-spec": {"dtype": dtype, "shape": [-1, *sizes]}}
        )
        values[name] = [[draw(cell) for _ in range(sizes[0])] if sizes else draw(cell) for _ in range(count)]
    extra = {"extra": ["x"] * count} if draw(st.integers(0, 4)) == 0 else {}
    named = {name: (values | extra)[name] for name in draw(st.permutations([*values, *extra]))}
    form = draw(st.sampled_from(["inputs", "instances", "dataframe_split", "dataframe_records"]))
    rows = [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
    if form == "inputs":
        return schema, values, {form: named}
    if form == "dataframe_split":
        return schema, values, {form: {"columns": list(named), "data": [list(row.values()) for row in rows]}}
    return schema, values, {form: rows}


def read_by_mlctl(schema: list[dict[str, Any]], body: bytes, content_type: str = "") -> PredictionCall:
    signature = read_signature({"inputs": json.dumps(schema)})
    info = SimpleNamespace(by_mlctl=False, is_keras=False)
    model: Any = SimpleNamespace(
        signature=signature, info=info, takes_gaps=True, full_scale=None, readings={}
    )
    call = parse_request(model, body, content_type)
    assert call is not None
    return call


def read_by_mlflow(schema: list[dict[str, Any]], body: bytes, content_type: str = "") -> Any:
    """Return what the model gets. Raises an exception of any kind if MLflow refuses the request."""
    from mlflow.models.utils import _enforce_schema
    from mlflow.pyfunc import scoring_server
    from mlflow.types import Schema

    stock = Schema.from_json(json.dumps(schema))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if content_type == "text/csv":
            return _enforce_schema(scoring_server.parse_csv_input(io.StringIO(body.decode()), stock), stock)
        data, _ = scoring_server._split_data_and_params(body)
        return _enforce_schema(scoring_server.infer_and_parse_data(data, stock), stock)


def check_refusal(error: RequestError) -> None:
    """Fail if a refusal is none of the documented ones."""
    assert error.status == 400
    assert any(re.search(pattern, error.message) for pattern in REFUSALS), error.message
    event("refused by mlctl alone: " + re.sub(r'".*?"|[-\d.e+]+', "…", error.message)[:60])


def is_gap(cell: Any) -> bool:
    return cell is None or cell is ABSENT or (isinstance(cell, float) and math.isnan(cell))


def check_sent(found: Any, sent: Any, dtype: str) -> None:
    """Fail if a model's value is not the one that was sent, in the model's type."""
    if is_gap(sent):
        assert is_gap(found), (found, sent)
    elif dtype in ("string", "str", "boolean", "bool"):
        assert not is_gap(found), (found, sent)
        assert found == sent, (found, sent)
    elif "int" in dtype or dtype == "long":
        assert int(found) == sent, (found, sent)
    else:
        narrow = np.dtype({"double": "float64", "float": "float32"}.get(dtype, dtype)).type
        assert math.isfinite(found)
        near = (
            narrow(sent),
            np.nextafter(narrow(sent), narrow(np.inf)),
            np.nextafter(narrow(sent), narrow(-np.inf)),
        )
        assert found in (near if isinstance(sent, int) else near[:1]), (found, sent)


def check_like_stock(own: Any, stock: Any, *, may_round: bool = False) -> None:
    """Fail if the values differ; a gap is a gap, and whole numbers may be rounded once or twice to float32.

    If MLflow `may_round` whole numbers to float64, mlctl's are right if they are those that were sent.
    """
    own, stock = np.asarray(own, object).ravel(), np.asarray(stock, object).ravel()
    assert len(own) == len(stock)
    for mine, other in zip(own, stock, strict=True):
        if is_gap(mine) or is_gap(other):
            assert is_gap(mine) == is_gap(other), (mine, other)
        elif may_round and isinstance(mine, int) and abs(mine) > 2**53:
            continue
        elif isinstance(mine, float):
            assert mine == other or math.isclose(mine, other, rel_tol=2e-7), (mine, other)
        else:
            assert mine == other, (mine, other)


@draws
@given(table_requests())
def test_a_table_is_read_as_by_mlflow(request: Any) -> None:
    schema, form, rows, document = request
    body = json.dumps(document).encode()
    try:
        stock = read_by_mlflow(schema, body)
    except Exception:
        stock = None
    try:
        columns = read_by_mlctl(schema, body).inputs
    except RequestError as error:
        if stock is not None:
            check_refusal(error)
        return
    assert isinstance(columns, dict)
    signature = read_signature({"inputs": json.dumps(schema)})
    for column in schema:
        name = column["name"]
        if name not in columns:
            assert not column["required"]
            continue
        for found, row in zip(columns[name].tolist(), rows, strict=True):
            check_sent(found, row.get(name, ABSENT), column["type"])
    check_taken_by_mlflow(signature, columns, schema)
    if stock is None:
        event("refused by MLflow alone")
        return
    event("read by both")
    frame = to_mlflow_frame(columns, signature)
    assert list(frame) == list(stock)
    for column in schema:
        name = column["name"]
        if name in stock and not differs_by_design(column["type"], [row[name] for row in rows], form):
            check_like_stock(frame[name].tolist(), stock[name].tolist())
            if not frame[name].isna().any():
                assert frame[name].dtype == stock[name].dtype


@fewer_draws
@given(table_requests())
def test_a_csv_is_read_as_by_mlflow(request: Any) -> None:
    schema, _, rows, _ = request
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0], quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: re.sub(r"[\0\r]", "", str(cell)) for name, cell in row.items()})
    body = file.getvalue().encode()
    try:
        stock = read_by_mlflow(schema, body, "text/csv")
    except Exception:
        stock = None
    try:
        columns = read_by_mlctl(schema, body, "text/csv").inputs
    except RequestError as error:
        if stock is not None:
            check_refusal(error)
        return
    assert isinstance(columns, dict)
    check_taken_by_mlflow(read_signature({"inputs": json.dumps(schema)}), columns, schema)
    if stock is None:
        event("refused by MLflow alone")
        return
    event("read by both")
    for name in columns:
        check_like_stock(columns[name].tolist(), stock[name].tolist())


def differs_by_design(kind: str, sent: list[Any], form: str) -> bool:
    """Whether MLflow makes a value of a gap: False of null, True of NaN, and the text None of null."""
    has_gap = any(is_gap(cell) for cell in sent)
    return has_gap and (kind == "boolean" or (kind == "string" and not form.startswith("dataframe")))


def check_taken_by_mlflow(signature: ModelSignature, columns: Any, schema: Any) -> None:
    """Fail if MLflow's own check, which the model's predict function runs, refuses checked columns."""
    from mlflow.models.utils import _enforce_schema
    from mlflow.types import Schema

    if not has_integer_gaps(columns, signature):  # mlctl leaves the check out for these
        _enforce_schema(to_mlflow_frame(columns, signature), Schema.from_json(json.dumps(schema)))


@draws
@given(tensor_requests())
def test_a_tensor_is_read_as_by_mlflow(request: Any) -> None:
    schema, key, value = request
    body = json.dumps({key: value}).encode()
    try:
        stock = read_by_mlflow(schema, body)
    except Exception:
        stock = None
    try:
        array = read_by_mlctl(schema, body).inputs
    except RequestError as error:
        if stock is not None:
            check_refusal(error)
        return
    assert isinstance(array, np.ndarray)
    dtype = schema[0]["tensor-spec"]["dtype"]
    sent = np.array(value["data"] if isinstance(value, dict) else value, dtype=object)
    for found, cell in zip(array.ravel().tolist(), sent.ravel().tolist(), strict=True):
        check_sent(found, cell, dtype)
    if stock is None:
        event("refused by MLflow alone")
        return
    event("read by both")
    assert array.shape == stock.shape
    assert dtype == "str" or array.dtype == stock.dtype
    check_like_stock(array.tolist(), stock.tolist())


@fewer_draws
@given(named_requests())
def test_named_tensors_are_read_as_by_mlflow(request: Any) -> None:
    schema, values, document = request
    body = json.dumps(document).encode()
    try:
        stock = read_by_mlflow(schema, body)
    except Exception:
        stock = None
    try:
        tensors = read_by_mlctl(schema, body).inputs
    except RequestError as error:
        if stock is not None:
            check_refusal(error)
        return
    assert isinstance(tensors, dict)
    for entry in schema:
        name, dtype = entry["name"], entry["tensor-spec"]["dtype"]
        sent = np.array(values[name], dtype=object)
        for found, cell in zip(tensors[name].ravel().tolist(), sent.ravel().tolist(), strict=True):
            check_sent(found, cell, dtype)
        if stock is not None:
            assert tensors[name].shape == stock[name].shape
            assert dtype == "str" or tensors[name].dtype == stock[name].dtype
            # NumPy stacks lists of signed and unsigned numbers as floats
            check_like_stock(tensors[name].tolist(), stock[name].tolist(), may_round=dtype == "uint64")
    event("refused by MLflow alone" if stock is None else "read by both")


def test_answers_are_encoded_as_by_mlflow() -> None:
    from mlflow.pyfunc import scoring_server

    when = pd.Timestamp("2021-01-01 12:00:00.123456789")
    answers: list[Any] = [
        np.array([[0.1, 1 / 3]], np.float32),
        np.array([2**63 - 1, -(2**63)]),
        {"a": np.array([1.5]), "b": [np.int64(3)], 0: np.float32(0.1)},
        pd.DataFrame({"x": [0.123456789012345], "when": [when], "n": [2**53 + 1], 0: ["a"]}),
        pd.Series([1.5, 2.5], name="y"),
        np.array(["a", None, b"\x00\x01"], dtype=object),
        [np.array([1.5]), (1, np.bool_(True)), when.date(), when.time()],
        np.array(["2021-01-01T12:00:00"], "datetime64[us]"),
        "text \ud800",
        2**70,
        pd.DataFrame({"when": [when.tz_localize("Europe/Rome"), pd.NaT]}),
    ]
    for answer in answers:
        written = io.StringIO()
        scoring_server.predictions_to_json(answer, written)
        assert json.loads(encode(answer)) == json.loads(written.getvalue()), answer
    # NaN is not JSON
    assert json.loads(encode(np.array([math.nan, np.inf, 1]))) == {"predictions": [None, None, 1]}
    assert json.loads(encode([2**70, math.nan, pd.NA])) == {"predictions": [2**70, None, None]}
