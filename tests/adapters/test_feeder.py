"""Pictures that stay on disk are trained on as if they lay in memory; a trained network serves as backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlctl.data.files.images import ImageFiles
from mlctl.errors import BadDataError, NotFoundError, UnreachableError


@pytest.fixture(scope="module")
def keras() -> Any:
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    import keras

    return keras


@pytest.fixture
def pictures(tmp_path: Path) -> ImageFiles:
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{number}.png" for number in range(22)]
    for file in files:
        Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(file)
    return ImageFiles(tuple(files), 8, 8)


def made(keras: Any) -> Any:
    keras.utils.set_random_seed(3)
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(4, 3),
        keras.layers.Flatten(),
        keras.layers.Dense(6, "relu"),
    ]
    model = keras.Sequential([*layers, keras.layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_weights_are_those_of_training_in_memory(keras: Any, pictures: ImageFiles) -> None:
    from mlctl.adapters.keras import programs
    from mlctl.adapters.keras.prefetch import FedProgram

    targets = (np.arange(22) % 2).astype(np.int32)
    order = np.random.default_rng(1).permutation(22)
    models = [made(keras), made(keras)]
    for model, inputs in zip(models, (pictures, pictures.dense()), strict=True):
        program = programs.program_for(model, inputs, targets, 4)
        assert isinstance(program, FedProgram) == (inputs is pictures)
        program.begin_epoch(order)
        program.train(0, 3)  # in pieces, the last of them with a batch that is not full
        program.train(3, program.steps)
    for fed, whole in zip(*(model.get_weights() for model in models), strict=True):
        assert np.allclose(fed, whole, atol=1e-6)


def test_answers_come_from_disk_in_pieces(keras: Any, pictures: ImageFiles) -> None:
    from mlctl.adapters.keras import programs

    model, targets = made(keras), np.zeros(22, np.int32)
    found, _ = programs.predict(programs.predictor_for(model, pictures), pictures, targets)
    assert np.allclose(found, np.asarray(model(pictures.dense())), atol=1e-6)


def test_a_backbone_is_frozen_and_loses_its_last_layers(keras: Any, tmp_path: Path) -> None:
    from mlctl.recipes.backbone import backbone

    made(keras).save(tmp_path / "trained.keras")
    trunk = backbone(str(tmp_path / "trained.keras"), (8, 8, 3))
    assert trunk.output_shape == (None, 6 * 6 * 4)
    assert not trunk.trainable_weights
    with pytest.raises(BadDataError, match="takes pictures of") as told:
        backbone(str(tmp_path / "trained.keras"), (16, 16, 3))
    assert told.value.hint == "--set image_size=8x8"
    (tmp_path / "other.keras").write_bytes(b"no model")
    with pytest.raises(BadDataError, match="no Keras model"):
        backbone(str(tmp_path / "other.keras"), (8, 8, 3))
    with pytest.raises(NotFoundError):
        backbone("nowhere.keras", (8, 8, 3))
    unbuilt = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.Dense(2)])
    with pytest.warns(UserWarning, match="not yet been built"):
        unbuilt.save(tmp_path / "unbuilt.keras")
    with pytest.raises(BadDataError, match=r"unbuilt\.keras was saved before it was built") as told:
        backbone(str(tmp_path / "unbuilt.keras"), (8, 8, 3))
    assert "keras.Input((HEIGHT, WIDTH, 3))" in told.value.hint


def test_keras_own_networks_are_known_by_name(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without their weights, which are a download; and without a network one line says so."""
    import urllib.error

    from keras.src.utils import file_utils

    from mlctl.recipes import backbone as networks

    def away(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError(OSError("no network"))

    monkeypatch.setattr(file_utils, "urlretrieve", away)
    monkeypatch.setenv("KERAS_HOME", "/nonexistent")
    with pytest.raises(UnreachableError, match="MobileNetV3Small: its weights are not here"):
        networks.backbone("MobileNetV3Small", (64, 64, 3))
    with pytest.raises(NotFoundError) as told:
        networks.backbone("MobileNetV4Small", (64, 64, 3))
    assert "MobileNetV3Small" in told.value.hint
    make = keras.applications.MobileNetV3Small
    monkeypatch.setattr(
        keras.applications, "MobileNetV3Small", lambda **given: make(**given | {"weights": None})
    )
    trunk = networks.backbone("MobileNetV3Small", (64, 64, 3))
    assert not trunk.trainable_variables
    assert trunk.output_shape == (None, 576)
    assert networks.range_for("MobileNetV3Small", "0..1") == "0..255"
    assert all(hasattr(keras.applications, name) for name in networks.APPLICATIONS)
