"""Models that remember earlier batches are found before they are trained."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from mlctl.adapters.keras.train_step import find_stateful


@pytest.mark.parametrize("is_stateful", [True, False])
def test_stateful_layer_is_found(is_stateful: bool) -> None:
    inputs = keras.Input((8, 1), batch_size=20)
    answer = layers.Dense(2)(layers.LSTM(4, stateful=is_stateful, name="memory")(inputs))
    assert find_stateful(keras.Model(inputs, answer)) == ("memory" if is_stateful else None)
