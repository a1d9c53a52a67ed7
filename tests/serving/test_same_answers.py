"""For correct input, an endpoint gives the same answers as `mlflow models serve`, whatever the payload."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mlctl

from .conftest import RunningEndpoint

pytestmark = pytest.mark.live

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
ROWS = pd.DataFrame(
    {
        "rooms": [3.0, 4.5, 1.25],
        "age": [20.0, np.nan, 3.0],
        "place": ["INLAND", "NEAR BAY", "ELSEWHERE"],
    }
)


def mlflow_answer(folder: Path, body: bytes, content_type: str) -> Any:
    """Return the answer of MLflow's own scoring server."""
    import mlflow.pyfunc
    from mlflow.pyfunc import scoring_server

    model = mlflow.pyfunc.load_model(str(folder))
    reply = scoring_server.invocations(body, content_type, model, model.metadata.get_input_schema())
    assert reply.status == 200
    return json.loads(reply.response)


def check_same(endpoint: RunningEndpoint, folder: Path, body: bytes, content_type: str = JSON) -> None:
    reply = endpoint.request(body=body, content_type=content_type)
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == JSON
    assert reply.json == mlflow_answer(folder, body, content_type)


@pytest.mark.parametrize("key", ["inputs", "instances"])
@pytest.mark.parametrize("rows", [1, 3, 300])
def test_pictures(pictures: RunningEndpoint, models: dict[str, Path], key: str, rows: int) -> None:
    pixels = np.random.default_rng(rows).integers(0, 256, (rows, 8, 8))
    check_same(pictures, models["pictures"], json.dumps({key: pixels.tolist()}).encode())


def test_whole_floats_count_as_integers(pictures: RunningEndpoint) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2, 8, 8))
    whole = pictures.post({"inputs": pixels.astype(float).tolist()})
    assert whole.status == 200
    assert whole.json == pictures.post({"inputs": pixels.tolist()}).json


def split(frame: pd.DataFrame) -> dict[str, Any]:
    return json.loads(frame.to_json(orient="split"))


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": split(ROWS)},
        {"dataframe_split": {name: value for name, value in split(ROWS).items() if name != "index"}},
        {"dataframe_split": split(ROWS[["place", "age", "rooms"]])},
        {"dataframe_records": json.loads(ROWS.to_json(orient="records"))},
        {"dataframe_records": json.loads(ROWS[["rooms", "place"]].to_json(orient="records"))},
        {"inputs": json.loads(ROWS.to_json(orient="records"))},
        {"inputs": {"rooms": [3.0, 4.5], "age": [1.0, 2.0], "place": ["INLAND", "x"]}},
    ],
)
def test_tables(table: RunningEndpoint, models: dict[str, Path], body: Any) -> None:
    check_same(table, models["table"], json.dumps(body).encode())


def test_nan_as_python_writes_it(table: RunningEndpoint, models: dict[str, Path]) -> None:
    body = json.dumps({"dataframe_records": ROWS.to_dict(orient="records")}).encode()
    assert b"NaN" in body
    check_same(table, models["table"], body)


def test_csv_and_parquet(table: RunningEndpoint, models: dict[str, Path]) -> None:
    check_same(table, models["table"], ROWS.to_csv(index=False).encode(), CSV)
    file = io.BytesIO()
    ROWS.to_parquet(file)
    check_same(table, models["table"], file.getvalue(), PARQUET)


def test_texts(texts: RunningEndpoint, models: dict[str, Path]) -> None:
    rows = pd.DataFrame({"text": ["a very good film", "", "bad; BAD!", "unknown words"]})
    check_same(texts, models["texts"], json.dumps({"dataframe_split": split(rows)}).encode())
    check_same(texts, models["texts"], json.dumps({"instances": rows.to_dict("records")}).encode())
    check_same(texts, models["texts"], rows.iloc[[0, 2]].to_csv(index=False).encode(), CSV)


def test_ping_and_health(pictures: RunningEndpoint) -> None:
    assert (pictures.request("/ping").status, pictures.request("/health").body) == (200, b"\n")


def test_version_names_the_model_and_its_run(serve: Any, models: dict[str, Path], tmp_path: Path) -> None:
    """Unlike `mlflow models serve`, whose /version is MLflow's version as plain text."""
    import mlflow

    shutil.copytree(models["pictures"], tmp_path / "logged")
    with (tmp_path / "logged" / "MLmodel").open("a") as mlmodel:
        mlmodel.write("run_id: 0123abcd\n")
    endpoint = serve(tmp_path / "logged", version="7")
    reply = endpoint.request("/version")
    assert reply.headers["content-type"] == JSON
    assert reply.json == {
        "mlflow": mlflow.__version__,
        "mlctl": mlctl.__version__,
        "name": "pictures",
        "version": "7",
        "run_id": "0123abcd",
        "model_uri": "models:/pictures/1",
        "runtime": "onnxruntime",
        "reason": "",
    }
    endpoint.stop()


def test_integers_for_floats(serve: Any, models: dict[str, Path]) -> None:
    floats = serve(models["floats"])
    pixels = np.random.default_rng(1).integers(0, 17, (2, 8, 8))
    check_same(floats, models["floats"], json.dumps({"inputs": pixels.tolist()}).encode())
    reply = floats.post({"inputs": (pixels / 17).tolist()})
    assert reply.status == 400
    assert "0 to 16" in reply.json["message"]
    floats.stop()


def test_a_model_of_another_team(serve: Any, tmp_path: Path) -> None:
    """A scikit-learn model with MLflow's own flavor is endpoint with a signature and without."""
    import mlflow
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4, 5, 6]})
    model = LinearRegression().fit(frame, [1.0, 2.0, 4.0])
    requirements = ["scikit-learn"]
    signature = mlflow.models.infer_signature(frame, model.predict(frame))
    for name, options in (("signed", {"signature": signature}), ("unsigned", {})):
        mlflow.sklearn.save_model(
            model,
            tmp_path / name,
            pip_requirements=requirements,
            serialization_format="cloudpickle",
            **options,
        )
        convert = (sys.executable, "-m", "mlctl.adapters.conversion")
        endpoint = serve(tmp_path / name, convert=convert, converted=str(tmp_path / "converted"))
        version = endpoint.request("/version").json
        assert (version["runtime"], version["reason"]) == (
            ("onnxruntime", "") if name == "signed" else ("mlflow", "it has no simple signature")
        )
        body = json.dumps({"dataframe_split": split(frame)}).encode()
        check_same(endpoint, tmp_path / name, body)
        bad = endpoint.post({"dataframe_split": {"columns": ["a"], "data": [[1.0]]}})
        assert bad.status == 400
        assert len(bad.body) < 500
        assert b"Traceback" not in bad.body
        broken = endpoint.request(body=b"{", content_type=JSON)
        assert (broken.status, "breaks" in broken.json["message"]) == (400, True)
        endpoint.stop()


def test_spaces_and_missing_words_in_a_csv(table: RunningEndpoint) -> None:
    plain = table.request(body="rooms,age,place\n3,,INLAND\n4,20,NEAR BAY\n", content_type=CSV)
    spaced = table.request(body="rooms, age, place\n3, ?, INLAND\n4, 20, NEAR BAY \n", content_type=CSV)
    assert plain.status == spaced.status == 200, spaced.body
    assert plain.json == spaced.json
    assert plain.json["predictions"][1] != plain.json["predictions"][0]
