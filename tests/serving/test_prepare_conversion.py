"""The conversion at start: once for each model, with a reason if it fails."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlctl.serving.conversion import prepare as module
from mlctl.serving.conversion.prepare import prepare

CONVERTER = """
import json, pathlib, sys
folder, target = map(pathlib.Path, sys.argv[2:])
calls = pathlib.Path(sys.argv[1])
with calls.open("a") as file:
    file.write("x")
if (folder / "broken").exists():
    sys.exit("no module named nothing")
print("a library's own words")
(target / "model.onnx").write_text("graph")
print(json.dumps({"reason": "it draws random numbers" if (folder / "random").exists() else ""}))
"""


@pytest.fixture
def command(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "converter.py").write_text(CONVERTER)
    return sys.executable, str(tmp_path / "converter.py"), str(tmp_path / "calls")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}")
    return tmp_path / "model"


def test_workers_that_start_together_convert_once(
    tmp_path: Path, model: Path, command: tuple[str, ...]
) -> None:
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(prepare, model, command=command, cache=tmp_path / "cache") for _ in range(3)]
        results = {call.result() for call in calls}
    (result,) = results
    assert result.folder is not None
    assert (result.folder / "model.onnx").read_text() == "graph"
    assert (tmp_path / "calls").read_text() == "x"
    (model / "MLmodel").write_text("flavors: {other: {}}")
    assert prepare(model, command=command, cache=tmp_path / "cache").folder != result.folder


def test_a_reason_is_kept(tmp_path: Path, model: Path, command: tuple[str, ...]) -> None:
    (model / "random").touch()
    for _ in range(2):
        result = prepare(model, command=command, cache=tmp_path / "cache")
        assert (result.folder, result.reason) == (None, "it draws random numbers")
    assert (tmp_path / "calls").read_text() == "x"


def test_a_converter_that_ends_is_tried_again_and_its_last_line_is_the_reason(
    tmp_path: Path, model: Path, command: tuple[str, ...]
) -> None:
    (model / "broken").touch()
    result = prepare(model, command=command, cache=tmp_path / "cache")
    assert result.reason == "the conversion ended with 1: no module named nothing"
    (model / "broken").unlink()
    assert prepare(model, command=command, cache=tmp_path / "cache").folder is not None


def test_a_slow_conversion_and_a_cache_that_cannot_be_written_have_reasons(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.01)
    slow = (sys.executable, "-c", "import time; time.sleep(60)")
    assert "longer than" in prepare(model, command=slow, cache=tmp_path / "cache").reason
    (tmp_path / "file").touch()
    result = prepare(model, command=slow, cache=tmp_path / "file")
    assert result.folder is None
    assert "cannot be kept" in result.reason
