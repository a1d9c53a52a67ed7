"""The model of a script on another Keras backend is saved by a process that has it on TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlctl.adapters.keras import runtime
from tests.script_run import run_here

OWN_LAYER = """
import keras
import numpy as np


class Scaled(keras.layers.Layer):
    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs


keras.utils.set_random_seed(1)
x = np.random.rand(120, 4).astype("float32")
y = (x.sum(1) > 2).astype("int32")
layers = [keras.Input((4,)), Scaled(2.0), keras.layers.Dense(2, "softmax")]
model = keras.Sequential(layers)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=2, verbose=0)
measured = model.evaluate(x[:50] + 1, y[:50], verbose=0, return_dict=True)
answers = model.predict(x[:5], verbose=0)
"""


def test_the_model_is_logged_with_its_own_code_and_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "current_backend", lambda: "jax")
    run = run_here(tmp_path, OWN_LAYER, save=True)
    assert run.params["backend"] == "jax"
    assert run.tags["mlctl.runtime"] == "onnxruntime"
    assert run.metrics["test_accuracy"] == pytest.approx(run.names["measured"]["accuracy"])
    assert "test_log_loss" in run.metrics  # which only the logged model's answers give
    assert run.said("served by ONNX Runtime")
    np.testing.assert_allclose(
        run.load_model().predict(run.names["x"][:5]), run.names["answers"], rtol=1e-4, atol=1e-5
    )


def test_why_it_cannot_be_saved_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "current_backend", lambda: "jax")
    lost = OWN_LAYER.replace("self.factor * inputs", "handle and self.factor * inputs").replace(
        "\n\nclass Scaled", '\n\nhandle = open("data", "w")\n\n\nclass Scaled'
    )
    run = run_here(tmp_path, lost, save=True)
    assert run.status == "FINISHED"
    assert run.said("the model is not logged", "cannot travel with the model")
