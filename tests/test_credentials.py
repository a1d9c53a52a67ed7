"""Credentials: each server gets its own."""

from __future__ import annotations

import pytest

from mlctl import credentials

pytestmark = pytest.mark.unit

FIRST, SECOND, UNKNOWN = "http://127.0.0.1:5000", "http://127.0.0.1:5001", "http://127.0.0.1:5002"


def test_each_server_gets_its_own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")  # so that the test's changes are undone
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}")
    credentials.save(FIRST, "admin", "first", None)
    credentials.save(SECOND, "admin", "second", None)
    credentials.apply_to_environment(FIRST)  # as each command does for its tracking URI
    assert credentials.find(FIRST + "/path") == ("admin", "first")
    assert credentials.find(SECOND) == ("admin", "second")
    assert credentials.find(UNKNOWN) is None
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    assert credentials.find(UNKNOWN) == ("ada", "first")
