"""A logged model is one folder with two flavors, and both predict what the trained model does."""

from __future__ import annotations

from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from mlctl.adapters.models import keras_export
from mlctl.adapters.models.save import save_model
from mlctl.data.builtin import synthetic
from mlctl.data.trees import map_tree
from mlctl.domain.outputs import Output
from mlctl.serving import scoring
from tests.trained import TINY, Trained, train_here


def read_texts(folder: Path) -> dict[Path, str]:
    return {
        path: path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in {".keras", ".onnx"}
    }


@pytest.mark.parametrize("recipe", ["imdb", "housing", "mnist-mlp", "tiny"])
def test_model_has_two_flavors_and_no_paths_of_this_machine(small: dict[str, Trained], recipe: str) -> None:
    trained = small[recipe]
    mlmodel = yaml.safe_load((trained.model / "MLmodel").read_text())
    assert mlmodel["flavors"].keys() == {"keras", "python_function"}
    assert mlmodel["flavors"]["python_function"]["model_code_path"] == "scoring.py"
    assert mlmodel["flavors"]["python_function"]["code"] is None
    metadata = mlmodel["metadata"]["mlctl"]
    assert metadata["recipe"] == recipe
    assert metadata["runtime"] == "onnxruntime"
    assert metadata["task"] in {"binary", "multiclass", "regression"}
    assert mlmodel["run_id"] == trained.answer["run_id"]
    for path, text in read_texts(trained.model).items():
        for local_path in (str(Path.home()), str(Path(scoring.__file__).parent), "/tmp/mlctl-model-"):
            assert local_path not in text, path
    assert "mlctl" not in (trained.model / "requirements.txt").read_text()


def test_model_trained_in_bfloat16_is_logged_in_float32(small: dict[str, Trained]) -> None:
    trained = small["tiny"]
    assert trained.answer["params"]["precision"] == "mixed_bfloat16"
    model = mlflow.keras.load_model(str(trained.model))
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_both_flavors_predict_the_same(digits: Trained, rows: int) -> None:
    images, _ = synthetic.make_digits(100)
    keras_model = mlflow.keras.load_model(str(digits.model))
    pyfunc_model = mlflow.pyfunc.load_model(str(digits.model))
    expected = keras_model(scoring.PixelEncoder((8, 8), 16)(images[:rows]))
    predictions = pyfunc_model.predict(images[:rows])
    assert predictions.shape == (rows, 10)
    np.testing.assert_allclose(predictions, expected, atol=1e-4)


def test_table_with_gaps_and_an_unknown_category(small: dict[str, Trained]) -> None:
    model = mlflow.pyfunc.load_model(str(small["housing"].model))
    rows = synthetic.make_housing(100).drop(columns="median_house_value").iloc[:4].reset_index(drop=True)
    complete = model.predict(rows)
    assert complete.shape == (4, 1)
    rows.loc[0, "total_bedrooms"] = np.nan
    rows.loc[1, "ocean_proximity"] = "ON THE MOON"
    predictions = model.predict(rows)
    assert np.isfinite(predictions).all()
    np.testing.assert_array_equal(predictions[2:], complete[2:])
    assert (predictions[:2] != complete[:2]).all()
    without_column = model.predict(rows.drop(columns="total_bedrooms"))  # it had gaps in training
    assert without_column[0] == pytest.approx(predictions[0])


def test_column_without_gaps_in_training_is_required(small: dict[str, Trained]) -> None:
    model = mlflow.pyfunc.load_model(str(small["housing"].model))
    rows = synthetic.make_housing(100).drop(columns=["median_house_value", "population"])
    with pytest.raises(mlflow.exceptions.MlflowException, match="population"):
        model.predict(rows)


def test_text_of_a_review_is_accepted(small: dict[str, Trained]) -> None:
    model = mlflow.pyfunc.load_model(str(small["imdb"].model))
    words = synthetic.make_words(500)
    texts = [
        " ".join(words[3::10]),
        " ".join(words[8::10]),
        "",
        f"{words[8].upper()}, {words[18]}! unheardof",
    ]
    predictions = model.predict(pd.DataFrame({"text": texts}))
    assert predictions.shape == (4, 1)
    assert predictions[0] < 0.5 < predictions[1]
    assert predictions[3] == model.predict(pd.DataFrame({"text": [f"{words[18]} {words[8]}"]}))


def test_model_that_onnx_does_not_support_is_served_by_keras(tmp_path: Path) -> None:
    """The inverse error function has no ONNX form."""
    unsupported = TINY.replace(
        'hidden = keras.layers.Dense(hp.units, activation="relu")(inputs)',
        'hidden = keras.ops.erfinv(keras.layers.Dense(hp.units, activation="tanh")(inputs) * 0.9)',
    )
    assert unsupported != TINY
    (tmp_path / "odd.py").write_text(unsupported)
    trained = train_here(tmp_path, str(tmp_path / "odd.py"))
    parts = trained.model / "artifacts" / "model"
    assert {path.name for path in parts.iterdir()} == {"model.keras", "encoder.json"}
    mlmodel = yaml.safe_load((trained.model / "MLmodel").read_text())
    assert mlmodel["metadata"]["mlctl"]["runtime"] == "keras"
    assert "onnxruntime" not in (trained.model / "requirements.txt").read_text()
    inputs = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)
    predictions = mlflow.pyfunc.load_model(str(trained.model)).predict(inputs)
    expected = mlflow.keras.load_model(str(trained.model))(inputs)
    np.testing.assert_allclose(predictions, expected, atol=1e-5)


def test_export_with_other_predictions_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    call_model = keras_export.call_model
    monkeypatch.setattr(
        keras_export,
        "call_model",
        lambda *given: {name: answer + 9 for name, answer in call_model(*given).items()},
    )
    raw = np.ones((8, 3), np.float32)
    metadata = {"recipe": "x", "task": "regression", "classes": [], "unit": ""}
    saved = save_model(tmp_path / "m", model, encoder=None, raw=raw, encoded=raw, metadata=metadata)
    assert saved.runtime == "keras"
    assert saved.reason
    assert saved.served_by == f"Keras, because {saved.reason}"
    assert not list(tmp_path.rglob("*.onnx"))


OUTPUTS = (
    Output(kind="classes", name="priority", classes=("low", "high"), activation="sigmoid"),
    Output(kind="classes", name="department", classes=("a", "b", "c"), activation="softmax"),
)


@pytest.mark.parametrize("with_onnx", [True, False])
@pytest.mark.parametrize("structure", ["dict", "tuple"])
def test_named_inputs_and_outputs(tmp_path: Path, structure: str, with_onnx: bool) -> None:
    """Casts what clients send, answers probabilities for logits, and in batches as all at once."""
    title, flags = keras.Input((5,), name="title", dtype="int32"), keras.Input((1,), name="flags")
    words = keras.layers.Flatten()(keras.layers.Embedding(10, 3)(title))
    hidden = keras.layers.Concatenate()([words, flags])
    heads = [
        keras.layers.Dense(units, name=name)(hidden) for units, name in ((1, "priority"), (3, "department"))
    ]
    model = keras.Model([title, flags], heads)
    generator = np.random.default_rng(0)
    named = {"title": generator.integers(0, 10, (600, 5)), "flags": generator.normal(size=600)}
    raw = named if structure == "dict" else tuple(named.values())
    sample = map_tree(lambda array: array[:16], raw)
    metadata = {"recipe": "x", "task": "several", "classes": [], "unit": ""}
    saved = save_model(
        tmp_path / "m",
        model,
        encoder=None,
        raw=sample,
        encoded=sample,
        metadata=metadata,
        outputs=OUTPUTS,
    )
    assert saved.runtime == "onnxruntime"
    if not with_onnx:
        (tmp_path / "m" / "artifacts" / "model" / "model.onnx").unlink()
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "m"))
    answers = loaded.predict(named)
    priority, department = model([named["title"], named["flags"].reshape(-1, 1)])
    assert list(answers) == ["priority", "department"]
    np.testing.assert_allclose(answers["priority"], keras.ops.sigmoid(priority), atol=1e-5)
    np.testing.assert_allclose(answers["department"], keras.ops.softmax(department), atol=1e-5)
    scorer = scoring.Scorer(str(tmp_path / "m" / "artifacts" / "model"))
    ones = pd.DataFrame({"flags": named["flags"], "title": list(named["title"])})
    np.testing.assert_allclose(scorer(ones)["priority"], answers["priority"], atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64"])
def test_other_numbers_are_cast_to_what_the_model_takes(tmp_path: Path, dtype: str) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    raw = np.arange(24).reshape(8, 3).astype(dtype)
    metadata = {"recipe": "x", "task": "regression", "classes": [], "unit": ""}
    saved = save_model(tmp_path / "m", model, encoder=None, raw=raw, encoded=raw, metadata=metadata)
    assert saved.runtime == "onnxruntime"
    answers = mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(raw)
    np.testing.assert_allclose(answers, model(raw.astype("float32")), atol=1e-4)


def test_one_logit_is_served_as_a_probability_and_the_keras_flavor_stays(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    raw = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    metadata = {"recipe": "x", "task": "binary", "classes": ["cat", "dog"], "unit": ""}
    outputs = (Output(kind="classes", classes=("cat", "dog"), activation="sigmoid"),)
    save_model(tmp_path / "m", model, encoder=None, raw=raw, encoded=raw, metadata=metadata, outputs=outputs)
    logits = np.asarray(model(raw))
    answers = mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(raw)
    np.testing.assert_allclose(answers, 1 / (1 + np.exp(-logits)), atol=1e-6)
    np.testing.assert_allclose(mlflow.keras.load_model(str(tmp_path / "m"))(raw), logits, atol=1e-6)


def test_model_of_a_fixed_number_of_rows_answers_any_number(tmp_path: Path) -> None:
    inputs = keras.Input((4,), batch_size=6)
    rows = keras.ops.reshape(keras.ops.reshape(inputs, (24,)), (6, 4))  # refuses any other number
    model = keras.Model(inputs, keras.layers.Dense(2)(rows))
    numbers = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    saved = save_model(
        tmp_path / "model", model, encoder=None, raw=numbers, encoded=numbers, metadata={"task": "regression"}
    )
    assert saved.runtime == "keras"
    scorer = scoring.Scorer(str(tmp_path / "model" / "artifacts" / "model"))
    many = np.random.default_rng(1).normal(size=(15, 4)).astype(np.float32)
    weights, bias = model.get_weights()
    for count in (1, 6, 7, 15):
        answers = scorer(many[:count])
        np.testing.assert_allclose(answers, many[:count] @ weights + bias, atol=1e-5)


def test_rows_that_are_answered_together_are_bounded_by_the_memory_of_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlctl.adapters.models.save.export_keras", lambda *_: "a test")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    numbers = np.ones((8, 4), np.float32)
    save_model(
        tmp_path / "model", model, encoder=None, raw=numbers, encoded=numbers, metadata={"task": "regression"}
    )
    scorer = scoring.Scorer(str(tmp_path / "model" / "artifacts" / "model"))
    run, counts = scorer._run, []

    def count_rows(encoded: np.ndarray) -> np.ndarray:
        counts.append(len(encoded))
        return run(encoded)

    monkeypatch.setattr(scorer, "_run", count_rows)
    monkeypatch.setattr(scoring, "_LAYER_BYTES", 130)  # a row's input and answer take 24 bytes
    assert scorer(np.ones((12, 4), np.float32)).shape == (12, 2)
    assert counts == [5, 5, 2]
