"""Quick models that propose features: gains of a boosted model, and centres of dense regions."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np

GAIN_ROUNDS, GAIN_LEARNING_RATE = 60, 0.15

Array = np.ndarray[Any, Any]


def feature_gains(rows: Array, targets: Array, *, classes: int, seed: int) -> Array:
    """Return the total gain (width,) of each feature in a quick LightGBM model of rows (n, width)."""
    params: dict[str, Any] = {"verbosity": -1, "learning_rate": GAIN_LEARNING_RATE, "seed": seed}
    params["objective"] = "multiclass" if classes else "regression"
    if classes:
        params["num_class"] = classes
    booster = lightgbm.train(params, lightgbm.Dataset(rows, targets), GAIN_ROUNDS)
    return np.asarray(booster.feature_importance("gain"))


def cluster_centres(points: Array, count: int, seed: int) -> Array:
    """Return `count` k-means centres (count, k) of points (n, k)."""
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(count, random_state=seed, n_init=1).fit(points).cluster_centers_)
