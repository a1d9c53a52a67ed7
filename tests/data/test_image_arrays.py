"""Images in an .npz file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.data.files.image_arrays import load_image_arrays, read_labels, to_rgb
from mlctl.errors import BadDataError, UsageError
from mlctl.services.evaluation.inputs import read_batches
from mlctl.services.evaluation.predictor import PredictorInfo
from mlctl.serving.payloads.signature import ModelSignature, TensorSpec
from tests.recording_listener import RecordingListener

pytestmark = pytest.mark.unit

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 8, 10), np.uint8)
LABELS = np.array(["cat", "dog"] * 30)


def test_images_are_split_by_class(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, X=PIXELS, y=LABELS)
    data = load_image_arrays(path, None, seed=7)
    assert data.classes == ("cat", "dog")
    assert data.train.inputs.shape[1:] == (8, 10, 3)
    assert sum(data.splits.values()) == 60
    assert load_image_arrays(path, (4, 4), seed=7).train.inputs.shape[1:] == (4, 4, 3)
    assert read_labels(path).tolist() == LABELS.tolist()


def test_published_splits_stay(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, x_train=PIXELS[:40], x_test=PIXELS[40:], y_train=LABELS[:40], y_test=LABELS[40:])
    data = load_image_arrays(path, None, seed=7)
    assert data.test is not None
    assert (data.test.inputs[..., 0] == PIXELS[40:]).all()
    assert sum(data.splits.values()) == 60


@pytest.mark.parametrize(
    ("images", "pixel"),
    [
        (PIXELS, PIXELS[3, 2, 1]),
        (PIXELS[..., None] / 255, PIXELS[3, 2, 1]),
        (np.repeat(PIXELS[:, None], 3, axis=1), PIXELS[3, 2, 1]),
        (PIXELS.astype(np.uint16) * 257, PIXELS[3, 2, 1]),
    ],
)
def test_pixels_become_rgb(images: Any, pixel: int) -> None:
    rgb = to_rgb(images)
    assert rgb.shape == (60, 8, 10, 3)
    assert rgb.dtype == np.uint8
    assert rgb[3, 2, 1].tolist() == [pixel] * 3


def test_predict_reads_the_images_beside_their_labels(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(
        path, x_train=PIXELS[:50] / 255, x_test=PIXELS[50:] / 255, y_train=LABELS[:50], y_test=LABELS[50:]
    )
    tensor = TensorSpec(name="", dtype="uint8", shape=(-1, 8, 10, 3))
    info = PredictorInfo(name="m", version="1", signature=ModelSignature(tensor=tensor))
    (batch,) = read_batches(info, [str(path)], listener=RecordingListener())
    assert (np.asarray(batch.rows)[..., 2] == PIXELS).all()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, X=PIXELS, y=LABELS[:10])
    with pytest.raises(BadDataError, match="no array of labels for X"):
        load_image_arrays(path, None, seed=7)
    np.savez(path, X=PIXELS, y=LABELS)
    with pytest.raises(UsageError, match=r"--target z: .* has no such array"):
        load_image_arrays(path, None, seed=7, target="z")
    with pytest.raises(BadDataError, match="no 1, 3 or 4 channels"):
        to_rgb(np.zeros((5, 8, 8, 2)))
