"""Models of other programs in ONNX: equal answers, or a reason why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.adapters.conversion.equality import difference
from mlctl.adapters.conversion.stock_model import convert
from mlctl.serving.conversion.scorer import DESCRIPTION, GRAPH, ConvertedScorer

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("skl2onnx")
lightgbm = pytest.importorskip("lightgbm")

ROWS = 300


def _table(seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "width": generator.normal(size=ROWS) * 100,
            "count": generator.integers(0, 6, ROWS),
            "city": generator.choice(["oslo", "rome", "Århus"], ROWS),
            "is_new": generator.random(ROWS) > 0.5,
        }
    )
    table.loc[generator.random(ROWS) < 0.1, "width"] = np.nan
    return table


def _saved(folder: Path, flavor: Any, model: Any, rows: Any, **options: Any) -> Path:
    signature = mlflow.models.infer_signature(rows, model.predict(rows))
    flavor.save_model(
        model,
        str(folder / "model"),
        signature=signature,
        input_example=rows[:5],
        pip_requirements=[],
        **options,
    )
    return folder / "model"


def _columns(table: pd.DataFrame) -> dict[str, np.ndarray]:
    return {
        str(name): table[name].to_numpy(object if name == "city" else None).copy() for name in table.columns
    }


def test_lightgbm_keeps_every_digit_gaps_and_categories(tmp_path: Path) -> None:
    table = _table().drop(columns="city")
    target = np.nan_to_num(table.width) * np.where(table["count"] == 2, 3, 1) + table.is_new
    model = lightgbm.LGBMRegressor(n_estimators=20, verbose=-1).fit(
        table, target, categorical_feature=["count"]
    )
    folder = _saved(tmp_path, mlflow.lightgbm, model, table)
    (tmp_path / "out").mkdir()
    assert convert(folder, tmp_path / "out") == ""
    thresholds = model.booster_.trees_to_dataframe().query("split_feature == 'width'").threshold.astype(float)
    asked = table.iloc[np.arange(3 * len(thresholds)) % ROWS].copy()
    asked["width"] = np.concatenate(
        [thresholds, np.nextafter(thresholds, np.inf), np.nextafter(thresholds, -np.inf)]
    )
    asked.iloc[::7, 0] = np.nan
    asked.iloc[::5, 1] = 99  # a category that training did not have
    found = ConvertedScorer(tmp_path / "out")(_columns(asked))
    expected = model.predict(asked)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-13)


def test_a_pipeline_with_texts_and_gaps_answers_as_scikit_learn(tmp_path: Path) -> None:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = _table()
    labels = np.where(table.city == "rome", "far", np.where(table["count"] > 2, "near", "here"))
    encoded = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["width", "count"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city", "is_new"]),
    )
    model = make_pipeline(encoded, RandomForestClassifier(10, random_state=0)).fit(table, labels)
    folder = _saved(tmp_path, mlflow.sklearn, model, table, serialization_format="cloudpickle")
    (tmp_path / "out").mkdir()
    assert convert(folder, tmp_path / "out") == ""
    asked = _table(seed=1)
    asked.loc[::4, "city"] = "another"
    found = ConvertedScorer(tmp_path / "out")(_columns(asked))
    assert found.dtype.kind == "U"
    assert found.tolist() == model.predict(asked).tolist()


def test_gaps_that_the_library_refuses_are_refused_with_its_words(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    table = _table().fillna(0.0)[["width", "count"]]
    model = LinearRegression().fit(table, table.width)
    folder = _saved(tmp_path, mlflow.sklearn, model, table, serialization_format="cloudpickle")
    (tmp_path / "out").mkdir()
    assert convert(folder, tmp_path / "out") == ""
    scorer = ConvertedScorer(tmp_path / "out")
    assert scorer(_columns(table[:2])).dtype == np.float64
    with pytest.raises(ValueError, match="contains NaN"):
        scorer({"width": np.array([1.0, np.nan]), "count": np.array([1, 2])})


def test_a_model_without_an_equal_form_has_a_reason(tmp_path: Path) -> None:
    from sklearn.svm import SVR

    table = _table().fillna(0.0)[["width"]]
    model = SVR().fit(table, table.width)
    folder = _saved(tmp_path, mlflow.sklearn, model, table, serialization_format="cloudpickle")
    (tmp_path / "out").mkdir()
    reason = convert(folder, tmp_path / "out")
    assert "SVM" in reason
    assert str(tmp_path) not in reason
    assert "\n" not in reason
    (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.catboost}}\n")
    assert convert(folder, tmp_path / "out") == "models of mlflow.catboost are not converted"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-12]), ""),
        (np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-7]), "by 1e-07"),
        (np.array([1.0], np.float32), np.array([1.0]), "their type"),
        (np.array([1, 2]), np.array([1, 3]), "their values"),
        (np.array([[1.0]]), np.array([1.0]), "their shape"),
        (np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), ""),
        (np.array([0.0, 1.0]), np.array([np.nan, 1.0]), "no numbers"),
        (np.array(["a"]), np.array(["b"], object), "their texts"),
        ([np.zeros(2)], [np.zeros(2), np.zeros(2)], "their number"),
        ({"p": np.zeros(2)}, {"q": np.zeros(2)}, "their names"),
    ],
)
def test_answers_are_compared_in_type_shape_and_value(found: Any, expected: Any, words: str) -> None:
    text = difference(found, expected)
    assert words in text
    assert bool(text) == bool(words)


def test_the_description_beside_the_graph_is_plain_json(tmp_path: Path) -> None:
    from sklearn.linear_model import Ridge

    rows = np.random.default_rng(0).normal(size=(20, 3))
    folder = _saved(
        tmp_path, mlflow.sklearn, Ridge().fit(rows, rows[:, 0]), rows, serialization_format="cloudpickle"
    )
    (tmp_path / "out").mkdir()
    assert convert(folder, tmp_path / "out") == ""
    assert (tmp_path / "out" / GRAPH).is_file()
    plan = json.loads((tmp_path / "out" / DESCRIPTION).read_text())
    assert plan["answers"][0]["dtype"] == "float64"
    assert plan["inputs"] == [{"name": "rows", "dtype": "float64", "rank": 2, "columns": None}]
