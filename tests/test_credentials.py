"""Whose password goes to which server."""

from __future__ import annotations

import pytest

from mlctl import credentials

ONE, OTHER, THIRD = "http://127.0.0.1:5000", "http://127.0.0.1:5001", "http://127.0.0.1:5002"


def test_each_server_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")  # whatever `use` sets is taken back
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}")
    credentials.keep(ONE, "admin", "first", None)
    credentials.keep(OTHER, "admin", "second", None)
    credentials.use(ONE)  # as any command does whose tracking URI it is
    assert credentials.of(ONE + "/path") == ("admin", "first")
    assert credentials.of(OTHER) == ("admin", "second")
    assert credentials.of(THIRD) is None
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    assert credentials.of(THIRD) == ("ada", "first")
