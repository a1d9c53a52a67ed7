"""A logged model is one folder of two flavors that both answer what the trained model answers."""

from __future__ import annotations

from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from mlctl.adapters.models import save
from mlctl.data.builtin import synthetic
from mlctl.serving import scoring
from tests.trained import TINY, Trained, train_here


def texts_of(folder: Path) -> dict[Path, str]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in {".keras", ".onnx"}:
            found[path] = path.read_text(encoding="utf-8")
    return found


@pytest.mark.parametrize("recipe", ["imdb", "housing", "mnist-mlp", "tiny"])
def test_two_flavors_and_nothing_of_this_machine(small: dict[str, Trained], recipe: str) -> None:
    trained = small[recipe]
    written = yaml.safe_load((trained.model / "MLmodel").read_text())
    assert written["flavors"].keys() == {"keras", "python_function"}
    assert written["flavors"]["python_function"]["model_code_path"] == "scoring.py"
    assert written["flavors"]["python_function"]["code"] is None
    about = written["metadata"]["mlctl"]
    assert about["recipe"] == recipe
    assert about["runtime"] == "onnxruntime"
    assert about["task"] in {"binary", "multiclass", "regression"}
    assert written["run_id"] == trained.answer["run_id"]
    for path, text in texts_of(trained.model).items():
        for place in (str(Path.home()), str(Path(scoring.__file__).parent), "/tmp/mlctl-model-"):
            assert place not in text, path
    assert "mlctl" not in (trained.model / "requirements.txt").read_text()


def test_a_bfloat16_training_is_logged_in_float32(small: dict[str, Trained]) -> None:
    trained = small["tiny"]
    assert trained.answer["params"]["precision"] == "mixed_bfloat16"
    model = mlflow.keras.load_model(str(trained.model))
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_keras_and_pyfunc_answer_alike(digits: Trained, rows: int) -> None:
    pictures, _ = synthetic.digits(100)
    core = mlflow.keras.load_model(str(digits.model))
    served = mlflow.pyfunc.load_model(str(digits.model))
    wanted = core(scoring.Pixels((8, 8), 16)(pictures[:rows]))
    found = served.predict(pictures[:rows])
    assert found.shape == (rows, 10)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_table_with_gaps_and_an_unseen_category(small: dict[str, Trained]) -> None:
    served = mlflow.pyfunc.load_model(str(small["housing"].model))
    rows = synthetic.housing(100).drop(columns="median_house_value").iloc[:4].reset_index(drop=True)
    plain = served.predict(rows)
    assert plain.shape == (4, 1)
    rows.loc[0, "total_bedrooms"] = np.nan
    rows.loc[1, "ocean_proximity"] = "ON THE MOON"
    answers = served.predict(rows)
    assert np.isfinite(answers).all()
    np.testing.assert_array_equal(answers[2:], plain[2:])
    assert (answers[:2] != plain[:2]).all()
    without = served.predict(rows.drop(columns="total_bedrooms"))  # the column that had gaps in training
    assert without[0] == pytest.approx(answers[0])


def test_a_column_that_had_no_gaps_is_demanded(small: dict[str, Trained]) -> None:
    served = mlflow.pyfunc.load_model(str(small["housing"].model))
    rows = synthetic.housing(100).drop(columns=["median_house_value", "population"])
    with pytest.raises(mlflow.exceptions.MlflowException, match="population"):
        served.predict(rows)


def test_a_reviews_text_is_taken(small: dict[str, Trained]) -> None:
    served = mlflow.pyfunc.load_model(str(small["imdb"].model))
    words = synthetic.words(500)
    texts = [
        " ".join(words[3::10]),
        " ".join(words[8::10]),
        "",
        f"{words[8].upper()}, {words[18]}! unheardof",
    ]
    answers = served.predict(pd.DataFrame({"text": texts}))
    assert answers.shape == (4, 1)
    assert answers[0] < 0.5 < answers[1]
    assert answers[3] == served.predict(pd.DataFrame({"text": [f"{words[18]} {words[8]}"]}))


def test_what_onnx_refuses_is_served_by_keras(tmp_path: Path) -> None:
    """The inverse error function has no ONNX form."""
    refused = TINY.replace(
        'hidden = keras.layers.Dense(hp.units, activation="relu")(inputs)',
        'hidden = keras.ops.erfinv(keras.layers.Dense(hp.units, activation="tanh")(inputs) * 0.9)',
    )
    assert refused != TINY
    (tmp_path / "odd.py").write_text(refused)
    trained = train_here(tmp_path, str(tmp_path / "odd.py"))
    parts = trained.model / "artifacts" / "model"
    assert {path.name for path in parts.iterdir()} == {"model.keras", "encoder.json"}
    written = yaml.safe_load((trained.model / "MLmodel").read_text())
    assert written["metadata"]["mlctl"]["runtime"] == "keras"
    assert "onnxruntime" not in (trained.model / "requirements.txt").read_text()
    inputs = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)
    found = mlflow.pyfunc.load_model(str(trained.model)).predict(inputs)
    np.testing.assert_allclose(found, mlflow.keras.load_model(str(trained.model))(inputs), atol=1e-5)


def test_an_export_that_answers_otherwise_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    monkeypatch.setattr(scoring, "onnx_runner", lambda path: lambda rows: np.full((len(rows), 2), 9.0))
    raw = np.ones((8, 3), np.float32)
    about = {"recipe": "x", "task": "regression", "classes": [], "unit": ""}
    assert save.save(tmp_path / "m", model, None, raw, raw, about) == "keras"
    assert not list(tmp_path.rglob("*.onnx"))
