"""Each mistake of a client gets a short answer that names the mistake, and the server stays healthy."""

from __future__ import annotations

import gzip
import io
import json
import socket
import time
from typing import Any

import pytest

from .conftest import Reply, RunningEndpoint

pytestmark = pytest.mark.live

IMAGE = [[7] * 8 for _ in range(8)]
FLAT = [7] * 64
ROW = {"rooms": 3.0, "age": 20.0, "place": "INLAND"}
JSON = "application/json"


def check_error(reply: Reply, status: int, *words: str) -> None:
    assert reply.status == status, reply.body
    assert len(reply.body) < 500
    assert set(reply.json) == {"error_code", "message", "hint"}
    text = f"{reply.json['message']} | {reply.json['hint']}"
    for word in words:
        assert word in text
    assert "Traceback" not in text
    assert "File " not in text


def with_value(value: str) -> bytes:
    """Return an image whose pixel [0][2][3] is this piece of JSON."""
    cells = [["7"] * 8 for _ in range(8)]
    cells[2][3] = value
    rows = ", ".join("[" + ", ".join(row) + "]" for row in cells)
    return f'{{"inputs": [[{rows}]]}}'.encode()


BODIES: list[tuple[str, Any, tuple[str, ...]]] = [
    ("malformed", b'{"inputs": [[1, 2', ("line 1", "near")),
    ("empty body", b"", ("empty",)),
    ("list", b"[1, 2]", ("a list", "inputs")),
    ("null", b"null", ("null", "inputs")),
    ("invalid UTF-8", b'{"inputs": "\xff\xfe"}', ("UTF-8",)),
    ("deep", b"[" * 100_000, ("nested",)),
    ("deep inside", b'{"inputs": ' + b"[" * 100_000, ("nested",)),
    ("no key", {"rows": [IMAGE]}, ("rows", "inputs")),
    ("no key at all", {}, ("inputs", "instances", "dataframe_split", "dataframe_records")),
    ("two keys", {"inputs": [IMAGE], "instances": [IMAGE]}, ("inputs and instances", "exactly one")),
    ("misspelt key", {"instance": [IMAGE]}, ("instance", "did you mean instances?")),
    ("flat", {"inputs": FLAT}, ("(64,)", "(n, 8, 8)", "reshape it to (1, 8, 8)")),
    ("flat row", {"inputs": [FLAT]}, ("(1, 64)", "reshape it to (1, 8, 8)")),
    ("with channel", {"inputs": [[[[7]] * 8] * 8]}, ("(1, 8, 8, 1)", "last dimension")),
    ("no batch", {"inputs": IMAGE}, ("(8, 8)", "one more list")),
    ("ragged", {"inputs": [[[7] * 8] * 7 + [[7] * 5]]}, ("[0][7]", "5 entries", "8")),
    ("ragged depth", {"inputs": [[[7] * 8] * 7 + [[[7] * 8] * 8]]}, ("[0][7]",)),
    ("empty tensor", {"inputs": []}, ("empty",)),
    ("a number", {"inputs": 5}, ("a number", "(n, 8, 8)")),
    ("text", with_value('"1"'), ('"1"', "[0][2][3]", "not a number")),
    ("true", with_value("true"), ("true", "[0][2][3]")),
    ("null inside", with_value("null"), ("null", "[0][2][3]")),
    ("NaN", with_value("NaN"), ("NaN",)),
    ("Infinity", with_value("-Infinity"), ("-Infinity",)),
    ("1e999", with_value("1e999"), ("line 1", "too large")),
    ("an object", with_value('{"a": 1}'), ("dictionary", "[0][2][3]")),
    ("fraction", with_value("7.5"), ("7.5", "[0][2][3]", "whole")),
    ("too large", with_value("256"), ("256", "[0][2][3]", "0..255")),
    ("negative", with_value("-1"), ("-1", "[0][2][3]", "0..255")),
    ("huge", with_value("1" + "0" * 400), ("line 1", "too large")),
    ("beyond 64 bits", with_value("1" + "0" * 30), ("[0][2][3]", "0..255")),
    ("scaled", {"inputs": [[[0.5] * 8] * 8]}, ("between 0 and 1", "0 to 255", "multiply")),
    ("frame", {"dataframe_records": [{"a": 1}]}, ("tensor", "(n, 8, 8)")),
]


@pytest.mark.parametrize(("body", "words"), [pytest.param(*case[1:], id=case[0]) for case in BODIES])
def test_a_bad_tensor_is_named(pictures: RunningEndpoint, body: Any, words: tuple[str, ...]) -> None:
    sent = body if isinstance(body, bytes) else json.dumps(body)
    check_error(pictures.request(body=sent, content_type=JSON), 400, *words)


TABLES: list[tuple[str, Any, tuple[str, ...]]] = [
    ("missing", {"dataframe_records": [{"rooms": 3.0, "age": 1.0}]}, ("missing columns: place",)),
    ("wrong", {"dataframe_records": [{"romos": 1, "age": 1.0, "place": "x"}]}, ("rooms", "romos")),
    ("split width", {"dataframe_split": {"columns": [*ROW], "data": [[1, 2]]}}, ("row 0", "2 values", "3")),
    ("split without data", {"dataframe_split": {"columns": [*ROW]}}, ("columns and data",)),
    ("text for number", {"dataframe_records": [{**ROW, "rooms": "3"}]}, ('"3"', "row 0", "rooms", "number")),
    ("true for number", {"dataframe_records": [{**ROW, "rooms": True}]}, ("True", "row 0", "rooms")),
    ("number for text", {"dataframe_records": [ROW, {**ROW, "place": 4}]}, ("4", "row 1", "place", "text")),
    ("1e999", b'{"dataframe_records": [{"rooms": 1e999, "age": 1, "place": "x"}]}', ()),
    ("no rows", {"dataframe_records": []}, ("no rows",)),
    ("lengths", {"inputs": {"rooms": [1.0], "age": [1.0, 2.0], "place": ["x"]}}, ("age", "2")),
    ("a tensor", {"inputs": [[1, 2, 3]]}, ("not a table", "rooms")),
]


@pytest.mark.parametrize(("body", "words"), [pytest.param(*case[1:], id=case[0]) for case in TABLES])
def test_a_bad_table_is_named(table: RunningEndpoint, body: Any, words: tuple[str, ...]) -> None:
    sent = body if isinstance(body, bytes) else json.dumps(body)
    check_error(table.request(body=sent, content_type=JSON), 400, *words)


def test_an_unknown_column_and_a_gap_are_accepted_as_by_mlflow(table: RunningEndpoint) -> None:
    plain = table.post({"dataframe_records": [ROW]}).json
    assert table.post({"dataframe_records": [{**ROW, "color": 1}], "signature_name": "x"}).json == plain
    gaps = [
        {"dataframe_records": [{**ROW, "rooms": None}]},
        {"dataframe_split": {"columns": list(ROW), "data": [[float("nan"), 20.0, "INLAND"]]}},
    ]
    answers = [table.post(document) for document in gaps]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    lacking = table.post({"dataframe_records": [ROW, {"age": 20.0, "place": "INLAND"}]})
    assert lacking.json["predictions"] == plain["predictions"] + answers[0].json["predictions"]


@pytest.mark.parametrize("kind", ["text/csv", "application/vnd.apache.parquet"])
def test_a_garbage_file_names_the_columns(table: RunningEndpoint, kind: str) -> None:
    check_error(table.request(body=b"\x00\x01garbage,\n1,2,3", content_type=kind), 400, "rooms, age, place")
    check_error(table.request(body=b"PAR1 and no more", content_type=kind), 400, "rooms, age, place")


@pytest.mark.parametrize("bomb", ["many rows", "one long text, often"])
def test_a_file_that_unpacks_to_far_more_is_refused(table: RunningEndpoint, bomb: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, place = (20_000_000, "x") if bomb == "many rows" else (20_000, "x" * 50_000)
    numbers = pa.nulls(rows, pa.float64())
    places = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), rows), pa.array([place]))
    file = io.BytesIO()
    pq.write_table(pa.table({"rooms": numbers, "age": numbers, "place": places}), file, compression="zstd")
    assert len(file.getvalue()) < 1_000_000
    check_error(
        table.request(body=file.getvalue(), content_type="application/vnd.apache.parquet"), 413, "10 MB"
    )
    assert table.request("/health").status == 200


def test_a_bad_csv_row_is_named(table: RunningEndpoint) -> None:
    head = b"rooms,age,place\n3,20,INLAND\n"
    check_error(table.request(body=head + b"3,20\n", content_type="text/csv"), 400, "row 2", "2 values")
    check_error(
        table.request(body=head + b"x,20,INLAND\n", content_type="text/csv"), 400, '"x"', "row 1", "rooms"
    )


def test_a_text_model_names_its_column(texts: RunningEndpoint) -> None:
    check_error(texts.post({"inputs": [5]}), 400, "5", "text")
    check_error(
        texts.post({"dataframe_records": [{"review": "good"}]}), 400, "missing columns: text", "review"
    )


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 200),
        (JSON, 200),
        ("Application/JSON", 200),
        ("application/json; charset=UTF-8", 200),
        ("application/json; charset=latin1", 415),
        ("application/json; version=2", 415),
        ("application/xml", 415),
        ("nonsense", 415),
        ("text/csv", 415),
    ],
)
def test_content_types(pictures: RunningEndpoint, content_type: str | None, status: int) -> None:
    named = {"content_type": content_type} if content_type else {}
    reply = pictures.request(body=json.dumps({"inputs": [IMAGE]}), **named)
    assert reply.status == status
    if status == 415:
        check_error(reply, 415)


def test_gzip_is_accepted_and_limited(pictures: RunningEndpoint) -> None:
    good = gzip.compress(json.dumps({"inputs": [IMAGE]}).encode())
    assert pictures.request(body=good, content_type=JSON, content_encoding="gzip").status == 200
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 1_000_000
    check_error(pictures.request(body=bomb, content_type=JSON, content_encoding="gzip"), 413, "1 MB")
    check_error(pictures.request(body=b"no gzip", content_type=JSON, content_encoding="gzip"), 400, "gzip")
    check_error(pictures.request(body=good[:-9], content_type=JSON, content_encoding="gzip"), 400, "cut off")
    check_error(pictures.request(body=good, content_type=JSON, content_encoding="br"), 415, "gzip")


def exchange(endpoint: RunningEndpoint, *pieces: bytes, wait_s: float = 0.0) -> bytes:
    """Send bytes as they are, and return everything that the server sends until it closes the connection."""
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(wait_s)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


HEAD = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_a_body_over_the_limit_is_refused_before_it_is_read(pictures: RunningEndpoint) -> None:
    declared = exchange(pictures, HEAD + b"Content-Length: 5000000000\r\n\r\n")
    assert declared.startswith(b"HTTP/1.1 413")
    chunk = b"%x\r\n%s\r\n" % (400_000, b" " * 400_000)
    chunked = exchange(pictures, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, chunk, chunk)
    assert chunked.startswith(b"HTTP/1.1 413")


def test_slow_and_idle_clients_get_408(pictures: RunningEndpoint) -> None:
    slow = exchange(pictures, HEAD + b'Content-Length: 500\r\n\r\n{"inputs"')
    assert slow.startswith(b"HTTP/1.1 408")
    assert exchange(pictures).startswith(b"HTTP/1.1 408")
    assert exchange(pictures, b"POST /invocations HT").startswith(b"HTTP/1.1 408")


def test_unknown_routes_and_methods(pictures: RunningEndpoint) -> None:
    check_error(pictures.request("/nowhere"), 404, "/nowhere")
    check_error(pictures.request("/../../etc/passwd"), 404)
    check_error(pictures.request("/page/__init__.py"), 404)
    reply = pictures.request("/invocations")
    check_error(reply, 405, "POST")
    assert reply.headers["allow"] == "POST"
    check_error(pictures.request("/ping", body=b"{}"), 405, "GET")


def test_a_megabyte_of_rubbish_is_refused(pictures: RunningEndpoint) -> None:
    rubbish = [
        b'{"inputs": [' + b"1," * 450_000,
        b'{"inputs": [' + b'"x",' * 225_000 + b"1]}",
        b'{"inputs": [' + b"[1]," * 225_000 + b"[1]]}",
        b'{"inputs": [' + b"[[1]," * 190_000 + b"[1]]}",
        json.dumps({"inputs": [IMAGE] * 4000}).replace(" ", "")[:-5].encode() + b'"x"]]]}',
    ]
    for body in rubbish:
        check_error(pictures.request(body=body, content_type=JSON), 400)


def test_the_endpoints_are_healthy_after_all_of_them(
    pictures: RunningEndpoint, table: RunningEndpoint, texts: RunningEndpoint
) -> None:
    assert pictures.post({"inputs": [IMAGE]}).status == 200
    assert table.post({"dataframe_records": [ROW]}).status == 200
    assert texts.post({"inputs": ["a good film"]}).status == 200
    for endpoint in (pictures, table, texts):
        assert endpoint.request("/health").status == 200
        assert "starting another" not in endpoint.log.read_text()
