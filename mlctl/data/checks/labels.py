"""Targets that may be wrong: cheap models that have not seen a row contradict its target, and are sure.

Each row is left out of one of five trainings. Of two classes and more, boosted trees and a linear model must both
contradict. Of texts, a linear model on TF-IDF decides.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlctl.data.checks.columns import as_numbers
from mlctl.data.dataset import Dataset
from mlctl.data.tables.column_types import CATEGORY, TEXT
from mlctl.data.unspaced_scripts import UNSPACED_SHARE, share_unspaced

MAX_ROWS, MAX_TEXTS, MAX_FEATURES, MAX_CLASSES = 5000, 4000, 100, 30
FOLDS, TREES = 5, 60
FEWEST_ROWS = 50
MAX_OWN_PROBABILITY = 0.1  # by either model, of the class that the row has
MAX_MEAN_PROBABILITY = 0.05
FAR = 10.0  # standard deviations of the error, estimated from its median, of a regression
MAX_SUSPECT_SHARE = 0.02  # more errors of a regression are a long tail
ONE_HOTS = 30

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """Rows whose target may be wrong, the most suspicious first.

    Attributes:
        rows: Numbers of the rows, among those of the arguments.
        expected: Class or value that the models expect of each of them.
        probabilities: Their probability of it; None of a regression.
        checked: Number of rows that were checked.
        accuracy: Share of the checked rows whose class the models expect; None of a regression.
        skipped: Why nothing was checked, or "".
    """

    rows: Array
    expected: Array
    probabilities: Array | None = None
    checked: int = 0
    accuracy: float | None = None
    skipped: str = ""


def find_suspects(inputs: Any, targets: Array, data: Dataset) -> Suspects:
    """Return the rows whose target may be wrong; `inputs` is a table, or texts."""
    nothing = Suspects(rows=np.zeros(0, int), expected=np.zeros(0))
    is_table = hasattr(inputs, "iloc")
    chosen = _sample(len(targets), MAX_ROWS if is_table else MAX_TEXTS)
    targets = targets[chosen]
    classes = len(data.classes)
    if len(chosen) < FEWEST_ROWS:
        return _skipped(nothing, f"fewer than {FEWEST_ROWS} rows")
    if classes > MAX_CLASSES:
        return _skipped(nothing, f"more than {MAX_CLASSES} classes")
    if classes:  # a class needs a row in each part
        counts = np.bincount(targets, minlength=classes)
        is_frequent = counts[targets] >= FOLDS
        chosen, targets = chosen[is_frequent], targets[is_frequent]
        if len(np.unique(targets)) < 2:
            return _skipped(nothing, "fewer than two classes have enough rows")
    from threadpoolctl import threadpool_limits

    # small trees are slower with more threads; a linear model that has not converged is good enough here
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not is_table:
            return _suspects_of_texts([inputs[row] for row in chosen.tolist()], targets, chosen)
        trees, linear = _features(inputs.iloc[chosen], targets, data)
        if classes:
            return _suspects_of_classes(trees, linear, targets, chosen)
        return _suspects_of_values(trees, targets, chosen)


def _skipped(nothing: Suspects, reason: str) -> Suspects:
    return Suspects(rows=nothing.rows, expected=nothing.expected, skipped=reason)


def _sample(rows: int, most: int) -> Array:
    order = np.random.default_rng(7).permutation(rows)[:most]
    chosen: Array = np.sort(order)
    return chosen


def _features(frame: Any, targets: Array, data: Dataset) -> tuple[Array, Array]:
    """Return the features of rows for trees (with NaN), and for a linear model."""
    types, formats = data.extra.get("columns", {}), data.extra.get("formats", {})
    trees: list[Array] = []
    linear: list[Array] = []
    for name in frame:
        values = frame[name]
        type = types.get(name) or ("number" if values.dtype.kind in "fiub" else CATEGORY)
        if type == TEXT:
            topics = _topics(values.fillna("").astype(str).tolist())
            trees += list(topics.T)
            linear += list(_scaled(topics).T)
        elif type == CATEGORY:
            words = values.astype("string")
            frequent = words.value_counts().index.tolist()
            place = {word: float(number) for number, word in enumerate(frequent)}
            trees.append(np.array([place.get(word, np.nan) for word in words.tolist()], np.float64))
            linear += [(words == word).fillna(False).to_numpy(np.float64) for word in frequent[:ONE_HOTS]]
        else:
            numbers = as_numbers(values, type, formats.get(name, ""))
            trees.append(numbers)
            linear.append(np.nan_to_num(_scaled(numbers[:, None])[:, 0]))
    return _most_useful(np.stack(trees, axis=1), targets), np.stack(linear, axis=1)


def _scaled(values: Array) -> Array:
    median = np.nanmedian(values, axis=0)
    low, high = np.nanquantile(values, [0.25, 0.75], axis=0)
    scale = np.where(high > low, high - low, np.nanstd(values, axis=0))
    z = (values - median) / np.where(scale > 0, scale, 1.0)
    scaled: Array = z / np.sqrt(1 + (z / 3) ** 2)
    return scaled


def _most_useful(features: Array, targets: Array) -> Array:
    """Return at most `MAX_FEATURES` columns: trees on a wide table take long."""
    if features.shape[1] <= MAX_FEATURES:
        return features
    from sklearn.feature_selection import f_regression

    scores, _ = f_regression(np.nan_to_num(features), targets)
    best = np.argsort(-np.nan_to_num(scores))[:MAX_FEATURES]
    chosen: Array = features[:, np.sort(best)]
    return chosen


def _vectorized(texts: Sequence[str], most: int) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    is_unspaced = share_unspaced(texts[:1000]) >= UNSPACED_SHARE
    vectorizer = TfidfVectorizer(
        analyzer="char" if is_unspaced else "word",
        ngram_range=(1, 2),
        min_df=2,
        max_features=most,
        sublinear_tf=True,
    )
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # no word is in two texts
        return None


def _topics(texts: Sequence[str]) -> Array:
    from sklearn.decomposition import TruncatedSVD

    vectors = _vectorized(texts, 5000)
    if vectors is None or vectors.shape[1] < 3:
        return np.array([[float(len(text))] for text in texts])
    topics: Array = TruncatedSVD(min(20, vectors.shape[1] - 1), random_state=0).fit_transform(vectors)
    return topics


def _suspects_of_classes(trees: Array, linear: Array, targets: Array, chosen: Array) -> Suspects:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    classes = len(np.unique(targets))
    boosted = HistGradientBoostingClassifier(
        max_iter=max(10, 2 * TREES // max(2, classes)),
        max_leaf_nodes=15,
        early_stopping=False,
        random_state=0,
    )
    by_trees = _held_out(boosted, trees, targets)
    by_line = _held_out(LogisticRegression(C=1.0, max_iter=200), linear, targets)
    return _contradicted([by_trees, by_line], targets, chosen)


def _suspects_of_texts(texts: Sequence[str], targets: Array, chosen: Array) -> Suspects:
    from sklearn.linear_model import LogisticRegression

    vectors = _vectorized(texts, 20_000)
    if vectors is None:
        return Suspects(rows=np.zeros(0, int), expected=np.zeros(0), skipped="no word is in two texts")
    return _contradicted(
        [_held_out(LogisticRegression(C=10.0, max_iter=200), vectors, targets)], targets, chosen
    )


def _held_out(model: Any, features: Any, targets: Array) -> Array:
    """Return the probabilities of each row, by a model that has not seen it."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    found: Array = cross_val_predict(model, features, targets, cv=folds, method="predict_proba")
    return found


def _contradicted(answers: Sequence[Array], targets: Array, chosen: Array) -> Suspects:
    known, own = np.unique(targets, return_inverse=True)
    places = np.arange(len(targets))
    of_own = np.stack([answer[places, own] for answer in answers])
    mean = np.mean(answers, axis=0)
    expected = mean.argmax(axis=1)
    suspect = (of_own.max(axis=0) < MAX_OWN_PROBABILITY) & (of_own.mean(axis=0) < MAX_MEAN_PROBABILITY)
    rows = np.flatnonzero(suspect)
    rows = rows[np.argsort(of_own.mean(axis=0)[rows], kind="stable")]
    return Suspects(
        rows=chosen[rows],
        expected=known[expected[rows]],
        probabilities=mean[rows, expected[rows]],
        checked=len(targets),
        accuracy=float((expected == own).mean()),
    )


def _suspects_of_values(features: Array, targets: Array, chosen: Array) -> Suspects:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    model = HistGradientBoostingRegressor(
        loss="absolute_error", max_iter=TREES, max_leaf_nodes=15, early_stopping=False, random_state=0
    )
    expected = cross_val_predict(model, features, targets, cv=KFold(FOLDS, shuffle=True, random_state=0))
    error = np.abs(targets - expected)
    deviation = 1.4826 * float(np.median(error))
    rows = np.flatnonzero(error > FAR * deviation) if deviation else np.zeros(0, int)
    if len(rows) > MAX_SUSPECT_SHARE * len(targets):
        rows = rows[:0]
    rows = rows[np.argsort(-error[rows], kind="stable")]
    return Suspects(rows=chosen[rows], expected=expected[rows], checked=len(targets))
