"""Workers share the weights of a large graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlctl.serving.conversion import shared_weights
from mlctl.serving.conversion.session import open_session


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a model's folder: two layers, and a file that belongs to them."""
    monkeypatch.setattr(shared_weights, "MIN_BYTES", 1000)
    generator = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(generator.normal(size=(64, 64)).astype(np.float32), name) for name in "ab"
    ]
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])]
    given, answer = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64]) for name in "xy")
    graph = helper.make_graph(nodes, "graph", [given], [answer], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (tmp_path / "model").mkdir()
    onnx.save(model, str(tmp_path / "model" / "model.onnx"))
    (tmp_path / "model" / "encoder.json").write_text("{}")
    return tmp_path / "model"


def test_the_weights_are_in_a_file_that_is_mapped_and_the_answers_stay(folder: Path, tmp_path: Path) -> None:
    shared = shared_weights.share_weights(folder, tmp_path / "scratch")
    assert shared != folder
    assert (shared / "encoder.json").read_text() == "{}"
    assert (shared / shared_weights.WEIGHTS).stat().st_size > 2 * 64 * 64 * 4
    assert (shared / "model.onnx").stat().st_size < 10_000
    rows = np.ones((3, 64), np.float32)
    found, expected = (
        open_session(str(place / "model.onnx")).run(None, {"x": rows})[0] for place in (shared, folder)
    )
    np.testing.assert_array_equal(found, expected)
    written = (shared / shared_weights.WEIGHTS).stat().st_mtime_ns
    assert shared_weights.share_weights(folder, tmp_path / "scratch") == shared
    assert (shared / shared_weights.WEIGHTS).stat().st_mtime_ns == written


def test_a_graph_that_is_small_or_broken_is_loaded_as_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "model.onnx").write_bytes(b"no graph" * 1000)
    assert shared_weights.share_weights(folder, tmp_path / "scratch") == folder
    assert [path.name for path in (tmp_path / "scratch" / "shared-weights").iterdir()] == ["lock"]
    monkeypatch.setattr(shared_weights, "MIN_BYTES", 1_000_000)
    assert shared_weights.share_weights(folder, tmp_path / "other") == folder
    assert not (tmp_path / "other").exists()
