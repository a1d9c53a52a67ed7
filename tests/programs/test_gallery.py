"""Every recipe of docs/gallery trains, is logged, and answers through MLflow alone as its training did."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from mlctl.services.evaluation.predict import predict
from mlctl.serving.traffic.profile import features_of, read_profile
from mlctl.settings import load
from tests.trained import Trained, train_here

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
NEED_DIGITS = {"convnet", "siamese", "distillation", "vit", "transfer", "search_space", "vae"}
RECIPES = sorted(path.stem for path in GALLERY.glob("*.py") if path.stem != "digits28")
SERVED_BY_KERAS = {"raw_texts", "vae"}
# number of outputs of one recipe for each form of input: a stream of pictures, columns, tokens, named arrays
SAMPLED = {"augmented": 1, "features": 1, "reviews": 1, "tickets": 2}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the recipes; those of handwritten digits get a fifth of the pictures, to save time."""
    folder = Path(shutil.copytree(GALLERY, tmp_path_factory.mktemp("gallery") / "recipes"))
    digits = (folder / "digits28.py").read_text()
    assert "[:count" in digits
    (folder / "digits28.py").write_text(digits.replace("[:count", "[: count // 5"))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.needs("mnist")] if name in NEED_DIGITS else [])
        for name in RECIPES
    ],
)
def test_a_recipe_of_the_gallery_is_trained_logged_and_answers(
    name: str, gallery: Path, tmp_path: Path
) -> None:
    overrides: dict[str, Any] = {} if name == "transfer" else {"epochs": 1}
    trained = train_here(
        gallery, str(gallery / f"{name}.py"), uri=f"sqlite:///{tmp_path}/mlflow.db", overrides=overrides
    )
    answer = trained.answer
    assert answer["status"] == "FINISHED"
    assert answer["metrics"]["best_epoch"] >= 1
    assert all(math.isfinite(value) for value in answer["metrics"].values())
    expected = "keras" if name in SERVED_BY_KERAS else "onnxruntime"
    assert answer["tags"]["mlctl.runtime"] == expected, answer["tags"].get("mlctl.runtime_reason")
    model = mlflow.pyfunc.load_model(str(trained.model))
    predictions = model.predict(model.input_example)
    for part in predictions.values() if isinstance(predictions, dict) else [predictions]:
        assert np.isfinite(part).all()
    assert_profile_fits(read_profile(trained.model), model.input_example, predictions)
    if name in SAMPLED:
        assert_sample_is_predicted(trained, SAMPLED[name])


def assert_profile_fits(profile: Any, inputs: Any, answers: Any) -> None:
    """Check that the model's profile has features of all inputs and answers."""
    assert profile is not None
    for rows, key in ((inputs, "inputs"), (answers, "answers")):
        names = {name for name, summary, _ in features_of(profile[key], rows) if summary["rows"]}
        assert len(names) >= len(rows) if isinstance(rows, dict) else names
    assert len(json.dumps(profile)) < 250_000


def assert_sample_is_predicted(trained: Trained, outputs: int) -> None:
    """Predict rows of the recipe's own data, with their true labels."""
    with contextlib.chdir(trained.folder):
        settings = load({"tracking_uri": trained.answer["tracking_uri"]})
        answer = predict(settings, f"runs:/{trained.answer['run_id']}/model", [], sample=2)
    parts = [output.predictions for output in answer.outputs] if outputs > 1 else [answer.predictions]
    assert len(parts) == outputs
    for predictions in parts:
        assert len(predictions) == 2
        assert all(prediction.true_label is not None for prediction in predictions)


def test_the_gallery_is_listed() -> None:
    index = (GALLERY / "README.md").read_text()
    assert [name for name in RECIPES if f"({name}.py)" not in index] == []
