"""Acting as soon as a module is imported."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from mlctl.adapters.system.import_hooks import after_import

pytestmark = pytest.mark.unit


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "hooked_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hooked_module", raising=False)
    return "hooked_module"


def test_the_action_follows_the_import_and_not_a_search_for_the_module(module: str) -> None:
    called: list[int] = []
    with after_import(module, lambda: called.append(sys.modules[module].value)):
        assert importlib.util.find_spec(module) is not None
        assert importlib.util.find_spec(module) is not None  # as TensorFlow searches for Keras
        assert called == []
        importlib.import_module(module)
        assert called == [1]
        importlib.reload(sys.modules[module])
    assert called == [1]
    assert not [finder for finder in sys.meta_path if type(finder).__name__ == "_ImportWatcher"]


def test_two_actions_for_one_module(module: str) -> None:
    called: list[str] = []
    with (
        after_import(module, lambda: called.append("first")),
        after_import(module, lambda: called.append("second")),
    ):
        importlib.import_module(module)
    assert sorted(called) == ["first", "second"]


def test_a_module_that_is_already_imported_or_never(module: str) -> None:
    called: list[int] = []
    with after_import("sys", lambda: called.append(1)), after_import(module, lambda: called.append(2)):
        pass
    importlib.import_module(module)
    assert called == [1]
