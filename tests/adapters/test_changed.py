"""Answers to rows of which some features changed are what the whole model would say to them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from mlctl.adapters.models.feature_shuffling import Changed

WIDTH = 12


def plain() -> keras.Model:
    return keras.Sequential([
        keras.Input((WIDTH,)), layers.Dense(8, activation="relu"), layers.Dropout(0.5), layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


def unbiased() -> keras.Model:
    return keras.Sequential([keras.Input((WIDTH,)), layers.Dense(1, use_bias=False)])


def normalized() -> keras.Model:
    return keras.Sequential([keras.Input((WIDTH,)), layers.LayerNormalization(), layers.Dense(2)])


def branched() -> keras.Model:
    given = keras.Input((WIDTH,))
    return keras.Model(given, layers.Concatenate()([layers.Dense(2)(given), given]))


@pytest.mark.parametrize("make", [plain, unbiased, normalized, branched], ids=lambda one: one.__name__)
def test_changed_answers_are_the_models(make: object) -> None:
    model = make()
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, WIDTH)).astype(np.float32)
    answers = Changed(model, rows)
    np.testing.assert_allclose(answers(), model(rows), atol=1e-5)
    for places in ([3], [0, 7, 11], range(WIDTH)):
        other = rows.copy()
        other[:, places] = rng.normal(size=(30, len(places)))
        assert np.abs(answers() - np.asarray(model(other))).max() > 1e-3
        np.testing.assert_allclose(answers(places, other[:, places]), model(other), atol=1e-5)
