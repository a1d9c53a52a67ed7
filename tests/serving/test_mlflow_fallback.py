"""Payloads that only MLflow's own server reads: its answers, and its whole messages without the client's data."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from mlctl.serving.mlflow_fallback import MlflowFallback
from mlctl.serving.payloads.request_error import RequestError

JSON, CSV = "application/json", "text/csv"


def fallback(schema: list[dict[str, Any]] | None = None) -> MlflowFallback:
    """Return the fallback of a model that answers with what it is given."""
    from mlflow.pyfunc import _validate_prediction_input
    from mlflow.types import Schema

    stock = Schema.from_json(json.dumps(schema)) if schema else None

    def predict(data: Any, params: Any = None) -> Any:
        if str(data).find("fail") >= 0:
            raise ZeroDivisionError("secret")
        return _validate_prediction_input(data, params, stock, None)[0]

    metadata = SimpleNamespace(get_input_schema=lambda: stock)
    model: Any = SimpleNamespace(by_mlflow=SimpleNamespace(metadata=metadata, predict=predict))
    return MlflowFallback(model)


@pytest.mark.parametrize(
    ("body", "content_type", "answer"),
    [
        (b'{"dataframe_records": [{"a": NaN}]}', JSON, '[{"a": NaN}]'),
        (b'\xef\xbb\xbf{"inputs": [1.5]}', JSON, "[1.5]"),
        (b"\xef\xbb\xbfa\n1\n", CSV, '[{"a": 1}]'),
    ],
)
def test_what_mlflow_answers_is_passed_on(body: bytes, content_type: str, answer: str) -> None:
    assert fallback().answer(body, content_type).decode() == f'{{"predictions": {answer}}}'


MISTAKES = [
    (b'{"dataframe_split": null}', "must be a dictionary. Got type <class 'NoneType'>."),
    (b'{"dataframe_records": [], "dataframe_split": {"data": []}}', "scoring request format"),
    (b'{"inputs": PRIVATE', "Expecting value: line 1 column 12 (char 11)"),
    (b'{"inputs": [["fail", "PRIVATE"]]}', "unexpected error while evaluating the model"),
    (b'{"dataframe_records": [{"x": "PRIVATE", "b": {"y": 1}}]}', "Model is missing inputs ['d']."),
    (b'{"dataframe_records": [{"d": "PRI" , "x": 1}]}', "Failed to convert column d to type"),
]


@pytest.mark.parametrize(("body", "part"), MISTAKES)
def test_messages_are_whole_but_without_the_data_and_traces(body: bytes, part: str) -> None:
    schema = [{"type": "datetime", "name": "d", "required": True}] if b'"x"' in body else None
    with pytest.raises(RequestError) as error:
        fallback(schema).answer(body, JSON)
    document = json.loads(error.value.to_json())
    assert error.value.status == 400
    assert document["message"].endswith(part) or part in document["message"]
    for hidden in ("PRIVATE", "Traceback", "secret"):
        assert hidden not in document["message"]


def test_a_content_type_that_mlflow_does_not_take_is_refused() -> None:
    with pytest.raises(RequestError) as error:
        fallback().answer(b"x", "application/xml")
    assert error.value.status == 415
    assert "application/json" in error.value.message
