"""A frozen network at the beginning of a model runs once for each row; the training stays the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlctl.data.dataset import Split
from mlctl.domain.objective import Objective
from mlctl.domain.progress import NullProgress

ROWS = 30
RNG = np.random.default_rng(0)
TRAIN = Split(RNG.random((ROWS, 8, 8, 3), np.float32), np.arange(ROWS) % 2)
VALIDATION = Split(RNG.random((8, 8, 8, 3), np.float32), np.arange(8) % 2)


@pytest.fixture(scope="module")
def keras() -> Any:
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    import keras

    return keras


def build_model(keras: Any, *, is_frozen: bool = True, drops: bool = False, flips: bool = False) -> Any:
    keras.utils.set_random_seed(3)
    layers = keras.layers
    trunk = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()])
    if drops:
        trunk.add(layers.Dropout(0.2))
    trunk.trainable = not is_frozen
    inputs = keras.Input((8, 8, 3))
    x = layers.RandomFlip()(inputs) if flips else inputs
    x = layers.GlobalAveragePooling2D()(trunk(layers.Rescaling(2.0, -1.0)(x), training=False))
    x = layers.Dropout(0.3)(layers.Dense(6, "relu")(x))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(x))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def make_loop(model: Any) -> Any:
    from mlctl.adapters.keras.fit import make_training_loop

    return make_training_loop(
        model, TRAIN, validation=VALIDATION, outputs=(), batch_size=8, seed=5, listener=NullProgress()
    )


def run(loop: Any, progress: Any, epochs: int, state: Any = None) -> None:
    loop.run(progress, epochs=epochs, patience=None, on_epoch_end=lambda epoch: None, state=state)


def test_a_resumed_training_on_features_equals_one_on_the_whole_model(
    keras: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlctl.adapters.keras import frozen_features
    from mlctl.adapters.keras.training_loop import TrainingProgress

    progress = TrainingProgress(Objective("val_loss", maximize=False))
    monkeypatch.setattr(frozen_features, "MAX_BYTES_IN_MEMORY", 0)  # a temporary file
    first = make_loop(build_model(keras))
    assert first.model.input_shape == (None, 4)
    run(first, progress, 2)
    state = first.read_state(progress)
    resumed_model = build_model(keras)
    resumed = make_loop(resumed_model)
    run(resumed, progress, 3, state)

    monkeypatch.setattr(frozen_features, "split_off", lambda model, train: None)
    whole_model = build_model(keras)
    whole_progress = TrainingProgress(Objective("val_loss", maximize=False))
    whole = make_loop(whole_model)
    assert whole.model is whole_model
    run(whole, whole_progress, 3)
    for one, other in zip(resumed_model.get_weights(), whole_model.get_weights(), strict=True):
        assert np.allclose(one, other, atol=1e-6)
    assert len(progress.best_weights) == len(whole_model.get_weights())
    assert progress.epochs[-1].metrics == pytest.approx(whole_progress.epochs[-1].metrics, abs=1e-5)


def test_the_frozen_layers_run_once_for_each_row(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlctl.adapters.keras import frozen_features
    from mlctl.adapters.keras.training_loop import TrainingProgress

    rows: list[int] = []

    class CountingPredictor(frozen_features.Predictor):
        def predict(self, inputs: Any, **options: Any) -> Any:
            rows.append(len(inputs))
            return super().predict(inputs, **options)

    monkeypatch.setattr(frozen_features, "Predictor", CountingPredictor)
    loop = make_loop(build_model(keras))
    progress = TrainingProgress(Objective("val_loss", maximize=False))
    run(loop, progress, 3)
    assert rows == [ROWS, len(VALIDATION.targets)]
    assert all(not layer.name.startswith("conv") for layer in loop.model._flatten_layers())


@pytest.mark.parametrize("options", [{"is_frozen": False}, {"drops": True}, {"flips": True}])
def test_what_changes_in_training_runs_in_every_epoch(keras: Any, options: dict[str, bool]) -> None:
    from mlctl.adapters.keras.frozen_features import split_off

    assert split_off(build_model(keras, **options), TRAIN) is None


def test_a_backbone_does_not_drop_values(keras: Any, tmp_path: Any) -> None:
    from mlctl.recipes.backbone import backbone

    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.SpatialDropout2D(0.5),
            keras.layers.Conv2D(4, 3),
            keras.layers.Dense(2),
        ]
    )
    model.save(tmp_path / "trunk.keras")
    network = backbone(str(tmp_path / "trunk.keras"), (8, 8, 3))
    assert [layer.rate for layer in network.layers if hasattr(layer, "rate")] == [0.0]
