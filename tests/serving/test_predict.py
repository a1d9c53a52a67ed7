"""`mlctl predict` with models and endpoints, files of every kind, and batches that can be resumed."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlctl import settings as configuration
from mlctl.adapters.predict import image_input, prediction_file, prediction_parts
from mlctl.domain.serving import Prediction
from mlctl.errors import BadDataError, NotFoundError, RefusedError, UnreachableError
from mlctl.output.views import document
from mlctl.services.evaluation.predict import predict, predict_to_file

from .conftest import RunningEndpoint, StartEndpoint

RANDOM = np.random.default_rng(3)


def labels(predictions: Sequence[Prediction]) -> list[str | None]:
    return [prediction.label for prediction in predictions]


def probabilities(predictions: Sequence[Prediction]) -> list[Any]:
    return [prediction.probability for prediction in predictions]


def values(predictions: Sequence[Prediction]) -> list[Any]:
    return [prediction.value for prediction in predictions]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> configuration.Settings:
    monkeypatch.chdir(tmp_path)
    return configuration.load()


@pytest.mark.live
def test_every_kind_of_input_of_an_image_model(
    models: dict[str, Path], pictures: RunningEndpoint, settings: Any, tmp_path: Path
) -> None:
    """A local model and its endpoint predict the same for the same image, whatever the file format."""
    pixels = RANDOM.integers(0, 256, (3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "three.npy", pixels)
    np.save(tmp_path / "one.npy", pixels[0])
    np.savez(tmp_path / "three.npz", pixels)
    Image.fromarray(pixels[0]).save(tmp_path / "one.png")
    (tmp_path / "three.json").write_text(json.dumps({"inputs": pixels.tolist()}))
    (tmp_path / "one.json").write_text(json.dumps(pixels[0].tolist()))
    folder = str(models["pictures"])
    expected = predict(settings, folder, ["three.npy"]).predictions
    assert len(expected) == 3
    assert sum(prediction.probability or 0 for prediction in expected) > 0.3
    for model in (folder, pictures.url):
        for name in ("three.npy", "three.npz", "three.json"):
            predictions = predict(settings, model, [name]).predictions
            assert labels(predictions) == labels(expected)
            assert np.allclose(probabilities(predictions), probabilities(expected))
        for name in ("one.npy", "one.png", "one.json"):
            answer = predict(settings, model, [name])
            assert answer.predictions[0].label == expected[0].label
            assert np.allclose(np.array(answer.pictures[0]), pixels[0] / 255)


@pytest.mark.live
def test_texts_and_tables(
    models: dict[str, Path], texts: RunningEndpoint, settings: Any, tmp_path: Path
) -> None:
    for model in (str(models["texts"]), texts.url):
        good = predict(settings, model, ["a very good film"])
        assert good.task in ("binary", "")
        assert good.predictions[0].label in ("negative", "positive")
        assert 0.5 <= (good.predictions[0].probability or 0) <= 1
        assert set(document(good)["predictions"][0]) == {"label", "probability"}
    rows = pd.DataFrame({"rooms": [1.0, 2.0], "age": [np.nan, 3.0], "place": ["INLAND", "x"]})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    rows.to_parquet(tmp_path / "rows.parquet")
    by_csv = predict(settings, str(models["table"]), ["rows.csv"])
    by_parquet = predict(settings, str(models["table"]), ["rows.parquet"])
    assert values(by_csv.predictions) == values(by_parquet.predictions)
    assert by_csv.unit == "USD"
    rows[["rooms"]].to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(BadDataError, match="missing columns: place"):
        predict(settings, str(models["table"]), ["bad.csv"])


def test_inputs_that_cannot_be_predicted(models: dict[str, Path], settings: Any, tmp_path: Path) -> None:
    folder = str(models["pictures"])
    with pytest.raises(NotFoundError):
        predict(settings, folder, ["nowhere.png"])
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(BadDataError, match="cannot be read as an image"):
        predict(settings, folder, ["text.png"])
    np.save(tmp_path / "scaled.npy", RANDOM.uniform(0, 1, (2, 8, 8)))
    with pytest.raises(BadDataError, match="0 to 255"):
        predict(settings, folder, ["scaled.npy"])
    with pytest.raises(UnreachableError):
        predict(settings, "http://127.0.0.1:9", ["text.png"])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("batches_before_stop", [0, 1, 3])
def test_a_prediction_file_is_resumed_without_a_missing_or_double_row(
    models: dict[str, Path],
    settings: Any,
    tmp_path: Path,
    suffix: str,
    batches_before_stop: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.save(tmp_path / "many.npy", RANDOM.integers(0, 256, (95, 8, 8), dtype=np.uint8))
    model, out = str(models["pictures"]), tmp_path / f"answers.{suffix}"
    expected = predict(settings, model, ["many.npy"]).predictions
    writer = prediction_file._Csv if suffix == "csv" else prediction_parts.PredictionParts
    write, calls = writer.write, []

    def write_or_stop(self: Any, first: int, columns: Any) -> None:
        if len(calls) == batches_before_stop:
            raise KeyboardInterrupt
        calls.append(first)
        write(self, first, columns)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write", write_or_stop)
        with pytest.raises(KeyboardInterrupt):
            predict_to_file(settings, model, ["many.npy"], out=out, batch_size=10)
    if suffix == "csv" and batches_before_stop:
        with open(f"{out}.part", "a") as part:
            part.write("30,7")  # a line that a kill has cut off
    if suffix == "parquet":
        (out / "_part.writing").write_bytes(b"PAR1")  # a part that a kill has cut off
    np.save(tmp_path / "other.npy", np.zeros((95, 8, 8), np.uint8))
    with pytest.raises(RefusedError, match="was started with another model, version or input"):
        predict_to_file(settings, model, ["other.npy"], out=out, batch_size=10)
    done = predict_to_file(settings, model, ["many.npy"], out=out, batch_size=7)
    assert (done.rows, done.resumed) == (95, batches_before_stop * 10)
    if suffix == "csv":
        rows = list(csv.DictReader(out.open()))
        assert sorted(file.name for file in tmp_path.glob("answers*")) == ["answers.csv"]
    else:
        rows = pd.read_parquet(out).to_dict("records")
        assert {file.suffix for file in out.iterdir()} == {".parquet"}
    assert [int(row["row"]) for row in rows] == list(range(95))
    assert [row["label"] for row in rows] == labels(expected)
    assert np.allclose([float(row["probability"]) for row in rows], probabilities(expected))


@pytest.mark.unit
def test_a_drawing_is_cropped_inverted_and_scaled(tmp_path: Path) -> None:
    """Dark on white, light on black and dark on transparent are the same drawing, at any position."""
    page = np.full((120, 90), 255, np.uint8)
    page[20:80, 50:60] = 0
    Image.fromarray(page).save(tmp_path / "dark.png")
    Image.fromarray(255 - page).save(tmp_path / "light.png")
    transparent = Image.fromarray(np.zeros((120, 90), np.uint8)).convert("RGBA")
    transparent.putalpha(Image.fromarray(255 - page))
    transparent.save(tmp_path / "transparent.png")
    for shape, scale, dtype in (((8, 8), 16.0, "float64"), ((28, 28, 1), 255.0, "uint8")):
        images = [
            image_input.read_image(tmp_path / f"{name}.png", shape, scale, dtype)
            for name in ("dark", "light", "transparent")
        ]
        assert images[0].shape == (1, *shape)
        assert images[0].dtype == dtype
        assert images[0].max() == scale
        assert np.array_equal(images[0], images[1])
        assert np.array_equal(images[0], images[2])
        columns = images[0].reshape(shape[:2]).sum(axis=0)
        assert abs(np.average(np.arange(shape[1]), weights=columns) - shape[1] / 2) <= 1


@pytest.mark.live
def test_an_endpoint_of_mlflow_models_serve(models: dict[str, Path], settings: Any, tmp_path: Path) -> None:
    """It runs behind a real socket, and does not describe its classes."""
    import threading

    import mlflow.pyfunc
    import uvicorn
    from mlflow.pyfunc import scoring_server

    app = scoring_server.init(mlflow.pyfunc.load_model(str(models["pictures"])))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    np.save(tmp_path / "two.npy", RANDOM.integers(0, 256, (2, 8, 8), dtype=np.uint8))
    try:
        predictions = predict(settings, f"http://127.0.0.1:{port}", ["two.npy"]).predictions
    finally:
        server.should_exit = True
        thread.join(10)
    expected = predict(settings, str(models["pictures"]), ["two.npy"]).predictions
    assert labels(predictions) == labels(expected)


def test_the_command_shows_a_sentence_and_the_image(models: dict[str, Path], tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    pixels[1:7, 3:5] = 255
    Image.fromarray(pixels).save(tmp_path / "one.png")
    command = [sys.executable, "-m", "mlctl", "predict", str(models["pictures"]), str(tmp_path / "one.png")]
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "This number is a" in done.stdout
    assert "████" in done.stdout


@pytest.mark.live
def test_a_key_is_read_from_its_file(
    models: dict[str, Path], serve: StartEndpoint, settings: Any, tmp_path: Path
) -> None:
    from mlctl.services.serving import keys

    key = keys.create_key(tmp_path / "keys", "me")
    (tmp_path / "my.key").write_text(key.secret + "\n")
    served = serve(models["pictures"], key_file=str(tmp_path / "keys"))
    np.save(tmp_path / "two.npy", np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(RefusedError, match="key"):
        predict(settings, served.url, ["two.npy"])
    assert len(predict(settings, served.url, ["two.npy"], key_file=tmp_path / "my.key").predictions) == 2
    served.stop()
