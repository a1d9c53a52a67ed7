"""What becomes of single values in every form of a request: kept with every digit, a gap, or refused with their place."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.signature import read_signature
from mlctl.serving.prediction import PredictionCall, parse_request

pytestmark = pytest.mark.unit

KINDS = ("boolean", "integer", "long", "float", "double", "string")
ROW: dict[str, Any] = {"boolean": True, "integer": 1, "long": 1, "float": 1.5, "double": 1.5, "string": "a"}
CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
nan = float("nan")


def columns(*, required: bool = True) -> list[dict[str, Any]]:
    return [{"type": kind, "name": kind, "required": required} for kind in KINDS]


def tensor(dtype: str, *shape: int, **name: str) -> list[dict[str, Any]]:
    return [{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape or (-1, 2))}, **name}]


def parse(
    schema: list[dict[str, Any]],
    body: Any,
    content_type: str = "",
    *,
    strict: bool = False,
    by_mlctl: bool = False,
    is_keras: bool = False,
) -> PredictionCall:
    info = SimpleNamespace(by_mlctl=by_mlctl, is_keras=is_keras)
    signature = read_signature({"inputs": json.dumps(schema)})
    model: Any = SimpleNamespace(
        signature=signature, info=info, takes_gaps=not is_keras, full_scale=None, readings={}
    )
    sent = (
        body
        if isinstance(body, bytes)
        else body.encode()
        if isinstance(body, str)
        else json.dumps(body).encode()
    )
    call = parse_request(model, sent, content_type, strict=strict)
    assert call is not None
    return call


def value_of(call: PredictionCall, name: str) -> Any:
    """Return the only value of a column, None for a gap."""
    assert isinstance(call.inputs, dict)
    (value,) = call.inputs[name].tolist()
    return None if value != value else value


def check_refused(*words: str, **request: Any) -> None:
    with pytest.raises(RequestError) as error:
        parse(**request)
    assert error.value.status == 400
    assert len(error.value.to_json()) < 500
    text = f"{error.value.message} | {error.value.hint}"
    assert all(word in text for word in words), text


KEPT: list[tuple[str, Any]] = [
    ("integer", -(2**31)),
    ("integer", 2**31 - 1),
    ("integer", 3.0),
    ("long", 2**63 - 1),
    ("long", -(2**63)),
    ("long", 2**53 + 1),
    ("long", 10**18),
    ("float", 3.4028234663852886e38),
    ("double", 0.1234567890123456789),
    ("double", 1e308),
    ("boolean", False),
    ("boolean", 0),
    ("string", "1_000"),
    ("string", "é\u4e2d\U0001f600"),
]
OUTSIDE: list[tuple[str, Any, str]] = [
    ("integer", 2**31, "-2147483648..2147483647"),
    ("integer", -(2**31) - 1, "-2147483648..2147483647"),
    ("integer", 1e10, "-2147483648..2147483647"),
    ("long", 2**63, "-9223372036854775808..9223372036854775807"),
    ("long", -(2**63) - 1, "-9223372036854775808..9223372036854775807"),
    ("long", 2**64, "-9223372036854775808..9223372036854775807"),
    ("long", 1e19, "-9223372036854775808..9223372036854775807"),
    ("float", 1e39, "±3.4028235e+38"),
    ("float", -1e39, "±3.4028235e+38"),
]
OTHER: list[tuple[str, Any, str]] = [
    ("integer", 1.5, "not a whole number"),
    ("integer", True, "not a whole number"),
    ("long", "1", "not a whole number"),
    ("long", 9007199254740993.0, "too large to be exact"),  # the text has fewer digits than the float
    ("float", True, "not a number"),
    ("double", "1.5", "not a number"),
    ("double", [1.5], "not a number"),
    ("double", float("inf"), "Infinity"),
    ("double", 10**400, "too large"),
    ("boolean", 2, "not true or false"),
    ("boolean", "true", "not true or false"),
    ("string", 1, "not a text"),
    ("string", ["a"], "not a text"),
]


def forms(name: str, value: Any) -> list[Any]:
    """Return the JSON documents of a row with this value."""
    row = {**ROW, name: value}
    return [
        {"dataframe_records": [row]},
        {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}},
        {"inputs": [row]},
        {"instances": [row]},
        {"inputs": {name: [cell] for name, cell in row.items()}},
    ]


@pytest.mark.parametrize(("name", "value"), KEPT)
def test_a_value_keeps_every_digit_in_every_form(name: str, value: Any) -> None:
    for body in forms(name, value):
        assert value_of(parse(columns(), body), name) == (np.float32(value) if name == "float" else value)
    if not isinstance(value, str) or value.isascii():
        lines = f"{','.join(ROW)}\n{','.join(str({**ROW, name: value}[column]) for column in ROW)}\n"
        assert value_of(parse(columns(), lines, CSV), name) == (
            np.float32(value) if name == "float" else value
        )


@pytest.mark.parametrize(("name", "value", "limits"), OUTSIDE)
def test_a_number_outside_its_type_is_refused_with_its_place_and_the_limits(
    name: str, value: Any, limits: str
) -> None:
    words = ("row 0", f'column "{name}"', "outside", limits)
    for body in forms(name, value):
        check_refused(*words, schema=columns(), body=body)
    lines = f"{','.join(ROW)}\n{','.join(str({**ROW, name: value}[column]) for column in ROW)}\n"
    check_refused(*words, schema=columns(), body=lines, content_type=CSV)


@pytest.mark.parametrize(("name", "value", "reason"), OTHER)
def test_a_value_of_another_kind_is_refused_with_its_place(name: str, value: Any, reason: str) -> None:
    for body in forms(name, value):
        exact = '"long": 9007199254740993.0'
        text = json.dumps(body).replace('"long": 9007199254740992.0', exact)
        if value == 9007199254740993.0 and exact not in text:
            continue
        words = () if isinstance(value, int) and value > 1e308 else ("row 0", f'column "{name}"')
        check_refused(reason, *words, schema=columns(), body=text)


@pytest.mark.parametrize("gap", [None, nan])
@pytest.mark.parametrize("name", KINDS)
def test_a_gap_is_a_missing_value(name: str, gap: Any) -> None:
    for body in forms(name, gap):
        assert value_of(parse(columns(required=False), body), name) is None
        assert value_of(parse(columns(required=False), body, strict=True), name) is None
        assert value_of(parse(columns(), body, by_mlctl=True), name) is None
        check_refused("null in row 0", name, "no gaps", schema=columns(), body=body, strict=True)
        check_refused("null in row 0", name, "takes no missing", schema=columns(), body=body, is_keras=True)
        if name in ("boolean", "integer", "long"):  # another program's model gets values of exactly its types
            check_refused("null in row 0", name, "no gaps", schema=columns(), body=body)
        else:
            assert value_of(parse(columns(), body), name) is None


def test_gaps_among_whole_numbers_keep_the_digits_of_the_others() -> None:
    for large, storage in ((5, "f"), (2**53 + 1, "O")):
        body = {"dataframe_records": [{**ROW, "long": large}, {**ROW, "long": None}, {}]}
        call = parse(columns(required=False), body)
        assert isinstance(call.inputs, dict)
        assert call.inputs["long"].dtype.kind == storage
        assert call.inputs["long"].tolist()[0] == large
        assert all(cell is None or cell != cell for cell in call.inputs["long"].tolist()[1:])


def test_an_optional_column_may_be_absent() -> None:
    call = parse(columns(required=False), {"dataframe_records": [{"double": 1.0}]})
    assert list(call.inputs) == ["double"]
    filled = parse(columns(required=False), {"dataframe_records": [{"double": 1.0}]}, by_mlctl=True)
    assert list(filled.inputs) == list(KINDS)
    assert all(value_of(filled, name) is None for name in KINDS if name != "double")


def test_columns_in_any_order_and_more_of_them_are_taken_unless_strict() -> None:
    names = ["extra", *reversed(KINDS)]
    body = {"dataframe_split": {"columns": names, "data": [[9, *reversed(ROW.values())]]}, "request": 7}
    call = parse(columns(), body)
    assert {name: value_of(call, name) for name in call.inputs} == ROW
    assert list(call.inputs) == list(KINDS)
    check_refused("unknown key", "request", schema=columns(), body=body, strict=True)
    del body["request"]
    check_refused("unknown columns: extra", schema=columns(), body=body, strict=True)
    params = {"inputs": [ROW], "params": {"t": 1}}
    assert parse(columns(), params).rows == 1
    check_refused("takes no params", schema=columns(), body=params, strict=True)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_a_tensor_of_whole_numbers_keeps_them_or_refuses_them(dtype: str) -> None:
    limits = np.iinfo(dtype)
    for key in ("inputs", "instances"):
        array = parse(tensor(dtype), {key: [[int(limits.min), int(limits.max)], [1.0, 0]]}).inputs
        assert isinstance(array, np.ndarray)
        assert (array.dtype, array.tolist()) == (np.dtype(dtype), [[limits.min, limits.max], [1, 0]])
        for number in (int(limits.min) - 1, int(limits.max) + 1, 10**30, 1e30):
            words = ("[1][0]", f"{limits.min}..{limits.max}")
            check_refused(*words, schema=tensor(dtype), body={key: [[0, 0], [number, 0]]})
    for text in ("1.5", "true", '"1"', "null", "NaN", "Infinity"):
        check_refused("[0][1]", schema=tensor(dtype), body=f'{{"inputs": [[1, {text}]]}}')


@pytest.mark.parametrize(("dtype", "largest"), [("float16", 65504), ("float32", 3.4e38), ("float64", 1e308)])
def test_a_tensor_of_floats_never_holds_infinity(dtype: str, largest: float) -> None:
    array = parse(tensor(dtype), f'{{"inputs": [[{largest}, NaN], [null, 1]]}}').inputs
    assert isinstance(array, np.ndarray)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.array([[largest, nan], [nan, 1]], dtype))
    too_large = ["Infinity", "-Infinity", "1" + "0" * 400] + (["1e39"] if dtype != "float64" else [])
    for text in too_large:
        check_refused("too large", schema=tensor(dtype), body=f'{{"inputs": [[1, {text}]]}}')
    for text in ("NaN", "null"):
        check_refused("[0][1]", schema=tensor(dtype), body=f'{{"inputs": [[1, {text}]]}}', is_keras=True)
        check_refused("[0][1]", schema=tensor(dtype), body=f'{{"inputs": [[1, {text}]]}}', strict=True)


def test_a_table_is_a_tensor_row_by_row() -> None:
    for body, content_type in (
        ({"dataframe_split": {"columns": [0, 1], "data": [[1.5, 2.5]]}}, ""),
        ({"dataframe_split": {"data": [[1.5, 2.5]]}}, ""),
        ({"dataframe_records": [{"b": 1.5, "a": 2.5}]}, ""),
        ({"dataframe_split": {"columns": ["row"], "data": [[[1.5, 2.5]]]}}, ""),
        ("b,a\n1.5,2.5\n", CSV),
        (parquet(b=[1.5], a=[2.5]), PARQUET),
    ):
        array = parse(tensor("float64"), body, content_type).inputs
        assert isinstance(array, np.ndarray)
        assert array.tolist() == [[1.5, 2.5]]
    picture = {"dataframe_split": {"columns": ["picture"], "data": [[[1, 2, 3, 4]]]}}
    assert parse(tensor("uint8", -1, 2, 2), picture).inputs.tolist() == [[[1, 2], [3, 4]]]  # type: ignore[union-attr]
    assert parse(tensor("bool"), {"inputs": [[True, False]]}).inputs.tolist() == [[True, False]]  # type: ignore[union-attr]
    check_refused("shape", schema=tensor("float64"), body={"dataframe_split": {"data": [[1.5]]}})


def test_names_may_be_numbers() -> None:
    schema = [{"type": "double", "name": number, "required": True} for number in (0, 1)]
    for body in (
        {"dataframe_split": {"columns": [1, 0], "data": [[2.5, 1.5]]}},
        {"dataframe_split": {"data": [[1.5, 2.5]]}},
        {"inputs": [[1.5, 2.5]]},
        {"dataframe_records": [{"0": 1.5, "1": 2.5}]},
    ):
        call = parse(schema, body)
        assert (value_of(call, "0"), value_of(call, "1")) == (1.5, 2.5)


def parquet(**values: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table(values), file)
    return file.getvalue()


def test_parquet_columns_of_other_types_are_taken_if_their_values_fit() -> None:
    import pyarrow as pa

    plain = {name: [value] for name, value in ROW.items()}
    for name, cells, expected in (
        ("long", pa.array([5.0]), 5),
        ("long", pa.array([2**63 - 1], pa.uint64()), 2**63 - 1),
        ("integer", pa.array([5], pa.int64()), 5),
        ("double", pa.array([5], pa.int8()), 5.0),
        ("float", pa.array([5.0]), 5.0),
        ("string", pa.array(["b"]).dictionary_encode(), "b"),
        ("double", pa.array([None], pa.float64()), None),
        ("string", pa.array([None], pa.string()), None),
    ):
        call = parse(columns(), parquet(**(plain | {name: cells})), PARQUET)
        assert value_of(call, name) == expected
    for name, cells, word in (
        ("long", pa.array([2**63], pa.uint64()), "is outside"),
        ("long", pa.array([5.5]), "not a whole number"),
        ("long", pa.array([9.3e18]), "is outside"),
        ("long", pa.array([1e18]), "too large to be exact"),
        ("float", pa.array([1e39]), "too large"),
        ("double", pa.array([float("inf")]), "too large"),
        ("double", pa.array([True]), "not a number"),
        ("integer", pa.array([None], pa.int32()), "null in row 0"),
    ):
        body = parquet(**(plain | {name: cells}))
        check_refused(word, name, schema=columns(), body=body, content_type=PARQUET)


def test_simple_columns_beside_others_are_checked_before_mlflow_reads_them() -> None:
    schema = [{"type": "datetime", "name": "when", "required": True}]
    schema += [{"type": kind, "name": kind, "required": True} for kind in ("integer", "float", "string")]
    row = {"when": "2021-12-31", "integer": 1, "float": 1.5, "string": "a"}
    for name, value, word in (
        ("integer", 2**31, "is outside"),
        ("float", 1e39, "too large"),
        ("string", 5, "text"),
    ):
        for body in forms(name, value):
            for key, rows in body.items():
                document = json.dumps({key: rows}).replace('"boolean"', '"when"')
                check_refused(word, "row 0", name, schema=schema, body=document)
        lines = f"{','.join(row)}\n{','.join(map(str, (row | {name: value}).values()))}\n"
        if name != "string":
            check_refused(word, "row 0", name, schema=schema, body=lines, content_type=CSV)
    model: Any = SimpleNamespace(
        signature=read_signature({"inputs": json.dumps(schema)}),
        info=SimpleNamespace(by_mlctl=False),
        takes_gaps=True,
        readings={},
    )
    for good in ({"inputs": [row]}, {"instances": {"when": 1}}, {"dataframe_split": 5}, {"inputs": [[5]]}):
        assert parse_request(model, json.dumps(good).encode(), "") is None  # MLflow's own code answers


def test_params_reach_the_model_with_checked_columns() -> None:
    signature = read_signature({"inputs": json.dumps(columns()), "params": '[{"name": "t"}]'})
    model: Any = SimpleNamespace(
        signature=signature,
        info=SimpleNamespace(by_mlctl=False),
        takes_gaps=True,
        readings={},
        predict_with_params=lambda inputs, params: (inputs["integer"].tolist(), params),
        predict_table=lambda inputs: "without params",
    )
    for params, answer in (({"t": 2}, ([1], {"t": 2})), ({}, "without params"), (None, "without params")):
        call = parse_request(model, json.dumps({"inputs": [ROW], "params": params}).encode(), "")
        assert call is not None
        assert call.predict() == answer
    with pytest.raises(RequestError, match="is outside"):
        parse_request(
            model, json.dumps({"inputs": [{**ROW, "integer": 2**31}], "params": {"t": 2}}).encode(), ""
        )


def test_a_body_may_have_a_byte_order_mark_or_be_utf_16() -> None:
    text = json.dumps({"inputs": [ROW]})
    for body in (b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16")):
        assert value_of(parse(columns(), body), "double") == 1.5
    lines = f"{','.join(ROW)}\n{','.join(map(str, ROW.values()))}\n"
    assert value_of(parse(columns(), b"\xef\xbb\xbf" + lines.encode(), CSV), "boolean") is True
