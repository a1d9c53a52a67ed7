"""A saved model is loaded in a process that has neither mlctl nor the user's code."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from mlctl.adapters.models.fresh_process import predict_in_fresh_process
from mlctl.adapters.models.save import save_model
from mlctl.errors import BadDataError
from mlctl.recipes import find

ROWS = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
METADATA = {"recipe": "x", "task": "regression", "classes": [], "unit": ""}

RECIPE = """
from mlctl.recipes import Recipe
import mylayers


class Own(Recipe):
    offset = 2.0

    def encoder(self, data):
        return self.encode

    def encode(self, raw):
        return raw + self.offset

    def build(self, hp, data):
        import keras

        class Local(mylayers.Twice):
            def call(self, inputs):
                import late

                return super().call(inputs) + late.VALUE

        model = keras.Sequential([keras.Input((4,)), Local(), keras.layers.Dense(2)])
        model.compile("adam", mylayers.loss)
        return model
"""
LAYERS = """
import keras
from mlctl.recipes import Dataset


class Twice(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2


def loss(targets, answers):
    return keras.ops.mean(targets - answers)
"""


def test_code_of_a_recipe_and_its_neighbours_travels(tmp_path: Path) -> None:
    """The encoder is a method of the recipe: even mlctl's own Recipe class travels with it."""
    for name, text in {"mine": RECIPE, "mylayers": LAYERS, "late": "VALUE = 3.0"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    recipe = find(str(tmp_path / "mine.py"))
    model, encoder = recipe.build(None, None), recipe.encoder(None)  # type: ignore[arg-type]
    encoded = encoder(ROWS)
    expected = np.asarray(model(encoded))
    saved = save_model(tmp_path / "m", model, encoder=encoder, raw=ROWS, encoded=encoded, metadata=METADATA)
    assert saved.code == ("Local", "loss")
    assert saved.has_own_encoder
    fresh = predict_in_fresh_process(tmp_path / "m", ROWS, encoded)
    np.testing.assert_allclose(fresh.pyfunc, expected, atol=1e-5)
    np.testing.assert_allclose(fresh.keras[0], expected, atol=1e-5)


def test_what_is_missing_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import by a name that is made at run time does not travel."""
    (tmp_path / "hidden_helper_b.py").write_text("VALUE = 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)

    class Secret(keras.layers.Layer):
        def call(self, inputs: object) -> object:
            import importlib

            return inputs * importlib.import_module("hidden_" + "helper_b").VALUE  # type: ignore[operator]

    model = keras.Sequential([keras.Input((4,)), Secret()])
    model.compile("adam", "mse")
    save_model(tmp_path / "m", model, encoder=None, raw=ROWS, encoded=ROWS, metadata=METADATA)
    with pytest.raises(BadDataError) as raised:
        predict_in_fresh_process(tmp_path / "m", ROWS, ROWS)
    assert "No module named 'hidden_helper_b'" in raised.value.message
    assert "\n" not in raised.value.message
    assert "resume" in raised.value.hint
