"""Models of several named inputs and outputs, of texts, and of rows of any length: served as stock MLflow serves them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.serving.description import describe
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.answers import to_json_types
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.signature import ModelSignature, TensorSpec, read_signature
from mlctl.serving.payloads.tensors import tensor_from_json
from mlctl.serving.prediction import parse_request

JSON = "application/json"
FLAGS = [0.0, 1.5, -2.0]
TICKET = {"ids": [3, 1, 4], "flags": FLAGS}
PERSON = {"city": ["Bern"], "age": [31.0], "member": [True]}
Open = Callable[[str], ServedModel]


@pytest.fixture(scope="session")
def served(named: dict[str, Path]) -> Open:
    models: dict[str, ServedModel] = {}

    def open_model(name: str) -> ServedModel:
        if name not in models:
            models[name] = ServedModel(named[name])
        return models[name]

    return open_model


def ask(model: ServedModel, document: Any, content_type: str = JSON) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    call = parse_request(model, body, content_type)
    assert call is not None
    return to_json_types(call.predict())


def stock_answer(folder: Path, document: Any) -> Any:
    """Return what `mlflow models serve` answers, as its server parses, enforces and writes it."""
    import mlflow.pyfunc
    from mlflow.pyfunc import scoring_server

    loaded = mlflow.pyfunc.load_model(str(folder))
    parsed = scoring_server.infer_and_parse_data(document, loaded.metadata.get_input_schema())
    answer = loaded.predict(parsed)
    if isinstance(answer, dict):
        return {name: array.tolist() for name, array in answer.items()}
    return answer.tolist()


def check_equal(own: Any, stock: Any) -> None:
    if isinstance(stock, dict):
        assert list(own) == list(stock)
        for name in stock:
            np.testing.assert_allclose(own[name], stock[name], atol=1e-6)
    else:
        np.testing.assert_allclose(own, stock, atol=1e-6)


def rows_of(row: dict[str, Any], count: int = 2) -> dict[str, list[Any]]:
    return {name: [value] * count for name, value in row.items()}


BODIES: list[tuple[str, str, Any]] = [
    ("inputs", "tickets", {"inputs": rows_of(TICKET)}),
    ("instances", "tickets", {"instances": [TICKET, {"ids": [0, 9, 9], "flags": FLAGS}]}),
    ("instances by name", "tickets", {"instances": rows_of(TICKET)}),
    ("whole numbers for floats", "tickets", {"inputs": {"ids": [[1]], "flags": [[1, 0, 2]]}}),
    ("texts and booleans", "people", {"inputs": rows_of(PERSON)}),
    ("rows of texts", "people", {"instances": [PERSON]}),
    (
        "a table",
        "people",
        {"dataframe_split": {"columns": list(PERSON), "data": [["Rome", 3.0, False]]}},
    ),
    ("records", "people", {"dataframe_records": [{"city": "Oslo", "age": 4.0, "member": True}]}),
    (
        "a table of flat lists",
        "pairs",
        {"dataframe_records": [{"left": list(range(36)), "right": [1.0] * 36}]},
    ),
    ("a tensor", "topics", {"inputs": [[1.0, 2.0, 3.0, 4.0]]}),
]


@pytest.mark.parametrize(("name", "document"), [pytest.param(*case[1:], id=case[0]) for case in BODIES])
def test_the_answer_is_that_of_mlflow(named: dict[str, Path], served: Open, name: str, document: Any) -> None:
    check_equal(ask(served(name), document), stock_answer(named[name], document))


def test_a_table_of_scalars_is_read_from_csv_and_parquet(served: Open, tmp_path: Path) -> None:
    import pandas as pd

    people = served("people")
    frame = pd.DataFrame({"city": ["Bern", "Oslo"], "age": [3.0, 4.0], "member": [True, False]})
    frame.to_parquet(tmp_path / "people.parquet")
    expected = ask(people, {"inputs": {name: [[cell] for cell in frame[name].tolist()] for name in frame}})
    assert ask(people, frame.to_csv(index=False).encode(), "text/csv") == expected
    parquet = (tmp_path / "people.parquet").read_bytes()
    assert ask(people, parquet, "application/vnd.apache.parquet") == expected
    with pytest.raises(RequestError) as error:
        ask(served("tickets"), b"ids,flags\n1,2\n", "text/csv")
    assert error.value.status == 415


def test_each_row_of_any_length_is_answered_as_if_it_came_alone(served: Open) -> None:
    tickets = served("tickets")
    rows = [{"ids": list(range(length)), "flags": FLAGS} for length in (3, 1, 7, 3)]
    alone = [ask(tickets, {"instances": [row]}) for row in rows]
    together = ask(tickets, {"instances": rows})
    for name, answers in together.items():
        np.testing.assert_allclose(answers, [answer[name][0] for answer in alone], atol=1e-6)
    tags = ask(served("tags"), {"inputs": [[1, 2, 3], [4]]})
    assert [len(row) for row in tags] == [3, 1]
    np.testing.assert_allclose(tags[1], ask(served("tags"), {"inputs": [[4]]})[0], atol=1e-6)


MISTAKES: list[tuple[str, str, Any, tuple[str, ...]]] = [
    ("missing", "tickets", {"inputs": {"ids": [[1]]}}, ("missing inputs: flags", "flags (n, 3)")),
    ("typo", "tickets", {"inputs": {"idz": [[1]], "flags": [FLAGS]}}, ("idz", "did you mean ids?")),
    ("rows", "tickets", {"inputs": {"ids": [[1], [2]], "flags": [FLAGS]}}, ('"ids" has 2', '"flags" has 1')),
    ("no names", "tickets", {"inputs": [[1, 2]]}, ("no names", "ids (n, n)")),
    ("nothing", "tickets", {"inputs": {}}, ("missing inputs: ids, flags",)),
    ("no rows", "tickets", {"instances": []}, ("no rows",)),
    ("empty", "tickets", {"inputs": {"ids": [], "flags": []}}, ('"ids"', "empty")),
    ("empty row", "tickets", {"inputs": {"ids": [[], [1]], "flags": [FLAGS] * 2}}, ("row 0", "empty")),
    ("a number", "tickets", {"inputs": {"ids": 5, "flags": [FLAGS]}}, ('"ids"', "5 is not nested")),
    ("shape", "tickets", {"inputs": {"ids": [[1]], "flags": [[1, 2]]}}, ('"flags"', "(1, 2)", "(n, 3)")),
    ("fraction", "tickets", {"inputs": {"ids": [[1, 2.5]], "flags": [FLAGS]}}, ("2.5", "[0][1]", "whole")),
    ("range", "tickets", {"inputs": {"ids": [[2**31]], "flags": [FLAGS]}}, ("2147483648", "[0][0]")),
    ("null", "tickets", {"inputs": {"ids": [[None]], "flags": [FLAGS]}}, ("null", "[0][0]")),
    ("true", "tickets", {"inputs": {"ids": [[1]], "flags": [[True, 1, 2]]}}, ("true", "not a number")),
    ("a text", "tickets", {"inputs": {"ids": [[1], [2, "x"]], "flags": [FLAGS] * 2}}, ("row 1", '"x"')),
    ("depth", "tickets", {"inputs": {"ids": [[1], [[2]]], "flags": [FLAGS] * 2}}, ("mixed",)),
    ("a row lacks", "tickets", {"instances": [TICKET, {"ids": [1]}]}, ("row 1", "missing inputs: flags")),
    ("no dictionary", "tickets", {"instances": [TICKET, 5]}, ("row 1", "not a dictionary")),
    ("number for text", "people", {"inputs": {**rows_of(PERSON, 1), "city": [[5]]}}, ("5", "not a text")),
    ("text for number", "people", {"inputs": {**rows_of(PERSON, 1), "age": [["3"]]}}, ("not a number",)),
    ("2 for a truth", "people", {"inputs": {**rows_of(PERSON, 1), "member": [[2]]}}, ("not true or false",)),
    ("null for a text", "people", {"inputs": {**rows_of(PERSON, 1), "city": [[None]]}}, ("null", "text")),
    ("huge for float32", "topics", {"inputs": [[1e300, 0, 0, 0]]}, ("too large for float32",)),
]


@pytest.mark.parametrize(
    ("name", "document", "words"), [pytest.param(*case[1:], id=case[0]) for case in MISTAKES]
)
def test_a_mistake_is_named(served: Open, name: str, document: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(RequestError) as error:
        ask(served(name), document)
    assert error.value.status == 400
    assert len(error.value.to_json()) < 500
    text = f"{error.value.message} | {error.value.hint}"
    for word in words:
        assert word in text


def test_an_unknown_name_is_dropped_unless_the_endpoint_is_strict(served: Open) -> None:
    document = {"inputs": {**rows_of(TICKET), "x": [1]}}
    check_equal(ask(served("tickets"), document), ask(served("tickets"), {"inputs": rows_of(TICKET)}))
    with pytest.raises(RequestError, match="unknown inputs: x"):
        parse_request(served("tickets"), json.dumps(document).encode(), "application/json", strict=True)


@pytest.mark.unit
def test_whole_numbers_are_exact() -> None:
    for dtype, numbers in (
        ("int64", [2**63 - 1, -(2**63), 2**53 + 1]),
        ("uint64", [2**64 - 1, 0, 2**53 + 1]),
        ("uint8", [255, 0, 1]),
    ):
        array = tensor_from_json([numbers], TensorSpec(dtype, (-1, 3)))
        assert array.dtype == dtype
        assert array.tolist() == [numbers]
    # a float among them makes NumPy round all of them
    array = tensor_from_json([[2**53 + 1, 1.0]], TensorSpec("int64", (-1, 2)))
    assert array.tolist() == [[2**53 + 1, 1]]
    for dtype, number in (("int64", 2**63), ("int64", 9.3e18), ("uint64", -1), ("int8", 128)):
        with pytest.raises(RequestError, match="is outside"):
            tensor_from_json([[number, 0]], TensorSpec(dtype, (-1, 2)))


@pytest.mark.unit
def test_a_signature_is_read() -> None:
    def entry(*inputs: Any) -> ModelSignature:
        return read_signature({"inputs": json.dumps(list(inputs)), "outputs": None, "params": None})

    def tensor(dtype: str, shape: list[int], **name: str) -> dict[str, Any]:
        return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}, **name}

    assert entry(tensor("str", [-1])).tensor == TensorSpec("str", (-1,))
    two = entry(tensor("str", [-1], name="a"), tensor("int64", [-1, 1], name="b"))
    assert [spec.name for spec in two.tensors] == ["a", "b"]
    assert two.tensor is None
    assert two.as_table is not None
    assert [column.kind for column in two.as_table.columns] == ["string", "long"]
    for unreadable in (tensor("object", [-1]), tensor("datetime64", [-1, 2])):
        assert not entry(unreadable).is_known
    assert not entry(tensor("int64", [-1]), tensor("int64", [-1])).is_known


def test_the_description_names_inputs_and_outputs(served: Open) -> None:
    version = ServedVersion(name="tickets", version="1", uri="models:/tickets/1", folder="")
    document = describe(served("tickets"), version, needs_key=False)
    assert document["tensor"] is None
    assert [given["name"] for given in document["inputs"]] == ["ids", "flags"]
    assert document["inputs"][0]["shape"] == (-1, -1)
    assert [(output["name"], output["kind"]) for output in document["outputs"]] == [
        ("priority", "classes"),
        ("department", "classes"),
        ("delay", "values"),
    ]
    assert document["outputs"][2]["unit"] == "h"
    single = describe(served("topics"), version, needs_key=False)
    assert single["tensor"] == {"dtype": "float32", "shape": (-1, 4)}
    assert single["outputs"][0]["kind"] == "labels"
    assert single["outputs"][0]["shape"] == (-1, 3)
