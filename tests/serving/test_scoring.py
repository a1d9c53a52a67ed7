"""scoring.py serves a model without mlctl and TensorFlow, and with stock MLflow."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pytest

from mlctl.data.builtin import synthetic
from mlctl.recipes import encoders
from mlctl.serving import scoring
from tests.trained import Trained, environment

PREDICT_WITHOUT_MLCTL = """
import json, sys
class BlockedImports:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"mlctl", "tensorflow", "keras"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, BlockedImports())
import mlflow.pyfunc, numpy as np, pandas as pd
images = np.load(sys.argv[3])
image_model = mlflow.pyfunc.load_model(sys.argv[1])
answers = {str(rows): image_model.predict(images[:rows]) for rows in (1, 7, 64)}
text_model = mlflow.pyfunc.load_model(sys.argv[2])
answers["texts"] = text_model.predict(pd.DataFrame({"text": ["ba be bi", ""]}))
for name in ("mlctl", "tensorflow", "keras"):
    assert name not in sys.modules, name
np.savez(sys.argv[4], **answers)
"""


def keras_answers(digits: Trained, rows: int) -> np.ndarray:
    images, _ = synthetic.make_digits(100)
    core = mlflow.keras.load_model(str(digits.model))
    return np.asarray(core(scoring.PixelEncoder((8, 8), 16)(images[:rows])))


def test_a_model_answers_without_mlctl_and_tensorflow(
    digits: Trained, small: dict[str, Trained], tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", synthetic.make_digits(100)[0])
    paths = [digits.model, small["imdb"].model, tmp_path / "images.npy", tmp_path / "answers.npz"]
    done = subprocess.run(
        [sys.executable, "-c", PREDICT_WITHOUT_MLCTL, *map(str, paths)],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Type hint" not in done.stderr
    with np.load(tmp_path / "answers.npz") as answers:
        for rows in (1, 7, 64):
            np.testing.assert_allclose(answers[str(rows)], keras_answers(digits, rows), atol=1e-4)
        assert answers["texts"].shape == (2, 1)


@pytest.mark.live
def test_mlflow_serves_the_model(digits: Trained, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["models", "serve", "-m", str(digits.model), "--env-manager", "local", "-p", str(port)]
    log = (tmp_path / "log.txt").open("w")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow searches uvicorn in PATH
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *command],
        cwd=tmp_path,
        env=environment(tmp_path, PATH=path),
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        images, _ = synthetic.make_digits(100)
        body = json.dumps({"inputs": images[:7].tolist()}).encode()
        answer = post_when_ready(f"http://127.0.0.1:{port}/invocations", body, server)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()
    np.testing.assert_allclose(answer["predictions"], keras_answers(digits, 7), atol=1e-4)


def post_when_ready(url: str, body: bytes, server: subprocess.Popen[bytes]) -> dict[str, list[list[float]]]:
    """Post a request as soon as the server accepts connections."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    for _ in range(240):
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            pytest.fail(error.read().decode()[:2000])
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server never answered")


# -- the encoders -------------------------------------------------------------------------------------------


@pytest.mark.unit
@pytest.mark.parametrize(
    "encoder",
    [
        scoring.PixelEncoder((2, 2), 16),
        scoring.TextEncoder(["the", "film", "don't"]),
        encoders.table(
            synthetic.make_housing(100),
            [{"make": "number", "of": "total_bedrooms"}, {"make": "category", "of": "ocean_proximity"}],
        ),
    ],
    ids=lambda encoder: encoder.kind,
)
def test_an_encoder_is_restored_from_its_json(
    encoder: scoring.PixelEncoder | scoring.TextEncoder | scoring.TableEncoder,
) -> None:
    raw = {
        "pixels": np.arange(8).reshape(2, 2, 2),
        "words": ["The film", "don't!"],
        "table": synthetic.make_housing(120),
    }[encoder.kind]
    restored = scoring.encoder_from_state(json.loads(json.dumps({"kind": encoder.kind, **encoder.state()})))
    np.testing.assert_array_equal(encoder(raw), restored(raw))


@pytest.mark.unit
def test_words_are_split_as_by_the_keras_tokenizer() -> None:
    words = scoring.TextEncoder(["the", "film", "don't", "a"])
    encoded = words(["The film, the FILM!", "don't\tdo\na", "x.the", ""])
    assert encoded.tolist() == [[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert encoded.dtype == np.float32


@pytest.mark.unit
def test_pixels_are_scaled_and_their_shape_is_checked() -> None:
    pixels = scoring.PixelEncoder((2, 2), 16)
    encoded = pixels(np.full((3, 2, 2), 8, np.uint8))
    assert encoded.shape == (3, 2, 2, 1)
    assert encoded.dtype == np.float32
    assert (encoded == 0.5).all()
    with pytest.raises(ValueError, match=r"must have shape \(2, 2\), not \(4,\)"):
        pixels(np.zeros((3, 4)))
