"""Training on images on disk equals training in memory; a trained network serves as backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlctl.data.dataset import Split
from mlctl.data.files.images import ImageFiles
from mlctl.errors import BadDataError, NotFoundError, UnreachableError

IMAGES = 22


@pytest.fixture(scope="module")
def keras() -> Any:
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    import keras

    return keras


@pytest.fixture
def images(tmp_path: Path) -> ImageFiles:
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{number}.png" for number in range(IMAGES)]
    for file in files:
        Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(file)
    return ImageFiles(tuple(files), 8, 8)


def build_model(keras: Any) -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(6, "relu"),
            keras.layers.Dense(2, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_weights_equal_those_of_training_in_memory(keras: Any, images: ImageFiles) -> None:
    from mlctl.adapters.keras import programs
    from mlctl.adapters.keras.prefetch import StreamedProgram

    targets = (np.arange(IMAGES) % 2).astype(np.int32)
    order = np.random.default_rng(1).permutation(IMAGES)
    models = [build_model(keras), build_model(keras)]
    for model, inputs in zip(models, (images, images.dense()), strict=True):
        program = programs.make_program(model, Split(inputs, targets), 4)
        assert isinstance(program, StreamedProgram) == (inputs is images)
        program.begin_epoch(order)
        program.train(0, 3)  # in pieces; the last batch is incomplete
        program.train(3, program.steps)
    for streamed, in_memory in zip(*(model.get_weights() for model in models), strict=True):
        assert np.allclose(streamed, in_memory, atol=1e-6)


def test_predictions_are_made_in_batches_from_disk(keras: Any, images: ImageFiles) -> None:
    from mlctl.adapters.keras import programs

    model = build_model(keras)
    predictions = programs.make_predictor(model).predict(images)
    assert np.allclose(predictions, np.asarray(model(images.dense())), atol=1e-6)


def test_backbone_is_frozen_and_has_no_output_layers(keras: Any, tmp_path: Path) -> None:
    from mlctl.recipes.backbone import backbone

    build_model(keras).save(tmp_path / "trained.keras")
    network = backbone(str(tmp_path / "trained.keras"), (8, 8, 3))
    assert network.output_shape == (None, 6 * 6 * 4)
    assert not network.trainable_weights
    with pytest.raises(BadDataError, match="takes images of") as raised:
        backbone(str(tmp_path / "trained.keras"), (16, 16, 3))
    assert raised.value.hint == "--set image_size=8x8"
    (tmp_path / "other.keras").write_bytes(b"no model")
    with pytest.raises(BadDataError, match="not a Keras model"):
        backbone(str(tmp_path / "other.keras"), (8, 8, 3))
    with pytest.raises(NotFoundError):
        backbone("nowhere.keras", (8, 8, 3))
    unbuilt = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.Dense(2)])
    with pytest.warns(UserWarning, match="not yet been built"):
        unbuilt.save(tmp_path / "unbuilt.keras")
    with pytest.raises(BadDataError, match=r"unbuilt\.keras was saved before it was built") as raised:
        backbone(str(tmp_path / "unbuilt.keras"), (8, 8, 3))
    assert "keras.Input((HEIGHT, WIDTH, 3))" in raised.value.hint


def test_keras_applications_are_found_by_name(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are not downloaded; without a network, the error says so."""
    import socket
    import urllib.error

    from keras.src.utils import file_utils

    from mlctl.recipes import backbone as networks

    def fail(*_: Any, **__: Any) -> None:
        assert socket.getdefaulttimeout() == networks.TIMEOUT_S
        raise urllib.error.URLError(OSError("no network"))

    monkeypatch.setattr(file_utils, "urlretrieve", fail)
    monkeypatch.setenv("KERAS_HOME", "/nonexistent")
    with pytest.raises(UnreachableError, match="MobileNetV3Small: its weights are not here") as missing:
        networks.backbone("MobileNetV3Small", (64, 64, 3))
    assert missing.value.hint.startswith("put weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5 into")
    assert socket.getdefaulttimeout() is None
    with pytest.raises(NotFoundError) as raised:
        networks.backbone("MobileNetV4Small", (64, 64, 3))
    assert "MobileNetV3Small" in raised.value.hint
    application = keras.applications.MobileNetV3Small
    monkeypatch.setattr(
        keras.applications, "MobileNetV3Small", lambda **options: application(**options | {"weights": None})
    )
    network = networks.backbone("MobileNetV3Small", (64, 64, 3))
    assert not network.trainable_variables
    assert network.output_shape == (None, 576)
    assert networks.pixel_range("MobileNetV3Small", "0..1") == "0..255"
    assert all(hasattr(keras.applications, name) for name in networks.APPLICATIONS)
