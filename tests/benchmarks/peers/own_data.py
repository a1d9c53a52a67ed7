"""Fit one peer of tests/benchmarks/own_data.py to a table, and print its scores on other rows as JSON.

    python own_data.py PEER TRAIN.csv TEST.csv TARGET TASK SECONDS

PEER is boosting, linear, tfidf or flaml; TASK is classes, numbers or texts. It needs pandas and scikit-learn, and for
flaml the package FLAML with XGBoost (pip install "flaml[automl]").
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler

MAX_CATEGORIES = 255  # of a column, for boosting
MIN_SHARE_OF_DATES = 0.99


def read(path: str, target: str) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Return the columns and the target of a CSV file; dates become numbers, as their users would do it."""
    frame = pd.read_csv(path)
    targets = frame.pop(target)
    for name in list(frame):
        if pd.api.types.is_numeric_dtype(frame[name]):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dates = pd.to_datetime(frame[name], errors="coerce")
        if dates.notna().sum() >= MIN_SHARE_OF_DATES * max(1, frame[name].notna().sum()):
            frame[name] = (dates - pd.Timestamp("2000-01-01")) / pd.Timedelta("1D")
            frame[f"{name} month"], frame[f"{name} weekday"] = dates.dt.month, dates.dt.dayofweek
            frame[f"{name} hour"] = dates.dt.hour
    return frame, targets


def with_categories(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Declare the columns of words as categories: the most frequent ones in training; all others are gaps."""
    train, test = train.copy(), test.copy()
    for name in train:
        if not pd.api.types.is_numeric_dtype(train[name]):
            known = train[name].value_counts().index[: MAX_CATEGORIES - 1]
            for frame in (train, test):
                frame[name] = pd.Categorical(frame[name], categories=known)
    return train, test


def make_linear(train: pd.DataFrame, classes: bool) -> Any:
    """Return ridge or logistic regression after imputing, scaling and one-hot encoding."""
    numbers = [name for name in train if pd.api.types.is_numeric_dtype(train[name])]
    words = [name for name in train if name not in numbers]
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=3), words),
    )
    model: Any = LogisticRegression(max_iter=2000) if classes else RidgeCV(np.logspace(-2, 3, 11))
    return make_pipeline(columns, model)


def make_tfidf(**_: Any) -> Any:
    """Return TF-IDF of words and pairs of words with logistic regression."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000))


def make_tfidf_with_characters() -> Any:
    """Return TF-IDF of words and of character n-grams with logistic regression."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True)
    return make_pipeline(make_union(words, characters), LogisticRegression(C=10.0, max_iter=1000))


def fit(peer: str, train: pd.DataFrame, targets: pd.Series[Any], task: str, seconds: float) -> Any:
    """Return the fitted peer."""
    classes = task != "numbers"
    if peer in {"tfidf", "tfidf-chars"}:
        model = make_tfidf() if peer == "tfidf" else make_tfidf_with_characters()
    elif peer == "linear":
        model = make_linear(train, classes)
    elif peer == "boosting":
        model = (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(
            categorical_features="from_dtype", random_state=0
        )
    else:
        from flaml import AutoML

        started = time.monotonic()
        model = AutoML()
        model.fit(
            train,
            targets,
            task="classification" if classes else "regression",
            metric="accuracy" if classes else "mae",
            time_budget=seconds - (time.monotonic() - started),
            verbose=0,
            seed=0,
            n_jobs=2,
        )
        return model
    return model.fit(train, targets)


def score(model: Any, test: Any, targets: pd.Series[Any], task: str) -> dict[str, float]:
    """Return the scores of a fitted model on rows that it has not seen."""
    if task == "numbers":
        errors = np.asarray(model.predict(test), np.float64) - targets.to_numpy()
        return {"mae": float(np.abs(errors).mean()), "rmse": float(np.sqrt(np.square(errors).mean()))}
    probabilities = np.asarray(model.predict_proba(test), np.float64)
    classes = list(model.classes_)
    answers = np.asarray(classes)[probabilities.argmax(axis=1)]
    scores = {"accuracy": float((answers == targets.to_numpy()).mean())}
    if set(targets) <= set(classes):
        clipped = np.clip(probabilities, 1e-7, None)
        clipped /= clipped.sum(axis=1, keepdims=True)
        scores["log_loss"] = float(log_loss(targets, clipped, labels=classes))
        if len(classes) == 2:
            scores["brier"] = float(brier_score_loss(targets == classes[1], probabilities[:, 1]))
    return scores


def main() -> None:
    """Fit and score the peer that the command line names."""
    peer, train_path, test_path, target, task, seconds = sys.argv[1:]
    warnings.simplefilter("ignore")
    if task == "texts":
        (train, targets), (test, test_targets) = (
            (frame.drop(columns=target), frame[target])
            for frame in (pd.read_csv(path, keep_default_na=False) for path in (train_path, test_path))
        )
        if peer.startswith("tfidf"):
            train, test = train.iloc[:, 0].astype(str), test.iloc[:, 0].astype(str)
    else:
        (train, targets), (test, test_targets) = read(train_path, target), read(test_path, target)
        test = test.reindex(columns=train.columns)
        # LightGBM refuses brackets and commas in names
        train.columns = test.columns = [f"column_{number}" for number in range(len(train.columns))]
        if peer == "boosting":
            train, test = with_categories(train, test)
    model = fit(peer, train, targets, task, float(seconds))
    print(json.dumps(score(model, test, test_targets, task)))


if __name__ == "__main__":
    main()
