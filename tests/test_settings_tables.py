"""Custom stages, gates of a model and defaults of recipes in mlctl.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlctl.errors import ConfigurationError
from mlctl.settings import Settings, load

pytestmark = pytest.mark.unit


def load_project(folder: Path, text: str) -> Settings:
    (folder / "mlctl.toml").write_text(text)
    return load(folder=folder)


def test_stages_and_gates_are_read(tmp_path: Path) -> None:
    settings = load_project(
        tmp_path,
        'stages = ["Canary"]\n[models.MNIST-Keras]\nrequire = ["f1>=0.9"]\nsmoke = true\nfrom = "Staging"\n',
    )
    assert settings.stages == ("Canary",)
    assert settings.models == {"MNIST-Keras": {"require": ["f1>=0.9"], "smoke": True, "from": "Staging"}}
    assert settings.sources["models.MNIST-Keras"].endswith("mlctl.toml")


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ('[models.A]\nrequired = ["f1>=0.9"]', "require"),
        ('[model.A]\nrequire = ["f1>=0.9"]', "models"),
        ('stage = ["Canary"]', "stages"),
    ],
)
def test_a_typo_gets_a_suggestion(tmp_path: Path, text: str, suggestion: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_project(tmp_path, text)
    assert suggestion in raised.value.hint


@pytest.mark.parametrize(
    "text", ['[models.A]\nrequire = "f1>=0.9"', "stages = [1]", '[models.A]\nsmoke = "yes"', "models = 3"]
)
def test_a_value_of_the_wrong_type_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"mlctl\.toml"):
        load_project(tmp_path, text)


def test_the_bucket_of_a_project(tmp_path: Path) -> None:
    settings = load_project(tmp_path, 'bucket = "models"\n')
    assert settings.bucket == "models"
    assert settings.sources["bucket"].endswith("mlctl.toml")
    assert ("bucket", "models", settings.sources["bucket"]) in settings.listing()


def test_the_listing_has_every_value_of_a_table_with_its_own_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlctl.settings.platformdirs.user_config_dir", lambda _: str(tmp_path))
    (tmp_path / "config.toml").write_text("[recipes.tabular]\nepochs = 9\nunits = 32\n")
    settings = load_project(
        tmp_path,
        '[recipes.tabular]\nepochs = 5\ncolumn.zip = "category"\n'
        '[models.A]\nrequire = ["f1>=0.9", "r2>0"]\nsmoke = false\n',
    )
    listed = {name: (value, Path(source).name) for name, value, source in settings.listing()}
    assert listed["recipes.tabular.epochs"] == ("5", "mlctl.toml")
    assert listed["recipes.tabular.units"] == ("32", "config.toml")
    assert listed["recipes.tabular.column.zip"] == ("category", "mlctl.toml")
    assert listed["models.A.require"] == ("f1>=0.9, r2>0", "mlctl.toml")
    assert listed["models.A.smoke"] == ("false", "mlctl.toml")
