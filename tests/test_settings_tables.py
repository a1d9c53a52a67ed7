"""Stages of one's own and the gates of a model, as mlctl.toml keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlctl.errors import ConfigurationError
from mlctl.settings import load


def settings(folder: Path, text: str) -> object:
    (folder / "mlctl.toml").write_text(text)
    return load(folder=folder)


def test_stages_and_gates_are_read(tmp_path: Path) -> None:
    (tmp_path / "mlctl.toml").write_text(
        'stages = ["Canary"]\n[models.MNIST-Keras]\nrequire = ["f1>=0.9"]\nsmoke = true\nfrom = "Staging"\n'
    )
    found = load(folder=tmp_path)
    assert found.stages == ("Canary",)
    assert found.models == {"MNIST-Keras": {"require": ["f1>=0.9"], "smoke": True, "from": "Staging"}}
    assert found.sources["models.MNIST-Keras"].endswith("mlctl.toml")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[models.A]\nrequired = ["f1>=0.9"]', "require"),
        ('[model.A]\nrequire = ["f1>=0.9"]', "models"),
        ('stage = ["Canary"]', "stages"),
    ],
)
def test_a_typo_gets_a_suggestion(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path, text)
    assert named in caught.value.hint


@pytest.mark.parametrize(
    "text", ['[models.A]\nrequire = "f1>=0.9"', "stages = [1]", '[models.A]\nsmoke = "yes"', "models = 3"]
)
def test_a_value_of_another_type_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"mlctl\.toml"):
        settings(tmp_path, text)


def test_a_projects_bucket_is_what_server_up_uses(tmp_path: Path) -> None:
    (tmp_path / "mlctl.toml").write_text('bucket = "models"\n')
    found = load(folder=tmp_path)
    assert found.bucket == "models"
    assert found.sources["bucket"].endswith("mlctl.toml")
    assert ("bucket", "models", found.sources["bucket"]) in found.listing()
