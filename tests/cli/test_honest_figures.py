"""Folds, files of test rows, a threshold and intervals, from the training to the evaluation."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.trained import Trained, mlctl, trained

ROWS = 260


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train on claims, of which a sixth are fraud, with everything that makes figures honest."""
    folder = tmp_path_factory.mktemp("claims")
    rng = np.random.default_rng(3)
    is_fraud = rng.random(ROWS) < 1 / 6
    frame = pd.DataFrame(
        {
            "amount": rng.normal(300, 90, ROWS) + 250 * is_fraud,
            "hour": rng.integers(0, 24, ROWS),
            "verdict": np.where(is_fraud, "fraud", "genuine"),
        }
    )
    frame[:200].to_csv(folder / "claims.csv", index=False)
    frame[200:].to_csv(folder / "new.csv", index=False)
    options = (
        "--target verdict --test new.csv --folds 2 --epochs 4 --set bags=1 --set members=1 --set threshold=f1"
    )
    return trained(folder, "claims.csv", *options.split())


def test_folds_are_scored_and_the_model_trains_on_all_rows(claims: Trained) -> None:
    answer, metrics = claims.answer, claims.answer["metrics"]
    assert answer["data"]["splits"] == {"train": 200, "test": 60}
    assert len(answer["folds"]["f1"]) == 2
    assert metrics["folds_f1_mean"] == pytest.approx(np.mean(answer["folds"]["f1"]), rel=1e-3)
    assert metrics["best_val_f1"] == metrics["folds_f1_mean"]
    assert metrics["folds_f1_std"] == pytest.approx(np.std(answer["folds"]["f1"], ddof=1), rel=1e-2, abs=1e-4)
    assert "test_average_precision" in metrics
    assert "test_log_loss" in metrics
    assert "test_brier" in metrics
    assert 0 < metrics["best_threshold"] < 1


def test_intervals_hold_their_scores(claims: Trained) -> None:
    intervals, metrics = claims.answer["intervals"], claims.answer["metrics"]
    assert {"test_accuracy", "test_f1", "test_auc", "best_val_f1"} <= set(intervals)
    for name, (low, high) in intervals.items():
        assert low <= metrics[name] <= high, name


def evaluate(claims: Trained, *arguments: str) -> Any:
    run_id = claims.answer["run_id"]
    model = claims.answer["model_uri"] or run_id
    return json.loads(mlctl(claims.folder, "evaluate", model, *arguments, "-o", "json").stdout)


def test_predict_and_evaluate_use_the_threshold(claims: Trained) -> None:
    metrics = claims.answer["metrics"]
    found = evaluate(claims, "new.csv")
    for name in ("f1", "recall", "precision", "accuracy", "brier"):
        assert found["metrics"][name][0] == pytest.approx(metrics[f"test_{name}"], abs=1e-6)
    low, high = found["intervals"]["accuracy"][0]
    assert low < found["metrics"]["accuracy"][0] < high
    answer = mlctl(claims.folder, "predict", claims.answer["model_uri"], "new.csv", "-o", "json").stdout
    predictions = json.loads(answer)["predictions"]
    threshold = metrics["best_threshold"]
    for row in predictions:
        fraud = row["probability"] if row["label"] == "fraud" else 1 - row["probability"]
        assert (fraud > threshold) == (row["label"] == "fraud")
