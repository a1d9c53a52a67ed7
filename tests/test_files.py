"""Reading secrets from files: a wrong file is named, with what it should hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlctl.errors import BadDataError, NotFoundError
from mlctl.files import read_secret

pytestmark = pytest.mark.unit


def test_a_secret_is_read_without_white_space(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("  secret\n")
    assert read_secret(str(tmp_path / "key"), content="an API key") == "secret"


@pytest.mark.parametrize("name", ["absent", ".", "key/below"])
def test_a_path_without_a_file_is_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "key").write_text("secret")
    with pytest.raises(NotFoundError) as error:
        read_secret(str(tmp_path / name), content="an API key")
    assert "an API key" in error.value.hint


def test_a_file_that_is_not_text_is_bad_data(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadDataError, match="not text"):
        read_secret(str(tmp_path / "key"), content="an API key")


def test_a_file_that_may_not_be_read_is_bad_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(BadDataError, match="Permission denied"):
        read_secret(str(tmp_path / "key"), content="an API key")
