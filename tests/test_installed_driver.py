"""The driver of a PostgreSQL URI."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from mlctl import settings

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("installed", "named"),
    [
        ({"psycopg2"}, "postgresql+psycopg2://u@h/db"),
        ({"psycopg"}, "postgresql://u@h/db"),
        ({"psycopg", "psycopg2"}, "postgresql://u@h/db"),
        (set(), "postgresql://u@h/db"),
    ],
)
def test_a_uri_names_the_driver_that_is_installed(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], named: str
) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda name: find_spec("json") if name in installed else None)
    assert settings.with_installed_driver("postgresql://u@h/db") == named
    assert settings.with_installed_driver("postgresql+psycopg2://u@h/db") == "postgresql+psycopg2://u@h/db"
    assert settings.with_installed_driver("sqlite:///x.db") == "sqlite:///x.db"
