"""Predictions with some features replaced equal those of the whole model."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from mlctl.adapters.models.feature_shuffling import PerturbedPredictor

WIDTH = 12


def with_dense_first() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((WIDTH,)),
            layers.Dense(8, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    )


def without_bias() -> keras.Model:
    return keras.Sequential([keras.Input((WIDTH,)), layers.Dense(1, use_bias=False)])


def with_normalization_first() -> keras.Model:
    return keras.Sequential([keras.Input((WIDTH,)), layers.LayerNormalization(), layers.Dense(2)])


def functional() -> keras.Model:
    inputs = keras.Input((WIDTH,))
    return keras.Model(inputs, layers.Concatenate()([layers.Dense(2)(inputs), inputs]))


@pytest.mark.parametrize(
    "build",
    [with_dense_first, without_bias, with_normalization_first, functional],
    ids=lambda build: build.__name__,
)
def test_perturbed_predictions_are_the_models(build: Callable[[], keras.Model]) -> None:
    model = build()
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, WIDTH)).astype(np.float32)
    predict = PerturbedPredictor(model, rows)
    np.testing.assert_allclose(predict(), model(rows), atol=1e-5)
    for columns in ([3], [0, 7, 11], range(WIDTH)):
        changed = rows.copy()
        changed[:, columns] = rng.normal(size=(30, len(columns)))
        assert np.abs(predict() - np.asarray(model(changed))).max() > 1e-3
        np.testing.assert_allclose(predict(columns, changed[:, columns]), model(changed), atol=1e-5)
